"""Routes each event by its form, and keeps what invocations share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import ExportError, PermanentError, UnknownEventError
from label_export.core.messages import is_hash

from label_catalog.adapters.aws.clients import THREADS, client, s3_client
from label_catalog.adapters.aws.failures import translated
from label_catalog.adapters.aws.s3 import LabelBucket, StateDocuments
from label_catalog.adapters.aws.snapshots import SnapshotBucket
from label_catalog.adapters.aws.sqs import ExportLane, WorkQueue
from label_catalog.adapters.encord.connections import Connections
from label_catalog.adapters.encord.source import EncordFeeds
from label_catalog.core.model import ProjectInfo
from label_catalog.core.selection import Selection
from label_catalog.core.work import Kind
from label_catalog.entrypoints.probe import probe
from label_catalog.entrypoints.reconcile import Reconcile, lost_projects
from label_catalog.entrypoints.report import report
from label_catalog.entrypoints.self_check import self_check
from label_catalog.entrypoints.snapshot import Snapshots, latest_work
from label_catalog.entrypoints.status import index_status, status, work_status
from label_catalog.entrypoints.work import Works, process_batch
from label_catalog.settings import Settings
from label_catalog.telemetry import Telemetry
from label_catalog.toolbox import Toolbox


class LambdaContext(Protocol):
    """The members of Lambda's context object that are used."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the remaining milliseconds of this invocation."""


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


class Application:
    """The function: created once for each process, called once for each event."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], *, now: Callable[[], datetime] = utc_now
    ) -> None:
        """`environment` has the trusted certificates."""
        self._settings = settings
        self._now = now
        self._s3, self._sqs = s3_client(settings.bucket_owner), client("sqs")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="catalog")
        self._connections = Connections(environment, THREADS)
        self._encord = EncordFeeds(
            self._private_key,
            settings.encord_domain,
            listing_seconds=settings.listing_seconds,
            listing_bytes=settings.listing_bytes,
            connections=self._connections,
        )

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Handle one event. See the package's README for the events; raises UnknownEventError for anything else."""
        self._connections.drop()
        tools = self._toolbox(context)
        works = Works(tools)
        if isinstance(event, dict) and isinstance(event.get("Records"), list):
            return process_batch(works, event["Records"], tools)
        action = event.get("action") if isinstance(event, dict) else None
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "reconcile": lambda asked: self._reconcile(tools, works, asked),
            "census": lambda asked: self._survey(tools, works, "census", asked),
            "sample": lambda asked: self._survey(tools, works, "sample", asked),
            "backfill": lambda asked: self._backfill(tools, works, asked),
            "index": lambda asked: self._index(tools, works, asked),
            "snapshot": lambda asked: self._snapshot(tools, works, asked),
            "status": lambda asked: status(tools, self._projects(tools, asked), _since(asked)),
            "probe": lambda asked: probe(tools, self._one_project(tools, asked), asked.get("days", 7)),
            "report": lambda asked: report(tools, works, self._projects(tools, asked), asked),
            "self_check": lambda _: self_check(tools),
        }
        if not isinstance(event, dict) or not isinstance(action, str) or action not in answers:
            tools.telemetry.log("ERROR", "unknown_event", detail=_unknown(event))
            raise UnknownEventError(_unknown(event))
        return answers[action](event)

    def _reconcile(self, tools: Toolbox, works: Works, event: Mapping[str, Any]) -> dict[str, Any]:
        failed: list[dict[str, Any]] = []
        try:
            projects = self._projects(tools, event, failed)
        except ExportError as error:
            tools.telemetry.log("ERROR", "project_not_reconciled", reason=error.reason, detail=str(error))
            tools.telemetry.metrics({"ReconcileFailed": 1})
            raise
        if event.get("project_hash", "all") == "all" and not self._settings.projects:
            failed += lost_projects(tools, projects)
        answer = Reconcile(tools, works).run(projects)
        return {"ok": answer["ok"] and not failed, "projects": answer["projects"] + failed}

    def _start(
        self, tools: Toolbox, works: Works, kind: Kind, event: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        failed: list[dict[str, Any]] = []
        projects = self._projects(tools, event, failed)
        return {"started": [*(works.start(project.project_hash, kind, options) for project in projects), *failed]}

    def _survey(self, tools: Toolbox, works: Works, kind: Kind, event: Mapping[str, Any]) -> dict[str, Any]:
        if event.get("step", "start") == "status":
            return work_status(tools, kind, self._projects(tools, event))
        return self._start(tools, works, kind, event, {})

    def _backfill(self, tools: Toolbox, works: Works, event: Mapping[str, Any]) -> dict[str, Any]:
        options = _backfill_options(event)
        step = event.get("step")
        if step == "plan":
            return {"projects": [works.plan(project, options) for project in self._projects(tools, event)]}
        if step == "start":
            return self._start(tools, works, "backfill", event, options)
        if step == "status":
            return work_status(tools, "backfill", self._projects(tools, event))
        raise UnknownEventError("the event's step is not one of plan, start, status")

    def _index(self, tools: Toolbox, works: Works, event: Mapping[str, Any]) -> dict[str, Any]:
        kinds: dict[object, Kind] = {"rebuild": "index", "compare": "compare", "refresh": "refresh"}
        step = event.get("step")
        if step in kinds:
            return self._start(tools, works, kinds[step], event, {})
        if step == "status":
            return index_status(tools, self._projects(tools, event))
        raise UnknownEventError("the event's step is not one of rebuild, compare, refresh, status")

    def _snapshot(self, tools: Toolbox, works: Works, event: Mapping[str, Any]) -> dict[str, Any]:
        project = self._only_project(tools, event)
        if event.get("step") == "status":
            return latest_work(tools, project)
        return Snapshots(tools, works, project).answer(event)

    def _only_project(self, tools: Toolbox, event: Mapping[str, Any]) -> ProjectInfo:
        """Return the project that an event names, or the only one."""
        if event.get("project_hash", "all") != "all":
            return self._one_project(tools, event)
        found = self._projects(tools, {})
        if len(found) != 1:
            named = ", ".join(f"{project.project_hash} ({project.title})" for project in found)
            raise PermanentError("project", f"snapshot_project names none of {len(found)} projects: {named}")
        return found[0]

    def _projects(
        self, tools: Toolbox, event: Mapping[str, Any], failed: list[dict[str, Any]] | None = None
    ) -> list[ProjectInfo]:
        """Return an event's projects. One that cannot be read is added to `failed`; without `failed` it raises."""
        named = event.get("project_hash", "all")
        if named != "all":
            return [self._one_project(tools, event)]
        if not self._settings.projects:
            return tools.encord.projects(())
        found = []
        for project_hash in sorted(self._settings.projects):
            try:
                found += tools.encord.projects([project_hash])
            except ExportError as error:
                if failed is None:
                    raise
                about = {"project_hash": project_hash, "reason": error.reason, "detail": str(error)}
                tools.telemetry.log("ERROR", "project_not_reconciled", **about)
                tools.telemetry.metrics({"ReconcileFailed": 1}, project=project_hash)
                failed.append({**about, "outcome": "failed"})
        return found

    def _one_project(self, tools: Toolbox, event: Mapping[str, Any]) -> ProjectInfo:
        named = event.get("project_hash")
        if not is_hash(named):
            raise UnknownEventError("the event's project_hash is not a project's hash")
        if self._settings.projects and named not in self._settings.projects:
            raise PermanentError("project", f"project {named} is not one of export_function_projects")
        return tools.encord.projects([named])[0]

    def _toolbox(self, context: LambdaContext) -> Toolbox:
        settings = self._settings
        dimensions = {"Name": settings.name, "Environment": settings.environment}
        return Toolbox(
            settings=settings,
            encord=self._encord,
            bucket=LabelBucket(self._s3, settings.bucket),
            documents=StateDocuments(self._s3, settings.bucket),
            snapshots=SnapshotBucket(self._s3, settings.bucket, self._threads),
            live_lane=ExportLane(self._sqs, settings.export_queue_url, self._threads),
            backfill_lane=ExportLane(self._sqs, settings.backfill_queue_url, self._threads),
            queue=WorkQueue(self._sqs, settings.queue_url),
            telemetry=Telemetry(dimensions, level=settings.log_level, request_id=context.aws_request_id),
            threads=self._threads,
            now=self._now,
            remaining=lambda: context.get_remaining_time_in_millis() / 1000,
            selection=Selection(settings.workflow_stages, settings.event_types),
        )

    def _private_key(self) -> tuple[str, str | None]:
        settings = self._settings
        passphrase = self._secret(settings.passphrase_secret_arn) if settings.passphrase_secret_arn else None
        if settings.private_key_source == "environment":
            return settings.private_key or "", passphrase
        if settings.private_key_source == "file":
            try:
                return Path(settings.private_key_file).read_text("utf-8", "replace"), passphrase
            except OSError as error:
                problem = f"the private key's file cannot be read: {error.strerror}"
                raise PermanentError("private_key", problem) from None
        return self._secret(cast(str, settings.private_key_secret_arn)), passphrase

    @staticmethod
    def _secret(arn: str) -> str:
        with translated("secretsmanager"):
            found = client("secretsmanager").get_secret_value(SecretId=arn)
        return str(found.get("SecretString") or "")


def _backfill_options(event: Mapping[str, Any]) -> dict[str, Any]:
    moment, deep = _since(event), event.get("deep", False)
    if not isinstance(deep, bool):
        raise UnknownEventError("the event's deep is neither true nor false")
    return {"since": moment.isoformat() if moment else None, "deep": deep}


def _since(event: Mapping[str, Any]) -> datetime | None:
    since = event.get("since")
    moment = parse_edit_time(since) if since else None
    if since and moment is None:
        raise UnknownEventError("the event's since is not a date such as 2025-01-01")
    return moment


def _unknown(event: object) -> str:
    found: Iterable[str] = sorted(str(key)[:40] for key in event)[:10] if isinstance(event, dict) else ()
    return f"the event is neither a batch of SQS messages nor one with a known action; it has: {', '.join(found)}"
