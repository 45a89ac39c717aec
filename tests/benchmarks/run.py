"""Compares the exporter with a handler in the style of Encord's guide, and reports it as a table.

    PYTHONPATH=tests/support python tests/benchmarks/run.py [--quick] [--write docs/benchmarks.md]

Exit code 0 whatever the results, 1 if nothing could be measured.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import measure
import playbook
import table
from contenders import (
    ROOT,
    Contender,
    MeasurementError,
    added_bytes,
    function_python,
    lay_out_compiled,
    lay_out_doc_style,
    lay_out_exporter,
    python_version,
)
from documents import Mark, say, write
from services import CONNECTION_MS, REQUEST_MS, Services, services

MARK = Mark("<!-- begin: written by make bench -->", "<!-- end -->")
DOC_STYLE, EXPORTER = "doc-style", "exporter"
GIANT = "exporter, 1,024 MiB"
SOURCE, LATE_KEY, TEN_THREADS = "exporter, without bytecode", "exporter, title in the key", "exporter, concurrency 10"
OBJECTS_A_FRAME = 10
UNTRACKED_BYTES = 509  # of one object without a track, with its answer
MOST_ADDED = 60e6
MEMORY = 1024  # MiB of the function, by default
LINEAR = 1.25  # CPU for a megabyte: largest row to smallest


@dataclass(frozen=True)
class Plan:
    """How much is measured: repetitions of each measure, and sizes (frames, and millions of bytes)."""

    cold: int = 9
    warm: int = 21
    batch: int = 7
    large: int = 3
    linear: int = 5
    playbook: int = 3
    labels: int = 20
    frames: int = 10_000
    giant_frames: int = 43_600
    untracked: tuple[float, ...] = (4.5, 9, 18, 36)
    untracked_doc_style: tuple[float, ...] = (4.5, 9)


QUICK = Plan(cold=3, warm=5, batch=2, large=1, linear=1, playbook=1, giant_frames=20_000, untracked_doc_style=(4.5,))


@dataclass(frozen=True)
class Contenders:
    """The handlers that are measured."""

    doc_style: Contender
    exporter: Contender
    source: Contender

    @property
    def late_key(self) -> Contender:
        """The exporter with a key that depends on the row, so that it reads S3 after the row."""
        template = "encord/{data_title}/{label_hash}.json"
        return self.exporter.with_environment(LATE_KEY, LABEL_EXPORT_KEY_TEMPLATE=template)

    @property
    def ten_threads(self) -> Contender:
        """The exporter with twice the default number of parallel labels."""
        return self.exporter.with_environment(TEN_THREADS, LABEL_EXPORT_CONCURRENCY="10")

    @property
    def giant(self) -> Contender:
        """The exporter with the memory size that Lambda reports: its limits for rows are the defaults, and checked."""
        return self.exporter.with_environment(GIANT, AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(MEMORY))


def contenders(folder: Path, running: Services) -> Contenders:
    """Lay out both handlers in `folder`."""
    python = function_python()
    source = lay_out_exporter(folder, python)
    exporter = lay_out_compiled(source, python)
    ours, theirs = running.exporter_environment(), running.doc_style_environment()
    module = "label_export.handler"
    return Contenders(
        Contender(DOC_STYLE, python, "doc_style_handler", lay_out_doc_style(folder, python), theirs),
        Contender(EXPORTER, python, module, exporter, ours),
        Contender(SOURCE, python, module, source, ours),
    )


def measured(running: Services, who: Contenders, plan: Plan, added: Mapping[str, int]) -> str:
    """Measure everything and return the tables."""
    goals = [
        *one_label(running, who, plan),
        *batch(running, who, plan),
        *video(running, who, plan),
        giant(running, who, plan),
        table.bound_line("added to the base image, unpacked", _megabytes(added), MOST_ADDED, "≤ 60 MB"),
    ]
    slope, slope_lines = untracked(running, who, plan)
    goals.insert(-1, slope)
    sections = [
        table.markdown(table.HEAD, [line.cells() for line in goals]),
        "Objects without tracks, CPU of one event:",
        slope_lines,
        "What is added to the base image: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in largest(added)),
    ]
    return "\n\n".join(sections)


def one_label(running: Services, who: Contenders, plan: Plan) -> list[table.Line]:
    """Measure one label, warm and cold, and count the requests of an event."""
    say("one label, warm")
    label = running.image_label()
    warm = measure.warm(running, [who.doc_style, who.exporter, who.late_key], [label], plan.warm)
    again = measure.unchanged(running, who.exporter, label, plan.warm)
    say("one label, cold")
    cold = measure.cold_starts(running, [who.doc_style, who.exporter, who.source], label, plan.cold)
    theirs, ours, late = warm[DOC_STYLE], warm[EXPORTER], warm[LATE_KEY]
    ms = table.milliseconds
    return [
        table.ratio_line("one label, warm", ms(theirs.seconds), ms(ours.seconds), 0.15),
        _trips("… against two round trips", ours.seconds, 2),
        _trips("… key with the data's title: against three", late.seconds, 3),
        table.Line("… stored already", "", ms(again.seconds)[1], ""),
        table.ratio_line("one label, cold, from process start", ms(cold[DOC_STYLE]), ms(cold[EXPORTER]), 0.50),
        table.Line("… an image without bytecode", "", ms(cold[SOURCE])[1], _ratio(cold, SOURCE)),
        table.Line("requests (new connections), warm, one label", str(theirs.counts), str(ours.counts), ""),
        table.Line("… stored already", "", str(again.counts), ""),
    ]


def batch(running: Services, who: Contenders, plan: Plan) -> list[table.Line]:
    """Measure many labels in one event."""
    say(f"{plan.labels} labels in one batch")
    labels = [label for label, _ in running.rows(1, OBJECTS_A_FRAME, count=plan.labels)]
    warm = measure.warm(running, [who.doc_style, who.exporter, who.ten_threads], labels, plan.batch)
    theirs, ours, wider = (table.milliseconds(warm[name].seconds) for name in (DOC_STYLE, EXPORTER, TEN_THREADS))
    return [
        table.ratio_line(f"{plan.labels} labels, one batch, warm", theirs, ours, 0.10),
        table.Line("… ten side by side, not five", "", wider[1], f"{wider[0] / theirs[0]:.3f}"),
        table.Line("… requests (new connections)", str(warm[DOC_STYLE].counts), str(warm[EXPORTER].counts), ""),
    ]


def video(running: Services, who: Contenders, plan: Plan) -> list[table.Line]:
    """Measure a long video's label row."""
    say("a long video")
    row = running.rows(plan.frames, OBJECTS_A_FRAME)[0]
    found = measure.large(running, [who.doc_style, who.exporter], row, running.image_label(), plan.large)
    theirs, ours = found[DOC_STYLE], found[EXPORTER]
    size = f"{row[1] / 1e6:.0f} MB video ({plan.frames:,} frames × {OBJECTS_A_FRAME} objects)"
    times = f"{ours.peak_bytes / 1e6:.0f} MB, {ours.peak_bytes / row[1]:.2f} × the row"
    memory = f"{theirs.peak_bytes / 1e6:.0f} MB, {theirs.peak_bytes / row[1]:.2f} × the row"
    goal = table.Goal(ours.peak_bytes, 2.5 * row[1])
    ratio = f"{ours.peak_bytes / max(theirs.peak_bytes, 1):.3f}"
    return [
        table.ratio_line(f"{size}: CPU", table.cpu(theirs.cpu_seconds), table.cpu(ours.cpu_seconds), 0.05),
        table.Line("… peak memory", memory, times, ratio, goal, "≤ 2.5 × the row"),
        table.Line(
            "… wall clock", table.milliseconds(theirs.seconds)[1], table.milliseconds(ours.seconds)[1],
            f"{ours.seconds / theirs.seconds:.3f}",
        ),
    ]  # fmt: skip


def giant(running: Services, who: Contenders, plan: Plan) -> table.Line:
    """Measure the memory for a row that is larger than what is held in memory."""
    say("a giant row")
    row = running.rows(plan.giant_frames, OBJECTS_A_FRAME)[0]
    found = measure.giant(running, who.giant, row, running.image_label())
    memory = f"{found.peak_bytes / 1e6:.0f} MB, {found.anonymous_bytes / 1e6:.0f} MB of it in no file"
    goal = table.Goal(found.peak_bytes, MEMORY * 1e6)
    name = f"{row[1] / 1e6:.0f} MB row, function of 1,024 MB: peak memory"
    return table.Line(name, "", memory, f"{found.seconds * 1000:.0f} ms", goal, "≤ 1,024 MB")


def untracked(running: Services, who: Contenders, plan: Plan) -> tuple[table.Line, str]:
    """Measure rows whose objects have no tracks, by size."""
    lines = []
    slopes = []
    for size in plan.untracked:
        say(f"{size} MB of untracked objects")
        frames = max(1, round(size * 1e6 / UNTRACKED_BYTES / OBJECTS_A_FRAME))
        row = running.rows(frames, OBJECTS_A_FRAME, tracked=False)[0]
        ours = measure.large(running, [who.exporter], row, running.image_label(), plan.linear)[EXPORTER]
        slopes.append(ours.cpu_per_megabyte)
        theirs = ""
        if size in plan.untracked_doc_style:
            found = measure.large(running, [who.doc_style], row, running.image_label(), 1)[DOC_STYLE]
            theirs = f"{table.cpu(found.cpu_seconds)[1]} ({found.cpu_per_megabyte * 1000:.0f} ms/MB)"
        ours_text = f"{table.cpu(ours.cpu_seconds)[1]} ({ours.cpu_per_megabyte * 1000:.1f} ms/MB)"
        lines.append([f"{row[1] / 1e6:.1f} MB", theirs or "not run: quadratic", ours_text])
    growth = slopes[-1] / slopes[0]
    slope = table.Line(
        f"untracked objects, CPU a megabyte: {plan.untracked[-1]} MB to {plan.untracked[0]} MB",
        "", f"{growth:.2f} ×", "", table.Goal(growth, LINEAR), f"linear: ≤ {LINEAR} ×",
    )  # fmt: skip
    return slope, table.markdown(("row", "doc-style", "exporter"), lines)


def _trips(measure_text: str, seconds: float, trips: int) -> table.Line:
    nominal = trips * REQUEST_MS / 1000
    figure = f"{seconds / nominal:.2f} × {nominal * 1000:.0f} ms"
    return table.Line(
        measure_text, "", table.milliseconds(seconds)[1], figure, table.Goal(seconds / nominal, 1.2), "≤ 1.20 ×"
    )


def _ratio(seconds: Mapping[str, float], name: str) -> str:
    return f"{seconds[name] / seconds[DOC_STYLE]:.3f}"


def _megabytes(added: Mapping[str, int]) -> tuple[float, str]:
    return table.megabytes(sum(added.values()))


def largest(added: Mapping[str, int], count: int = 6) -> list[tuple[str, int]]:
    """Return the largest parts and the sum of the others."""
    ordered = sorted(added.items(), key=lambda item: -item[1])
    return [*ordered[:count], ("the rest", sum(size for _, size in ordered[count:]))]


def setting(python: Path, plan: Plan) -> str:
    """Return when and where this was measured, without naming the machine."""
    cores = {1: "one core", 2: "two cores", 4: "four cores", 8: "eight cores"}
    count = os.cpu_count() or 1
    try:
        release = platform.freedesktop_os_release()
        system = f"{release.get('NAME', 'Linux').removesuffix(' GNU/Linux')} {release.get('VERSION_ID', '')}".strip()
    except OSError:
        system = platform.system()
    version = ".".join(str(part) for part in python_version(python)[:2])
    return (
        f"Measured on {datetime.datetime.now(datetime.UTC).date().isoformat()}: {cores.get(count, f'{count} cores')}, "
        f"{system}, {platform.machine()}, Python {version} for the function; medians of {plan.cold} cold starts, "
        f"{plan.warm} warm events, {plan.batch} batches, {plan.large} videos; injected: {REQUEST_MS} ms a request, "
        f"{CONNECTION_MS} ms more a new connection, at Encord and at AWS. Processes that wanted a core meanwhile: "
        f"{os.getloadavg()[1]:.1f} (ours are about one)."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: about a minute")
    parser.add_argument("--write", type=Path, help="the document to write the tables into")
    arguments = parser.parse_args(argv)
    plan = QUICK if arguments.quick else Plan()
    folder = ROOT / ".local" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as files, services(Path(files)) as running:
            say("laying out both handlers")
            who = contenders(folder, running)
            added = added_bytes(folder, who.exporter.python)
            text = f"{setting(who.exporter.python, plan)}\n\n{measured(running, who, plan, added)}"
        say("tasks of a play")
        with tempfile.TemporaryDirectory() as files:
            text += f"\n\nA play with many tasks that change nothing:\n\n{playbook.tasks(Path(files), plan.playbook)}"
            text += (
                f"\n\nA play with this collection's modules, each in:\n\n{playbook.modules(Path(files), plan.playbook)}"
            )
        if arguments.write:
            write(arguments.write, MARK, text)
    except MeasurementError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
