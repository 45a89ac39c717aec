"""Measures snapshots by size: the first, the second after one label in a hundred has changed, formats, a comparison.

    PYTHONPATH=tests/support python tests/benchmarks/snapshots.py [--sizes 1000] [--full] [--write docs/benchmarks.md]

Each size runs in a process of its own. The bucket is in it: what copies cost at AWS is arithmetic. Formats are written
in parts of a fixed size, up to 100,000 labels by default; `--full` writes them for every size. Exit code 1 where
nothing could be measured.
"""

from __future__ import annotations

import sys

from catalog import in_a_process
from documents import Mark
from sizes import Arguments, Row, run, seconds, verdict

MARK = Mark("<!-- begin: written by make bench (snapshots) -->", "<!-- end (snapshots) -->")
STEPS = ("snapshot", "second", "diff")
FORMATS = ("coco", "yolo", "jsonl")
MOST_FORMATTED = 100_000
HEAD = (
    "snapshot s", "second s", "diff s", "copies of the second", "COCO s", "YOLO s", "JSON Lines s", "temporary MB",
    "peak MB", "≤ 1 GB",
)  # fmt: skip


def one_size(count: int, arguments: Arguments) -> Row:
    """Measure snapshots of one size."""
    formats = FORMATS if arguments.full or count <= MOST_FORMATTED else ()
    taken = in_a_process("snapshot_size.py", str(count), *formats, environment={})
    written = [seconds(taken[name]) if name in formats else "" for name in FORMATS]
    megabytes = [f"{taken[name] / 1e6:.0f}" for name in ("spilled", "memory")]
    cells = [*(seconds(taken[name]) for name in STEPS), f"{taken['copies']:,}", *written, *megabytes]
    return Row([*cells, verdict(taken["memory"])], sum(taken[name]["cpu"] for name in STEPS))


if __name__ == "__main__":
    sys.exit(run(__doc__, MARK, HEAD, one_size))
