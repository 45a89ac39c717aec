"""The ports and the remaining time of one invocation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from label_export.core.messages import LabelChange

from label_catalog.adapters.aws.s3 import LabelBucket, StateDocuments
from label_catalog.adapters.aws.snapshots import SnapshotBucket
from label_catalog.adapters.aws.sqs import ExportLane, WorkQueue
from label_catalog.adapters.encord.source import EncordFeeds
from label_catalog.core.model import ListedRow, ProjectInfo, StoredObject, object_key
from label_catalog.core.selection import Selection
from label_catalog.settings import Settings
from label_catalog.telemetry import Telemetry

T = TypeVar("T")

RESERVE = 60.0  # seconds that are reserved for saving and responding
QUEUE_STEP = 500  # labels between two saves


class OutOfTimeError(Exception):
    """The invocation's time is nearly used up: save, and continue in the next one."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The ports of one invocation."""

    settings: Settings
    encord: EncordFeeds
    bucket: LabelBucket
    documents: StateDocuments
    snapshots: SnapshotBucket
    live_lane: ExportLane
    backfill_lane: ExportLane
    queue: WorkQueue
    telemetry: Telemetry
    threads: ThreadPoolExecutor
    now: Callable[[], datetime]
    remaining: Callable[[], float]
    selection: Selection

    def check_time(self) -> None:
        """Raise OutOfTimeError if no more work may begin."""
        if self.is_late():
            raise OutOfTimeError

    def is_late(self) -> bool:
        """Return whether no more work may begin."""
        return self.remaining() < RESERVE

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """Yield `items`, and raise OutOfTimeError between two of them."""
        for index, item in enumerate(items):
            if index % 1000 == 0:
                self.check_time()
            yield item

    def heads(self, keys: Iterable[str]) -> list[tuple[str, StoredObject | None]]:
        """Return what is under each key, read in parallel."""
        asked = list(keys)
        return list(zip(asked, self.threads.map(self.bucket.head, asked), strict=True))

    def key(self, project: ProjectInfo, row: ListedRow) -> str:
        """Return the key of a row's label."""
        return object_key(self.settings.keys, project.project_hash, row)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def change(project_hash: str, label_hash: str, kind: str, run: str) -> LabelChange:
    """Return the exporter's message for a label; its event names the catalog's run."""
    return LabelChange(project_hash, label_hash, None, f"{kind}-{run}", kind)
