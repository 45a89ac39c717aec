"""DuckDB within the limits of a Lambda function. The library is imported when a connection is opened: not every
invocation needs it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "300MB"  # leaves room for Python, its libraries and one label row in 1,024 MB
_JOIN_MEMORY = "150MB"  # of one connection beside another
_BATCH = 2000
_ROW_GROUP = 50_000
_COMPRESSION = "COMPRESSION zstd, COMPRESSION_LEVEL 1"  # level 3, the default, takes a third more CPU for larger files
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def open_tables(
    memory_limit: str = MEMORY_LIMIT,
    folder: Path | None = None,
    *,
    threads: int = 1,
    ordered: bool = False,
    only: Path | None = None,
) -> DuckDBPyConnection:
    """Return a connection to an empty database in memory, in UTC, that can access only local files.

    Args:
        memory_limit: what DuckDB may use; it spills into `folder` before it fails.
        folder: for temporary files; None for the system's temporary folder.
        threads: of DuckDB; each needs additional memory, and a function with 1,024 MB has 0.6 of a processor.
        ordered: whether rows keep the order of their file. This saves a sort, but other sorts need more memory.
        only: the one folder whose files may be read and written; None for all files.
    """
    import duckdb  # noqa: PLC0415  (see the module's docstring)

    tables = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(Path(folder or tempfile.gettempdir()) / "duckdb"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_unsigned_extensions": False,
        },
    )
    tables.execute("SET TimeZone = 'UTC'")
    tables.execute(f"SET preserve_insertion_order = {'true' if ordered else 'false'}")
    tables.execute("SET disabled_filesystems = 'HTTPFileSystem,S3FileSystem'")
    if only is not None:
        tables.execute(f"SET allowed_directories = ['{_quoted(only)}']")
        tables.execute("SET enable_external_access = false")
    tables.execute("SET lock_configuration = true")
    return tables


def create(tables: DuckDBPyConnection, name: str, columns: Mapping[str, str]) -> None:
    """Create an empty table."""
    tables.execute(
        f"CREATE OR REPLACE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})"
    )


class Appender:
    """Adds rows to a table in batches; use as a context manager.

    Times are datetimes with a zone. A batch is passed as one list for each column: this is sixteen times as fast as a
    statement for each row, and needs no escaping and no further package.
    """

    def __init__(self, tables: DuckDBPyConnection, name: str, columns: Mapping[str, str]) -> None:
        self._tables = tables
        self._rows: list[Sequence[Any]] = []
        self._times = [place for place, kind in enumerate(columns.values()) if kind == "TIMESTAMPTZ"]
        self._width = len(columns)
        chosen = ", ".join(
            f"make_timestamp(unnest(${place}::BIGINT[]))::TIMESTAMPTZ"
            if kind == "TIMESTAMPTZ"
            else f"unnest(${place}::{kind}[])"
            for place, kind in enumerate(columns.values(), start=1)
        )
        self._insert = f"INSERT INTO {name} SELECT {chosen}"

    def __enter__(self) -> Appender:
        """Return the appender."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Add the remaining rows, unless an error ended the block."""
        if error is None:
            self.flush()

    def add(self, row: Sequence[Any]) -> None:
        """Add a row, its values in the order of the columns."""
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self.flush()

    def flush(self) -> None:
        """Add the rows of the current batch."""
        if not self._rows:
            return
        columns: list[list[Any]] = [list(column) for column in zip(*self._rows, strict=True)]
        for place in self._times:
            columns[place] = [None if moment is None else microseconds(moment) for moment in columns[place]]
        self._tables.execute(self._insert, columns)
        self._rows.clear()


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970 in UTC, exactly."""
    whole = moment - _EPOCH
    return int((whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds)


def write_parquet(
    tables: DuckDBPyConnection,
    query: str,
    path: Path,
    parameters: Sequence[Any] = (),
    *,
    noted: Mapping[str, str] | None = None,
) -> int:
    """Write a query's rows into a Parquet file, and return their number.

    `noted` has texts by name for the file's key-value metadata.
    """
    pairs = ", ".join(f"'{name}': '{_doubled(text)}'" for name, text in (noted or {}).items())
    options = (
        f"FORMAT parquet, {_COMPRESSION}, ROW_GROUP_SIZE {_ROW_GROUP}{f', KV_METADATA {{{pairs}}}' if pairs else ''}"
    )
    found = tables.execute(f"COPY ({query}) TO '{_quoted(path)}' ({options})", parameters).fetchone()
    return int(found[0]) if found else 0


def write_ranges(  # noqa: PLR0913, PLR0917 - what is written, how and where
    tables: DuckDBPyConnection,
    query: Callable[[str], str],
    conditions: Sequence[str],
    order: str,
    path: Path,
    folder: Path,
) -> int:
    """Write sorted rows into a Parquet file, one range after the other; return their number.

    A sort of all rows would need memory and temporary files in proportion to them.

    Args:
        tables: where the query runs.
        query: returns the query of the rows for a condition.
        conditions: of the ranges, in the order of `order` (`ranges`, `hash_ranges`).
        order: columns to sort by; the conditions are on the first one.
        path: the file.
        folder: for temporary files.
    """
    pieces = [path.with_name(f"{path.name}.{number}") for number in range(len(conditions))]
    rows = 0
    for condition, piece in zip(conditions, pieces, strict=True):
        rows += write_parquet(tables, f"FROM ({query(condition)}) ORDER BY {order}", piece)
    if len(pieces) == 1:
        pieces[0].replace(path)
        return rows
    with open_tables(_JOIN_MEMORY, folder, ordered=True) as joined:
        write_parquet(joined, f"FROM {parquet(*pieces)}", path)
    for piece in pieces:
        piece.unlink()
    return rows


def ranges(column: str, bounds: Sequence[str]) -> list[str]:
    """Return the conditions of the ranges between these values of a column."""
    found = []
    for low, high in pairwise([None, *bounds, None]):
        limits = [f"{column} >= '{_doubled(low)}'"] if low is not None else []
        limits += [f"{column} < '{_doubled(high)}'"] if high is not None else []
        found.append(" AND ".join(limits) or "true")
    return found


def hash_ranges(column: str, rows: int, most: int) -> list[str]:
    """Return the conditions of ranges of hashes with about `most` rows each: hashes are random, so these are equal."""
    count = rows // most + 1
    return ranges(column, [f"{(1 << 32) * number // count:08x}" for number in range(1, count)])


def row_groups(tables: DuckDBPyConnection, paths: Sequence[Path], column: str) -> list[tuple[str | None, int]]:
    """Return the least value of a column and the number of rows of each row group, in the order of values."""
    if not paths:
        return []
    names = ", ".join(f"'{_quoted(path)}'" for path in paths)
    return tables.execute(
        f"SELECT stats_min_value, row_group_num_rows FROM parquet_metadata([{names}]) "  # noqa: S608 - own paths
        "WHERE path_in_schema = ? ORDER BY ALL",
        [column],
    ).fetchall()


def parquet(*paths: Path) -> str:
    """Return the SQL that reads Parquet files."""
    names = ", ".join(f"'{_quoted(path)}'" for path in paths)
    return f"read_parquet([{names}])"


def _quoted(path: Path) -> str:
    return _doubled(str(path))


def _doubled(text: str) -> str:
    return text.replace("'", "''")
