"""DuckDB as the catalog opens it: within its memory limit, without network; and the pointer to the generation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from label_catalog.adapters.tables_duckdb import Appender, create, microseconds, open_tables, parquet, write_parquet
from label_catalog.core.index_schema import Pointer, Replaced, generation_time, new_generation

NOW = datetime(2026, 5, 1, 12, 0, 0, 123457, tzinfo=UTC)
COLUMNS = {"name": "VARCHAR", "stored_at": "TIMESTAMPTZ", "size": "BIGINT", "good": "BOOLEAN"}


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [("a\"',\n;", NOW, 2**40, True), ("", None, None, None), (None, datetime(1969, 1, 1, tzinfo=UTC), 0, False)]
    tables = open_tables(folder=tmp_path)
    create(tables, "t", COLUMNS)
    with Appender(tables, "t", COLUMNS) as appender:
        for row in rows * 1500:
            appender.add(row)
    file = tmp_path / "it's.parquet"
    assert write_parquet(tables, "SELECT * FROM t", file) == 4500
    query = f"SELECT name, epoch_us(stored_at), size, good, count(*) FROM {parquet(file)} GROUP BY ALL"  # noqa: S608 - a path of our own
    found = tables.execute(query).fetchall()
    expected = {(name, None if at is None else microseconds(at), size, good, 1500) for name, at, size, good in rows}
    assert set(found) == expected


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_parquet('https://example.com/a.parquet')",
        "SELECT * FROM read_parquet('s3://bucket/a.parquet')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '8GB'",
    ],
)
def test_there_is_no_network_access_and_the_configuration_is_locked(query: str, tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error):
        open_tables(folder=tmp_path).execute(query)


def test_a_pointer_round_trips_and_an_unknown_version_is_none() -> None:
    pointer = Pointer(
        new_generation(NOW), NOW.isoformat(), 3, 9, {"labels": "a", "annotations": "b", "ontology": "c"},
        NOW.isoformat(), 2, 1, 7, (Replaced("20260501T110000Z-00000000", NOW.isoformat()),),
    )  # fmt: skip
    assert Pointer.from_document(pointer.as_document()) == pointer
    assert Pointer.from_document(None) is None
    assert Pointer.from_document({**pointer.as_document(), "version": 2}) is None
    assert Pointer.from_document({"version": 1}) is None


def test_the_name_of_a_generation_contains_its_time() -> None:
    assert generation_time(new_generation(NOW)) == NOW.replace(microsecond=0)
    assert new_generation(NOW) != new_generation(NOW)
    assert new_generation(NOW) < new_generation(NOW + timedelta(seconds=1))
    assert generation_time("latest.json") is None
    assert generation_time("20269999T999999Z-00000000") is None
