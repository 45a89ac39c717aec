"""What playbooks show: how complete each project is, and how far its backfill has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from label_catalog.core.model import ProjectInfo
from label_catalog.core.places import Places
from label_catalog.core.work import Kind
from label_catalog.toolbox import Toolbox

_KINDS = ("missing", "stale", "extra", "moved_back", "odd")


def status(tools: Toolbox, projects: Iterable[ProjectInfo]) -> dict[str, Any]:
    """Return one entry for each project from its latest report and its reconcile's state."""
    return {"projects": [_status(tools, project) for project in projects]}


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
    """Return the state of each project's latest work of a kind, and about how many messages its lane holds."""
    found = []
    for project in projects:
        document, _ = tools.documents.load(Places(project.project_hash).work(kind))
        if document is not None:
            found.append({"title": project.title, **document})
    return {"projects": found, "lane": tools.backfill_lane.depth()}
