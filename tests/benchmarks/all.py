"""Runs every benchmark in turn, and writes their tables into docs/benchmarks.md.

    python tests/benchmarks/all.py [--quick] [--full] [NAME...]

One that fails does not stop the others. Exit code 1 where one has failed; the last lines say which, and what each took.
`--quick` measures the smallest sizes and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from contenders import HERE, ROOT
from documents import say

PROGRAMS = ("run", "catalog", "deployments", "snapshots", "index")
WITH_FULL = ("snapshots", "index")


def main() -> int:
    """Run them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smallest sizes, nothing is written")
    parser.add_argument("--full", action="store_true", help="every step of snapshots and index at every size")
    parser.add_argument("names", nargs="*", choices=PROGRAMS, metavar="NAME", help=", ".join(PROGRAMS))
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")}
    ended: list[str] = []
    failed = False
    for name in arguments.names or PROGRAMS:
        options = ["--quick"] if arguments.quick else ["--write", str(ROOT / "docs" / "benchmarks.md")]
        options += ["--full"] if arguments.full and name in WITH_FULL else []
        say(f"{name} begins")
        began = time.monotonic()
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options], env=environment, check=False)
        failed = failed or done.returncode != 0
        verdict = "done" if done.returncode == 0 else f"failed with exit code {done.returncode}"
        ended.append(f"{name}: {verdict}, {time.monotonic() - began:.0f} s")
    for line in ended:
        say(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
