"""Compares a whole project with the bucket: the common part of census, deep sample and backfill.

Every run lists both sides again, since a listing has no pages at which to continue. Facts about objects are
kept (`state/known.gz`), and so is what was queued (the cursor), so each run makes progress.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from label_export.core.errors import ExportError, RetryableError

from label_catalog.adapters.table import Line, Table
from label_catalog.core.comparison import Verdict, is_current
from label_catalog.core.model import ListedRow, OddRow, ProjectInfo, TooLargeError, Window
from label_catalog.core.places import Places, listing_prefix
from label_catalog.core.reports import Found
from label_catalog.core.windows import filters, halves
from label_catalog.core.work import Work
from label_catalog.toolbox import QUEUE_STEP, OutOfTimeError, Toolbox, batched, change

_ROWS = 2000
_SEEN_STEP = 20  # rows for each edit time that is kept: 50,000 of a million
_UNITS = 200
_LOOKS = 2000
_WINDOW_TRIES = 3
_BUCKETS = 10_000  # of a sample: a hundredth of a percent


@dataclass(slots=True)
class Survey:
    """One comparison of a project."""

    tools: Toolbox
    project: ProjectInfo
    places: Places
    table: Table
    odd: Found = field(default_factory=Found)
    feeds: dict[str, str] = field(default_factory=dict)
    listings: int = 0
    _odd_seen: set[str] = field(default_factory=set)
    _odd_units: bool = False  # a row was odd in its data unit's hash
    _seen: list[datetime] = field(default_factory=list)  # some edit times of the window that is read

    def list_encord(self, since: datetime | None) -> None:
        """Record every label row, or those edited after `since`, and check them against the stages' tasks."""
        if since is None:
            self._list(Window())
            self._cross_check()
        else:
            self._list(Window(after=since))

    def list_bucket(self) -> None:
        """Record every object under the project's keys."""
        tools = self.tools
        prefix = listing_prefix(tools.settings.key_template, self.project.project_hash)
        objects = tools.timed(tools.bucket.list(prefix))
        self.table.add_objects(found for found in objects if not self.places.is_own(found.key))

    def look(self) -> None:
        """Get the edit time of every selected label's object, from earlier runs or from S3."""
        known = self.table.folder / "known.gz"
        if self.tools.bucket.download(self.places.known, known):
            self.table.apply_known(known)
        after, asked = "", 0
        try:
            while keys := self.table.not_looked_at(after, _LOOKS):
                self.tools.check_time()
                self.table.looked_at(self.tools.heads(keys))
                after, asked = keys[-1], asked + len(keys)
        finally:
            if asked:
                self.table.save_known(known)
                self.tools.bucket.upload(self.places.known, known)

    def wanted(self, work: Work) -> Iterator[Line]:
        """Yield the labels that this work must queue, after its cursor, in the order of their keys."""
        share = round(self.tools.settings.sample_percent * _BUCKETS / 100)
        for line in self.table.lines(work.cursor, selected=True):
            if work.kind == "sample":
                chosen = line.etag is not None and _bucket_of(line.label_hash, work.work) < share
            else:
                chosen = bool(work.options.get("deep")) or verdict(line) is not Verdict.CURRENT
            if chosen:
                yield line

    def queue(self, work: Work, save: Callable[[], None]) -> None:
        """Queue the wanted labels. The cursor moves only after SQS has everything before it."""
        for batch in batched(self.wanted(work), QUEUE_STEP):
            self.tools.check_time()
            changes = [change(self.project.project_hash, line.label_hash, work.kind, work.work) for line in batch]
            self.tools.backfill_lane.send(changes)
            self.tools.telemetry.metrics({"Queued": len(changes)}, project=self.project.project_hash)
            work.cursor, work.queued = batch[-1].key, work.queued + len(changes)
            save()

    def _list(self, window: Window) -> None:
        waiting = [window]
        while waiting:
            current = waiting.pop()
            self.listings += 1
            try:
                self._list_window(current, bounded=True)
            except TooLargeError:
                latest = self.tools.now()
                parts = halves(current, earliest=self.project.created_at, latest=latest, seen=self._seen)
                if parts is None:
                    self._list_window(current, bounded=False)
                    continue
                # The open ends stay open: clocks differ, and a row may be older than its project.
                early = Window(current.after, parts[0].before)
                late = Window(parts[1].after, current.before)
                waiting += [late, early]
        self.feeds["labelrowmetadata"] = f"answered in {self.listings} listing{'s' if self.listings > 1 else ''}"

    def _list_window(self, window: Window, *, bounded: bool) -> None:
        self._seen.clear()
        for attempt in range(1, _WINDOW_TRIES + 1):
            try:
                self._note(filters(window), bounded=bounded)
            except RetryableError:
                if attempt == _WINDOW_TRIES:
                    raise
                self.tools.check_time()
            else:
                return

    def _cross_check(self) -> None:
        """Find labels that the listing did not show: those of tasks in the selected stages."""
        try:
            for stage in self.tools.selection.selected_stages(self.project):
                tasks = self.tools.timed(self.tools.encord.tasks(self.project, stage))
                for batch in batched(tasks, _ROWS):
                    self.table.add_units(batch)
        except ExportError as error:
            self.feeds["tasks"] = f"unavailable: {error.reason}"
            return
        self.feeds["tasks"] = "answered"
        for units in batched(self.table.units_without_label(), _UNITS):
            self.tools.check_time()
            self._note({"data_hashes": units}, bounded=False)
        if self._odd_units:
            return  # other units have odd rows, and it is not known which
        for unit in self.table.units_without_row():
            self._note_odd(OddRow(None, unit, None, "it has a task in a selected stage, and no label row"))

    @property
    def doubts(self) -> list[str]:
        """The reasons why the listing may be incomplete; empty if it is complete.

        A listing that is requested in windows of edit time lacks rows without an edit time; the tasks show them.
        """
        if self.listings <= 1:
            return []
        if not self.tools.selection.selected_stages(self.project):
            return ["the listing was read in windows of edit time, and no stage's tasks show rows without one"]
        if self.feeds.get("tasks") != "answered":
            return [f"the listing was read in windows of edit time, and the stages' tasks are {self.feeds['tasks']}"]
        return []

    def _note(self, wanted: dict[str, Any], *, bounded: bool) -> None:
        tools, kinds = self.tools, self.project.kinds
        for batch in batched(tools.encord.rows(self.project.project_hash, wanted, bounded=bounded), _ROWS):
            tools.check_time()
            for row in batch:
                if isinstance(row, OddRow):
                    self._note_odd(row)
            rows = [row for row in batch if isinstance(row, ListedRow)]
            self._seen += [row.edited_at for row in rows[::_SEEN_STEP] if row.edited_at is not None]
            self.table.add_blank(row.data_hash for row in rows if row.label_hash is None)
            begun = (row for row in rows if row.label_hash is not None)
            self.table.add_rows(
                (tools.key(self.project, row), row, tools.selection.selects(row, kinds)) for row in begun
            )

    def _note_odd(self, row: OddRow) -> None:
        name = row.label_hash or row.data_hash or row.data_title or row.problem
        if name in self._odd_seen:
            return
        self._odd_seen.add(name)
        self._odd_units = self._odd_units or row.data_hash is None
        self.odd.add(label_hash=row.label_hash, data_hash=row.data_hash, title=row.data_title, problem=row.problem)
        self.tools.telemetry.log(
            "WARNING",
            "odd_row",
            project_hash=self.project.project_hash,
            label_hash=row.label_hash,
            data_hash=row.data_hash,
            problem=row.problem,
        )


def verdict(line: Line) -> Verdict:
    """Return the state of the bucket for a label of the table."""
    if line.etag is None or line.modified_at is None:
        return Verdict.MISSING
    return Verdict.CURRENT if is_current(line.edited_at, line.stored_edit, line.modified_at) else Verdict.STALE


def _bucket_of(label_hash: str, work: str) -> int:
    digest = hashlib.sha256(f"{work}/{label_hash}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % _BUCKETS


__all__ = ["OutOfTimeError", "Survey", "verdict"]
