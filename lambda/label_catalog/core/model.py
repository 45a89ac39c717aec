"""The values that the catalog compares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from label_export.core.object_keys import KeyTemplate
from label_export.core.ports import LabelRow


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A label row in Encord's listing. `label_hash` is None if labelling of the unit has not begun.

    `stage` is the title of the workflow stage, None in a project without a workflow. `assignee` and `last_actor` are
    e-mail addresses.
    """

    label_hash: str | None
    data_hash: str
    dataset_hash: str | None
    data_title: str | None
    branch_name: str | None
    data_type: str
    edited_at: datetime | None
    stage: str | None
    dataset_title: str | None = None
    status: str | None = None
    assignee: str | None = None
    last_actor: str | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether the data unit is deleted: Encord serves a row of this type, which the exporter does not export."""
        return self.data_type.upper() == "DELETED"


@dataclass(frozen=True, slots=True)
class OddRow:
    """A row without the documented form: its hashes if they can be read, and what is wrong with it."""

    label_hash: str | None
    data_hash: str | None
    data_title: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A workflow stage; `kind` is Encord's name for it, such as ANNOTATION, REVIEW, DONE."""

    uuid: str
    title: str
    kind: str


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """A project that the key can read. `stages` is empty if it has no workflow."""

    project_hash: str
    title: str
    created_at: datetime
    stages: tuple[Stage, ...]

    @property
    def kinds(self) -> dict[str, str]:
        """The stages' kinds by title."""
        return {stage.title: stage.kind for stage in self.stages}

    def stage_title(self, uuid: str) -> str:
        """Return the title of a stage, or its UUID if the workflow no longer has it."""
        return next((stage.title for stage in self.stages if stage.uuid == uuid), uuid)


@dataclass(frozen=True, slots=True)
class Action:
    """An action on a task: `kind` is submit, approve, move, reject or skip."""

    at: datetime
    kind: str
    data_hash: str
    stage_uuid: str


@dataclass(frozen=True, slots=True)
class Window:
    """A span of edit times. With both ends None: every row, including those without an edit time."""

    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the bucket: the exporter's metadata, and the time when S3 stored it."""

    etag: str
    modified_at: datetime
    edited_at: datetime | None
    sha256: str | None = None
    project_hash: str | None = None
    label_hash: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in S3's listing; `size` is in bytes, as stored."""

    key: str
    etag: str
    modified_at: datetime
    size: int = 0


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """An object in the bucket with its content, decompressed.

    `sha256` and `size` are computed from the content; None if it was not read to its end. `body` is None if the
    content is larger than the reader allowed.
    """

    key: str
    etag: str
    modified_at: datetime
    version_id: str | None
    project_hash: str | None
    label_hash: str | None
    sha256: str | None
    size: int | None
    body: bytes | None


class TooLargeError(Exception):
    """A listing's response is larger, or takes longer, than the settings allow."""


class SupersededError(Exception):
    """Another worker has changed a state object since it was read."""


def object_key(template: KeyTemplate, project_hash: str, row: ListedRow) -> str:
    """Return the key under which the exporter stores this row's label. The row must be initialised."""
    shown = LabelRow(
        label_hash=row.label_hash or "",
        data_hash=row.data_hash,
        dataset_hash=row.dataset_hash,
        data_title=row.data_title,
        branch_name=row.branch_name,
        edited_at=None,
        edited_at_text=None,
        body=b"",
        sha256="",
    )
    return template.render(project_hash, shown)
