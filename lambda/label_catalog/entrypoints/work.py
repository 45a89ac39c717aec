"""Starts and continues work that takes several runs. See core/work.py for its state."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from label_export.core.errors import ExportError, RetryableError, where
from label_export.core.messages import is_hash

from label_catalog.adapters.table import Table
from label_catalog.core.label_events import read_event
from label_catalog.core.model import ProjectInfo, SupersededError
from label_catalog.core.places import Places
from label_catalog.core.unexpected import explained
from label_catalog.core.work import (
    COMPLETED,
    FAILED,
    INDEX_KINDS,
    KINDS,
    MAX_HOPS,
    RUNNING,
    WAITING,
    Kind,
    Work,
    describe,
    same,
)
from label_catalog.entrypoints.census import Census
from label_catalog.entrypoints.index_update import update_from_events
from label_catalog.entrypoints.index_work import IndexWork, LaterError
from label_catalog.entrypoints.snapshot_work import SnapshotWork
from label_catalog.entrypoints.survey import Survey
from label_catalog.toolbox import OutOfTimeError, Toolbox

_MOST_FAILURES = 5  # in succession, before work is abandoned
_MOST_LISTING_RUNS = 3  # runs whose time ended before both sides were listed
_SECONDS_PER_LABEL = 0.05  # for estimates: an exporter's fetch and write with 20 labels in parallel
_MESSAGE_VERSION = 1


class Works:
    """A project's works, within one invocation."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def start(self, project_hash: str, kind: Kind, options: Mapping[str, Any]) -> dict[str, Any]:
        """Start work and queue its first run.

        If work of this kind is open, a request with the same options joins it, and one with other options is refused:
        the response's `detail` names them.
        """
        tools, key = self._tools, Places(project_hash).work(kind)
        document, etag = tools.documents.load(key)
        before = Work.from_document(document)
        about = {"project_hash": project_hash, "kind": kind}
        if before is not None and before.is_open:
            if not same(before.options, dict(options)):
                detail = (
                    f"a {kind} with other options is in progress: {describe(before.options)}; wait until it has ended"
                )
                return {**about, "work": before.work, "outcome": "refused", "detail": detail}
            if before.is_stalled(tools.now()):
                self._send(before, hops=0)
            return {**about, "work": before.work, "outcome": "joined", "queued": before.queued}
        now = tools.now().isoformat()
        work = Work(uuid.uuid4().hex[:12], kind, project_hash, dict(options), now, now)
        try:
            tools.documents.save(key, work.as_document(), etag)
        except SupersededError:
            return self.start(project_hash, kind, options)  # another has just started one
        self._send(work, hops=0)
        tools.telemetry.log("INFO", "work_started", **about, work=work.work, options=dict(options))
        return {**about, "work": work.work, "outcome": "started"}

    def continue_stalled(self, project_hash: str) -> list[str]:
        """Queue a run for work that waits, or whose worker died; return the kinds."""
        continued: list[str] = []
        for kind in KINDS:
            document, _ = self._tools.documents.load(Places(project_hash).work(kind))
            work = Work.from_document(document)
            if work is not None and work.is_open and work.is_stalled(self._tools.now()):
                self._send(work, hops=0)
                continued.append(kind)
        return continued

    def run(self, body: object) -> None:
        """Process one message of the catalog's queue. A message that cannot be read raises ValueError."""
        message = _read(body)
        tools, key = self._tools, Places(message["project_hash"]).work(message["kind"])
        document, etag = tools.documents.load(key)
        work = Work.from_document(document)
        if work is None or work.work != message["work"] or not work.is_open:
            tools.telemetry.log("INFO", "work_superseded", **_about(message), detail="it has ended or was replaced")
            return
        try:
            self._run(work, _Saver(tools, key, work, etag), int(message["hops"]) + 1)
        except SupersededError:
            tools.telemetry.log("INFO", "work_superseded", **_about(message), detail="another worker continues it")

    def _run(self, work: Work, saver: _Saver, hops: int) -> None:
        tools = self._tools
        about = {"project_hash": work.project_hash, "kind": work.kind, "work": work.work}
        saver.save(RUNNING)
        try:
            if work.kind in INDEX_KINDS:
                IndexWork(tools, self, work, lambda: saver.save(RUNNING)).run()
            elif work.kind == "snapshot":
                SnapshotWork(tools, work, lambda: saver.save(RUNNING)).run()
            else:
                self._survey(work, saver)
        except (OutOfTimeError, LaterError) as stop:
            work.failures = 0
            saver.save(RUNNING if hops < MAX_HOPS else WAITING)
            if hops < MAX_HOPS:
                self._send(work, hops=hops, delay=stop.seconds if isinstance(stop, LaterError) else 0)
            tools.telemetry.log("INFO", "work_stopped", **about, queued=work.queued, state=work.state)
        except SupersededError:
            raise
        except ExportError as error:
            self._failed(work, saver, error.reason, str(error), final=not isinstance(error, RetryableError))
        except Exception as error:  # noqa: BLE001 - a failure must be seen, and must not repeat unseen
            self._failed(work, saver, *explained(error), final=False)
        else:
            saver.save(COMPLETED)
            tools.telemetry.log("INFO", "work_completed", **about, queued=work.queued)
            if work.kind == "census":
                tools.telemetry.metrics({"CensusCompleted": 1}, project=work.project_hash)
                if tools.settings.index:  # the census has stages and tombstones, which the index needs
                    self.start(work.project_hash, "refresh", {})

    def plan(self, project: ProjectInfo, options: Mapping[str, Any]) -> dict[str, Any]:
        """Count what a backfill would queue, without queueing or writing anything."""
        tools = self._tools
        now = tools.now().isoformat()
        work = Work("plan", "backfill", project.project_hash, dict(options), now, now)
        about = {"project_hash": project.project_hash, "title": project.title}
        with Table() as table:
            survey = Survey(tools, project, Places(project.project_hash), table)
            try:
                _list_both(survey, work)
                if _compares(work):
                    survey.look()
            except OutOfTimeError:
                return {**about, "complete": False, "detail": "the time of one run is not enough to count"}
            wanted = sum(1 for _ in survey.wanted(work))
            return {
                **about,
                "complete": True,
                "rows": table.count("rows"),
                "selected": table.count("selected"),
                "objects": table.count("objects"),
                "to_queue": wanted,
                "odd": survey.odd.as_dict(),
                "requests": wanted,
                "seconds": round(wanted * _SECONDS_PER_LABEL, 1),
            }

    def _failed(self, work: Work, saver: _Saver, reason: str, detail: str, *, final: bool) -> None:
        work.failures += 1
        work.detail = f"{reason}: {detail}"
        give_up = final or work.failures >= _MOST_FAILURES
        saver.save(FAILED if give_up else WAITING)
        about = {"project_hash": work.project_hash, "kind": work.kind, "work": work.work}
        self._tools.telemetry.log("ERROR", "work_failed", **about, reason=reason, detail=detail, given_up=give_up)
        self._tools.telemetry.metrics({"WorkFailed": 1}, project=work.project_hash)

    def _survey(self, work: Work, saver: _Saver) -> None:
        tools = self._tools
        (project,) = tools.encord.projects([work.project_hash])
        with Table() as table:
            survey = Survey(tools, project, Places(project.project_hash), table)
            work.counts["listing_runs"] = work.counts.get("listing_runs", 0) + 1
            try:
                _list_both(survey, work)
            except OutOfTimeError:
                if work.counts["listing_runs"] < _MOST_LISTING_RUNS:
                    raise
                problem = "both sides cannot be listed within the time of one run: raise catalog_function_timeout"
                raise ExportError("listing_time", problem) from None
            work.counts["listing_runs"] = 0
            if _compares(work):
                survey.look()
            if not work.cursor:
                work.to_queue = sum(1 for _ in survey.wanted(work))
                work.counts |= {name: table.count(name) for name in ("rows", "selected", "objects")}
                if work.kind == "census":
                    Census(survey, work).report()
                saver.save(RUNNING)
            survey.queue(work, lambda: saver.save(RUNNING))

    def _send(self, work: Work, *, hops: int, delay: int = 0) -> None:
        self._tools.queue.send(
            {
                "version": _MESSAGE_VERSION,
                "action": "work",
                "project_hash": work.project_hash,
                "kind": work.kind,
                "work": work.work,
                "hops": hops,
            },
            delay=delay,
        )


def _list_both(survey: Survey, work: Work) -> None:
    since = work.options.get("since")
    survey.list_encord(datetime.fromisoformat(since) if since else None)
    survey.list_bucket()


def _compares(work: Work) -> bool:
    """Whether edit times decide what is queued: not if everything is queued, or a sample."""
    return work.kind != "sample" and not work.options.get("deep")


class _Saver:
    """Saves the state of one work, unless another worker has."""

    def __init__(self, tools: Toolbox, key: str, work: Work, etag: str | None) -> None:
        self._tools, self._key, self._work, self._etag = tools, key, work, etag
        self._worker = uuid.uuid4().hex

    def save(self, state: str) -> None:
        """Write the state; raises SupersededError if another worker has written it."""
        self._work.state = state
        self._work.updated_at = self._tools.now().isoformat()
        self._work.counts["saves"] = self._work.counts.get("saves", 0) + 1
        try:
            self._write()
        except SupersededError:
            # A save that failed for us may have taken place: then the state is still ours.
            found, etag = self._tools.documents.load(self._key)
            if not str((found or {}).get("write", "")).startswith(self._worker):
                raise
            self._etag = etag
            self._write()

    def _write(self) -> None:
        write = f"{self._worker}-{self._work.counts['saves']}"
        self._etag = self._tools.documents.save(self._key, self._work.as_document(), self._etag, write=write)


def _read(body: object) -> dict[str, Any]:
    if not isinstance(body, str):
        raise ValueError("the message's body is not text")
    message = json.loads(body)
    if not isinstance(message, dict) or message.get("version") != _MESSAGE_VERSION or message.get("action") != "work":
        raise ValueError("the message is not one that this function sends")
    if message.get("kind") not in KINDS or not is_hash(message.get("project_hash")) or not is_hash(message.get("work")):
        raise ValueError("the message names no work")
    hops = message.get("hops", 0)
    message["hops"] = hops if isinstance(hops, int) and hops >= 0 else 0
    return cast(dict[str, Any], message)


def _about(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in ("project_hash", "kind", "work", "hops")}


def process_batch(works: Works, records: Sequence[Mapping[str, Any]], tools: Toolbox) -> dict[str, Any]:
    """Process messages of the catalog's queue, or of the events queue; return SQS's partial batch response.

    A message fails if its state could not be read or written: SQS then redelivers it.
    """
    read = [(record, read_event(record.get("body"))) for record in records]
    events = [(str(record.get("messageId", "")), event) for record, event in read if event is not None]
    failed = update_from_events(tools, works, events) if events else []
    for record in (record for record, event in read if event is None):
        try:
            works.run(record.get("body"))
        except (ExportError, ValueError, RecursionError) as error:
            reason = error.reason if isinstance(error, ExportError) else "poison_message"
            tools.telemetry.log("ERROR", "work_message_failed", reason=reason, detail=where(error))
            tools.telemetry.metrics({"WorkFailed": 1})
            failed.append(str(record.get("messageId", "")))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
