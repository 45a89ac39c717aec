"""Measures the catalog: listing, comparing and queueing by size, and a backfill compared with a sequential script.

    PYTHONPATH=tests/support python tests/benchmarks/catalog.py [--quick] [--write docs/benchmarks.md]

Each size runs in its own process, so that its memory is measured alone. Encord is the stand-in over TLS, whose
synthetic project generates rows of a realistic size while it sends them. The sizes' bucket and queue are in the same
process: their cost on AWS is arithmetic (docs/architecture.md). Exit code 1 if nothing could be measured.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import table
from contenders import HERE, ROOT, Contender, MeasurementError, Worker
from documents import Mark, say, write
from encord_harness import StandInProcess, make_files, private_key_text
from services import Services, services

MARK = Mark("<!-- begin: written by make bench (catalog) -->", "<!-- end (catalog) -->")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
MOST_MEMORY = 512e6
LEAST_RATIO = 15
WORKERS = 4  # invocations of the exporter in parallel; the deployment's maximum concurrency may be far more
LABELS, QUICK_LABELS, SCRIPT_LABELS = 10_000, 600, 60
MOST_LATENCY = 1.2
ROUNDS, QUICK_ROUNDS = 200, 60  # of a live label, without a backfill and during one
TURNS = 10  # of the two
BACKFILLED = 200  # labels that the backfill exports again and again


def sizes(stand_in: Any, key_file: Path, counts: Sequence[int]) -> str:
    """Return the table of sizes; growth is the time for one row divided by that of the previous size."""
    stand_in.control("POST", "settings", {"page_size": 1000})
    rows: list[list[str]] = []
    before: tuple[int, float] | None = None
    for count in counts:
        say(f"{count:,} rows")
        project = stand_in.control("POST", "synthetic-project", {"rows": count})["project_hash"]
        arguments = (str(count), stand_in.url, str(key_file), project)
        trusted = {"AWS_CA_BUNDLE": str(stand_in.files.certificate)}
        taken = in_a_process("catalog_size.py", *arguments, environment=trusted)
        whole = taken["listing"] + taken["comparing"] + taken["queueing"]
        slope = "" if before is None else f"{(whole / before[1]) / (count / before[0]):.2f}"
        steps = [f"{taken[name]:.1f}" for name in ("listing", "comparing", "queueing")]
        memory = f"{taken['memory'] / 1e6:.0f}"
        rows.append([f"{count:,}", *steps, f"{whole / count * 1e6:.0f}", slope, memory, _verdict(taken["memory"])])
        before = (count, whole)
    head = (
        "rows", "listing s", "comparing s", "queueing s", "µs a row", "growth (1: linear)", "peak MB", "≤ 512 MB"
    )  # fmt: skip
    return table.markdown(head, rows)


def _verdict(memory: float) -> str:
    return "met" if memory <= MOST_MEMORY else "**not met**"


def in_a_process(program: str, *arguments: str, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, str(HERE / program), *arguments]
    variables = {**os.environ, **environment, "PYTHONPATH": _path()}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasurementError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _path() -> str:
    return os.pathsep.join(str(ROOT / part) for part in ("lambda", "tests/support", "tests/benchmarks"))


def backfill(folder: Path, labels: int, script_labels: int) -> str:
    """Return the table of a backfill's rate and the script's."""
    with services(folder) as running:
        body = {"frames": 1, "objects": 10, "count": labels, "stage": "Complete"}
        made = running._stand_in.control("POST", "giant-rows", body)["rows"]
        hashes = [row["label_hash"] for row in made]
        say(f"a script saves {script_labels} labels, one after the other")
        asked = running.doc_style_environment() | {"PROJECT": running.project}
        slow = in_a_process("sequential_script.py", str(script_labels), environment=asked)["rate"]
        say(f"{WORKERS} exporters save {labels:,} labels")
        exporter = _exporter(running, LABEL_EXPORT_CONCURRENCY="10")
        batches = [hashes[begin : begin + 10] for begin in range(0, labels, 10)]
        running.forget()
        began = time.perf_counter()
        with ThreadPoolExecutor(WORKERS) as threads:
            events = [[running.event(batch) for batch in batches[number::WORKERS]] for number in range(WORKERS)]
            list(threads.map(lambda part: _serve(exporter, part), events))
        fast = labels / (time.perf_counter() - began)
        running.check_stored(hashes)
    ratio = fast / slow
    met = "met" if ratio >= LEAST_RATIO else "**not met**"
    rows = [
        ["script, one label after the other", f"{script_labels:,}", f"{slow:.1f}", "", ""],
        [f"backfill, {WORKERS} invocations side by side", f"{labels:,}", f"{fast:.0f}", f"{ratio:.1f}", met],
    ]
    return table.markdown(("way", "labels", "labels a second", "ratio", f"≥ {LEAST_RATIO}"), rows)


def _exporter(running: Services, **variables: str) -> Contender:
    """Return the exporter from its source, with this environment's packages."""
    environment = {**running.exporter_environment(), **variables}
    return Contender("exporter", Path(sys.executable), "label_export.handler", ROOT / "lambda", environment)


def _serve(exporter: Contender, events: Iterable[dict[str, Any]]) -> None:
    """Let one process of the exporter handle events, one after the other."""
    with Worker(exporter) as worker:
        for event in events:
            worker.call(event)


def live(folder: Path, rounds: int) -> str:
    """Return the table of a live label's latency, in turns without a backfill and during one.

    The two lanes have their own queues and mappings, so no backfill keeps a live label's exporter busy.
    They share Encord and S3, and that is what is measured. Only one exporter backfills: more would take the cores of
    the live label's exporter and of the servers. On AWS each has its own.
    """
    with services(folder) as running:
        made = [label for label, _ in running.rows(1, 10, count=BACKFILLED)]
        label = running.image_label()
        exporter = _exporter(running)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        handled = 0
        say(f"a live label, {rounds} times without a backfill and {rounds} times during one")
        with Worker(exporter) as live_worker, Worker(exporter) as backfill_worker, ThreadPoolExecutor(1) as threads:
            batches = itertools.cycle([made[begin : begin + 10] for begin in range(0, len(made), 10)])
            live_worker.call(running.event([label]))
            backfill_worker.call(running.event(next(batches)))
            for turn in range(2 * TURNS):
                during = bool(turn % 2)
                ended = threading.Event()
                lane = threads.submit(_backfill_until, ended, running, backfill_worker, batches) if during else None
                for _ in range(rounds // TURNS):
                    running.edit([label])
                    seconds[during].append(live_worker.call(running.event([label])).seconds)
                    running.check_stored([label])
                ended.set()
                handled += lane.result() if lane is not None else 0
    idle, busy = median(seconds[False]), median(seconds[True])
    if handled < rounds:
        raise MeasurementError(f"the backfill exported {handled} labels meanwhile: it did not run")
    ratio = busy / idle
    met = "met" if ratio <= MOST_LATENCY else "**not met**"
    rate = f"{handled / sum(seconds[True]):.0f}"
    rows = [
        ["without a backfill", table.milliseconds(idle)[1], "", "", ""],
        ["during a backfill", table.milliseconds(busy)[1], rate, f"{ratio:.2f}", met],
    ]
    return table.markdown(("a live label", "latency", "backfilled meanwhile, labels a second", "ratio", "≤ 1.2"), rows)


def _backfill_until(ended: threading.Event, running: Services, worker: Worker, batches: Iterator[list[str]]) -> int:
    handled = 0
    while not ended.is_set():
        batch = next(batches)
        running.touch(batch)
        worker.call(running.event(batch))
        handled += len(batch)
    return handled


def report(counts: Sequence[int], labels: int, script_labels: int, rounds: int) -> str:
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
    with tempfile.TemporaryDirectory() as name:
        latency = live(Path(name), rounds)
    when = datetime.now(UTC).date().isoformat()
    about = f"Measured on {when} with Python {sys.version_info.major}.{sys.version_info.minor}, {os.cpu_count()} cores;"
    busy = f"processes that wanted a core meanwhile: {os.getloadavg()[1]:.1f}."
    return f"{about} {busy}\n\n{by_size}\n\n{rates}\n\n{latency}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description="Measures the catalog")
    parser.add_argument("--quick", action="store_true", help="small sizes: about half a minute")
    parser.add_argument("--write", type=Path, help="the document to write the tables into")
    arguments = parser.parse_args(argv)
    counts, labels = (QUICK_SIZES, QUICK_LABELS) if arguments.quick else (SIZES, LABELS)
    try:
        text = report(counts, labels, SCRIPT_LABELS, QUICK_ROUNDS if arguments.quick else ROUNDS)
        if arguments.write:
            write(arguments.write, MARK, text)
    except MeasurementError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
