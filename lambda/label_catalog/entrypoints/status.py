"""Status for playbooks: how complete each project is, and the progress of its backfill."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from label_export.core.errors import ExportError

from label_catalog.core.index_schema import Pointer
from label_catalog.core.model import ProjectInfo
from label_catalog.core.places import Places
from label_catalog.core.work import COMPLETED, INDEX_KINDS, RUNNING, WAITING, Kind
from label_catalog.entrypoints.generations import load_pointer
from label_catalog.entrypoints.tables import tables_behind
from label_catalog.toolbox import OutOfTimeError, Toolbox

_WITH_WEBHOOK = ("submit", "approve")
_KINDS = ("missing", "stale", "extra", "moved_back", "odd")


def status(tools: Toolbox, projects: Iterable[ProjectInfo], since: datetime | None = None) -> dict[str, Any]:
    """Return one entry for each project from its latest report and the reconcile's state.

    With `since` also the number of tasks that were submitted or approved since: each should have sent a webhook.
    """
    entries = []
    for project in projects:
        entry = {**_status(tools, project), "index": _index_now(tools, project)}
        if since is not None:
            entry["tasks_since"] = _tasks_since(tools, project, since)
        entries.append(entry)
    return {"projects": entries}


def _tasks_since(tools: Toolbox, project: ProjectInfo, since: datetime) -> int | None:
    """Return the number of data units that were submitted or approved, or None if the feed is not available."""
    try:
        actions = tools.timed(tools.encord.actions(project, since, tools.now() + timedelta(days=1)))
        return len({action.data_hash for action in actions if action.kind in _WITH_WEBHOOK})
    except (ExportError, OutOfTimeError):
        return None


def _status(tools: Toolbox, project: ProjectInfo) -> dict[str, Any]:
    places = Places(project.project_hash)
    report, _ = tools.documents.load(places.latest_report)
    state, _ = tools.documents.load(places.reconcile)
    about = {"project_hash": project.project_hash, "title": project.title}
    reconciled = {
        "reconciled_at": (state or {}).get("completed_at"),
        "feed": (state or {}).get("feed"),
        "acted": (state or {}).get("acted", 0),
        "missed_webhooks": (state or {}).get("missed_webhooks_total", 0),
    }
    if report is None:
        line = f"project {project.title}: no census yet"
        return {**about, **reconciled, "line": line, "as_of": None, "complete": None}
    totals = {kind: report.get(kind, {}).get("total") for kind in _KINDS}
    named = {name: report.get(name) for name in ("line", "as_of", "complete", "unhealed", "feeds")}
    return {**about, **reconciled, **named, **totals}


def work_status(tools: Toolbox, kind: Kind, projects: Iterable[ProjectInfo]) -> dict[str, Any]:
    """Return the state of each project's latest work of a kind, and the approximate number of messages in its lane."""
    found = []
    for project in projects:
        document, _ = tools.documents.load(Places(project.project_hash).work(kind))
        if document is not None:
            found.append({"title": project.title, **document})
    return {"projects": found, "lane": tools.backfill_lane.depth()}


def index_status(tools: Toolbox, projects: Iterable[ProjectInfo]) -> dict[str, Any]:
    """Return the content of each project's index, its last comparison, and its current or last work."""
    return {"projects": [_index(tools, project) for project in projects]}


def _index_now(tools: Toolbox, project: ProjectInfo) -> str:
    """Return the content of a project's index and its last comparison, as one line."""
    pointer, _ = load_pointer(tools, project.project_hash)
    behind = tables_behind(tools, project.project_hash)
    return _index_line(project.title, pointer, _compared(tools, project), behind)


def _compared(tools: Toolbox, project: ProjectInfo) -> dict[str, Any]:
    state, _ = tools.documents.load(Places(project.project_hash).index_requests)
    return {name: (state or {}).get(name) for name in ("differences", "compared_at")}


def _index(tools: Toolbox, project: ProjectInfo) -> dict[str, Any]:
    places = Places(project.project_hash)
    pointer, _ = load_pointer(tools, project.project_hash)
    documents = {kind: tools.documents.load(places.work(kind))[0] for kind in INDEX_KINDS}
    works = {kind: document for kind, document in documents.items() if document is not None}
    states = {document.get("state") for document in works.values()}
    compared = _compared(tools, project)
    about = {"project_hash": project.project_hash, "title": project.title, **compared, "works": works}
    # For callers that wait: open while any work is open.
    about["state"] = next((name for name in (RUNNING, WAITING) if name in states), COMPLETED)
    about["line"] = _index_line(project.title, pointer, compared, tables_behind(tools, project.project_hash))
    if pointer is None:
        return {**about, "generation": None, "rows": None}
    names = ("generation", "rows", "annotations", "not_parsed", "written_at", "watermark")
    held = {name: getattr(pointer, name) for name in names}
    return {**about, **held}


def _index_line(title: str, pointer: Pointer | None, compared: dict[str, Any], behind: list[str]) -> str:
    if pointer is None:
        return f"project {title}: no index yet"
    line = (
        f"project {title}: {pointer.rows} labels and {pointer.annotations} annotations, as of {pointer.written_at[:16]}"
    )
    if pointer.not_parsed:
        line += f", {pointer.not_parsed} labels not parsed"
    if compared["compared_at"]:
        line += f", {compared['differences']} differences to the bucket on {compared['compared_at'][:10]}"
    if behind:
        line += f", Athena's tables are behind: {', '.join(behind)}"
    return line
