"""The document with the tables, and a benchmark's progress messages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from contenders import MeasurementError


@dataclass(frozen=True)
class Mark:
    """The lines of a document between which a benchmark writes its tables."""

    begin: str
    end: str


def write(path: Path, mark: Mark, text: str) -> None:
    """Replace the text between a document's marks; raises MeasurementError if it has none."""
    document = path.read_text()
    before, begin, rest = document.partition(mark.begin)
    _, end, after = rest.partition(mark.end)
    if not begin or not end:
        raise MeasurementError(f"{path} has no lines {mark.begin} and {mark.end} to write between")
    path.write_text(f"{before}{mark.begin}\n{text}\n{mark.end}{after}")


def say(text: str) -> None:
    """Print what is being measured."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
