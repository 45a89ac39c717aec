"""Questions that only the live service can answer, as far as reading can: what holds there, and what follows from it.

An answer is `holds`, `does_not_hold` or `unknown`. The system is correct in any case; a setting may make it faster.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, Literal

from label_export.core.edit_times import in_utc, parse_edit_time
from label_export.core.errors import ExportError

from label_catalog.adapters.encord.source import RawAnswer
from label_catalog.core.comparison import same_edit_time
from label_catalog.core.model import Action, ListedRow, ProjectInfo, Stage
from label_catalog.toolbox import Toolbox

Answer = Literal["holds", "does_not_hold", "unknown"]
Judged = tuple[Answer, str, str]

_ROWS = 500
_TASKS = 500
_CLOCK_SECONDS = 60.0  # Encord refuses signatures that are 300 s old
_COMPACT = re.compile(rb'\{"status":200,"response":\[')
_FETCH = {"get_signed_url": False, "include_reviews": False, "include_export_history": False}


@dataclass(slots=True)
class _Probe:
    tools: Toolbox
    project: ProjectInfo
    days: int
    rows: list[ListedRow] = field(default_factory=list)
    tasks: list[tuple[str, datetime]] = field(default_factory=list)
    actions: dict[str, Action] = field(default_factory=dict)
    listing: RawAnswer | None = None

    def listing_answer(self) -> RawAnswer:
        if self.listing is None:
            payload = {"include_workflow_graph_node": True, "include_all_label_branches": True}
            self.listing = self.tools.encord.raw(self.project.project_hash, "labelrowmetadata", None, payload)
        return self.listing

    def some_rows(self) -> list[ListedRow]:
        if not self.rows:
            found = self.tools.encord.rows(self.project.project_hash, {})
            rows = (row for row in found if isinstance(row, ListedRow) and row.label_hash and not row.is_deleted)
            self.rows = list(islice(rows, _ROWS))
        return self.rows

    def final_tasks(self) -> list[tuple[str, datetime]]:
        if not self.tasks:
            finals: Sequence[Stage] = [stage for stage in self.project.stages if stage.kind == "DONE"]
            for stage in finals:
                self.tasks += self.tools.encord.task_times(self.project, stage, _TASKS)
        return self.tasks

    def recent_actions(self) -> dict[str, Action]:
        if not self.actions:
            now = self.tools.now()
            span = timedelta(days=self.days)
            for action in self.tools.encord.actions(self.project, now - span, now + timedelta(days=1)):
                known = self.actions.get(action.data_hash)
                if known is None or known.at < action.at:
                    self.actions[action.data_hash] = action
        return self.actions

    def envelope(self) -> Judged:
        compact = _COMPACT.match(self.listing_answer().body) is not None
        beginning = re.sub(rb'[^{}\[\]":, \n]', b"x", self.listing_answer().body[:24]).decode()
        follows = (
            "none: the exporter cuts the label out" if compact else "none: the exporter parses each answer (slower)"
        )
        return ("holds" if compact else "does_not_hold"), f"an answer begins like {beginning!r}", follows

    def error_status(self) -> Judged:
        answer = self.tools.encord.raw(self.project.project_hash, "labelrow", str(uuid.uuid4()), _FETCH)
        same = answer.status == 200  # noqa: PLR2004 - HTTP
        return ("holds" if same else "does_not_hold"), f"a label that does not exist: HTTP {answer.status}", "none"

    def missing_in_several(self) -> Judged:
        rows = self.some_rows()
        if not rows:
            return "unknown", "the project has no label row", "none"
        asked = [rows[0].label_hash, str(uuid.uuid4())]
        answer = self.tools.encord.raw(self.project.project_hash, "labelrow", asked, {**_FETCH, "multi_request": True})
        refused = b'"RESOURCE_NOT_FOUND_ERROR"' in answer.body[:4096]
        return (
            ("does_not_hold" if refused else "holds"),
            "requested one label that exists and one that does not",
            "none",
        )

    def clock(self) -> Judged:
        date = self.listing_answer().date
        if date is None:
            return "unknown", "answers have no Date header", "none"
        difference = (self.tools.now() - in_utc(parsedate_to_datetime(date))).total_seconds()
        near = abs(difference) <= _CLOCK_SECONDS
        follows = "none" if near else "set the clock of this machine: Encord refuses signatures that are 5 minutes old"
        return ("holds" if near else "does_not_hold"), f"our clock is {difference:+.0f} s from Encord's", follows

    def listing_time(self) -> Judged:
        seconds, limit = self.listing_answer().seconds, self.tools.settings.listing_seconds
        fast = seconds < limit / 2
        follows = "none" if fast else f"catalog_function_listing_timeout: {int(seconds * 3)}"
        return (
            ("holds" if fast else "does_not_hold"),
            f"a listing took {seconds:.1f} s, the limit is {limit} s",
            follows,
        )

    def feed(self) -> Judged:
        try:
            count = len(self.recent_actions())
        except ExportError as error:
            follows = "none: edit times are compared, and approvals without an edit wait for the census"
            return "does_not_hold", f"the task actions are not served: {error.reason}", follows
        return "holds", f"{count} data units had an action in {self.days} days", "none"

    def feed_delay(self) -> Judged:
        overlap = timedelta(seconds=self.tools.settings.overlap)
        begin, now = self.tools.now() - timedelta(days=self.days), self.tools.now()
        try:
            actions = self.recent_actions()
        except ExportError as error:
            return "unknown", f"the task actions are not served: {error.reason}", "none"
        recent = [(data_hash, updated) for data_hash, updated in self.final_tasks() if updated > begin]
        if not recent:
            return "unknown", f"no task was completed in {self.days} days", "none"
        late = [now - updated for data_hash, updated in recent if data_hash not in actions]
        if late and max(late) > overlap:
            detail = f"{len(late)} completed tasks have no action, the oldest for {max(late).total_seconds():.0f} s"
            return "does_not_hold", detail, f"catalog_function_overlap: {int(max(late).total_seconds() * 2)}"
        return "holds", f"all {len(recent)} recently completed tasks have their action", "none"

    def order_of_tasks(self) -> Judged:
        times = [updated for _, updated in self.final_tasks()]
        if len(set(times)) < 3:  # noqa: PLR2004 - two have no order
            return "unknown", "fewer than three tasks in final stages", "none"
        if times == sorted(times, reverse=True):
            return "holds", "the newest task is first", "none"
        order = "the oldest task is first" if times == sorted(times) else "the tasks are in no order of time"
        return "does_not_hold", order, "none: the census reads all tasks"

    def approvals(self) -> Judged:
        try:
            approved = {data: action for data, action in self.recent_actions().items() if action.kind == "approve"}
        except ExportError as error:
            return "unknown", f"the task actions are not served: {error.reason}", "none"
        compared = alone = 0
        for row in self._rows_of(list(approved)[:100]):
            if row.edited_at is not None and row.data_hash in approved:
                compared += 1
                alone += row.edited_at < approved[row.data_hash].at - timedelta(seconds=1)
        if not compared:
            return "unknown", f"no task was approved in {self.days} days", "none"
        detail = f"{alone} of {compared} approved labels have an edit time from before the approval"
        if alone:
            return "holds", detail, "none: stages are compared, not edit times alone"
        return "does_not_hold", detail, "none"

    def window_ends(self) -> Judged:
        rows = [row for row in self.some_rows() if row.edited_at is not None]
        if not rows:
            return "unknown", "no label row has an edit time", "none"
        moment = rows[0].edited_at
        found = self.tools.encord.rows(
            self.project.project_hash,
            {"edited_after": moment.isoformat() if moment else None, "label_hashes": [rows[0].label_hash]},
        )
        inside = any(isinstance(row, ListedRow) and row.label_hash == rows[0].label_hash for row in found)
        return (
            ("holds" if inside else "does_not_hold"),
            "edited_after with a row's own edit time",
            "none: windows overlap",
        )

    def same_times(self) -> Judged:
        rows = [row for row in self.some_rows() if row.edited_at is not None]
        for row in rows[:1]:
            answer = self.tools.encord.raw(self.project.project_hash, "labelrow", row.label_hash, _FETCH)
            try:
                served = parse_edit_time(json.loads(answer.body)["response"]["last_edited_at"])
            except (ValueError, KeyError, TypeError):
                break
            if served is None or row.edited_at is None:
                break
            same = same_edit_time(row.edited_at, served)
            follows = "none" if same else "report this: every label would look stale at every census"
            return (
                ("holds" if same else "does_not_hold"),
                "compared one label row with its line in the listing",
                follows,
            )
        return "unknown", "no label row with an edit time could be read", "none"

    def _rows_of(self, data_hashes: list[str]) -> list[ListedRow]:
        if not data_hashes:
            return []
        found = self.tools.encord.rows(self.project.project_hash, {"data_hashes": data_hashes})
        return [row for row in found if isinstance(row, ListedRow)]


def probe(tools: Toolbox, project: ProjectInfo, days: int) -> dict[str, Any]:
    """Return `{"project_hash", "answers": [{"question", "answer", "detail", "setting"}]}`; nothing is written."""
    asked = _Probe(tools, project, days)
    questions: dict[str, Callable[[], Judged]] = {
        "The envelope is compact, its status first": asked.envelope,
        "An error in the envelope comes with HTTP 200": asked.error_status,
        "A missing label in a request for several is left out": asked.missing_in_several,
        "Our clock is within a minute of Encord's": asked.clock,
        "A listing of all label rows is fast": asked.listing_time,
        "The task actions are served": asked.feed,
        "Task actions appear within the overlap": asked.feed_delay,
        "A final stage lists its newest task first": asked.order_of_tasks,
        "An approval leaves the edit time alone": asked.approvals,
        "A window of edit times includes its ends": asked.window_ends,
        "The listing and the label row have the same edit time": asked.same_times,
    }
    return {
        "project_hash": project.project_hash,
        "answers": [_judged(question, ask) for question, ask in questions.items()],
    }


def _judged(question: str, ask: Callable[[], Judged]) -> dict[str, str]:
    try:
        answer, detail, setting = ask()
    except ExportError as error:
        answer, detail, setting = "unknown", f"the request to Encord failed: {error.reason}", "none"
    return {"question": question, "answer": answer, "detail": detail, "setting": setting}
