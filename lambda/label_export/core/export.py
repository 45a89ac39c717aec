"""The pure core: which of two versions of a label is newer, and the conditional write that never goes backwards.

Order, in this rule's sequence:
1. Same bytes (by SHA-256): nothing to do.
2. Both edit times known and different: the later one wins.
3. A time missing, unreadable or equal, with different bytes: what Encord served later wins. A row that was fetched
   after the stored one was looked at was served later than it, so the row is fetched again, once, and then written.
Every write is conditional on what was looked at; who loses looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from label_export.core.errors import PermanentError, RetryableError, TerminalError
from label_export.core.messages import LabelChange
from label_export.core.object_keys import KeyTemplate
from label_export.core.ports import LabelRow, LabelSource, ObjectStore, Start, StoredLabel

MAX_LOOKS = 6  # each lost race means that another writer made progress; six in a row is a storm, left to the queue


class Order(Enum):
    """How a served row stands to the stored one."""

    NEWER = "newer"
    SAME = "same"
    OLDER = "older"
    UNDECIDED = "undecided"


class Outcome(Enum):
    """What became of one label."""

    EXPORTED = "exported"
    UNCHANGED = "unchanged"
    STALE = "stale"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one label: its key, and the row that was compared or written. Both None where it was filtered."""

    outcome: Outcome
    key: str | None = None
    row: LabelRow | None = None


def order(row: LabelRow, stored: StoredLabel | None) -> Order:
    """Say how `row` stands to what is stored, by the rule above."""
    if stored is None:
        return Order.NEWER
    if row.sha256 == stored.sha256:
        return Order.SAME
    if row.edited_at is None or stored.edited_at is None or row.edited_at == stored.edited_at:
        return Order.UNDECIDED
    return Order.NEWER if row.edited_at > stored.edited_at else Order.OLDER


@dataclass(frozen=True, slots=True)
class Exporter:
    """Brings labels up to date, within one invocation. Empty sets allow everything."""

    source: LabelSource
    store: ObjectStore
    key_template: KeyTemplate
    projects: frozenset[str]
    stages: frozenset[str]
    start: Start

    def labels(self, change: LabelChange) -> Sequence[str]:
        """Return the hashes of the labels that a change names: one, or all of a data unit.

        Raises PermanentError for a project that is not exported, TerminalError for a data unit without labels, and as
        LabelSource does.
        """
        if self.projects and change.project_hash not in self.projects:
            raise PermanentError("project", "the project is not (any more) one of export_function_projects")
        if change.label_hash is not None:
            return [change.label_hash]
        labels = self.source.labels_of_data(change.project_hash, change.data_hash or "")
        if not labels:
            raise TerminalError("never_initialised", "the data unit has no label row: nobody has begun to label it")
        return labels

    def export(self, project_hash: str, label_hash: str) -> Result:
        """Bring one label's object up to what Encord serves.

        Where the key is known before the fetch, the first look at the store runs concurrently with it. That saves one
        of three round trips, and no order depends on it (rule 3 fetches again).
        Raises RetryableError, PermanentError or TerminalError; what was stored before is then untouched.
        """
        if self.stages and self.source.workflow_stage(project_hash, label_hash) not in self.stages:
            return Result(Outcome.FILTERED)
        early_key = self.key_template.render_early(project_hash, label_hash)
        early_look = self.start(lambda: self.store.look(early_key)) if early_key is not None else None
        row = self.source.fetch(project_hash, label_hash)
        for _ in range(MAX_LOOKS):
            key = self.key_template.render(project_hash, row)
            try:
                stored = early_look() if early_look is not None else self.store.look(key)
            finally:
                early_look = None  # it keeps its error, which would keep this frame, and so the row
            standing = order(row, stored)
            if standing is Order.UNDECIDED:
                del row  # before there is another: two giant rows may not fit beside each other
                row = self.source.fetch(project_hash, label_hash)
                if self.key_template.render(project_hash, row) != key:
                    continue
                standing = order(row, stored)
            if standing is Order.SAME:
                return Result(Outcome.UNCHANGED, key, row)
            if standing is Order.OLDER:
                return Result(Outcome.STALE, key, row)
            if self.store.write(key, project_hash, row, stored):
                return Result(Outcome.EXPORTED, key, row)
        raise RetryableError("contended", f"lost {MAX_LOOKS} races for the same object")
