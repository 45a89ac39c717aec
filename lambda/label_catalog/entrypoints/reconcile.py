"""Finds what webhooks missed, by events: task actions since the watermark, and edits since then.

The watermark is the time of the newest processed action, by Encord's clock, never by ours. It moves only
after SQS has every message. Each run begins `overlap` before it, because actions may appear late.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import ExportError, KeyRefusedError
from label_export.core.messages import is_hash

from label_catalog.core.comparison import Verdict, judge
from label_catalog.core.model import Action, ListedRow, OddRow, ProjectInfo, SupersededError
from label_catalog.core.places import PROJECTS, Places
from label_catalog.core.unexpected import explained
from label_catalog.entrypoints.work import Works
from label_catalog.toolbox import OutOfTimeError, Toolbox, batched, change

_UNITS = 200  # data units in one request for label rows
_MOST_ACTIONS = 200_000  # data units with actions in one run; a census handles more
_MOST_EDITED = 20_000  # rows by edit time in one run; the same
_MOST_REMEMBERED = 10_000
_LATE = timedelta(hours=1)
_AHEAD = timedelta(days=1)  # our clock may be behind Encord's


@dataclass(slots=True)
class _Run:
    """The results of one project's run."""

    run: str
    queued: int = 0
    missed: dict[str, int] = field(default_factory=dict)
    by_edit_time: int = 0
    acted: int = 0  # data units with an action since the watermark less the overlap
    feed: str = "answered"
    newest_action: datetime | None = None
    done_until: datetime | None = None
    newest_edit: datetime | None = None
    census: bool = False
    remembered: dict[str, str] = field(default_factory=dict)


class Reconcile:
    """One scheduled reconcile."""

    def __init__(self, tools: Toolbox, works: Works) -> None:
        self._tools = tools
        self._works = works

    def run(self, projects: Iterable[ProjectInfo]) -> dict[str, Any]:
        """Reconcile projects, the one that has waited longest first, within the time; return a summary for each."""
        loaded = [
            (project, *self._tools.documents.load(Places(project.project_hash).reconcile)) for project in projects
        ]
        loaded.sort(key=lambda item: str((item[1] or {}).get("completed_at") or ""))
        results = []
        for project, state, etag in loaded:
            try:
                self._tools.check_time()
            except OutOfTimeError:
                results.append(self._no_time(project, state or {}))
                continue
            results.append(self._guarded(project, state or {}, etag))
        return {"ok": all(result["outcome"] == "reconciled" for result in results), "projects": results}

    def _guarded(self, project: ProjectInfo, state: Mapping[str, Any], etag: str | None) -> dict[str, Any]:
        tools = self._tools
        about = {"project_hash": project.project_hash}
        try:
            continued = self._works.continue_stalled(project.project_hash)
            summary = self._project(project, state, etag)
        except SupersededError:
            return {**about, "outcome": "superseded", "queued": 0}
        except OutOfTimeError:
            return self._no_time(project, state)
        except ExportError as error:
            reason, detail = error.reason, str(error)
        except Exception as error:  # noqa: BLE001 - the other projects go on; the text could hold anything
            reason, detail = explained(error)
        else:
            return {**about, "outcome": "reconciled", "continued": continued, **summary}
        tools.telemetry.log("ERROR", "project_not_reconciled", **about, reason=reason, detail=detail)
        tools.telemetry.metrics({"ReconcileFailed": 1}, project=project.project_hash)
        self._age(project, parse_edit_time(state.get("completed_at")))
        return {**about, "outcome": "failed", "reason": reason, "detail": detail, "queued": 0}

    def _no_time(self, project: ProjectInfo, state: Mapping[str, Any]) -> dict[str, Any]:
        """Report that a run's time was not enough for a project. After an hour this is a failure."""
        completed = parse_edit_time(state.get("completed_at"))
        self._age(project, completed)
        if completed is None or abs(self._tools.now() - completed) > _LATE:
            detail = "the time of one run is not enough: raise catalog_function_timeout, or configure fewer projects"
            about = {"project_hash": project.project_hash, "reason": "no_time", "detail": detail}
            self._tools.telemetry.log("ERROR", "project_not_reconciled", **about)
            self._tools.telemetry.metrics({"ReconcileFailed": 1}, project=project.project_hash)
        return {"project_hash": project.project_hash, "outcome": "no_time", "queued": 0}

    def _project(self, project: ProjectInfo, state: Mapping[str, Any], etag: str | None) -> dict[str, Any]:
        tools = self._tools
        now = tools.now()
        watermark = parse_edit_time(state.get("watermark"))
        edited = parse_edit_time(state.get("edit_watermark"))
        overlap = timedelta(seconds=tools.settings.overlap)
        begin = now - timedelta(seconds=tools.settings.lookback)
        known = state.get("remembered")
        found = _Run(uuid.uuid4().hex[:12], remembered=dict(known) if isinstance(known, dict) else {})
        found.census = not state  # a new project, or its state is lost
        # An action may be in the future, by Encord's mistake or because our clock is slow: later ones must be seen.
        after = min(watermark, now) - overlap if watermark else begin
        actions = self._actions(project, after, now + _AHEAD, found)
        found.acted = len(actions)
        since = min(edited, now - overlap) - overlap if edited else begin
        complete = True
        try:
            self._deal_with_actions(project, actions, found)
            self._deal_with_edits(project, since, actions, found)
        except OutOfTimeError:
            complete = False
            found.newest_action, found.newest_edit = found.done_until, None
            found.census = True
        if found.census:
            self._works.start(project.project_hash, "census", {})
        found.newest_action = max(filter(None, (watermark, found.newest_action)), default=None)
        found.newest_edit = max(filter(None, (edited, found.newest_edit)), default=None)
        document = _document(state, found, now, overlap)
        if not complete:
            document["completed_at"] = state.get("completed_at")
        tools.documents.save(Places(project.project_hash).reconcile, document, etag)
        if not complete:
            raise OutOfTimeError
        return self._publish(project, found, now)

    def _actions(self, project: ProjectInfo, after: datetime, before: datetime, found: _Run) -> dict[str, Action]:
        """Return the newest action of each data unit."""
        newest: dict[str, Action] = {}
        try:
            for action in self._tools.timed(self._tools.encord.actions(project, after, before)):
                known = newest.get(action.data_hash)
                if known is None or known.at < action.at:
                    newest[action.data_hash] = action
                if found.newest_action is None or found.newest_action < action.at:
                    found.newest_action = action.at
                if len(newest) > _MOST_ACTIONS:
                    found.census = True
                    break
        except KeyRefusedError:
            raise
        except ExportError as error:
            # Actions that were read before the refusal are processed, but the watermark stays.
            found.feed = f"{error.reason}"
            found.newest_action = None
            tools = self._tools
            tools.telemetry.log(
                "WARNING", "feed_unavailable", project_hash=project.project_hash, reason=error.reason, detail=str(error)
            )
            tools.telemetry.metrics({"FeedUnavailable": 1}, project=project.project_hash)
        return newest

    def _deal_with_actions(self, project: ProjectInfo, actions: Mapping[str, Action], found: _Run) -> None:
        """Process the units with actions, oldest first, so that a run that is stopped knows its progress."""
        for units in batched(sorted(actions, key=lambda data_hash: actions[data_hash].at), _UNITS):
            self._tools.check_time()
            rows = []
            for row in self._tools.encord.rows(project.project_hash, {"data_hashes": units}):
                if isinstance(row, ListedRow):
                    rows.append(row)
                else:
                    self._odd(project, row)
            self._deal_with(project, rows, actions, found)
            if found.feed == "answered":
                found.done_until = actions[units[-1]].at

    def _deal_with(
        self, project: ProjectInfo, rows: Iterable[ListedRow], actions: Mapping[str, Action], found: _Run
    ) -> None:
        """Queue the rows that belong in the bucket and are not current there."""
        tools, kinds = self._tools, project.kinds
        selected = (row for row in rows if tools.selection.selects(row, kinds))
        for batch in batched(selected, _UNITS):
            tools.check_time()
            keys = [tools.key(project, row) for row in batch]
            stored = dict(tools.heads(dict.fromkeys(keys)))
            wanted = [
                row for key, row in zip(keys, batch, strict=True) if judge(row, stored[key]) is not Verdict.CURRENT
            ]
            labels = list(dict.fromkeys(row.label_hash for row in wanted if row.label_hash is not None))
            tools.live_lane.send([change(project.project_hash, label, "reconcile", found.run) for label in labels])
            found.queued += len(labels)
            for row in wanted:
                self._count(project, row, actions.get(row.data_hash), found)

    def _deal_with_edits(
        self, project: ProjectInfo, since: datetime, actions: Mapping[str, Action], found: _Run
    ) -> None:
        """The same for rows by edit time: changes without an action, and everything if the feed is not available."""

        def edited() -> Iterator[ListedRow]:
            filters = {"edited_after": since.astimezone(UTC).isoformat()}
            for index, row in enumerate(self._tools.encord.rows(project.project_hash, filters)):
                if index >= _MOST_EDITED:
                    found.census = True
                    return
                if isinstance(row, OddRow):
                    self._odd(project, row)
                    continue
                if row.edited_at is not None and (found.newest_edit is None or found.newest_edit < row.edited_at):
                    found.newest_edit = row.edited_at
                if row.data_hash not in actions:
                    yield row

        before = found.queued
        self._deal_with(project, edited(), actions, found)
        found.by_edit_time = found.queued - before

    def _count(self, project: ProjectInfo, row: ListedRow, action: Action | None, found: _Run) -> None:
        """Count a webhook that never arrived, once for each action, and only after it has had time to arrive."""
        label = row.label_hash
        if label is None or action is None or not self._tools.settings.webhooks:
            return
        old_enough = self._tools.now() - action.at > timedelta(seconds=self._tools.settings.grace)
        at = action.at.isoformat()
        if not old_enough or found.remembered.get(label) == at:
            return
        if len(found.remembered) < _MOST_REMEMBERED:
            found.remembered[label] = at
        stage = project.stage_title(action.stage_uuid)
        found.missed[stage] = found.missed.get(stage, 0) + 1
        self._tools.telemetry.log(
            "WARNING",
            "missed_webhook",
            project_hash=project.project_hash,
            label_hash=label,
            stage=stage,
            action=action.kind,
            at=at,
        )

    def _publish(self, project: ProjectInfo, found: _Run, now: datetime) -> dict[str, Any]:
        telemetry = self._tools.telemetry
        telemetry.metrics({"ReconcileCompleted": 1, "Queued": found.queued}, project=project.project_hash)
        if not found.missed:
            telemetry.metrics({"MissedWebhooks": 0}, project=project.project_hash)
        for stage, count in found.missed.items():
            telemetry.metrics({"MissedWebhooks": count}, project=project.project_hash, Stage=stage)
        self._age(project, now)
        summary = {
            "queued": found.queued,
            "feed": found.feed,
            "by_edit_time": found.by_edit_time,
            "missed_webhooks": sum(found.missed.values()),
            "census_started": found.census,
        }
        telemetry.log("INFO", "project_reconciled", project_hash=project.project_hash, run=found.run, **summary)
        return summary

    def _age(self, project: ProjectInfo, completed: datetime | None) -> None:
        if completed is not None:
            age = max(0.0, (self._tools.now() - completed).total_seconds())
            self._tools.telemetry.metrics({"ReconcileAgeSeconds": round(age, 1)}, project=project.project_hash)

    def _odd(self, project: ProjectInfo, row: OddRow) -> None:
        self._tools.telemetry.log(
            "WARNING",
            "odd_row",
            project_hash=project.project_hash,
            label_hash=row.label_hash,
            data_hash=row.data_hash,
            problem=row.problem,
        )


def lost_projects(tools: Toolbox, projects: Iterable[ProjectInfo]) -> list[dict[str, Any]]:
    """Return the projects that were reconciled before, and that Encord does not list any more.

    Without a list of projects in the settings nothing else would show that the key has lost its access to one.
    """
    listed = {project.project_hash for project in projects}
    lost = []
    for name in tools.snapshots.folders(PROJECTS):
        if name in listed or not is_hash(name) or tools.documents.load(Places(name).reconcile)[0] is None:
            continue
        detail = (
            "Encord no longer lists the project for the key: restore the key's access or, if this is intended, delete "
            f"{Places(name).reconcile} from the label bucket"
        )
        about = {"project_hash": name, "reason": "not_listed", "detail": detail}
        tools.telemetry.log("ERROR", "project_not_reconciled", **about)
        tools.telemetry.metrics({"ReconcileFailed": 1}, project=name)
        lost.append({**about, "outcome": "failed", "queued": 0})
    return lost


def _document(state: Mapping[str, Any], found: _Run, now: datetime, overlap: timedelta) -> dict[str, Any]:
    oldest = ((found.newest_action or now) - overlap).isoformat()
    return {
        "version": 1,
        "watermark": found.newest_action.isoformat() if found.newest_action else None,
        "edit_watermark": found.newest_edit.isoformat() if found.newest_edit else None,
        "completed_at": now.isoformat(),
        "run": found.run,
        "feed": found.feed,
        "queued": found.queued,
        "by_edit_time": found.by_edit_time,
        "acted": found.acted,
        "missed_webhooks": found.missed,
        "missed_webhooks_total": int(state.get("missed_webhooks_total") or 0) + sum(found.missed.values()),
        "remembered": {label: at for label, at in found.remembered.items() if at >= oldest},
    }
