"""The control API, ``/_stand_in/``: what a person does in Encord's app, and what a test needs.

JSON in and out; answers loopback clients only (checked in ``app``). An error is ``{"error": "one sentence"}``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from encord_stand_in import times
from encord_stand_in.faults import InvalidFaultError
from encord_stand_in.projects import LabelRow, NotFoundError, Project
from encord_stand_in.rows.giant import GiantSpec
from encord_stand_in.settings import Settings
from encord_stand_in.state import State
from encord_stand_in.webhooks import MISSPELT, Form, NoSecretError, deliver, event, signed_headers

CONTROL_PREFIX = "/_stand_in/"

_FORM_KEYS = ("payload_form", "signature", "version", "timestamp_offset", "successor_header", "extra")
_DEFAULT_EVENT = "task_completed_event"
_ACTIONS = ("assign", "approve", "submit", "move", "reject", "release", "skip")
_MOST_GENERATED = 1_000_000
_MOST_SYNTHETIC = 10_000_000
_MOST_BUILT_AT_ONCE = 1000  # further rows are generated when they are first requested
_MOST_BUILT_BYTES = 4 * 1024**3

Handler = Callable[[Request], Awaitable[Response]]


class BadRequestError(Exception):
    """A control request that does not have the documented form."""


def control_app(state: State) -> Starlette:
    """Return the control API over the state."""
    control = Control(state)
    routes: list[tuple[str, str, Handler]] = [
        ("GET", "health", control.health),
        ("GET", "projects", control.projects),
        ("GET", "label-rows/{label_hash}", control.label_row),
        ("DELETE", "label-rows/{label_hash}", control.delete_row),
        ("PATCH", "label-rows/{label_hash}", control.change_row),
        ("GET", "webhooks", control.list_webhooks),
        ("POST", "webhooks", control.register_webhook),
        ("DELETE", "webhooks", control.remove_webhooks),
        ("DELETE", "webhooks/{webhook_id}", control.remove_webhooks),
        ("POST", "complete-task", control.complete_task),
        ("POST", "move-task", control.move_task),
        ("POST", "save-labels", control.save_labels),
        ("POST", "synthetic-project", control.add_synthetic),
        ("POST", "send-webhook", control.send_webhook),
        ("POST", "giant-rows", control.add_generated),
        ("POST", "access", control.access),
        ("GET", "requests", control.requests),
        ("DELETE", "requests", control.forget_requests),
        ("GET", "faults", control.list_faults),
        ("POST", "faults", control.inject_faults),
        ("DELETE", "faults", control.clear_faults),
        ("DELETE", "faults/{fault_id}", control.clear_faults),
        ("GET", "settings", control.get_settings),
        ("POST", "settings", control.change_settings),
        ("DELETE", "settings", control.default_settings),
        ("POST", "reset", control.reset),
    ]
    return Starlette(
        routes=[Route(CONTROL_PREFIX + path, handler, methods=[method]) for method, path, handler in routes],
        exception_handlers={
            BadRequestError: lambda _, exc: _error(400, str(exc)),
            InvalidFaultError: lambda _, exc: _error(400, str(exc)),
            NotFoundError: lambda _, exc: _error(404, str(exc)),
            NoSecretError: lambda _, exc: _error(409, str(exc)),
        },
    )


class Control:
    """The handlers of the control API."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def health(self, _: Request) -> Response:
        """Return that the server is up."""
        rows = sum(len(project.rows) for project in self._state.projects)
        return JSONResponse({"status": "ok", "service": "encord-stand-in", "label_rows": rows})

    async def projects(self, _: Request) -> Response:
        """List the projects with their label rows."""
        return JSONResponse({"projects": [_project(project) for project in self._state.projects]})

    async def label_row(self, request: Request) -> Response:
        """Return the row's bytes as the API would serve them now, without envelope."""
        row = self._state.projects.row(label_hash=request.path_params["label_hash"])
        parts = row.parts(self._state.settings)
        return Response(b"".join(parts), media_type="application/json")

    async def delete_row(self, request: Request) -> Response:
        """Delete a row."""
        row = self._state.projects.row(label_hash=request.path_params["label_hash"])
        self._state.projects.delete(row)
        return JSONResponse({"deleted": row.label_hash})

    async def change_row(self, request: Request) -> Response:
        """Change a row without a webhook: its edit time, the time's form, whether it is shown, title, listing."""
        row = self._state.projects.row(label_hash=request.path_params["label_hash"])
        body = await _json(request, {"edited_at", "time_form", "hide_edit_time", "data_title", "listing"})
        if not isinstance(body.get("listing", {}), dict):
            raise BadRequestError("listing must be an object")
        row.odd = body.get("listing", row.odd)
        if "data_title" in body:
            row.rename(str(body["data_title"]))
        if "time_form" in body:
            if body["time_form"] not in times.TIME_FORMS:
                raise BadRequestError(f"time_form must be one of {', '.join(times.TIME_FORMS)}")
            row.time_form = body["time_form"]
        row.hidden_time = _boolean(body, "hide_edit_time", row.hidden_time)
        instant = _time(body, "edited_at") or (
            row.last_edited_at if "time_form" in body or "hide_edit_time" in body else None
        )
        if instant is not None:
            row.touch(instant)
        return JSONResponse(_row(row))

    async def list_webhooks(self, _: Request) -> Response:
        """List the registered webhooks."""
        return JSONResponse({"webhooks": [hook.as_dict() for hook in self._state.webhooks.all()]})

    async def register_webhook(self, request: Request) -> Response:
        """Register a URL, as a person does in the app, and return the signing secret that the app then shows."""
        body = await _json(request, {"url", "event_types", "project_hash"}, required={"url"})
        project_hash = body.get("project_hash")
        if project_hash is not None:
            self._state.projects.project(str(project_hash))
        try:
            hook = self._state.webhooks.register(str(body["url"]), _strings(body, "event_types"), project_hash)
        except ValueError as exc:
            raise BadRequestError(str(exc)) from exc
        return JSONResponse({**hook.as_dict(), "signing_secret": self._state.secrets.current()})

    async def remove_webhooks(self, request: Request) -> Response:
        """Remove one webhook or all."""
        self._state.webhooks.remove(request.path_params.get("webhook_id"))
        return await self.list_webhooks(request)

    async def complete_task(self, request: Request) -> Response:
        """Finish the task of a label row and send the webhook."""
        keys = {"label_hash", "data_hash", "event_type", "deliver", "duplicates", "edited_at", "change", "initialise"}
        body = await _json(request, keys | set(_FORM_KEYS))
        row, sending = self._named_row(body), _Sending.read(body)
        initialise, send = _boolean(body, "initialise", False), _boolean(body, "deliver", True)
        edited_at, change = _time(body, "edited_at"), _boolean(body, "change", True)
        if initialise and row.label_hash is None:
            self._state.projects.initialise(row)
        event_type = MISSPELT.get(sending.event_type, sending.event_type)
        self._state.projects.complete(row, event_type, edited_at=edited_at, change=change)
        answer = {**_row(row), "project_hash": row.project_hash}
        deliveries = await self._deliver([row], sending) if send else []
        return JSONResponse({**answer, "deliveries": deliveries})

    async def move_task(self, request: Request) -> Response:
        """Move a task to a stage; label and edit time stay, and no webhook is sent unless ``deliver`` says so."""
        keys = {"label_hash", "data_hash", "stage", "action", "at", "deliver", "event_type"}
        body = await _json(request, keys, required={"stage"})
        row, stage = self._named_row(body), str(body["stage"])
        action = str(body.get("action", "move"))
        if action not in _ACTIONS:
            raise BadRequestError(f"action must be one of {', '.join(_ACTIONS)}")
        titles = [item["title"] for item in self._state.projects.project(row.project_hash).public["workflow"]["stages"]]
        if stage not in titles:
            raise BadRequestError(f"stage must be one of {', '.join(titles)}")
        self._state.projects.move(row, stage, action, at=_time(body, "at"))
        sent = await self._deliver([row], _Sending.read(body)) if _boolean(body, "deliver", False) else []
        return JSONResponse({**_row(row), "project_hash": row.project_hash, "deliveries": sent})

    async def save_labels(self, request: Request) -> Response:
        """Change a label as the SDK's ``save`` does: the edit time stays; no task action, no webhook."""
        row = self._named_row(await _json(request, {"label_hash", "data_hash"}))
        if row.label_hash is None:
            raise BadRequestError("the row was never initialised")
        self._state.projects.save(row)
        return JSONResponse(_row(row))

    async def add_synthetic(self, request: Request) -> Response:
        """Add a project with very many rows."""
        body = await _json(request, {"rows"}, required={"rows"})
        count = _whole(body, "rows", 0)
        if count > _MOST_SYNTHETIC:
            raise BadRequestError(f"rows must be at most {_MOST_SYNTHETIC}")
        return JSONResponse({"project_hash": self._state.projects.add_synthetic(count).project_hash, "rows": count})

    async def send_webhook(self, request: Request) -> Response:
        """Send a webhook about label rows without changing them."""
        keys = {"label_hash", "data_hash", "label_hashes", "event_type", "duplicates"}
        body = await _json(request, keys | set(_FORM_KEYS))
        hashes = _strings(body, "label_hashes")
        rows = [self._state.projects.row(label_hash=item) for item in hashes] or [self._named_row(body)]
        return JSONResponse({"deliveries": await self._deliver(rows, _Sending.read(body))})

    async def add_generated(self, request: Request) -> Response:
        """Add rows of a chosen size; big ones are generated in a thread before the response."""
        keys = {"frames", "objects", "tracked", "count", "project_hash", "spread_seconds", "stage"}
        body = await _json(request, keys, required={"frames", "objects"})
        projects = self._state.projects
        project = projects.project(body["project_hash"]) if body.get("project_hash") else next(iter(projects))
        frames, objects = _whole(body, "frames", 1), _whole(body, "objects", 1)
        tracked, count = _boolean(body, "tracked", True), _whole(body, "count", 1)
        specs = [GiantSpec(project.project_hash, frames, objects, tracked, index) for index in range(count)]
        at_once = count <= _MOST_BUILT_AT_ONCE
        if count > _MOST_GENERATED or (at_once and sum(spec.estimated_bytes for spec in specs) > _MOST_BUILT_BYTES):
            raise BadRequestError("these rows would be too many or too big")
        spread = timedelta(seconds=_whole(body, "spread_seconds", 1))
        rows = projects.add_generated(project, specs, spread=spread, stage=str(body.get("stage", "Annotate")))
        sizes: list[int | None] = [None] * len(rows)
        if at_once:
            settings = self._state.settings
            sizes = [sum(map(len, await asyncio.to_thread(row.parts, settings))) for row in rows]
        found = [{**_row(row), "bytes": size} for row, size in zip(rows, sizes, strict=True)]
        return JSONResponse({"project_hash": project.project_hash, "rows": found})

    async def access(self, request: Request) -> Response:
        """Grant or revoke the registered keys' access to a project."""
        body = await _json(request, {"project_hash", "accessible"}, required={"project_hash", "accessible"})
        project = self._state.projects.project(str(body["project_hash"]))
        project.accessible = _boolean(body, "accessible", True)
        return JSONResponse({"project_hash": project.project_hash, "accessible": project.accessible})

    async def requests(self, request: Request) -> Response:
        """Return what clients did; with ``?details=1`` also the last requests one by one."""
        return JSONResponse(self._state.counters.as_dict(details=request.query_params.get("details") == "1"))

    async def forget_requests(self, request: Request) -> Response:
        """Reset the counters."""
        self._state.counters.reset()
        return await self.requests(request)

    async def list_faults(self, _: Request) -> Response:
        """List the active faults."""
        return JSONResponse({"faults": self._state.faults.as_list()})

    async def inject_faults(self, request: Request) -> Response:
        """Inject a fault, or a list of them under ``faults``."""
        body = await _json(request, None)
        rules = body["faults"] if set(body) == {"faults"} else [body]
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise BadRequestError("faults must be a list of objects")
        self._state.faults.inject(rules)
        return await self.list_faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """Remove one fault or all."""
        self._state.faults.clear(request.path_params.get("fault_id"))
        return await self.list_faults(request)

    async def get_settings(self, _: Request) -> Response:
        """Return the settings."""
        return JSONResponse(_settings(self._state.settings))

    async def change_settings(self, request: Request) -> Response:
        """Change some settings."""
        try:
            self._state.settings = self._state.settings.changed(await _json(request, None))
        except ValueError as exc:
            raise BadRequestError(str(exc)) from exc
        return await self.get_settings(request)

    async def default_settings(self, request: Request) -> Response:
        """Restore the default settings."""
        self._state.settings = Settings()
        return await self.get_settings(request)

    async def reset(self, request: Request) -> Response:
        """Reset label rows, access, faults, counters and settings; webhooks stay."""
        self._state.projects.reset()
        self._state.faults.clear()
        self._state.counters.reset()
        self._state.settings = Settings()
        return await self.health(request)

    def _named_row(self, body: dict[str, Any]) -> LabelRow:
        label_hash, data_hash = body.get("label_hash"), body.get("data_hash")
        if (label_hash is None) == (data_hash is None):
            raise BadRequestError("name a row with either label_hash or data_hash")
        return self._state.projects.row(label_hash=label_hash, data_hash=data_hash)

    async def _deliver(self, rows: list[LabelRow], sending: _Sending) -> list[dict[str, Any]]:
        project_hash = rows[0].project_hash
        labels = [row.label_hash for row in rows if row.label_hash is not None]
        raw = event(sending.event_type, project_hash, [row.data_hash for row in rows], labels, sending.form)
        deliveries: list[dict[str, Any]] = []
        for hook in self._state.webhooks.all():
            if not hook.wants(sending.event_type, project_hash):
                continue
            for _ in range(1 + sending.duplicates):
                headers = signed_headers(raw, self._state.secrets.current(), sending.form, now=time.time())
                deliveries.append(await asyncio.to_thread(deliver, hook.url, raw, headers, self._state.ca_file))
        return deliveries


@dataclass(frozen=True, slots=True)
class _Sending:
    """How an event is to be sent, as the control request asks."""

    event_type: str
    duplicates: int
    form: Form

    @classmethod
    def read(cls, body: dict[str, Any]) -> _Sending:
        try:
            form = Form(**{key: body[key] for key in _FORM_KEYS if key in body})
        except (ValueError, TypeError) as exc:
            raise BadRequestError(str(exc)) from exc
        return cls(str(body.get("event_type", _DEFAULT_EVENT)), _whole(body, "duplicates", 0), form)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)


def _settings(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}


def _project(project: Project) -> dict[str, Any]:
    return {
        "project_hash": project.project_hash,
        "title": project.public["title"],
        "ontology_hash": project.public["ontologyHash"],
        "accessible": project.accessible,
        "label_rows": [_row(row) for row in project.rows],
    }


def _row(row: LabelRow) -> dict[str, Any]:
    return {
        "key": row.key,
        "label_hash": row.label_hash,
        "data_hash": row.data_hash,
        "data_title": row.metadata["data_title"],
        "data_type": row.metadata["data_type"],
        "file_type": row.metadata["file_type"],
        "branch_name": row.metadata["branch_name"],
        "workflow_stage": row.metadata["workflow_graph_node"]["title"],
        "last_edited_at": row.edited_text(),
        "revision": row.revision,
    }


async def _json(request: Request, allowed: set[str] | None, *, required: set[str] | None = None) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError as exc:
        raise BadRequestError("the body is not JSON") from exc
    if not isinstance(body, dict):
        raise BadRequestError("the body is not a JSON object")
    unknown = set(body) - allowed if allowed is not None else set()
    if unknown:
        raise BadRequestError(f"unknown key {sorted(unknown)[0]!r}")
    missing = (required or set()) - set(body)
    if missing:
        raise BadRequestError(f"missing key {sorted(missing)[0]!r}")
    return body


def _boolean(body: dict[str, Any], name: str, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"{name} must be true or false")
    return value


def _whole(body: dict[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRequestError(f"{name} must be a whole number")
    return value


def _strings(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequestError(f"{name} must be a list of strings")
    return value


def _time(body: dict[str, Any], name: str) -> datetime | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        return times.parse(value)
    except (ValueError, TypeError) as exc:
        raise BadRequestError(f"{name} is not a time") from exc
