"""Measures the label index by size: reading, merging, an update, freshness, two queries, memory.

    PYTHONPATH=tests/support python tests/benchmarks/index.py [--sizes 1000,10000] [--full] [--write docs/benchmarks.md]

Sizes run in a process each, so that memory is each one's own. The bucket is in the process: what reading from S3 costs
is arithmetic. By default one part of a rebuild is read, and the time of the others follows from it; `--full` reads
every label. Exit code 1 where nothing could be measured.
"""

from __future__ import annotations

import sys

from catalog import in_a_process
from documents import Mark
from sizes import Arguments, Row, run, seconds, verdict

MARK = Mark("<!-- begin: written by make bench (index) -->", "<!-- end (index) -->")
WINDOW = 300  # seconds, for which events are collected by default
STEPS = ("merging", "update", "freshness")
HEAD = (
    "reading µs a label", "all s", "merging s", "update of 100 s", "of one s", "fresh within s", "by title ms",
    "by class ms", "report s", "report kB", "index MB", "temporary MB", "peak MB", "≤ 1 GB",
)  # fmt: skip


def one_size(count: int, arguments: Arguments) -> Row:
    """Measure the index of one size."""
    parts = count if arguments.full else 1
    taken = in_a_process("index_size.py", str(count), str(parts), environment={})
    reading = taken["reading"]["cpu"] / taken["read"]
    cells = [f"{reading * 1e6:.0f}", f"{reading * count:.0f}", *(seconds(taken[name]) for name in STEPS)]
    cells += [f"{WINDOW + taken['freshness']['seconds']:.0f}"]
    cells += [f"{taken[name]['seconds'] * 1000:.0f}" for name in ("by_title", "by_class")]
    cells += [seconds(taken["report"]), f"{taken['report_bytes'] / 1e3:.0f}"]
    cells += [f"{taken['bytes'] / 1e6:.1f}", *(f"{taken[name] / 1e6:.0f}" for name in ("spilled", "memory"))]
    return Row([*cells, verdict(taken["memory"])], sum(taken[name]["cpu"] for name in ("merging", "update")))


if __name__ == "__main__":
    sys.exit(run(__doc__, MARK, HEAD, one_size))
