"""The values that the catalog compares, and the ports to where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from label_export.core.messages import LabelChange
from label_export.core.object_keys import KeyTemplate
from label_export.core.ports import LabelRow


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A label row as Encord's listing shows it. `label_hash` is None where nobody has begun to label the unit.

    `stage` is the title of the workflow stage, None in a project without a workflow.
    """

    label_hash: str | None
    data_hash: str
    dataset_hash: str | None
    data_title: str | None
    branch_name: str | None
    data_type: str
    edited_at: datetime | None
    stage: str | None

    @property
    def is_deleted(self) -> bool:
        """Whether the data unit is gone: Encord then serves a row of this type, and the exporter does not export it."""
        return self.data_type.upper() == "DELETED"


@dataclass(frozen=True, slots=True)
class OddRow:
    """A row that does not have the documented form: its hashes where they can be read, and what is wrong with it."""

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
    """A project that the key can read. `stages` is empty where it has no workflow."""

    project_hash: str
    title: str
    created_at: datetime
    stages: tuple[Stage, ...]

    @property
    def kinds(self) -> dict[str, str]:
        """The stages' kinds by title."""
        return {stage.title: stage.kind for stage in self.stages}

    def stage_title(self, uuid: str) -> str:
        """Return the title of a stage, its uuid where the workflow no longer has it."""
        return next((stage.title for stage in self.stages if stage.uuid == uuid), uuid)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happened to a task: `kind` is submit, approve, move, reject or skip."""

    at: datetime
    kind: str
    data_hash: str
    stage_uuid: str


@dataclass(frozen=True, slots=True)
class Window:
    """A span of edit times. Both ends None: every row, those without an edit time too."""

    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of the bucket: what the exporter noted with it, and when S3 took it."""

    etag: str
    modified_at: datetime
    edited_at: datetime | None
    sha256: str | None = None
    project_hash: str | None = None
    label_hash: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as S3's listing shows it."""

    key: str
    etag: str
    modified_at: datetime


class TooLargeError(Exception):
    """A listing's answer is larger, or takes longer, than the settings allow."""


class Encord(Protocol):
    """What the catalog reads at Encord. All methods raise RetryableError, PermanentError or TerminalError."""

    def projects(self, wanted: Iterable[str]) -> list[ProjectInfo]:
        """Return the wanted projects, or all that the key can read where none is named."""

    def actions(self, project: ProjectInfo, after: datetime, before: datetime) -> Iterator[Action]:
        """Yield what happened to tasks in [after, before), in no promised order."""

    def tasks(self, project: ProjectInfo, stage: Stage) -> Iterator[str]:
        """Yield the data hashes of all tasks in a stage, in no promised order, some perhaps twice."""

    def rows(
        self, project_hash: str, filters: Mapping[str, Any], *, bounded: bool = False
    ) -> Iterator[ListedRow | OddRow]:
        """Yield label rows. `bounded`: raise TooLargeError for an answer that is above the limits."""


class Bucket(Protocol):
    """The label bucket."""

    def head(self, key: str) -> StoredObject | None:
        """Return an object's metadata, None where there is no object."""

    def list(self, prefix: str) -> Iterator[ListedObject]:
        """Yield all objects below a prefix, in the order of their keys."""

    def delete(self, key: str) -> None:
        """Write a delete marker over an object; its versions stay."""


class Documents(Protocol):
    """Small JSON documents in the bucket, written conditionally."""

    def load(self, key: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return a document and its ETag, both None where there is none (or where it cannot be read as JSON)."""

    def save(self, key: str, document: Mapping[str, Any], etag: str | None) -> str:
        """Write a document only over the version with this ETag (None: nothing); raises SupersededError."""

    def put(self, key: str, document: Mapping[str, Any]) -> None:
        """Write a document whatever is there."""

    def remove(self, key: str) -> None:
        """Remove a document."""


class SupersededError(Exception):
    """Another worker has changed a state object since it was read."""


class Lane(Protocol):
    """A queue of the exporter."""

    def send(self, changes: Sequence[LabelChange]) -> None:
        """Queue one message for each change; returns after SQS has all of them."""


Clock = Callable[[], datetime]
Remaining = Callable[[], float]


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
