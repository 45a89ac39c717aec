"""Measures the label index by size: build from the bucket, update of 100 labels, two queries, memory.

    PYTHONPATH=tests/support python tests/benchmarks/index.py [--quick] [--write docs/benchmarks.md]

Sizes run in a process each, so that memory is each one's own. The bucket is in the process: what reading from S3 costs
is arithmetic. Exit code 1 where nothing could be measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import table
from catalog import in_a_process
from contenders import MeasurementError
from documents import Mark, say, write

MARK = Mark("<!-- begin: written by make bench (index) -->", "<!-- end (index) -->")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
MOST_MEMORY = 1e9


def sizes(counts: Sequence[int]) -> str:
    """Return the table of sizes, with the time for a row in proportion to that of the size before."""
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    for count in counts:
        say(f"an index of {count:,} labels")
        taken = in_a_process("index_size.py", str(count), environment={})
        whole = taken["reading"] + taken["merging"]
        slope = "" if before is None else f"{(whole / before[1]) / (count / before[0]):.2f}"
        seconds = [f"{taken[name]:.1f}" for name in ("reading", "merging", "update")]
        queries = [f"{taken[name] * 1000:.0f}" for name in ("by_title", "by_class")]
        memory = f"{taken['memory'] / 1e6:.0f}"
        verdict = "met" if taken["memory"] <= MOST_MEMORY else "**not met**"
        rows.append([f"{count:,}", *seconds, slope, *queries, f"{taken['bytes'] / 1e6:.1f}", memory, verdict])
        before = (count, whole)
    head = (
        "labels", "reading s", "merging s", "update of 100 s", "growth (1: linear)", "by title ms", "by class ms",
        "index MB", "peak MB", "≤ 1 GB",
    )  # fmt: skip
    return table.markdown(head, rows)


def main() -> int:
    """Measure, print the table and write it where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    try:
        found = sizes(QUICK_SIZES if arguments.quick else SIZES)
    except MeasurementError as error:
        say(str(error))
        return 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {version}, on a busy machine with 2 cores.\n\n{found}"
    print(text)
    if arguments.write:
        write(arguments.write, MARK, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
