"""The report's numbers of one index generation, as SQL. DuckDB: https://duckdb.org/docs/sql/introduction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from label_catalog.adapters.tables_duckdb import parquet
from label_catalog.core.report_numbers import (
    DAYS,
    MOST_CLASSES,
    MOST_SERIES,
    NOT_KNOWN,
    REST,
    DayCount,
    Delays,
    Group,
    IndexNumbers,
    folded,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Days are in UTC whatever the session's time zone is; DuckDB's own conversion would need its extension icu.
_DAY = "CAST(make_timestamp(epoch_us(stored_at)) AS DATE)"
_DELAY = "greatest(0, (epoch_us(stored_at) - epoch_us(edited_at)) / 1e6)"
_PERCENTILES = "count(*), quantile_cont(delay, 0.5), quantile_cont(delay, 0.9), quantile_cont(delay, 0.99), max(delay)"


def index_numbers(
    tables: DuckDBPyConnection, labels: Path, annotations: Path, *, generation: str, written_at: str
) -> IndexNumbers:
    """Return the content of a generation's files as numbers."""
    for name, path in (("labels", labels), ("annotations", annotations)):
        tables.execute(f"CREATE OR REPLACE VIEW {name} AS FROM {parquet(path)}")
    rows, size, not_parsed, gone = _one(
        tables,
        "SELECT count(*), coalesce(sum(size), 0), count(*) FILTER (NOT parsed), count(gone_at) FROM labels",
    )
    classes = _classes(tables)
    return IndexNumbers(
        generation=generation,
        written_at=written_at,
        labels=int(rows),
        size=int(size),
        not_parsed=int(not_parsed),
        gone=int(gone),
        annotations=int(_one(tables, "SELECT count(*) FROM annotations")[0]),
        saved=_saved(tables),
        growth=_growth(tables),
        datasets=_groups(tables, "coalesce(dataset_title, dataset_hash)"),
        stages=_groups(tables, "stage"),
        classes=classes[:MOST_CLASSES],
        class_count=len(classes),
        delays=_delays(tables),
        delays_by_day=_delays_by_day(tables),
    )


def _saved(tables: DuckDBPyConnection) -> tuple[DayCount, ...]:
    """Return the labels of the last days by data set; the largest data sets have their own counts."""
    found = tables.execute(
        f"""
        WITH saved AS (
            SELECT {_DAY} AS day, coalesce(dataset_title, dataset_hash, ?) AS name, size FROM labels
            WHERE stored_at IS NOT NULL
        ), recent AS (
            SELECT * FROM saved WHERE day > (SELECT max(day) FROM saved) - {DAYS}
        ), largest AS (
            SELECT name FROM recent GROUP BY name ORDER BY count(*) DESC, name LIMIT {MOST_SERIES}
        )
        SELECT CAST(day AS VARCHAR), CASE WHEN name IN (FROM largest) THEN name ELSE ? END AS shown,
               count(*), coalesce(sum(size), 0)
        FROM recent GROUP BY day, shown ORDER BY day, count(*) DESC, shown
        """,  # noqa: S608 - constants of this module
        [NOT_KNOWN, REST],
    ).fetchall()
    return tuple(DayCount(day, int(labels), int(size), group) for day, group, labels, size in found)


def _growth(tables: DuckDBPyConnection) -> tuple[DayCount, ...]:
    """Return the numbers of labels and bytes at the end of each of the last days."""
    found = tables.execute(
        f"""
        WITH days AS (
            SELECT {_DAY} AS day, count(*) AS labels, coalesce(sum(size), 0) AS size FROM labels
            WHERE stored_at IS NOT NULL GROUP BY day
        ), sums AS (
            SELECT day, sum(labels) OVER up_to AS labels, sum(size) OVER up_to AS size FROM days
            WINDOW up_to AS (ORDER BY day)
        )
        SELECT CAST(day AS VARCHAR), labels, size FROM sums
        WHERE day > (SELECT max(day) FROM days) - {DAYS} ORDER BY day
        """  # noqa: S608 - constants of this module
    ).fetchall()
    return tuple(DayCount(day, int(labels), int(size)) for day, labels, size in found)


def _groups(tables: DuckDBPyConnection, name: str) -> tuple[Group, ...]:
    query = f"SELECT coalesce({name}, ?) AS shown, count(*), coalesce(sum(size), 0) FROM labels GROUP BY shown"  # noqa: S608 - constants of this module
    found = tables.execute(query, [NOT_KNOWN]).fetchall()
    return folded(Group(shown, int(labels), int(size)) for shown, labels, size in found)


def _classes(tables: DuckDBPyConnection) -> tuple[Group, ...]:
    found = tables.execute(
        """
        SELECT coalesce(name, feature_hash, ?) AS class, coalesce(shape, kind, '') AS detail,
               count(DISTINCT label_hash), count(*)
        FROM annotations GROUP BY class, detail ORDER BY count(*) DESC, class, detail
        """,
        [NOT_KNOWN],
    ).fetchall()
    return tuple(
        Group(name, int(labels), annotations=int(count), detail=detail) for name, detail, labels, count in found
    )


def _delays(tables: DuckDBPyConnection) -> Delays | None:
    found = _one(tables, f"SELECT {_PERCENTILES} FROM {_measured()}")  # noqa: S608 - constants of this module
    return _spans(found) if found[0] else None


def _delays_by_day(tables: DuckDBPyConnection) -> tuple[Delays, ...]:
    measured = _measured()
    found = tables.execute(
        f"SELECT CAST(day AS VARCHAR), {_PERCENTILES} FROM {measured}"  # noqa: S608 - constants of this module
        f" WHERE day > (SELECT max(day) FROM {measured}) - {DAYS} GROUP BY day ORDER BY day"
    ).fetchall()
    return tuple(_spans(values, day) for day, *values in found)


def _spans(values: Sequence[Any], day: str = "") -> Delays:
    labels, p50, p90, p99, longest = values
    return Delays(int(labels), float(p50), float(p90), float(p99), float(longest), day)


def _measured() -> str:
    return (
        f"(SELECT {_DAY} AS day, {_DELAY} AS delay FROM labels"  # noqa: S608 - constants of this module
        " WHERE stored_at IS NOT NULL AND edited_at IS NOT NULL)"
    )


def _one(tables: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    found = tables.execute(query).fetchone()
    return found or ()
