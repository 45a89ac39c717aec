"""What grows with a project, and how: requests, statements and memory. No clock is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import snapshot_size
import synthetic_rows
from index_system import IndexSystem, label_body
from label_catalog.adapters import index_tables, snapshot_tables
from label_catalog.adapters.tables_duckdb import Appender
from label_catalog.core.index_schema import ANNOTATIONS
from label_catalog.core.snapshots import MANIFEST
from label_catalog.entrypoints import index_work

ROOT = Path(__file__).parents[3]
OPERATIONS = ("GetObject", "HeadObject", "PutObject", "DeleteObject", "CopyObject", "ListObjectsV2")


def requests(index: IndexSystem, act: Callable[[], object]) -> dict[str, int]:
    """Return how many requests of each kind S3 got meanwhile."""
    count = index.system.aws.count
    before = {name: count(name) for name in OPERATIONS}
    act()
    return {name: count(name) - before[name] for name in OPERATIONS}


def changed(index: IndexSystem, labels: int, note: str) -> dict[str, int]:
    """Return the requests of an update with so many changed labels."""
    for number in range(labels):
        index.save(f"label-{number:03d}", label_body(f"label-{number:03d}", note=note))
    found = requests(index, index.deliver)
    assert index.differences() == []
    return found


def test_an_update_reads_each_changed_label_once_and_a_generation_once(index: IndexSystem) -> None:
    """... however many labels the project has."""
    by_size = []
    for size in (10, 60):
        for number in range(size):
            index.save(f"label-{number:03d}")
        index.events.clear()
        index.rebuild()
        one, seven = changed(index, 1, f"one of {size}"), changed(index, 7, f"seven of {size}")
        assert seven == {**one, "GetObject": one["GetObject"] + 6}
        assert one["PutObject"] == 4  # three files and the pointer
        by_size.append(one)
    assert by_size[0] == by_size[1]


def test_rows_go_to_duckdb_in_full_batches(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader goes in steps of 64 labels; a statement for each of them took three times as long."""
    batches: list[int] = []
    flush = Appender.flush

    def counted(self: Appender) -> None:
        if self._rows and "INTO fresh_annotations " in self._insert:
            batches.append(len(self._rows))
        flush(self)

    monkeypatch.setattr(Appender, "flush", counted)
    for number in range(150):
        index.save(f"label-{number:03d}", label_body(f"label-{number:03d}", boxes=20))
    index.events.clear()
    index.rebuild()
    assert batches == [2000, 1000]


def test_a_generation_is_the_same_however_many_ranges_it_is_written_in(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(60)]
    for label in labels:
        index.save(label, label_body(label, boxes=3))
    index.events.clear()
    index.rebuild()
    whole = index.read()
    ranges: list[int] = []
    write = index_tables.write_ranges

    def counted(tables: Any, query: Any, conditions: list[str], *others: Any) -> int:
        ranges.append(len(conditions))
        return write(tables, query, conditions, *others)

    monkeypatch.setattr(index_tables, "write_ranges", counted)
    monkeypatch.setattr(index_tables, "_RANGE_LABELS", 7)
    monkeypatch.setattr(index_tables, "_RANGE_ANNOTATIONS", 20)
    monkeypatch.setattr(index_work, "_PART", 5)
    index.rebuild()
    assert ranges == [6, 10]
    for table in ("labels", "annotations"):
        assert index.read().rows(table) == whole.rows(table)
    index.save(labels[7], label_body(labels[7], boxes=1))
    index.save(labels[8], label_body(labels[8], boxes=9))
    index.delete(labels[9])
    index.settle()
    assert index.differences() == []
    keys = [row["key"] for row in index.read().rows("labels")]
    assert keys == sorted(keys)


def test_a_snapshot_is_the_same_however_many_ranges_it_is_read_in(tmp_path: Path) -> None:
    """... and so are its difference from another one and its formats."""
    found = []
    for name, most_labels, most_annotations in (("whole", 100_000, 400_000), ("ranges", 70, 110)):
        folder = tmp_path / name
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot_tables, "_RANGE_LABELS", most_labels)
            patch.setattr(snapshot_tables, "_RANGE_ANNOTATIONS", most_annotations)
            snapshot_size.one_size(400, folder, ["coco", "yolo", "jsonl"])
            one, two = ((folder / f"encord/{synthetic_rows.PROJECT}/snapshots" / side) for side in ("one", "two"))
            files = [(side / MANIFEST, side / ANNOTATIONS) for side in (one, two)]
            difference = snapshot_tables.difference(files[0], files[1], folder)
        assert difference["changed"]["total"] == 4
        documents = json.loads((two / "snapshot.json").read_text())
        assert documents["counts"]["distinct_objects"] == documents["counts"]["labels"] == 400
        kept = {
            path.relative_to(two): path.read_bytes()
            for path in two.rglob("*")
            if path.is_file() and path.suffix not in (".parquet", ".json")
        }
        coco = json.loads((two / "formats/coco/annotations.json").read_text())
        rows = [duckdb.read_parquet(str(path)).fetchall() for path in files[1]]
        found.append((kept, coco["images"], coco["annotations"], documents["classes"], difference, rows))
    assert found[0] == found[1]


def test_an_index_is_merged_and_updated_within_the_functions_memory() -> None:
    """A function of 400 MB, of which DuckDB may have 120 MB, merges and updates 30,000 labels with five boxes."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("lambda", "tests/support", "tests/benchmarks"))
    program = ROOT / "tests" / "benchmarks" / "index_size.py"
    done = subprocess.run(
        [sys.executable, str(program), "30000", "0"],
        env={**os.environ, "PYTHONPATH": paths, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["memory"] < 400 << 20
    assert found["spilled"] < 5 * found["bytes"]  # a generation, its ranges, the next one, and nothing that is spilled
