"""Which label rows belong in the bucket, according to the exporter's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from label_catalog.core.model import ListedRow, ProjectInfo, Stage

_ANNOTATING = {"ANNOTATION", "CONSENSUS_ANNOTATION"}
_FINAL = "DONE"
_SUBMITTED = "task_submitted_event"


@dataclass(frozen=True, slots=True)
class Selection:
    """What the deployment exports: stages with the configured titles, or those to which the event types lead.

    A submitted task has left the Annotate stage, a completed one is in a final stage. So both event types together
    select every stage except Annotate, and `task_completed_event` alone selects the final stages.
    """

    stages: frozenset[str]
    event_types: frozenset[str]

    def selects(self, row: ListedRow, kinds: Mapping[str, str]) -> bool:
        """Return whether this row's label belongs in the bucket; `kinds` are the stages' kinds by title."""
        if row.label_hash is None or row.is_deleted:
            return False
        if self.stages:
            return row.stage in self.stages
        if row.stage is None:  # no workflow: every label that exists
            return True
        return self._selects_kind(kinds.get(row.stage, ""))

    def selected_stages(self, project: ProjectInfo) -> list[Stage]:
        """Return the project's stages whose labels belong in the bucket."""
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
