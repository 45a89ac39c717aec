"""Lists, compares and queues one synthetic project in a separate process, so that its memory is measured alone.

    python tests/benchmarks/catalog_size.py ROWS URL KEY-FILE PROJECT

The bucket and the queue are in the process. Prints the seconds of each step and the peak memory in bytes.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog_tools import settings_with, toolbox
from label_catalog.adapters.aws.clients import THREADS
from label_catalog.adapters.encord.connections import Connections
from label_catalog.adapters.encord.source import EncordFeeds
from label_catalog.adapters.table import Table
from label_catalog.core.model import ListedObject, StoredObject
from label_catalog.core.places import Places
from label_catalog.core.selection import Selection
from label_catalog.core.work import Work
from label_catalog.entrypoints.survey import Survey
from label_export.core.messages import LabelChange, encode
from worker import peak_bytes

MISSING = 0.01  # of the labels are not in the bucket


def one_size(count: int, url: str, key_file: str, project_hash: str) -> dict[str, float]:
    """List, compare and queue a project of `count` rows; return seconds by step, and the peak of memory in bytes."""

    begin = datetime(2025, 3, 5, tzinfo=UTC).timestamp()
    label_base = 0x1A << 120

    def label(number: int) -> str:
        return str(uuid.UUID(int=label_base + number))

    class Bucket:
        def list(self, prefix: str) -> Iterator[ListedObject]:
            for number in range(int(count * MISSING), count):
                moment = datetime.fromtimestamp(begin + number + 5, UTC)
                yield ListedObject(f"{prefix}{label(number)}.json", f'"{number}"', moment)

        def head(self, key: str) -> StoredObject:
            number = int(key.rpartition("/")[2].removesuffix(".json").replace("-", ""), 16) - label_base
            moment = datetime.fromtimestamp(begin + number, UTC)
            return StoredObject(f'"{number}"', moment, moment)

        def download(self, key: str, path: Path) -> bool:
            return False

        def upload(self, key: str, path: Path) -> None:
            pass

    class Lane:
        sent = 0

        def send(self, changes: Sequence[LabelChange]) -> None:
            self.sent += sum(1 for change in changes if encode(change))

    settings = settings_with(Path(key_file).read_text())
    encord = EncordFeeds(
        lambda: (settings.private_key or "", None),
        url,
        listing_seconds=settings.listing_seconds,
        listing_bytes=settings.listing_bytes,
        connections=Connections(os.environ, THREADS),
    )
    lane: Any = Lane()
    everything = Selection(frozenset(), frozenset())
    ports = {"encord": encord, "live_lane": lane, "backfill_lane": lane, "selection": everything}
    with toolbox(settings, Bucket(), **ports) as tools, Table() as table:
        (project,) = encord.projects([project_hash])
        survey = Survey(tools, project, Places(project_hash), table)
        now = datetime.now(UTC).isoformat()
        work = Work("benchmark", "backfill", project_hash, {"deep": True}, now, now)
        marks = [time.perf_counter()]
        survey.list_encord(None)
        marks.append(time.perf_counter())
        survey.list_bucket()
        survey.look()
        found = sum(1 for _ in survey.wanted(Work("b", "census", project_hash, {}, now, now)))
        marks.append(time.perf_counter())
        survey.queue(work, lambda: None)
        marks.append(time.perf_counter())
    if (found, lane.sent) != (int(count * MISSING), count):
        raise SystemExit(f"{found} labels were found missing and {lane.sent} queued of {count}")
    listing, comparing, queueing = (after - before for before, after in itertools.pairwise(marks))
    return {"listing": listing, "comparing": comparing, "queueing": queueing, "memory": peak_bytes()}


if __name__ == "__main__":
    print(json.dumps(one_size(int(sys.argv[1]), *sys.argv[2:])))
