"""Runs a handler as Lambda does, in a separate process: reads one event a line, writes its cost as one line.

Needs only the standard library, so that the process contains only what the handler imports.
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
    """Lambda's context, always with a minute left."""

    aws_request_id = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        """Return a minute."""
        return 60_000


def peak_bytes() -> int:
    """Return the peak memory of this process.

    Not from `getrusage`: its figure starts with the peak of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Handle events until standard input ends. The handler's output is formatted, but discarded."""
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
