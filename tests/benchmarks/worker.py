"""Runs a handler as Lambda does, in a process of its own: an event a line in, what it took a line out.

Needs nothing but the standard library, so that the process holds only what the handler brings.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path


class Context:
    """What Lambda passes beside the event: here always with a minute left."""

    aws_request_id = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        """Return a minute."""
        return 60_000


def peak_bytes() -> int:
    """Return the most memory that this process has had.

    Not `getrusage`: its figure begins with the peak of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Serve events until standard input ends. What the handler prints goes nowhere, but is written out."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    handle = importlib.import_module(sys.argv[1]).handle
    for line in sys.stdin:
        event = json.loads(line)
        began, cpu = time.perf_counter(), time.process_time()
        answer = handle(event, Context())
        took = {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": peak_bytes(),
            "failed": len(answer["batchItemFailures"]),
        }
        replies.write(json.dumps(took) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
