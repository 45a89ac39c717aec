"""The index's rows while a generation is built: old rows, rows that were read, and their merge, in DuckDB.

`base` is the state before: a generation, or the parts of a rebuild. `fresh` is what was read from the bucket for
the keys in `touched`. A touched key without a fresh row has no object.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from label_catalog.adapters.tables_duckdb import (
    Appender,
    create,
    hash_ranges,
    microseconds,
    open_tables,
    parquet,
    ranges,
    row_groups,
    write_parquet,
    write_ranges,
)
from label_catalog.core.annotations import Annotation
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, FOREIGN_COLUMNS, LABEL_COLUMNS
from label_catalog.core.model import ListedObject, ListedRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_RANGE_LABELS = 100_000  # rows that are sorted at a time
_RANGE_ANNOTATIONS = 400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LISTED = {
    "label_hash": "VARCHAR", "data_hash": "VARCHAR", "dataset_hash": "VARCHAR", "data_title": "VARCHAR",
    "data_type": "VARCHAR", "dataset_title": "VARCHAR", "branch_name": "VARCHAR", "status": "VARCHAR",
    "edited_at": "TIMESTAMPTZ", "stage": "VARCHAR", "assignee": "VARCHAR", "last_actor": "VARCHAR",
}  # fmt: skip
# What is read from the bucket. Rows wait for a full batch, however small the steps of the reader are.
_READ = {
    "touched": {"key": "VARCHAR"},
    "fresh_labels": LABEL_COLUMNS,
    "fresh_annotations": {**ANNOTATION_COLUMNS, "key": "VARCHAR"},
}
_BUCKET = {"key": "VARCHAR", "identity": "VARCHAR"}
_GRAVES = {"key": "VARCHAR", "gone_at": "TIMESTAMPTZ", "gone_reason": "VARCHAR"}
# Columns that come from a row's body, or from Encord's listing if the body was not read.
_OF_BODY = (
    "data_hash",
    "dataset_hash",
    "data_title",
    "data_type",
    "dataset_title",
    "branch_name",
    "status",
    "edited_at",
)
_PERSONAL = ("assignee", "last_actor")
_COMPARED = [name for name in LABEL_COLUMNS if name not in FOREIGN_COLUMNS and name not in _OF_BODY]
# Not the names: the ontology may have been renamed since. Not the people: a setting controls them.
_DIGESTED = [name for name in ANNOTATION_COLUMNS if name not in ("name", "created_by", "last_edited_by")]
_values = attrgetter(*ANNOTATION_COLUMNS)


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a generation."""

    rows: int
    annotations: int
    parsed: int
    watermark: datetime | None


class IndexTables:
    """The tables of one run; use as a context manager, which removes its files."""

    def __init__(self, memory_limit: str, *, personal: bool, threads: int = 1) -> None:
        """`personal`: whether assignee and last actor are stored."""
        self.folder = Path(tempfile.mkdtemp(prefix="label-catalog-index-"))
        self._personal = personal
        self._all_listed = False
        self._base: dict[str, list[Path]] = {"labels": [], "annotations": []}
        self._connection = open_tables(memory_limit, self.folder, threads=threads)
        self._read: dict[str, Appender] = {}
        for name, columns in _READ.items():
            create(self._connection, name, columns)
            self._read[name] = Appender(self._connection, name, columns)
        create(self._connection, "listed", _LISTED)
        create(self._connection, "graves", _GRAVES)
        create(self._connection, "names", {"feature_hash": "VARCHAR", "name": "VARCHAR"})
        create(self._connection, "bucket", _BUCKET)
        create(self._connection, "base_labels", LABEL_COLUMNS)
        create(self._connection, "base_annotations", ANNOTATION_COLUMNS)

    def __enter__(self) -> IndexTables:
        """Return the tables."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the files."""
        self._connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _tables(self) -> DuckDBPyConnection:
        """The connection, with everything in it that was read."""
        for appender in self._read.values():
            appender.flush()
        return self._connection

    def set_base(self, labels: Sequence[Path], annotations: Sequence[Path]) -> None:
        """Use the content of these Parquet files as the state before."""
        self._base = {"labels": list(labels), "annotations": list(annotations)}
        for name, paths in (("base_labels", labels), ("base_annotations", annotations)):
            if paths:
                self._tables.execute(f"DROP TABLE IF EXISTS {name}")
                self._tables.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {parquet(*paths)}")

    # What was read

    def forget(self) -> None:
        """Remove what was read from the bucket."""
        for name in ("touched", "fresh_labels", "fresh_annotations", "bucket"):
            self._tables.execute(f"DELETE FROM {name}")

    def touch(self, keys: Iterable[str]) -> None:
        """Record keys whose objects are read again."""
        for key in keys:
            self._read["touched"].add((key,))

    def add_label(self, row: Sequence[Any]) -> None:
        """Add a label's row; one without a label hash is an object that is no label."""
        self._read["fresh_labels"].add(row)

    def add_annotation(self, key: str, found: Annotation) -> None:
        """Add an annotation of the object under a key."""
        self._read["fresh_annotations"].add((*_values(found), key))

    def add_listed(self, rows: Iterable[ListedRow], *, whole: bool) -> None:
        """Record rows of Encord's listing; `whole`: it is the listing of the whole project."""
        self._all_listed = self._all_listed or whole
        with Appender(self._tables, "listed", _LISTED) as appender:
            for row in rows:
                if row.label_hash is not None:
                    people = (row.assignee, row.last_actor) if self._personal else (None, None)
                    appender.add(
                        (
                            row.label_hash, row.data_hash, row.dataset_hash, row.data_title, row.data_type or None,
                            row.dataset_title, row.branch_name, row.status, row.edited_at, row.stage, *people,
                        )
                    )  # fmt: skip

    def add_graves(self, graves: Iterable[tuple[str, datetime | None, str | None]]) -> None:
        """Record tombstones: key, time, reason."""
        with Appender(self._tables, "graves", _GRAVES) as appender:
            for grave in graves:
                appender.add(grave)

    def add_names(self, names: Mapping[str, str]) -> None:
        """Record the ontology's names by feature hash, which replace those in the rows."""
        self._tables.execute("DELETE FROM names")
        with Appender(self._tables, "names", {"feature_hash": "VARCHAR", "name": "VARCHAR"}) as appender:
            for item in names.items():
                appender.add(item)

    def add_bucket(self, objects: Iterable[ListedObject]) -> None:
        """Record the bucket's objects."""
        with Appender(self._tables, "bucket", _BUCKET) as appender:
            for found in objects:
                appender.add((found.key, identity(found.etag, found.modified_at)))

    # Derived rows

    def keys_of_the_same_labels(self) -> list[str]:
        """Return further keys of touched labels: a label's annotations are those of its newest object.

        If the key template contains a title, a label gets another key when the title changes.
        """
        found = self._tables.execute(
            "SELECT key FROM base_labels WHERE label_hash IN ("
            "SELECT label_hash FROM fresh_labels UNION "
            "SELECT label_hash FROM base_labels WHERE key IN (SELECT key FROM touched)) "
            "AND key NOT IN (SELECT key FROM touched)"
        ).fetchall()
        return [key for (key,) in found]

    def keys_that_differ(self) -> list[str]:
        """Return the keys under which the bucket's listing and the base differ, and those of labels with several."""
        found: set[str] = set()
        for condition in self._key_ranges():
            rows = self._tables.execute(
                f"SELECT coalesce(b.key, l.key) FROM (FROM bucket WHERE {condition}) b "
                f"FULL JOIN (FROM base_labels WHERE {condition}) l ON b.key = l.key "
                f"WHERE b.identity IS DISTINCT FROM {_identity('l')}"
            ).fetchall()
            found |= {key for (key,) in rows}
        labels = sum(count for _, count in row_groups(self._tables, self._base["labels"], "key"))
        for condition in hash_ranges("label_hash", labels, _RANGE_LABELS):
            rows = self._tables.execute(
                f"SELECT key FROM base_labels WHERE {condition} AND label_hash IN (SELECT label_hash FROM base_labels "
                f"WHERE {condition} AND label_hash IS NOT NULL GROUP BY label_hash HAVING count(*) > 1)"
            ).fetchall()
            found |= {key for (key,) in rows}
        return sorted(found)

    def touched_labels(self) -> list[str]:
        """Return the hashes of the labels that were read."""
        found = self._tables.execute("SELECT DISTINCT label_hash FROM fresh_labels WHERE label_hash IS NOT NULL")
        return [label for (label,) in found.fetchall()]

    def changes(self) -> int:
        """Return the number of touched keys whose rows differ from the base."""
        same = " AND ".join(
            f"f.{name} IS NOT DISTINCT FROM b.{name}" for name in ("etag", "version_id", "sha256", "size")
        )
        found = self._tables.execute(
            "WITH f AS (SELECT * FROM fresh_labels WHERE label_hash IS NOT NULL), "
            "b AS (SELECT * FROM base_labels WHERE label_hash IS NOT NULL AND key IN (SELECT key FROM touched)) "
            f"SELECT count(*) FROM f FULL JOIN b ON f.key = b.key WHERE f.key IS NULL OR b.key IS NULL OR NOT ({same})"
        ).fetchone()
        return int(found[0]) if found else 0

    def write(self, labels: Path, annotations: Path) -> Totals:
        """Write base and fresh rows as a generation's files."""
        tables = self._tables
        tables.execute(
            "CREATE OR REPLACE TABLE stale AS "
            "SELECT label_hash FROM base_labels WHERE key IN (SELECT key FROM touched) AND label_hash IS NOT NULL "
            "UNION SELECT label_hash FROM fresh_labels WHERE label_hash IS NOT NULL"
        )
        tables.execute(
            "CREATE OR REPLACE TABLE newest AS SELECT key FROM fresh_labels WHERE parsed "
            "QUALIFY row_number() OVER (PARTITION BY label_hash ORDER BY stored_at DESC, key DESC) = 1"
        )
        rows = write_ranges(tables, self._merged_labels, self._key_ranges(), "key", labels, self.folder)
        order = "label_hash, frame, kind, hash"
        lines = write_ranges(tables, self._merged_annotations, self._hash_ranges(), order, annotations, self.folder)
        found = tables.execute(
            f"SELECT count(*) FILTER (parsed), epoch_us(max(stored_at)) FROM {parquet(labels)}"
        ).fetchone()
        parsed, newest = found or (0, None)
        watermark = None if newest is None else _EPOCH + timedelta(microseconds=newest)
        return Totals(rows, lines, int(parsed), watermark)

    def _key_ranges(self) -> list[str]:
        """Return ranges of keys with about as many labels each: the base's files are sorted by key."""
        bounds: list[str] = []
        rows = 0
        for least, count in row_groups(self._tables, self._base["labels"], "key"):
            if rows >= _RANGE_LABELS and least is not None:
                bounds.append(least)
                rows = 0
            rows += count
        return ranges("key", bounds)

    def _hash_ranges(self) -> list[str]:
        """Return ranges of label hashes with about as many annotations each."""
        groups = row_groups(self._tables, self._base["annotations"], "label_hash")
        return hash_ranges("label_hash", sum(count for _, count in groups), _RANGE_ANNOTATIONS)

    def write_part(self, labels: Path, annotations: Path) -> None:
        """Write the fresh rows as a part, including objects that are not labels, and forget them."""
        write_parquet(self._tables, "SELECT * FROM fresh_labels", labels)
        columns = ", ".join(ANNOTATION_COLUMNS)
        write_parquet(self._tables, f"SELECT {columns} FROM fresh_annotations", annotations)
        self.forget()

    def _merged_labels(self, limit: str) -> str:
        base = (
            "SELECT * FROM base_labels WHERE label_hash IS NOT NULL AND key NOT IN (SELECT key FROM touched) "
            f"AND {limit}"
        )
        kept_graves = f"SELECT key, gone_at, gone_reason FROM base_labels WHERE gone_at IS NOT NULL AND {limit}"
        known = ", ".join(f"coalesce(r.{name}, l.{name}) AS {name}" for name in _OF_BODY)
        foreign = ", ".join(f"l.{name} AS {name}" for name in ("stage", *_PERSONAL))
        fresh = f"SELECT * FROM fresh_labels WHERE label_hash IS NOT NULL AND {limit}"
        if self._all_listed:  # everything that is not from the bucket is replaced
            rows, kept, graves = f"{base} UNION ALL {fresh}", "", "SELECT * FROM graves"
        else:
            rows, kept, graves = fresh, f"UNION ALL {base}", kept_graves
        columns = self._columns(LABEL_COLUMNS, _PERSONAL)
        self._tables.execute(f"CREATE OR REPLACE TABLE ranged AS {rows}")
        listed = (
            "SELECT * FROM listed WHERE label_hash IN (SELECT label_hash FROM ranged) "
            "QUALIFY row_number() OVER (PARTITION BY label_hash) = 1"
        )
        return (
            f"SELECT {columns} FROM (SELECT r.* REPLACE ({known}, {foreign}, g.gone_at AS gone_at, "
            "g.gone_reason AS gone_reason) FROM ranged r "
            f"LEFT JOIN ({listed}) l ON r.label_hash = l.label_hash LEFT JOIN ({graves}) g ON r.key = g.key {kept})"
        )

    def _columns(self, columns: Iterable[str], personal: Sequence[str]) -> str:
        """Return columns for a SELECT. If a setting was turned off, people are removed from older rows too."""
        return ", ".join(
            f"NULL::VARCHAR AS {name}" if name in personal and not self._personal else name for name in columns
        )

    def _merged_annotations(self, limit: str) -> str:
        columns = self._columns(ANNOTATION_COLUMNS, ("created_by", "last_edited_by"))
        named = ", ".join(
            "coalesce(n.name, a.name) AS name" if name == "name" else f"a.{name} AS {name}"
            for name in ANNOTATION_COLUMNS
        )
        return (
            f"SELECT {named} FROM ("
            f"SELECT {columns} FROM base_annotations WHERE label_hash NOT IN (FROM stale) AND {limit} UNION ALL "
            f"SELECT {columns} FROM fresh_annotations WHERE key IN (FROM newest) AND {limit}"
            ") a LEFT JOIN names n ON a.feature_hash = n.feature_hash"
        )

    # Comparison

    def differences(
        self, ours: tuple[Path, Path], theirs: tuple[Path, Path], most: int
    ) -> tuple[int, list[tuple[str, str | None, str | None]]]:
        """Compare two generations by the columns that come from the bucket.

        Return the number of different labels, and for some the key and both identities (None: the key does not exist).
        """
        same = " AND ".join(
            [f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in _COMPARED]
            + [f"(NOT a.parsed OR a.{name} IS NOT DISTINCT FROM b.{name})" for name in _OF_BODY]
            + ["a.lines IS NOT DISTINCT FROM b.lines", "a.digest IS NOT DISTINCT FROM b.digest"]
        )
        self._tables.execute("CREATE OR REPLACE TABLE differing (key VARCHAR, ours VARCHAR, theirs VARCHAR)")
        for condition in self._key_ranges():
            sides = ", ".join(
                f"{side}_labels AS (FROM {parquet(labels)} WHERE {condition}), "
                f"{side} AS (SELECT l.*, d.lines, d.digest FROM {side}_labels l LEFT JOIN ("
                f"SELECT label_hash, count(*) AS lines, bit_xor(hash({', '.join(_DIGESTED)})) AS digest "
                f"FROM {parquet(annotations)} WHERE label_hash IN (SELECT label_hash FROM {side}_labels) "
                "GROUP BY label_hash) d ON l.label_hash = d.label_hash)"
                for side, (labels, annotations) in (("a", ours), ("b", theirs))
            )
            self._tables.execute(
                f"INSERT INTO differing WITH {sides} "
                f"SELECT coalesce(a.key, b.key) AS key, {_identity('a')} AS ours, {_identity('b')} AS theirs "
                "FROM a FULL JOIN b ON a.key = b.key "
                f"WHERE a.key IS NULL OR b.key IS NULL OR NOT ({same})"
            )
        found = self._tables.execute("SELECT count(*) FROM differing").fetchone()
        rows = self._tables.execute(
            f"SELECT key, ours, theirs FROM differing ORDER BY key LIMIT {int(most)}"
        ).fetchall()
        return (int(found[0]) if found else 0), rows

    def same(self, ours: Path, theirs: Path) -> bool:
        """Return whether two generations' labels are equal in every column."""
        columns = ", ".join(LABEL_COLUMNS)
        first, second = (
            self._tables.execute(f"SELECT count(*), bit_xor(hash({columns})) FROM {parquet(path)}").fetchone()
            for path in (ours, theirs)
        )
        return first == second

    def rows_of(self, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield key and identity of the base's rows with these keys."""
        query = f"SELECT key, {_identity('l')} FROM base_labels l WHERE key IN (SELECT unnest($1::VARCHAR[]))"
        yield from self._tables.execute(query, [list(keys)]).fetchall()


def identity(etag: str, modified_at: datetime) -> str:
    """Return the identity of an object under a key. A listing has no versions, and times in whole seconds."""
    return f"{etag}@{microseconds(modified_at) // 1_000_000}"


def _identity(table: str) -> str:
    return f"({table}.etag || '@' || (epoch_us({table}.stored_at) // 1000000)::VARCHAR)"
