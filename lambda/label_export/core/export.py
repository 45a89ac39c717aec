"""The pure core: which of two versions of a label is newer, and the conditional write that never goes backwards.

Order, in this rule's sequence:
1. Same bytes (by SHA-256): nothing to do.
2. Both edit times known and different: the later one wins.
3. A time missing, unreadable or equal, with different bytes: what Encord served later wins. A row that was fetched
   after the stored object was read was served later, so the row is fetched again, once, and then written.
4. The served time is the earlier one, with different bytes: the row is fetched again as in 3. If it is still older, the
   message is redelivered. At a late receive the row is stored: Encord serves it as current, the bucket keeps versions.
Every write is conditional on the object that was read. A writer that loses reads again.

One answer is not evidence. An answer that would end a message without an object (nothing to export, another workflow
stage, rule 4) counts only at a late receive: when SQS has delivered the message several times, a visibility timeout
apart. See Exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from label_export.core.errors import PermanentError, RetryableError, TerminalError, UnconfirmedError
from label_export.core.messages import LabelChange, is_hash
from label_export.core.object_keys import KeyTemplate
from label_export.core.ports import LabelRow, LabelSource, ObjectStore, Start, StoredLabel

T = TypeVar("T")

MAX_LOOKS = 6  # each lost race means that another writer made progress; six in a row is a storm, left to the queue


class Order(Enum):
    """The relation of a served row to the stored one."""

    NEWER = "newer"
    SAME = "same"
    OLDER = "older"
    UNDECIDED = "undecided"


class Outcome(Enum):
    """The result for one label."""

    EXPORTED = "exported"
    WENT_BACK = "went_back"  # stored although its edit time is earlier than the stored one (rule 4)
    UNCHANGED = "unchanged"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one label: its key, and the row that was compared or written. None if it was filtered."""

    outcome: Outcome
    key: str | None = None
    row: LabelRow | None = None


def order(row: LabelRow, stored: StoredLabel | None) -> Order:
    """Return the relation of `row` to what is stored, by the rule above."""
    if stored is None:
        return Order.NEWER
    # The hash is metadata, which stays when the bytes are replaced by another tool; the length is the object's own.
    if row.sha256 == stored.sha256 and stored.size in (None, len(row.body)):
        return Order.SAME
    if row.edited_at is None or stored.edited_at is None or row.edited_at == stored.edited_at:
        return Order.UNDECIDED
    return Order.NEWER if row.edited_at > stored.edited_at else Order.OLDER


@dataclass(frozen=True, slots=True)
class Exporter:
    """Brings labels up to date, within one invocation. Empty sets allow everything.

    `late`: the message was received so often (`late_receive`) that a negative answer of Encord counts. Before
    that, such an answer raises UnconfirmedError. At a late one the project is read once (PermanentError("no_access")
    if it cannot be) and the request is repeated: only the second negative answer raises TerminalError.
    """

    source: LabelSource
    store: ObjectStore
    key_template: KeyTemplate
    projects: frozenset[str]
    stages: frozenset[str]
    late_receive: int
    start: Start

    def is_late(self, receive_count: int) -> bool:
        """Return whether a negative answer counts at this receive of a message (the first is 1)."""
        return receive_count >= self.late_receive

    def labels(self, change: LabelChange, *, late: bool = False) -> Sequence[str]:
        """Return the hashes of the labels that a change names: one, or all of a data unit.

        Raises PermanentError for a project that is not exported, UnconfirmedError or TerminalError for a data unit
        without labels, and as LabelSource does.
        """
        if self.projects and change.project_hash not in self.projects:
            raise PermanentError("project", "the project is not, or no longer, one of export_function_projects")
        if change.label_hash is not None:
            return [change.label_hash]
        return self._confirmed(
            change.project_hash, lambda: self._labels_of_data(change.project_hash, change.data_hash or ""), late=late
        )

    def export(self, project_hash: str, label_hash: str, *, late: bool = False) -> Result:
        """Write one label's object if it differs from what Encord serves.

        If the key is known before the fetch, the store is read concurrently with it. That saves one
        of three round trips, and no order depends on it (rule 3 fetches again).
        Raises RetryableError, PermanentError, UnconfirmedError or TerminalError; the stored object then
        stays.
        """
        if not is_hash(label_hash):
            raise RetryableError("malformed_answer", "Encord lists a label hash for the data unit that is not a hash")
        return self._confirmed(project_hash, lambda: self._export(project_hash, label_hash, late=late), late=late)

    def _confirmed(self, project_hash: str, ask: Callable[[], T], *, late: bool) -> T:
        try:
            return ask()
        except TerminalError as error:
            if not late:
                raise UnconfirmedError(error.reason, f"{error}. A later receive must confirm it") from None
        self.source.require_project(project_hash)
        return ask()

    def _labels_of_data(self, project_hash: str, data_hash: str) -> Sequence[str]:
        labels = self.source.labels_of_data(project_hash, data_hash)
        if not labels:
            raise TerminalError("never_initialised", "the data unit has no label row: labelling has not begun")
        return labels

    def _is_filtered(self, project_hash: str, label_hash: str, *, late: bool) -> bool:
        """Return whether the label's task is in a stage that is not exported."""
        if not self.stages:
            return False
        stage = self.source.workflow_stage(project_hash, label_hash)
        if stage is None:
            problem = "Encord names no workflow stage for this label row, and export_function_workflow_stages is set"
            raise PermanentError("stage_unknown", problem)
        if stage not in self.stages and not late:  # the webhook can arrive before the task has moved
            raise UnconfirmedError("stage", f"the task is in stage {stage!r}. A later receive must confirm it")
        return stage not in self.stages

    def _export(self, project_hash: str, label_hash: str, *, late: bool) -> Result:
        if self._is_filtered(project_hash, label_hash, late=late):
            return Result(Outcome.FILTERED)
        early_key = self.key_template.render_early(project_hash, label_hash)
        early_look = self.start(lambda: self.store.look(early_key)) if early_key is not None else None
        row = self.source.fetch(project_hash, label_hash)
        for _ in range(MAX_LOOKS):
            key = self.key_template.render(project_hash, row)
            try:
                stored = early_look() if early_look is not None else self.store.look(key)
            finally:
                early_look = None  # it refers to its error, which would keep this frame and the row
            standing = order(row, stored)
            if standing in (Order.UNDECIDED, Order.OLDER):
                del row  # before the next one is read: two large rows may not fit in memory
                row = self.source.fetch(project_hash, label_hash)
                if self.key_template.render(project_hash, row) != key:
                    continue
                standing = order(row, stored)
            if standing is Order.SAME:
                return Result(Outcome.UNCHANGED, key, row)
            if standing is Order.OLDER and not late:
                problem = f"Encord serves other bytes with an earlier edit time ({row.edited_at}) than the stored one"
                raise UnconfirmedError("older_edit_time", f"{problem}. A later receive must confirm it")
            if self.store.write(key, project_hash, row, stored):
                return Result(Outcome.WENT_BACK if standing is Order.OLDER else Outcome.EXPORTED, key, row)
        raise RetryableError("contended", f"lost {MAX_LOOKS} races for the same object")
