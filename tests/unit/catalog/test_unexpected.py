"""A full `/tmp` is reported as such, with the setting to raise; other unexpected errors by their type and place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from index_system import IndexSystem
from label_catalog.core.unexpected import explained

FULL = "the ephemeral storage is full: raise catalog_function_ephemeral_storage"


def write_to_a_full_disk() -> None:
    with Path("/dev/full").open("w") as file:
        file.write("a row")


def fill_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE rows (text TEXT)")
    connection.execute("INSERT INTO rows VALUES (?)", ["x" * 100_000])


def fill_duckdb() -> None:
    limits = {"memory_limit": "20MB", "max_temp_directory_size": "1MB", "threads": 1}
    tables = duckdb.connect(":memory:", config=limits)
    tables.execute("CREATE TABLE rows AS SELECT uuid() AS text FROM range(2_000_000)")


@pytest.mark.parametrize("fill", [write_to_a_full_disk, fill_sqlite, fill_duckdb])
def test_full_storage_names_the_setting(fill: Callable[[], None]) -> None:
    with pytest.raises((OSError, sqlite3.Error, duckdb.Error)) as error:
        fill()
    reason, detail = explained(error.value)
    assert reason == "storage"
    assert detail.startswith(FULL)


def test_another_error_has_no_text_of_its_own() -> None:
    reason, detail = explained(ValueError("a label's content"))
    assert (reason, detail) == ("unexpected", "ValueError")


def test_work_that_needs_more_storage_says_so(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    index.save("label-1")

    def write_parquet(*_: object, **__: object) -> int:
        write_to_a_full_disk()
        return 0

    monkeypatch.setattr("label_catalog.adapters.tables_duckdb.write_parquet", write_parquet)
    index.rebuild()
    work = index.system.document(f"{index.base}/state/work/index.json")
    assert work["detail"].startswith(f"storage: {FULL}")
    assert work["state"] == "waiting"
