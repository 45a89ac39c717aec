"""Builds, updates and queries the index of a project of one size, in a process of its own: its memory is then its own.

    python tests/benchmarks/index_size.py LABELS PARTS

The bucket is in the process. A rebuild reads labels in parts that have nothing to do with each other, so PARTS of them
are read, and DuckDB makes the others. Prints what each step took, the peaks of memory and of the
temporary folder in bytes, and the bytes of the index and of its report.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog_tools import settings_with, toolbox
from folder_bucket import FolderBucket, timed
from label_catalog.adapters.report_queries import index_numbers
from label_catalog.adapters.tables_duckdb import open_tables, parquet, write_parquet
from label_catalog.core.annotations import ontology_names
from label_catalog.core.index_schema import ANNOTATIONS, LABELS, ONTOLOGY
from label_catalog.core.label_events import LabelEvent
from label_catalog.core.model import ListedObject, ListedRow, StoredLabel
from label_catalog.core.places import Places
from label_catalog.core.report_numbers import ReportNumbers
from label_catalog.core.report_page import page
from label_catalog.entrypoints.generations import load_pointer, publish
from label_catalog.entrypoints.index_rows import LabelReader
from label_catalog.entrypoints.index_update import open_index, update, update_from_events
from label_catalog.entrypoints.report import drawn
from label_catalog.toolbox import Toolbox
from spilled import Spilled
from synthetic_rows import MOMENT, PROJECT, STAGE, body, etag, key, label, write_rows
from synthetic_rows import ONTOLOGY as CLASSES
from worker import peak_bytes

PART = 20_000  # as many labels as a rebuild reads between two saves
CHANGED = 100
NO_WORKS: Any = None  # a project that has an index begins no work


class Project(FolderBucket):
    """Labels of numbers, made when they are read, and what Encord lists of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.numbers: dict[str, int] = {}
        self.note = ""

    def give(self, numbers: Iterator[int] | range | list[int]) -> list[str]:
        """Have the objects of these numbers; return their keys."""
        self.numbers = {key(number): number for number in numbers}
        return sorted(self.numbers)

    def read(self, name: str, most: int, *, measure: bool = True) -> StoredLabel:
        """Return an object as LabelBucket does."""
        del most, measure
        number = self.numbers[name]
        text = body(number, self.note)
        digest = hashlib.sha256(text).hexdigest()
        now = etag(number) if not self.note else f'"{digest[:32]}"'
        return StoredLabel(name, now, MOMENT, f"v{number}", PROJECT, label(number), digest, len(text), text)

    def rows(self, project_hash: str, asked: Mapping[str, Any]) -> Iterator[ListedRow]:
        """Yield what Encord lists of labels: of those that were read last."""
        del project_hash, asked
        return listed_rows(self.numbers.values())


def listed_rows(numbers: Any) -> Iterator[ListedRow]:
    """Yield what Encord lists of labels."""
    for number in numbers:
        name = label(number)
        yield ListedRow(name, name, None, f"street {number:07d}.jpg", "main", "image", MOMENT, STAGE, "set")


def listed_objects(count: int) -> Iterator[ListedObject]:
    """Yield the bucket's listing."""
    return (ListedObject(key(number), etag(number), MOMENT) for number in range(count))


def one_size(count: int, most: int, folder: Path) -> dict[str, Any]:
    """Build, update and query an index of `count` labels, of which `most` parts are read from their objects."""
    project = Project(folder)
    found: dict[str, Any] = {}
    with toolbox(settings_with("none"), project) as tools, Spilled() as spilled:
        parts = [
            (numbers, (folder / f"{numbers.start}-{LABELS}", folder / f"{numbers.start}-{ANNOTATIONS}"))
            for numbers in (range(begin, min(begin + PART, count)) for begin in range(0, count, PART))
        ]
        read = parts[:most]
        found["reading"] = timed(lambda: read_parts(tools, project, read))
        found["read"] = sum(len(numbers) for numbers, _ in read)
        for numbers, paths in parts[len(read) :]:
            write_rows(numbers, *paths)
        found["merging"] = timed(lambda: merge(tools, folder, [paths for _, paths in parts], count))
        project.note = "changed"
        keys = project.give([number * (count // CHANGED) for number in range(CHANGED)])
        changed: list[int] = []
        found["update"] = timed(lambda: changed.append(update(tools, NO_WORKS, PROJECT, keys).changed))
        assert changed == [CHANGED]
        project.note = "saved again"
        event = LabelEvent(project.give([count // 3])[0], datetime.now(UTC))
        failed: list[str] = []
        found["freshness"] = timed(lambda: failed.extend(update_from_events(tools, NO_WORKS, [("id", event)])))
        assert not failed
        pointer, _ = load_pointer(tools, PROJECT)
        assert pointer is not None
        assert (pointer.rows, pointer.sequence) == (count, 3)
        files = [folder / Places(PROJECT).generation(pointer.generation, file) for file in (LABELS, ANNOTATIONS)]
    title, boxes = f"data_title = 'street {count // 2:07d}.jpg'", """name = 'Person' AND geometry LIKE '%"w":0.1%'"""
    found["by_title"] = timed(lambda: ask(files[0], title, 1))
    found["by_class"] = timed(lambda: ask(files[1], boxes, count))
    found["bytes"] = sum(path.stat().st_size for path in files)
    pages: list[bytes] = []
    found["report"] = timed(lambda: pages.append(report_page(files[0], files[1], folder)))
    found["report_bytes"] = len(pages[0])
    return {**found, "memory": peak_bytes(), "spilled": spilled.most}


def report_page(labels: Path, annotations: Path, folder: Path) -> bytes:
    """Return the report of an index whose labels were saved on 365 days."""
    spread = folder / "spread.parquet"
    with open_tables(folder=folder) as tables:
        day = "INTERVAL 1 DAY * CAST(hash(key) % 365 AS INTEGER)"
        replaced = ", ".join(f"{column} - {day} AS {column}" for column in ("stored_at", "edited_at"))
        rows = f"SELECT * REPLACE ({replaced}) FROM {parquet(labels)}"  # noqa: S608 - constants of this module
        write_parquet(tables, rows, spread)
        moment = MOMENT.isoformat()
        index = index_numbers(tables, spread, annotations, generation="one", written_at=moment)
    numbers = ReportNumbers(PROJECT, "Streets", moment, index)
    return page(numbers, drawn(numbers)).encode()


def read_parts(tools: Toolbox, project: Project, parts: list[tuple[range, tuple[Path, Path]]]) -> None:
    """Read labels from the bucket into parts, as a rebuild does."""
    for numbers, paths in parts:
        with open_index(tools) as tables:
            LabelReader(tools, PROJECT, tables, ontology_names(CLASSES)).read_keys(project.give(numbers))
            tables.write_part(*paths)


def merge(tools: Toolbox, folder: Path, parts: list[tuple[Path, Path]], count: int) -> None:
    """Make a generation of the parts and both listings, as a rebuild does."""
    ontology = folder / ONTOLOGY
    ontology.write_text(json.dumps(CLASSES))
    with open_index(tools) as tables:
        tables.set_base([labels for labels, _ in parts], [annotations for _, annotations in parts])
        tables.add_listed(listed_rows(range(count)), whole=True)
        tables.add_names(ontology_names(CLASSES))
        tables.add_bucket(listed_objects(count))
        assert not tables.keys_that_differ()
        paths = {"labels": tables.folder / LABELS, "annotations": tables.folder / ANNOTATIONS, "ontology": ontology}
        totals = tables.write(paths["labels"], paths["annotations"])
        assert totals.rows == count
        assert publish(tools, PROJECT, paths, totals, before=None, etag=None) is not None


def ask(path: Path, condition: str, expected: int) -> None:
    """Count the rows of a generation's file that match."""
    with open_tables(folder=path.parent) as tables:
        query = f"SELECT count(*) FROM {parquet(path)} WHERE {condition}"  # noqa: S608 - our own
        found = tables.execute(query).fetchone()
        assert found == (expected,), found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(one_size(int(sys.argv[1]), int(sys.argv[2]), Path(place))))
