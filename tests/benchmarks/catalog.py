"""Measures the catalog: listing, comparing and queueing by size, and a backfill beside a sequential script.

    PYTHONPATH=tests/support python tests/benchmarks/catalog.py [--quick] [--write docs/benchmarks.md]

Sizes run in a process each, so that memory is each one's own. Encord is the stand-in over TLS, whose synthetic project
makes rows of the size of real ones while it sends them. The bucket and the queue of the sizes are in the process: what
they cost at AWS is arithmetic (docs/architecture.md). Exit code 1 where nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from encord_harness import StandInProcess, make_files, private_key_text
from services import services
from table import markdown

BEGIN, END = "<!-- begin: written by make bench (catalog) -->", "<!-- end (catalog) -->"
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
MOST_MEMORY = 512e6
LEAST_RATIO = 15
WORKERS = 4  # invocations of the exporter side by side; the deployment's maximum concurrency may be far more
LABELS, QUICK_LABELS, SCRIPT_LABELS = 10_000, 600, 60


class BenchmarkError(Exception):
    """A benchmark that did not do what it measures."""


def sizes(stand_in: Any, key_file: Path, counts: Sequence[int]) -> str:
    """Return the table of sizes, with the time for a row in proportion to that of the size before."""
    stand_in.control("POST", "settings", {"page_size": 1000})
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    for count in counts:
        say(f"{count:,} rows")
        project = stand_in.control("POST", "synthetic-project", {"rows": count})["project_hash"]
        arguments = (str(count), stand_in.url, str(key_file), project)
        trusted = {"REQUESTS_CA_BUNDLE": str(stand_in.files.certificate)}
        taken = _in_a_process("catalog_size.py", *arguments, environment=trusted)
        whole = taken["listing"] + taken["comparing"] + taken["queueing"]
        slope = "" if before is None else f"{(whole / before[1]) / (count / before[0]):.2f}"
        steps = [f"{taken[name]:.1f}" for name in ("listing", "comparing", "queueing")]
        memory = f"{taken['memory'] / 1e6:.0f}"
        rows.append([f"{count:,}", *steps, f"{whole / count * 1e6:.0f}", slope, memory, _verdict(taken["memory"])])
        before = (count, whole)
    head = (
        "rows", "listing s", "comparing s", "queueing s", "µs a row", "growth (1: linear)", "peak MB", "≤ 512 MB"
    )  # fmt: skip
    return markdown(head, rows)


def _verdict(memory: float) -> str:
    return "met" if memory <= MOST_MEMORY else "**not met**"


def _in_a_process(program: str, *arguments: str, environment: Mapping[str, str]) -> dict[str, float]:
    command = [sys.executable, str(HERE / program), *arguments]
    variables = {**os.environ, **environment, "PYTHONPATH": _path()}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _path() -> str:
    return os.pathsep.join(str(ROOT / part) for part in ("lambda", "tests/support", "tests/benchmarks"))


def backfill(folder: Path, labels: int, script_labels: int) -> str:
    """Return the table of a backfill's rate beside the script's."""
    with services(folder) as running:
        body = {"frames": 1, "objects": 10, "count": labels, "stage": "Complete"}
        made = running._stand_in.control("POST", "giant-rows", body)["rows"]
        hashes = [row["label_hash"] for row in made]
        say(f"a script saves {script_labels} labels, one after the other")
        asked = running.doc_style_environment() | {"PROJECT": running.project}
        slow = _in_a_process("sequential_script.py", str(script_labels), environment=asked)["rate"]
        say(f"{WORKERS} exporters save {labels:,} labels")
        environment = {**os.environ, **running.exporter_environment(), "PYTHONPATH": _path()}
        environment["LABEL_EXPORT_CONCURRENCY"] = "10"
        batches = [hashes[begin : begin + 10] for begin in range(0, labels, 10)]
        running.forget()
        began = time.perf_counter()
        with ThreadPoolExecutor(WORKERS) as threads:
            events = [[running.event(batch) for batch in batches[number::WORKERS]] for number in range(WORKERS)]
            failed = sum(threads.map(lambda part: _worker(part, environment), events))
        fast = labels / (time.perf_counter() - began)
        if failed:
            raise BenchmarkError(f"{failed} labels were not exported")
        running.check_stored(hashes)
    ratio = fast / slow
    met = "met" if ratio >= LEAST_RATIO else "**not met**"
    rows = [
        ["script, one label after the other", f"{script_labels:,}", f"{slow:.1f}", "", ""],
        [f"backfill, {WORKERS} invocations side by side", f"{labels:,}", f"{fast:.0f}", f"{ratio:.1f}", met],
    ]
    return markdown(("way", "labels", "labels a second", "ratio", f"≥ {LEAST_RATIO}"), rows)


def _worker(events: Sequence[dict[str, Any]], environment: dict[str, str]) -> int:
    command = [sys.executable, str(HERE / "worker.py"), "label_export.handler"]
    text = "".join(json.dumps(event) + "\n" for event in events)
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False)
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(replies) != len(events):
        raise BenchmarkError(done.stderr[-2000:])
    return sum(int(reply["failed"]) for reply in replies)


def report(counts: Sequence[int], labels: int, script_labels: int) -> str:
    """Measure everything; return the tables."""
    with tempfile.TemporaryDirectory() as name:
        files = make_files(Path(name))
        key_file = Path(name) / "key"
        key_file.write_text(private_key_text(files.key))
        stand_in = StandInProcess(files)
        try:
            by_size = sizes(stand_in, key_file, counts)
        finally:
            stand_in.stop()
    with tempfile.TemporaryDirectory() as name:
        rates = backfill(Path(name), labels, script_labels)
    when = datetime.now(UTC).date().isoformat()
    about = f"Measured on {when} with Python {sys.version_info.major}.{sys.version_info.minor}, {os.cpu_count()} cores;"
    busy = f"processes that wanted a core meanwhile: {os.getloadavg()[1]:.1f}."
    return f"{about} {busy}\n\n{by_size}\n\n{rates}"


def write(path: Path, text: str) -> None:
    """Put the report between the catalog's marks of a document."""
    document = path.read_text()
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{path} has no lines {BEGIN} and {END} to write between")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def say(text: str) -> None:
    """Print what is being measured."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description="Measures the catalog")
    parser.add_argument("--quick", action="store_true", help="small sizes: about half a minute")
    parser.add_argument("--write", type=Path, help="the document to write the tables into")
    arguments = parser.parse_args(argv)
    counts, labels = (QUICK_SIZES, QUICK_LABELS) if arguments.quick else (SIZES, LABELS)
    try:
        text = report(counts, labels, SCRIPT_LABELS)
        if arguments.write:
            write(arguments.write, text)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
