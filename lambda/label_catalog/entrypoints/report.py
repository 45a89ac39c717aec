"""A project's report: its numbers from the index, the censuses and the snapshots, as one HTML file in the bucket."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from label_export.core.errors import PermanentError, UnknownEventError

from label_catalog.adapters.charts import draw
from label_catalog.adapters.report_queries import index_numbers
from label_catalog.adapters.tables_duckdb import open_tables
from label_catalog.core import report_charts
from label_catalog.core.model import ProjectInfo
from label_catalog.core.places import Places
from label_catalog.core.report_numbers import (
    CensusPoint,
    IndexNumbers,
    ReportNumbers,
    SnapshotLine,
    census_point,
    exporter_log,
    failures,
    newest_of_each_day,
)
from label_catalog.core.report_page import page, seconds
from label_catalog.core.work import KINDS
from label_catalog.entrypoints.generations import read_generation
from label_catalog.entrypoints.snapshot import Snapshots
from label_catalog.entrypoints.work import Works
from label_catalog.toolbox import Toolbox

_MOST_SNAPSHOTS = 5  # each is compared with the previous one, whose files are copied for that
_MOST_BYTES = 5_000_000  # Lambda's limit for a response is 6 MB, and JSON needs room for its escapes


def report(tools: Toolbox, works: Works, projects: Iterable[ProjectInfo], event: Mapping[str, Any]) -> dict[str, Any]:
    """Write each project's report (step write), or return the existing ones (step read).

    Returns `{"reports": [{"project_hash", "title", "key", "bytes", "sha256", "labels", "html"?}]}`; with step read only
    `html` and the object's facts. A project without a report is left out.
    """
    step = event.get("step", "write")
    if step == "write":
        exporter = event.get("exporter")
        return {"reports": [_write(tools, works, project, exporter) for project in projects]}
    if step == "read":
        found = [_read(tools, project) for project in projects]
        return {"reports": [about for about in found if about is not None]}
    raise UnknownEventError("the event's step is not one of write, read")


def _write(tools: Toolbox, works: Works, project: ProjectInfo, exporter: object) -> dict[str, Any]:
    tools.check_time()
    numbers = collected(tools, works, project, exporter)
    body = page(numbers, drawn(numbers)).encode("utf-8", "replace")
    key = Places(project.project_hash).report_html
    tools.documents.put_page(key, body)
    tools.telemetry.log("INFO", "report_written", project_hash=project.project_hash, bytes=len(body))
    labels = numbers.index.labels if numbers.index is not None else None
    return {**_about(project, key, body), "labels": labels}


def _read(tools: Toolbox, project: ProjectInfo) -> dict[str, Any] | None:
    key = Places(project.project_hash).report_html
    body = tools.documents.load_page(key)
    if body is None:
        return None
    if len(body) > _MOST_BYTES:
        problem = f"{key} has {len(body)} bytes, more than a response of Lambda can have: copy it from the bucket"
        raise PermanentError("report_too_large", problem)
    return {**_about(project, key, body), "html": body.decode("utf-8", "replace")}


def _about(project: ProjectInfo, key: str, body: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    about = {"project_hash": project.project_hash, "title": project.title}
    return {**about, "key": key, "bytes": len(body), "sha256": digest}


def collected(tools: Toolbox, works: Works, project: ProjectInfo, exporter: object) -> ReportNumbers:
    """Return all numbers of a project's report; `exporter` has the event's data about the exporter's failures."""
    try:
        log = exporter_log(exporter, project.project_hash)
    except ValueError as error:
        raise UnknownEventError(str(error)) from None
    places = Places(project.project_hash)
    index = _index(tools, project)
    latest, _ = tools.documents.load(places.latest_report)
    states = tools.threads.map(lambda kind: tools.documents.load(places.work(kind))[0], KINDS)
    return ReportNumbers(
        project_hash=project.project_hash,
        title=project.title,
        made_at=tools.now().isoformat(),
        index=index,
        census=_census(tools, places, latest),
        failures=failures(latest, [state for state in states if state is not None], index),
        exporter=log,
        snapshots=_snapshots(tools, Snapshots(tools, works, project)),
    )


def _index(tools: Toolbox, project: ProjectInfo) -> IndexNumbers | None:
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        generation = read_generation(tools, project.project_hash, folder)
        if generation is None:
            return None
        pointer = generation.pointer
        with open_tables(folder=folder) as tables:
            return index_numbers(
                tables,
                generation.labels,
                generation.annotations,
                generation=pointer.generation,
                written_at=pointer.written_at,
            )


def _census(tools: Toolbox, places: Places, latest: Mapping[str, Any] | None) -> tuple[CensusPoint, ...]:
    """Return the last census of each day, and the latest one at the end."""
    keys = [found.key for found in tools.bucket.list(places.reports) if places.is_census(found.key)]
    documents = tools.threads.map(lambda key: tools.documents.load(key)[0], newest_of_each_day(keys))
    points = [census_point(document) for document in [*documents, latest] if document is not None]
    by_time = {point.as_of: point for point in points if point is not None}
    return tuple(by_time[moment] for moment in sorted(by_time))


def _snapshots(tools: Toolbox, snapshots: Snapshots) -> tuple[SnapshotLine, ...]:
    """Return the last snapshots, each with its differences from the previous one."""
    listed = [one for one in snapshots.listing()["snapshots"] if one["completed"]]
    lines = []
    for number, one in enumerate(listed[:_MOST_SNAPSHOTS]):
        tools.check_time()
        before = listed[number + 1]["name"] if number + 1 < len(listed) else None
        totals: dict[str, int | None] = {}
        if before is not None:
            try:
                found = snapshots.diff({"name": one["name"], "since": before})
                totals = {kind: int(found[kind]["total"]) for kind in ("added", "removed", "changed")}
            except PermanentError as error:  # a damaged snapshot: the others are still shown
                tools.telemetry.log("ERROR", "snapshot_not_compared", reason=error.reason, detail=str(error))
        lines.append(
            SnapshotLine(
                name=str(one["name"]),
                created_at=str(one["created_at"]),
                labels=int((one["counts"] or {}).get("labels", 0)),
                identity=str(one["id"]),
                where=str(one["where"] or ""),
                before=before,
                **totals,
            )
        )
    return tuple(lines)


def drawn(numbers: ReportNumbers) -> dict[str, str]:
    """Return the charts of a report, as SVG by name. A chart without data is left out."""
    charts: dict[str, str] = {}
    if numbers.census:
        first, last = numbers.census[0], numbers.census[-1]
        charts["completeness"] = draw(
            report_charts.completeness(numbers.census),
            "completeness",
            f"Line chart of missing and stale labels at {len(numbers.census)} censuses from {first.as_of[:10]} to "
            f"{last.as_of[:10]}; at the last one {last.missing} missing, {last.stale} stale. The table below has them.",
        )
    if numbers.index is not None:
        charts.update(_drawn_index(numbers.index))
    return charts


def _drawn_index(index: IndexNumbers) -> dict[str, str]:
    charts: dict[str, str] = {}
    below = "The table below has the numbers."
    if index.saved:
        total = sum(day.labels for day in index.saved)
        text = f"Bar chart of {total} labels saved from {index.saved[0].day} to {index.saved[-1].day}. {below}"
        charts["saved"] = draw(report_charts.by_day(index.saved), "saved", text)
    if index.delays is not None:
        text = (
            f"Line chart of the time from edit to object by day; half of all came within {seconds(index.delays.p50)}."
        )
        charts["delays"] = draw(report_charts.delays(index.delays_by_day), "delays", f"{text} {below}")
    for name, groups, amount, what in (
        ("datasets", index.datasets, "labels", "labels by data set"),
        ("stages", index.stages, "labels", "labels by workflow stage"),
        ("classes", index.classes, "annotations", "annotations by class"),
    ):
        if groups:
            largest = groups[0]
            text = (
                f"Bar chart of {what}, {len(groups)} bars; the first is {largest.name} with {getattr(largest, amount)}."
            )
            charts[name] = draw(report_charts.bars(groups, amount), name, f"{text} {below}")
    if index.growth:
        text = f"Area chart of the size of all labels from {index.growth[0].day} to {index.growth[-1].day}. {below}"
        charts["growth"] = draw(report_charts.growth(index.growth), "growth", text)
    return charts
