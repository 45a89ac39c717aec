"""Measures the label index by size: reading, merging, an update, freshness, two queries, memory.

    PYTHONPATH=tests/support python tests/benchmarks/index.py [--sizes 1000,10000] [--full] [--write docs/benchmarks.md]

Sizes run in a process each, so that memory is each one's own. The bucket is in the process: what reading from S3 costs
is arithmetic. By default one part of a rebuild is read, and the time of the others follows from it; `--full` reads
every label. Exit code 1 where nothing could be measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import table
from catalog import in_a_process
from documents import Mark, say
from sizes import Arguments, growth, run, seconds, verdict

MARK = Mark("<!-- begin: written by make bench (index) -->", "<!-- end (index) -->")
WINDOW = 300  # seconds, for which events are collected by default
STEPS = ("merging", "update", "freshness")


def sizes(counts: Sequence[int], arguments: Arguments) -> str:
    """Return the table of sizes, with the CPU time for a row in proportion to that of the size before."""
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    for count in counts:
        say(f"an index of {count:,} labels")
        parts = count if arguments.full else 1
        taken = in_a_process("index_size.py", str(count), str(parts), environment={})
        whole = sum(taken[name]["cpu"] for name in ("merging", "update"))
        reading = taken["reading"]["cpu"] / taken["read"]
        queries = [f"{taken[name]['seconds'] * 1000:.0f}" for name in ("by_title", "by_class")]
        megabytes = [f"{taken['bytes'] / 1e6:.1f}", *(f"{taken[name] / 1e6:.0f}" for name in ("spilled", "memory"))]
        cells = [f"{count:,}", f"{reading * 1e6:.0f}", f"{reading * count:.0f}"]
        cells += [seconds(taken[name]) for name in STEPS]
        cells += [f"{WINDOW + taken['freshness']['seconds']:.0f}", growth(count, whole, before)]
        rows.append([*cells, *queries, *megabytes, verdict(taken["memory"])])
        before = (count, whole)
    head = (
        "labels", "reading µs a label", "all s", "merging s", "update of 100 s", "of one s", "fresh within s",
        "growth (1: linear)", "by title ms", "by class ms", "index MB", "temporary MB", "peak MB", "≤ 1 GB",
    )  # fmt: skip
    return table.markdown(head, rows)


if __name__ == "__main__":
    sys.exit(run(__doc__, MARK, sizes))
