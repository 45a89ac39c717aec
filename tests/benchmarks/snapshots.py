"""Measures snapshots by size: the first, the second after one label in a hundred has changed, formats, a comparison.

    PYTHONPATH=tests/support python tests/benchmarks/snapshots.py [--sizes 1000] [--full] [--write docs/benchmarks.md]

Each size runs in a process of its own. The bucket is in it: what copies cost at AWS is arithmetic. Formats are written
in parts of a fixed size, up to 100,000 labels by default; `--full` writes them for every size. Exit code 1 where
nothing could be measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import table
from catalog import in_a_process
from documents import Mark, say
from sizes import Arguments, growth, run, seconds, verdict

MARK = Mark("<!-- begin: written by make bench (snapshots) -->", "<!-- end (snapshots) -->")
STEPS = ("snapshot", "second", "diff")
FORMATS = ("coco", "yolo", "jsonl")
MOST_FORMATTED = 100_000


def sizes(counts: Sequence[int], arguments: Arguments) -> str:
    """Return the table of sizes, with the CPU time in proportion to that of the size before."""
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    for count in counts:
        say(f"snapshots of {count:,} labels")
        formats = FORMATS if arguments.full or count <= MOST_FORMATTED else ()
        taken = in_a_process("snapshot_size.py", str(count), *formats, environment={})
        whole = sum(taken[name]["cpu"] for name in STEPS)
        written = [seconds(taken[name]) if name in formats else "" for name in FORMATS]
        megabytes = [f"{taken[name] / 1e6:.0f}" for name in ("spilled", "memory")]
        cells = [f"{count:,}", *(seconds(taken[name]) for name in STEPS), f"{taken['copies']:,}"]
        rows.append([*cells, growth(count, whole, before), *written, *megabytes, verdict(taken["memory"])])
        before = (count, whole)
    head = (
        "labels", "snapshot s", "second s", "diff s", "copies of the second", "growth (1: linear)", "COCO s", "YOLO s",
        "JSON Lines s", "temporary MB", "peak MB", "≤ 1 GB",
    )  # fmt: skip
    return table.markdown(head, rows)


if __name__ == "__main__":
    sys.exit(run(__doc__, MARK, sizes))
