"""Run every step of `make test`, even after one has failed, and list at the end what failed.

A step is a target of the Makefile. The steps of a lane run one after the other, and the lanes in parallel: a deploy
mostly waits for one response after another, and leaves a core to the steps of the other lane. A step's output is
printed when it ends, and is in a file meanwhile. A target that runs pytest writes a report of JUnit's form to
$REPORTS/<target>.xml, where failed tests are found.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time

# The reports that are read here come from pytest of this repository.
import xml.etree.ElementTree as ET  # nosec B405
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The steps of the second lane start and stop the local stack of this checkout. Those of the first do not touch it.
LANES = (("lint", "audit", "other-node", "unit"), ("newcomer", "molecule"))
# Steps that begin only after another one has ended. On a machine without a container engine, each step of the second
# lane starts one and stops it at its end. other-node uses the engine of molecule, which takes several times as long.
AFTER = {"other-node": "newcomer"}
# pytest's report has this property for a test that ran other tests, with the names of the failed ones.
FAILED_INSIDE = "failed"
LAST_LINES = 3
# The form in which pytest names a failed test, and in which a step reports what it could not test here.
FAILED_TEST = re.compile(r"(FAILED|ERROR) \S+::")
NOT_TRIED = "NOT TRIED"

# Options of the make that runs this, including its job server, and a setting of many containers: without bytecode each
# process would compile the tests and the emulators again.
NOT_FOR_STEPS = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONDONTWRITEBYTECODE")
# Not next to the functions' sources: an image's build copies their directory while other steps run.
BYTECODE = ROOT / ".local" / "bytecode"

printing = threading.Lock()


@dataclass
class Result:
    """The result of a step; ``failures`` names tests, or has the last lines of a step without a report.

    ``not_tried`` has the step's own lines about what it could not try on this machine.
    """

    step: str
    passed: bool
    seconds: float
    failures: list[str]
    not_tried: list[str]


def failed_tests(report: Path) -> Iterator[str]:
    """Return the failed tests of a report, each with the tests that failed inside it."""
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - see the import # nosec B314
        if case.find("failure") is None and case.find("error") is None:
            continue
        yield f"{case.get('file')}::{case.get('name')}"
        for inside in case.iter("property"):
            if inside.get("name") == FAILED_INSIDE:
                yield f"  {inside.get('value')}"


def run_step(step: str, directory: Path, logs: Path) -> Result:
    """Run one target of the Makefile in a directory; print its output when it has ended."""
    report, log = logs / f"{step}.xml", logs / f"{step}.log"
    report.unlink(missing_ok=True)
    with printing:
        print(f"== make {step} begins", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_STEPS}
    # The environment was installed before; parallel steps would write to it at the same time.
    command = ["make", "--no-print-directory", "--assume-old=install", step]
    start = time.monotonic()
    with log.open("w") as file:
        passed = (
            subprocess.run(  # noqa: S603 - see the command
                command,
                cwd=directory,
                env={**environment, "PYTHONPYCACHEPREFIX": str(BYTECODE), "REPORTS": str(logs)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
            == 0
        )
    seconds = time.monotonic() - start
    text = log.read_text(errors="replace")
    with printing:
        print(f"== make {step}: {seconds:.0f} s\n{text}", flush=True)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    failures = []
    if not passed:
        named = [line for line in lines if FAILED_TEST.match(line)]
        failures = (list(failed_tests(report)) if report.exists() else named) or lines[-LAST_LINES:]
    return Result(step, passed, seconds, failures, [line for line in lines if NOT_TRIED in line])


def run_lanes(lanes: Sequence[Sequence[str]], directory: Path, logs: Path) -> list[Result]:
    """Run the lanes in parallel, the steps of each in turn; return the results, lane by lane."""
    logs.mkdir(parents=True, exist_ok=True)
    ended = {step: threading.Event() for lane in lanes for step in lane}

    def run_in_turn(step: str) -> Result:
        if AFTER.get(step) in ended:
            ended[AFTER[step]].wait()
        try:
            return run_step(step, directory, logs)
        finally:
            ended[step].set()

    with ThreadPoolExecutor(len(lanes)) as pool:
        results = pool.map(lambda lane: [run_in_turn(step) for step in lane], lanes)
        return [result for lane in results for result in lane]


def summary(results: Sequence[Result], logs: Path) -> str:
    """Return the end of the output: each step with its time, and its failures."""
    lines = [""]
    for result in results:
        lines.append(f"{result.step:12} {'passed' if result.passed else 'FAILED'} {result.seconds:6.0f} s")
        lines += [f"    {line}" for line in (*result.failures, *result.not_tried)]
    if failed := [result.step for result in results if not result.passed]:
        where = ", ".join(str(logs / f"{step}.log") for step in failed)
        lines.append(f"test: failed: {', '.join(failed)}. The whole output is in {where}")
    return "\n".join(lines)


def main() -> int:
    logs = ROOT / ".local" / "test"
    print(f"The output of each step is in {logs}/<step>.log, and is shown when the step ends.", flush=True)
    # From an earlier run (scripts/audit).
    (logs / "policies.json").unlink(missing_ok=True)
    start = time.monotonic()
    results = run_lanes(LANES, ROOT, logs)
    print(f"{summary(results, logs)}\ntest: {(time.monotonic() - start) / 60:.0f} minutes")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
