"""Which label rows belong into the bucket, by the exporter's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from label_catalog.core.model import ListedRow, ProjectInfo, Stage

_ANNOTATING = {"ANNOTATION", "CONSENSUS_ANNOTATION"}
_FINAL = "DONE"
_SUBMITTED = "task_submitted_event"


@dataclass(frozen=True, slots=True)
class Selection:
    """What the deployment exports: the titles of stages where some are set, else what the event types lead to.

    A submitted task has left the Annotate stage, a completed one is in a final stage. So with both event types every
    stage but Annotate is selected, and with `task_completed_event` alone the final stages.
    """

    stages: frozenset[str]
    event_types: frozenset[str]

    def selects(self, row: ListedRow, kinds: Mapping[str, str]) -> bool:
        """Say whether this row's label belongs into the bucket; `kinds` are the stages' kinds by title."""
        if row.label_hash is None or row.is_deleted:
            return False
        if self.stages:
            return row.stage in self.stages
        if row.stage is None:  # no workflow: every label that was begun
            return True
        return self._selects_kind(kinds.get(row.stage, ""))

    def selected_stages(self, project: ProjectInfo) -> list[Stage]:
        """Return the project's stages whose tasks' labels belong into the bucket."""
        if self.stages:
            return [stage for stage in project.stages if stage.title in self.stages]
        return [stage for stage in project.stages if self._selects_kind(stage.kind)]

    def _selects_kind(self, kind: str) -> bool:
        if not self.event_types or _SUBMITTED in self.event_types:
            return kind not in _ANNOTATING
        return kind == _FINAL

    def describe(self) -> str:
        """Return the selection in words, for reports."""
        if self.stages:
            return "stages " + ", ".join(sorted(self.stages))
        if not self.event_types or _SUBMITTED in self.event_types:
            return "every stage after Annotate"
        return "final stages"
