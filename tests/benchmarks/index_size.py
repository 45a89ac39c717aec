"""Builds, updates and queries the index of a project of one size, in a process of its own: its memory is then its own.

    python tests/benchmarks/index_size.py ROWS

The bucket is in the process. Prints seconds by step, the peak of memory in bytes, and the files' bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from label_catalog.adapters.index_tables import IndexTables
from label_catalog.adapters.tables_duckdb import open_tables, parquet
from label_catalog.core.model import StoredLabel
from label_catalog.entrypoints.index_rows import LabelReader
from label_catalog.toolbox import Toolbox
from worker import peak_bytes

PART = 20_000
CHANGED = 100
MEMORY_LIMIT = "307MB"  # of a function with 1,024 MB
PROJECT = str(uuid.UUID(int=7))
CLASSES = ("Vehicle", "Person", "Lane", "Sign", "Tree")
MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


def label(number: int) -> str:
    """Return a label's hash."""
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % (1 << 128)))


def key(number: int) -> str:
    """Return a label's key."""
    return f"encord/{PROJECT}/labels/{label(number)}.json"


def body(number: int, note: str) -> bytes:
    """Return a label row with five boxes and a classification."""
    item = {"createdAt": "Tue, 04 Mar 2025 07:30:00 UTC", "lastEditedAt": "Tue, 04 Mar 2025 07:30:00 UTC"}
    boxes = [
        {
            **item, "objectHash": f"{number:08x}{place}", "featureHash": name[:4], "name": name,
            "shape": "bounding_box", "boundingBox": {"x": (number % 97) / 100, "y": place / 10, "w": 0.1, "h": 0.2},
        }
        for place, name in enumerate(CLASSES)
    ]  # fmt: skip
    weather = {**item, "classificationHash": f"{number:08x}w", "featureHash": "weat", "name": "Weather"}
    unit = {
        "data_hash": label(number + 1), "width": 1280, "height": 720, "data_sequence": 0,
        "labels": {"objects": boxes, "classifications": [weather]},
    }  # fmt: skip
    row = {
        "label_hash": label(number), "data_hash": label(number + 1), "dataset_title": f"set {number % 10}",
        "note": note, "data_title": f"street {number:07d}.jpg", "data_type": "image",
        "last_edited_at": "2026-05-01 10:00:00",
        "data_units": {label(number + 1): unit}, "object_answers": {}, "classification_answers": {},
    }  # fmt: skip
    return json.dumps(row).encode()


class Bucket:
    """Objects that are made when they are read."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.note = ""

    def read(self, name: str, _most: int, *, measure: bool = True) -> StoredLabel:
        """Return an object as LabelBucket does."""
        del measure
        text = body(self.numbers[name], self.note)
        digest = hashlib.sha256(text).hexdigest()
        return StoredLabel(
            name, f'"{digest[:32]}"', MOMENT, "v1", PROJECT, label(self.numbers[name]), digest, len(text), text
        )


def one_size(count: int, folder: Path) -> dict[str, float]:
    """Build, update and query an index of `count` labels."""
    bucket = Bucket()
    settings = SimpleNamespace(
        key_template="encord/{project_hash}/labels/{label_hash}.json", index_label_bytes=64 << 20, personal_data=False
    )
    tools: Any = SimpleNamespace(
        settings=settings, bucket=bucket, threads=ThreadPoolExecutor(1), check_time=lambda: None,
        telemetry=SimpleNamespace(log=lambda *_, **__: None),
    )  # fmt: skip

    def read(numbers: Sequence[int], tables: IndexTables) -> None:
        bucket.numbers = {key(number): number for number in numbers}
        LabelReader(cast(Toolbox, tools), PROJECT, tables, {}).read_keys(sorted(bucket.numbers))

    def files(name: str) -> tuple[Path, Path]:
        return folder / f"{name}-labels.parquet", folder / f"{name}-annotations.parquet"

    taken: dict[str, float] = {}

    def timed(name: str, act: Callable[[], object]) -> None:
        began = time.perf_counter()
        act()
        taken[name] = time.perf_counter() - began

    parts: list[tuple[Path, Path]] = []

    def reading() -> None:
        for begin in range(0, count, PART):
            with IndexTables(MEMORY_LIMIT, personal=False) as tables:
                read(range(begin, min(begin + PART, count)), tables)
                parts.append(files(f"part-{begin}"))
                tables.write_part(*parts[-1])

    def merging() -> None:
        with IndexTables(MEMORY_LIMIT, personal=False) as tables:
            tables.set_base([labels for labels, _ in parts], [annotations for _, annotations in parts])
            assert tables.keys_that_differ()  # the bucket's listing is empty here: every key is compared
            tables.write(*files("first"))

    def update() -> None:
        bucket.note = "changed"
        labels, annotations = files("first")
        with IndexTables(MEMORY_LIMIT, personal=False) as tables:
            tables.set_base([labels], [annotations])
            read([number * (count // CHANGED) for number in range(CHANGED)], tables)
            assert tables.changes() == CHANGED
            assert tables.write(*files("second")).rows == count

    def query(text: str, expected: int) -> Callable[[], None]:
        def ask() -> None:
            with open_tables(MEMORY_LIMIT, folder) as tables:
                found = tables.execute(text).fetchone()
                assert found is not None
                assert found[0] == expected, found

        return ask

    labels, annotations = files("second")
    timed("reading", reading)
    timed("merging", merging)
    timed("update", update)
    title = f"SELECT count(*) FROM {parquet(labels)} WHERE data_title = 'street {count // 2:07d}.jpg'"  # noqa: S608 - our own
    timed("by_title", query(title, 1))
    boxes = f"SELECT count(*) FROM {parquet(annotations)} WHERE name = 'Person' AND geometry LIKE '%\"w\":0.1%'"  # noqa: S608 - our own
    timed("by_class", query(boxes, count))
    return {**taken, "memory": peak_bytes(), "bytes": labels.stat().st_size + annotations.stat().st_size}


def main() -> Iterator[str]:
    """Yield the result as one line."""
    folder = Path(tempfile.mkdtemp(prefix="index-size-"))
    try:
        yield json.dumps(one_size(int(sys.argv[1]), folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for line in main():
        print(line)
