"""What the core needs from outside, as protocols, and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from label_export.core.messages import LabelChange

T = TypeVar("T")

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label row as Encord served it.

    `body` is its JSON text, byte for byte; `sha256` the hex digest of that; the other fields are read from it.
    `edited_at` is None if the row has no edit time that can be parsed; `edited_at_text` is the text as served.
    """

    label_hash: str
    data_hash: str | None
    dataset_hash: str | None
    data_title: str | None
    branch_name: str | None
    edited_at: datetime | None
    edited_at_text: str | None
    body: Buffer
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """What is known of an object in the store: its version tag and the metadata of an earlier export, if any.

    `size` is in bytes, None if the object is not stored as served (compressed).
    """

    etag: str
    sha256: str | None
    edited_at: datetime | None
    size: int | None = None


class LabelSource(Protocol):
    """Where label rows come from. All methods raise RetryableError, PermanentError or TerminalError."""

    def fetch(self, project_hash: str, label_hash: str) -> LabelRow:
        """Return the label row as it is served now; never creates one."""

    def labels_of_data(self, project_hash: str, data_hash: str) -> Sequence[str]:
        """Return the label hashes of a data unit (one per branch); empty if none was ever initialised.

        They are as Encord names them: one may not be a hash (core/messages.py, is_hash).
        """

    def require_project(self, project_hash: str) -> None:
        """Check that the key can read the project: PermanentError("no_access") if not, whatever code Encord returns."""

    def workflow_stage(self, project_hash: str, label_hash: str) -> str | None:
        """Return the title of the workflow stage that the label's task is in; None if the row names none."""


class ObjectStore(Protocol):
    """Where label rows go. All methods raise RetryableError or PermanentError."""

    def look(self, key: str) -> StoredLabel | None:
        """Return what is stored under `key`, None if nothing is."""

    def write(self, key: str, project_hash: str, row: LabelRow, replaces: StoredLabel | None) -> bool:
        """Store `row` only if `key` still holds exactly `replaces` (None: nothing). False if it does not."""


class WorkQueue(Protocol):
    """Where work waits. Raises RetryableError or PermanentError unless every message was accepted."""

    def send(self, changes: Sequence[LabelChange]) -> None:
        """Queue one message for each change."""


class Start(Protocol):
    """Starts a piece of work concurrently. The returned function waits for it, and returns its result or raises."""

    def __call__(self, work: Callable[[], T], /) -> Callable[[], T]: ...
