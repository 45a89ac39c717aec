"""What the benchmarks by size share: their arguments, their loop, cells, and the line above their tables."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import table
from contenders import MeasurementError
from documents import Mark, say, write

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
MOST_MEMORY = 1e9


@dataclass(frozen=True)
class Arguments:
    """The options of the command line."""

    sizes: tuple[int, ...]
    full: bool
    write: Path | None


@dataclass(frozen=True)
class Row:
    """One size's row: the cells beside the number of labels, and the CPU seconds whose growth is shown."""

    cells: list[str]
    taken: float


def run(about: str | None, mark: Mark, head: Sequence[str], measure: Callable[[int, Arguments], Row]) -> int:
    """Measure size by size, print the table and write it where that is wanted; return the exit code.

    The table is written after each size: what stops the next one loses nothing that was measured.
    """
    arguments = _arguments(about)
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    text = ""
    try:
        for count in arguments.sizes:
            say(f"{count:,} labels")
            row = measure(count, arguments)
            rows.append([f"{count:,}", growth(count, row.taken, before), *row.cells])
            before = (count, row.taken)
            text = f"{_setting()}\n\n{table.markdown(('labels', 'growth (1: linear)', *head), rows)}"
            if arguments.write is not None:
                write(arguments.write, mark, text)
    except MeasurementError as error:
        say(str(error))
        return 1
    finally:
        print(text)
    return 0


def _setting() -> str:
    busy = f"processes that wanted a core meanwhile: {os.getloadavg()[1]:.1f}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {version}, {os.cpu_count()} cores; {busy}."
    return f"{when}\nSeconds are CPU time, with those of the clock in brackets."


def _arguments(about: str | None) -> Arguments:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small sizes")
    parser.add_argument("--full", action="store_true", help="everything at every size")
    parser.add_argument("--sizes", help="labels, such as 1000,10000")
    parser.add_argument("--write", type=Path, help="the document to write the table into")
    given = parser.parse_args()
    counts = tuple(int(text) for text in given.sizes.split(",")) if given.sizes else SIZES
    return Arguments(QUICK_SIZES if given.quick else counts, given.full, given.write)


def seconds(taken: Mapping[str, float]) -> str:
    """Return CPU seconds, and seconds by the clock in brackets."""
    return f"{taken['cpu']:.1f} ({taken['seconds']:.1f})"


def growth(count: int, taken: float, before: tuple[int, float] | None) -> str:
    """Return the time for a row in proportion to that of the size before: 1 is linear."""
    return "" if before is None else f"{(taken / before[1]) / (count / before[0]):.2f}"


def verdict(memory: float) -> str:
    """Say whether the memory is within its goal."""
    return "met" if memory <= MOST_MEMORY else "**not met**"
