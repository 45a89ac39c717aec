"""Proves from inside that this version can work; a deploy invokes it before it uses the version. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from label_export.core.errors import ExportError, PermanentError

from label_catalog import __version__
from label_catalog.core.places import Places
from label_catalog.core.unexpected import explained
from label_catalog.toolbox import Toolbox

_PROJECTS = 20  # projects of the allow list that are checked


def self_check(tools: Toolbox) -> dict[str, Any]:
    """Return `{"ok", "version", "checks": [{"name", "ok", "detail", "reason"?}]}`, without any secret."""
    checks: dict[str, Callable[[], str]] = {
        "encord": lambda: _encord(tools),
        "bucket": lambda: _bucket(tools),
        "export queue": lambda: f"{tools.live_lane.depth()['waiting']} messages wait",
        "backfill queue": lambda: f"{tools.backfill_lane.depth()['waiting']} messages wait",
        "index": _index,
        "catalog queue": lambda: f"{tools.queue.ask()} answers",
    }
    results = [_judged(tools, name, check) for name, check in checks.items()]
    return {"ok": all(result["ok"] for result in results), "version": __version__, "checks": results}


def _judged(tools: Toolbox, name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "detail": check()}
    except ExportError as error:
        result = {"name": name, "ok": False, "reason": error.reason, "detail": str(error)}
    except Exception as error:  # noqa: BLE001 - the other checks still run; the text could contain anything
        reason, detail = explained(error)
        result = {"name": name, "ok": False, "reason": reason, "detail": detail}
    tools.telemetry.log("ERROR", "self_check_failed", check=name, reason=result["reason"], detail=result["detail"])
    return result


def _encord(tools: Toolbox) -> str:
    wanted = sorted(tools.settings.projects)[:_PROJECTS]
    found = tools.encord.projects(wanted)
    return f"{tools.settings.encord_domain} accepts the key, which can read {len(found)} projects"


def _bucket(tools: Toolbox) -> str:
    projects = sorted(tools.settings.projects)[:1] or ["self-check"]
    next(iter(tools.bucket.list(Places(projects[0]).tombstones)), None)
    tools.documents.load(Places(projects[0]).reconcile)
    return f"{tools.settings.bucket} can be listed and read"


def _index() -> str:
    """Look for the library without importing it, since most invocations do not need the memory that it takes."""
    if find_spec("duckdb") is None:
        raise PermanentError("no_duckdb", "the image has no duckdb: build it from lambda/catalog-requirements.lock")
    return "duckdb is in the image"
