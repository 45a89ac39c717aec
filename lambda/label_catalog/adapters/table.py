"""One project's labels and objects in a temporary database file, so that memory stays constant for a million rows.

SQLite from Python's standard library; why not DuckDB: docs/decisions.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from label_catalog.core.model import ListedObject, ListedRow, StoredObject

_BATCH = 5000
_NO_TIME = "-"

_SCHEMA = """
CREATE TABLE labels (
    key TEXT PRIMARY KEY, label TEXT NOT NULL, data TEXT NOT NULL, title TEXT, stage TEXT, edited INTEGER,
    selected INTEGER NOT NULL, gone INTEGER NOT NULL,
    etag TEXT, modified INTEGER, stored INTEGER, looked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE others (key TEXT PRIMARY KEY, etag TEXT NOT NULL, modified INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE units (data TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE blank (data TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A label as it is in the table. `etag` is None if the bucket has no object under its key."""

    key: str
    label_hash: str
    data_hash: str
    title: str | None
    stage: str | None
    edited_at: datetime | None
    selected: bool
    gone: bool
    etag: str | None
    modified_at: datetime | None
    stored_edit: datetime | None


class Table:
    """The table of one run; use as a context manager, which removes its file."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="label-catalog-")
        self.folder = Path(self._folder.name)
        self._db = sqlite3.connect(self.folder / "table.db", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-65536", "temp_store=FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Table:
        """Return the table."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._db.close()
        self._folder.cleanup()

    def add_rows(self, rows: Iterable[tuple[str, ListedRow, bool]]) -> None:
        """Record listed rows with their key and whether they are selected. Of two with one key, the later edit wins."""
        self._many(
            "INSERT INTO labels (key, label, data, title, stage, edited, selected, gone) VALUES (?,?,?,?,?,?,?,?) "
            "ON CONFLICT (key) DO UPDATE SET stage = excluded.stage, edited = excluded.edited, "
            "selected = excluded.selected, gone = excluded.gone "
            "WHERE coalesce(excluded.edited, 0) >= coalesce(labels.edited, 0)",
            (
                (
                    key, row.label_hash, row.data_hash, row.data_title, row.stage, _micro(row.edited_at), selected,
                    row.is_deleted,
                )
                for key, row, selected in rows
            ),
        )  # fmt: skip

    def add_units(self, data_hashes: Iterable[str]) -> None:
        """Record data units that have a task in a selected stage."""
        self._many("INSERT OR IGNORE INTO units VALUES (?)", ((data,) for data in data_hashes))

    def add_blank(self, data_hashes: Iterable[str]) -> None:
        """Record data units whose labelling has not begun."""
        self._many("INSERT OR IGNORE INTO blank VALUES (?)", ((data,) for data in data_hashes))

    def units_without_label(self) -> Iterator[str]:
        """Yield recorded units without a selected row in the listing."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_data ON labels (data) WHERE selected")
        query = (
            "SELECT data FROM units WHERE NOT EXISTS (SELECT 1 FROM labels WHERE labels.data = units.data AND selected)"
        )
        yield from (data for (data,) in self._db.execute(query).fetchall())

    def units_without_row(self) -> Iterator[str]:
        """Yield recorded units without any listed row."""
        query = (
            "SELECT data FROM units WHERE data NOT IN (SELECT data FROM labels) "
            "AND data NOT IN (SELECT data FROM blank) ORDER BY data"
        )
        yield from (data for (data,) in self._db.execute(query).fetchall())

    def add_objects(self, objects: Iterable[ListedObject]) -> None:
        """Record the bucket's objects: with their label, or among the others."""
        batch: list[tuple[str, int, str]] = []
        for found in objects:
            batch.append((found.etag, _micro(found.modified_at) or 0, found.key))
            if len(batch) == _BATCH:
                self._put_objects(batch)
                batch = []
        self._put_objects(batch)

    def _put_objects(self, batch: list[tuple[str, int, str]]) -> None:
        self._db.execute("BEGIN")
        for etag, modified, key in batch:
            cursor = self._db.execute("UPDATE labels SET etag = ?, modified = ? WHERE key = ?", (etag, modified, key))
            if not cursor.rowcount:
                self._db.execute("INSERT OR REPLACE INTO others VALUES (?,?,?)", (key, etag, modified))
        self._db.execute("COMMIT")

    def apply_known(self, path: Path) -> None:
        """Use the records of an earlier run for objects that have not changed since; a broken file is ignored."""
        try:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                self._many(
                    "UPDATE labels SET stored = ?, looked = 1 WHERE key = ? AND etag = ? AND modified = ?",
                    (
                        (None if edited == _NO_TIME else int(edited), key, etag, int(modified))
                        for key, etag, modified, edited in (line.rstrip("\n").split("\t") for line in lines)
                    ),
                )
        except (OSError, EOFError, ValueError, UnicodeDecodeError):
            self._db.execute("ROLLBACK") if self._db.in_transaction else None

    def save_known(self, path: Path) -> None:
        """Write what is known of all objects."""
        query = "SELECT key, etag, modified, stored FROM labels WHERE looked AND etag IS NOT NULL ORDER BY key"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            for key, etag, modified, stored in self._db.execute(query):
                file.write(f"{key}\t{etag}\t{modified}\t{_NO_TIME if stored is None else stored}\n")

    def not_looked_at(self, after: str, count: int) -> list[str]:
        """Return keys after `after` of objects whose edit time is not known yet, in order."""
        query = (
            "SELECT key FROM labels WHERE key > ? AND etag IS NOT NULL AND selected AND NOT looked ORDER BY key LIMIT ?"
        )
        return [key for (key,) in self._db.execute(query, (after, count))]

    def looked_at(self, found: Iterable[tuple[str, StoredObject | None]]) -> None:
        """Record what was found under keys; None: the object was deleted since it was listed."""
        self._many(
            "UPDATE labels SET etag = ?, modified = ?, stored = ?, looked = 1 WHERE key = ?",
            (
                (None, None, None, key)
                if stored is None
                else (stored.etag, _micro(stored.modified_at), _micro(stored.edited_at), key)
                for key, stored in found
            ),
        )

    def lines(self, after: str = "", *, selected: bool | None = None) -> Iterator[Line]:
        """Yield labels after `after`, in the order of their keys."""
        query = (
            "SELECT key, label, data, title, stage, edited, selected, gone, etag, modified, stored FROM labels "
            "WHERE key > ? AND (? IS NULL OR selected = ?) ORDER BY key LIMIT ?"
        )
        while batch := self._db.execute(query, (after, selected, selected, _BATCH)).fetchall():
            for key, label, data, title, stage, edited, chosen, gone, etag, modified, stored in batch:
                times = (_moment(edited), bool(chosen), bool(gone), etag, _moment(modified), _moment(stored))
                yield Line(key, label, data, title, stage, *times)
            after = batch[-1][0]

    def others(self) -> Iterator[str]:
        """Yield the keys of objects without a listed row."""
        yield from (key for (key,) in self._db.execute("SELECT key FROM others ORDER BY key").fetchall())

    def selected_label(self, label_hash: str) -> bool:
        """Return whether a selected row with this label hash was listed."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_label ON labels (label) WHERE selected")
        query = "SELECT 1 FROM labels WHERE label = ? AND selected"
        return self._db.execute(query, (label_hash,)).fetchone() is not None

    def count(self, what: str) -> int:
        """Return the number of `rows`, `selected`, `objects` or `uninitialised`."""
        queries = {
            "rows": "SELECT count(*) FROM labels",
            "selected": "SELECT count(*) FROM labels WHERE selected",
            "uninitialised": "SELECT count(*) FROM blank",
            "objects": "SELECT (SELECT count(*) FROM labels WHERE etag IS NOT NULL) + (SELECT count(*) FROM others)",
        }
        (found,) = self._db.execute(queries[what]).fetchone()
        return int(found)

    def _many(self, statement: str, values: Iterable[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(statement, values)
        self._db.execute("COMMIT")


def _micro(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1_000_000)


def _moment(microseconds: int | None) -> datetime | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
