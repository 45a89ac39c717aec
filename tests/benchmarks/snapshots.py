"""Measures snapshots by size: the first, the second after one label in a hundred has changed, COCO, and a diff.

    PYTHONPATH=tests/support python tests/benchmarks/snapshots.py [--quick] [--write docs/benchmarks.md]

Each size runs in its own process, which contains the bucket: the cost of copies on AWS is arithmetic.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import table
from contenders import HERE, ROOT, MeasurementError
from documents import Mark, say, write

MARK = Mark("<!-- begin: written by make bench (snapshots) -->", "<!-- end (snapshots) -->")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
MOST_MEMORY = 1e9


def sizes(counts: Sequence[int]) -> str:
    """Return the table of sizes; growth is the time for one label divided by that of the previous size."""
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    for count in counts:
        say(f"snapshots of {count:,} labels")
        taken = _in_a_process(count)
        steps = [taken[name] for name in ("snapshot", "second", "coco", "diff")]
        whole = sum(steps)
        slope = "" if before is None else f"{(whole / before[1]) / (count / before[0]):.2f}"
        verdict = "met" if taken["memory"] <= MOST_MEMORY else "**not met**"
        copies = f"{taken['second_copies']:,.0f}"
        shown = [f"{seconds:.1f}" for seconds in steps]
        rows.append([f"{count:,}", *shown, copies, slope, f"{taken['memory'] / 1e6:.0f}", verdict])
        before = (count, whole)
    head = ("labels", "snapshot s", "second s", "COCO s", "diff s", "copies of the second", "growth (1: linear)",
            "peak MB", "≤ 1 GB")  # fmt: skip
    return table.markdown(head, rows)


def _in_a_process(count: int) -> dict[str, float]:
    parts = os.pathsep.join(str(ROOT / part) for part in ("lambda", "tests/support", "tests/benchmarks"))
    command = [sys.executable, str(HERE / "snapshot_size.py"), str(count)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": parts}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasurementError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    text = sizes(QUICK_SIZES if arguments.quick else SIZES)
    print(text)
    if arguments.write is not None:
        write(arguments.write, MARK, text)


if __name__ == "__main__":
    main()
