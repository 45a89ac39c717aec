"""The projects, their label rows, and changes to them. Not thread-safe: for use in the event loop only."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from encord_stand_in import times
from encord_stand_in.rows import edits, giant
from encord_stand_in.rows.build import build_project
from encord_stand_in.rows.giant import GiantSpec
from encord_stand_in.rows.names import PROJECT_NAMES, identifier
from encord_stand_in.rows.serialise import row_bytes
from encord_stand_in.settings import Settings
from encord_stand_in.synthetic import SyntheticRows
from encord_stand_in.times import TimeForm

_STATUS_OF_STAGE = {"Annotate": "ASSIGNED", "Review": "IN_REVIEW", "Complete": "COMPLETED"}
_STAGE_AFTER = {"task_submitted_event": ("Review", "IN_REVIEW"), "task_completed_event": ("Complete", "COMPLETED")}


class NotFoundError(Exception):
    """A project or label row that does not exist."""


@dataclass(slots=True)
class LabelRow:
    """One label row: its entry in the listing, and its content."""

    project_hash: str
    key: str
    metadata: dict[str, Any]
    time_form: TimeForm
    last_edited_at: datetime | None
    base: dict[str, Any] | None = None  # as built at the start; None for an uninitialised or a generated row
    spec: GiantSpec | None = None
    revision: int = 0
    hidden_time: bool = False  # serve the row without its last_edited_at
    odd: dict[str, Any] = field(default_factory=dict)  # replaces fields of the row in the listing
    _middle: bytes | None = None
    _parts: tuple[Settings, tuple[bytes, ...]] | None = None

    @property
    def label_hash(self) -> str | None:
        """Return the label hash, or None if the row was never initialised."""
        value: str | None = self.metadata["label_hash"]
        return value

    @property
    def data_hash(self) -> str:
        """Return the hash of the data unit."""
        return str(self.metadata["data_hash"])

    @property
    def version(self) -> tuple[str | None, int, str | None, bool, str]:
        """Return everything except the settings on which the served bytes depend."""
        edited = None if self.last_edited_at is None else self.last_edited_at.isoformat()
        return (self.label_hash, self.revision, edited, self.hidden_time, str(self.metadata["data_title"]))

    def parts(self, settings: Settings) -> tuple[bytes, ...]:
        """Return the row's bytes in pieces, serialised once for each version. The row must be initialised."""
        if self._parts is None or self._parts[0] is not settings:
            self._parts = (settings, self._serialise(settings))
        return self._parts[1]

    def _serialise(self, settings: Settings) -> tuple[bytes, ...]:
        edited = None if self.hidden_time else self.edited_text()
        if self.spec is not None:
            if self._middle is None:
                self._middle = giant.middle(self.spec)
            status = "LABELLED" if self.revision else "LABEL_IN_PROGRESS"
            start = giant.head(self.metadata, edited=edited, label_status=status)
            return (start, self._middle, giant.tail(self.spec, revision=self.revision))
        return (row_bytes(self.document(), settings),)

    def document(self) -> dict[str, Any]:
        """Return the row's content as it is now; not for generated rows."""
        if self.base is None:
            raise NotFoundError(f"no label row of {self.data_hash}: never initialised, or generated")
        edited = None if self.hidden_time else self.edited_text()
        if self.revision:
            return edits.edited(self.base, revision=self.revision, last_edited_at=edited)
        document = {**self.base, "last_edited_at": edited}
        if edited is None:
            del document["last_edited_at"]
        return document

    def edited_text(self) -> str | None:
        """Return the edit time as the row writes it."""
        return None if self.last_edited_at is None else times.render(self.last_edited_at, self.time_form)

    def touch(self, instant: datetime) -> None:
        """Set the edit time of the row and of its listing."""
        self.last_edited_at = times.settled(instant, self.time_form)
        self.metadata["last_edited_at"] = times.render(instant, times.listing_form(self.time_form))
        self._parts = None

    def forget_bytes(self) -> None:
        """Serialise the row again at the next request for it."""
        self._parts = None

    def rename(self, title: str) -> None:
        """Give the data unit another title; the edit time stays."""
        self.metadata["data_title"] = title
        if self.base is not None:
            units = {
                name: {**unit, "data_title": title} if len(self.base["data_units"]) == 1 else unit
                for name, unit in self.base["data_units"].items()
            }
            self.base = {**self.base, "data_title": title, "data_units": units}
        self.forget_bytes()

    def initialise(self) -> None:
        """Create the empty label row of a unit that had none, as Encord does for ``labelrow``/PUT."""
        now = datetime.now(UTC)
        self.metadata["label_hash"] = identifier(self.project_hash, self.data_hash, "label")
        self.metadata["label_status"] = "LABEL_IN_PROGRESS"
        self.metadata["created_at"] = times.render(now, "iso")
        self.base = _empty_row(self.metadata)
        self.touch(now)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happened to a task, as the feed shows it."""

    at: datetime
    public: dict[str, Any]


@dataclass(slots=True)
class Project:
    """A project as the REST API serves it, its ontology, and its label rows in order."""

    public: dict[str, Any]
    ontology: dict[str, Any]
    rows: list[LabelRow] = field(default_factory=list)
    accessible: bool = True
    actions: list[Action] = field(default_factory=list)
    synthetic: SyntheticRows | None = None  # rows that are generated while they are sent

    def act(self, row: LabelRow, kind: str, stage: str, at: datetime) -> None:
        """Record an action on a row's task; ``stage`` is the title of the stage in which it happened."""
        public = {
            "projectUuid": self.project_hash,
            "taskUuid": row.metadata["task_uuid"],
            "timestamp": times.render(at, "iso"),
            "actionType": kind,
            "workflowStageUuid": self.stage(stage)["uuid"],
            "dataUnitUuid": row.data_hash,
            "actorEmail": f"person-{len(self.actions) % 3}@example.com",
        }
        self.actions.append(Action(at, public))

    @property
    def project_hash(self) -> str:
        """Return the project's hash."""
        return str(self.public["projectHash"])

    def stage(self, title: str) -> dict[str, str]:
        """Return a workflow stage as in the listing."""
        stage = next(stage for stage in self.public["workflow"]["stages"] if stage["title"] == title)
        return {"uuid": stage["uuid"], "title": stage["title"]}


class Projects:
    """All projects."""

    def __init__(self) -> None:
        # Through JSON, so that none of the SDK's types are left.
        self._originals = [json.loads(json.dumps(build_project(name))) for name in PROJECT_NAMES]
        self.reset()

    def reset(self) -> None:
        """Restore the state at the start."""
        self._projects: dict[str, Project] = {}
        self._by_label: dict[str, LabelRow] = {}
        for original in self._originals:
            project = Project(original["project"], original["ontology"])
            self._projects[project.project_hash] = project
            for item in original["rows"]:
                edited = item["last_edited_at"]
                self._add(
                    project,
                    LabelRow(
                        project_hash=project.project_hash,
                        key=item["key"],
                        metadata=copy.deepcopy(item["metadata"]),
                        time_form=item["time_form"],
                        last_edited_at=None if edited is None else times.parse(edited),
                        base=item["label_row"],
                    ),
                )

    def __iter__(self) -> Iterator[Project]:
        return iter(self._projects.values())

    def project(self, project_hash: str) -> Project:
        """Return a project. Raises NotFoundError."""
        try:
            return self._projects[project_hash]
        except KeyError:
            raise NotFoundError(f"no project {project_hash}") from None

    def ontology(self, ontology_hash: str) -> Project:
        """Return the project that has this ontology. Raises NotFoundError."""
        for project in self:
            if project.ontology["ontologyUuid"] == ontology_hash:
                return project
        raise NotFoundError(f"no ontology {ontology_hash}")

    def row(self, *, label_hash: str | None = None, data_hash: str | None = None) -> LabelRow:
        """Return a row by its label hash, or the main branch's row of a data unit. Raises NotFoundError."""
        if label_hash is not None:
            found = self._by_label.get(label_hash)
        else:
            rows = (row for project in self for row in project.rows if row.data_hash == data_hash)
            found = next((row for row in rows if row.metadata["branch_name"] == "main"), None)
        if found is None:
            raise NotFoundError(f"no label row {label_hash or data_hash}")
        return found

    def labels_in(self, project: Project, label_hashes: Iterable[str]) -> list[LabelRow]:
        """Return the rows of the project with these label hashes, without duplicates, in the order asked for."""
        found = (self._by_label.get(label_hash) for label_hash in dict.fromkeys(label_hashes))
        return [row for row in found if row is not None and row.project_hash == project.project_hash]

    def initialise(self, row: LabelRow) -> None:
        """Create the label row of a unit that has none."""
        row.initialise()
        self._by_label[str(row.label_hash)] = row

    def delete(self, row: LabelRow) -> None:
        """Delete a row from the listing and from the project."""
        self.project(row.project_hash).rows.remove(row)
        if row.label_hash is not None:
            del self._by_label[row.label_hash]

    def move(self, row: LabelRow, stage: str, kind: str, *, at: datetime | None = None) -> None:
        """Move a row's task to a stage with an action that changes neither label nor edit time."""
        project = self.project(row.project_hash)
        before = row.metadata["workflow_graph_node"]["title"]
        row.metadata["workflow_graph_node"] = project.stage(stage)
        row.metadata["annotation_task_status"] = _STATUS_OF_STAGE.get(stage, "ASSIGNED")
        project.act(row, kind, before, at or datetime.now(UTC))

    def save(self, row: LabelRow) -> None:
        """Change a label as the SDK's ``save`` does, without a later edit time or a task action."""
        row.revision += 1
        row.forget_bytes()

    def complete(
        self, row: LabelRow, event_type: str, *, edited_at: datetime | None = None, change: bool = True
    ) -> None:
        """Complete the task as a person does: a changed label, a later edit time, the next stage.

        The edit time is the current time, or the given time for tests of equal and earlier times. The current time is
        raised until it is later than before, also in the row's own form. An uninitialised row only changes its stage.
        """
        stage, status = _STAGE_AFTER.get(event_type, _STAGE_AFTER["task_completed_event"])
        project, before = self.project(row.project_hash), row.metadata["workflow_graph_node"]["title"]
        project.act(row, "submit" if stage == "Review" else "approve", before, datetime.now(UTC))
        row.metadata["workflow_graph_node"] = project.stage(stage)
        row.metadata["annotation_task_status"] = status
        if row.label_hash is None:
            return
        row.metadata["label_status"] = "LABELLED"
        if change:
            row.revision += 1
        now = datetime.now(UTC)
        later = now if row.last_edited_at is None else row.last_edited_at + times.resolution(row.time_form)
        row.touch(edited_at or max(now, later))

    def add_synthetic(self, count: int) -> Project:
        """Add a project of ``count`` completed rows that are generated while they are sent."""
        first = next(iter(self))
        project_hash = identifier("synthetic", count, "project")
        stages = first.public["workflow"]["stages"]
        public = {**first.public, "projectHash": project_hash, "title": f"Synthetic {count}"}
        project = Project(public, first.ontology)
        project.synthetic = SyntheticRows(count, {stage["title"]: stage["uuid"] for stage in stages})
        self._projects[project_hash] = project
        return project

    def add_generated(
        self, project: Project, specs: Iterable[GiantSpec], *, spread: timedelta, stage: str = "Annotate"
    ) -> list[LabelRow]:
        """Add rows of a chosen size; existing rows are kept. Each edit time is ``spread`` after the previous one.

        The first has the project's last edit time, so that these rows are deterministic too.
        """
        edited = times.parse(project.public["lastEditedAt"])
        dataset = {key: project.rows[0].metadata[key] for key in ("dataset_hash", "dataset_title")}
        rows: list[LabelRow] = []
        for spec in specs:
            instant = edited + spread * spec.index
            text = times.render(instant, "iso")
            made = giant.metadata(spec, stage=project.stage(stage), dataset=dataset, edited=text)
            existing = self._by_label.get(made["label_hash"])
            if existing is None:
                existing = LabelRow(project.project_hash, spec.key, made, "iso", instant, spec=spec)
                self._add(project, existing)
            rows.append(existing)
        return rows

    def _add(self, project: Project, row: LabelRow) -> None:
        project.rows.append(row)
        if row.label_hash is not None:
            self._by_label[row.label_hash] = row


def _empty_row(metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "label_hash": metadata["label_hash"],
        "branch_name": metadata["branch_name"],
        "created_at": metadata["created_at"],
        "last_edited_at": None,
        "data_hash": metadata["data_hash"],
        "dataset_hash": metadata["dataset_hash"],
        "dataset_title": metadata["dataset_title"],
        "data_title": metadata["data_title"],
        "data_type": metadata["data_type"].lower(),
        "annotation_task_status": metadata["annotation_task_status"],
        "is_shadow_data": False,
        "object_answers": {},
        "classification_answers": {},
        "object_actions": {},
        "label_status": "LABEL_IN_PROGRESS",
        "data_units": {
            metadata["data_hash"]: {
                "data_hash": metadata["data_hash"],
                "data_title": metadata["data_title"],
                "data_link": metadata["data_link"],
                "data_type": metadata["file_type"],
                "data_sequence": 0,
                "width": metadata["width"],
                "height": metadata["height"],
                "labels": {},
            }
        },
        "spaces": {},
    }
