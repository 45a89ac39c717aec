"""DuckDB for snapshots: filter, freeze, compare. Each connection can access only one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from label_catalog.adapters.tables_duckdb import hash_ranges, open_tables, parquet, write_parquet, write_ranges
from label_catalog.core.filters import TABLE, Filter, checked, refused, statement
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS
from label_catalog.core.labelled_data import Annotation, Labelled, units_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STEP = 2000
_MOST = 1000
_RANGE_LABELS = 100_000  # rows that are sorted, joined or counted at a time
_RANGE_ANNOTATIONS = 400_000
_TIMES = tuple(column for column, kind in LABEL_COLUMNS.items() if kind == "TIMESTAMPTZ")
_COUNTED = ("objects", "classifications", "size")
# Times in JSON Lines and responses are text, since DuckDB needs another package for times with a zone.
_LINES = ", ".join(
    f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ') AS {column}" if column in _TIMES else column
    for column in LABEL_COLUMNS
)
_READ = ", ".join(f"{column}::VARCHAR AS {column}" if column in _TIMES else column for column in LABEL_COLUMNS)
_SHOWN = ("data_hash", "frame", "kind", "hash", "feature_hash", "name", "shape", "geometry", "attributes", "track_hash",
          "width", "height", "data_link")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frozen:
    """A distinct content in a manifest, and a version of a label's object that has it."""

    sha256: str
    label_hash: str
    key: str
    version_id: str | None
    etag: str | None
    size: int


def read_filter(text: str, folder: Path) -> Filter:
    """Return a person's filter; raises PermanentError unless it is one boolean expression on columns."""
    if not text:
        return Filter("", frozenset())
    with open_tables(folder=folder, only=folder) as tables:
        row = tables.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement(text)]).fetchone()
    return checked(text, row[0] if row else "{}", LABEL_COLUMNS)


def _labels(tables: DuckDBPyConnection, path: Path, chosen: Filter) -> None:
    """Create the views `labels` and `chosen`. A filter that cannot be evaluated raises PermanentError."""
    tables.execute(f"CREATE VIEW {TABLE} AS SELECT * FROM {parquet(path)}")
    if chosen.text:
        with _explained():
            described = tables.execute(f"DESCRIBE SELECT (\n{chosen.text}\n) FROM {TABLE}").fetchone()
        if described is None or described[1] != "BOOLEAN":
            raise refused(f"is of type {described[1] if described else 'unknown'}: a condition is true or false")
    tables.execute(f"CREATE VIEW chosen AS SELECT * FROM {TABLE} WHERE {chosen.condition}")


class _explained:  # noqa: N801 - used as a function
    """Raises PermanentError instead of DuckDB's errors. If the error contains values, only its kind is reported."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Report what is wrong."""
        if error is None or type(error).__module__.partition(".")[0] not in ("duckdb", "_duckdb"):
            return
        name = type(error).__name__
        if name in ("BinderException", "CatalogException", "ParserException"):
            raise refused(f"does not fit the index: {str(error).partition(chr(10))[0]}") from None
        raise refused(f"fails for a label ({name}): use try_cast, and compare a column with its own type") from None


@dataclass(frozen=True, slots=True)
class Matched:
    """What a filter matches: labels, their sizes, and the number of labels without a digest."""

    labels: int
    size: int
    objects: int
    classifications: int
    without_bytes: int


def matched(labels: Path, chosen: Filter, folder: Path) -> Matched:
    """Return what a filter matches in `labels.parquet`."""
    with open_tables(folder=folder, only=folder) as tables:
        _labels(tables, labels, chosen)
        sums = ", ".join(f"coalesce(sum({column}), 0)::BIGINT" for column in ("size", "objects", "classifications"))
        with _explained():
            row = tables.execute(
                f"SELECT count(*), {sums}, count(*) FILTER (sha256 IS NULL OR key IS NULL) FROM chosen"
            ).fetchone()
    return Matched(*(int(value) for value in row)) if row else Matched(0, 0, 0, 0, 0)


def freeze(labels: Path, chosen: Filter, noted: Mapping[str, str], path: Path, folder: Path) -> int:
    """Write the matching labels with their object's name as a manifest, and return their number.

    `noted` is written into the file itself, so that every reader of the manifest can see its origin.
    """
    with open_tables(folder=folder, only=folder, ordered=True) as tables:  # the index's order: by key
        _labels(tables, labels, chosen)
        columns = ", ".join(LABEL_COLUMNS)
        query = f"SELECT {columns}, 'objects/' || sha256 || '.json' AS object FROM chosen"
        with _explained():
            return write_parquet(tables, query, path, noted=noted)


def notes(manifest: Path, folder: Path) -> dict[str, str]:
    """Return what `freeze` wrote into a manifest's metadata."""
    with open_tables(folder=folder, only=folder) as tables:
        name = str(manifest).replace("'", "''")
        found = tables.execute(f"SELECT key, value FROM parquet_kv_metadata('{name}')").fetchall()
    return {bytes(key).decode(): bytes(value).decode() for key, value in found}


def freeze_annotations(annotations: Path, manifest: Path, path: Path, folder: Path) -> int:
    """Write the annotations of a manifest's labels, in the order of labels and frames; return their number."""
    with open_tables(folder=folder, only=folder) as tables:

        def rows(condition: str) -> str:
            frozen = f"(SELECT label_hash FROM {parquet(manifest)} WHERE {condition})"
            columns = ", ".join(ANNOTATION_COLUMNS)
            return f"SELECT {columns} FROM {parquet(annotations)} WHERE {condition} AND label_hash IN {frozen}"

        conditions = hash_ranges("label_hash", _count(tables, parquet(annotations)), _RANGE_ANNOTATIONS)
        return write_ranges(tables, rows, conditions, "label_hash, frame, hash", path, folder)


def write_lines(manifest: Path, path: Path, folder: Path) -> None:
    """Write a manifest as JSON Lines, compressed: for readers without Parquet."""
    name = str(path).replace("'", "''")
    with open_tables(folder=folder, only=folder, ordered=True) as tables:
        tables.execute(
            f"COPY (SELECT {_LINES}, object FROM {parquet(manifest)}) TO '{name}' (FORMAT json, COMPRESSION gzip)"
        )


def facts(manifest: Path, annotations: Path, folder: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return a snapshot's counts, and its classes with their numbers of labels and annotations."""
    with open_tables(folder=folder, only=folder) as tables:
        sums = ", ".join(f"coalesce(sum({column}), 0)::BIGINT" for column in _COUNTED)
        row = tables.execute(
            f"SELECT count(*), {sums}, count(*) FILTER (NOT parsed) FROM {parquet(manifest)}"
        ).fetchone()
        names = ("labels", *_COUNTED, "not_parsed")
        counts = {name: int(value) for name, value in zip(names, row or (0,) * len(names), strict=True)}
        counts["bytes"] = counts.pop("size")
        counts["distinct_objects"] = sum(
            _count(tables, f"(SELECT DISTINCT sha256 FROM {parquet(manifest)} WHERE {condition})")
            for condition in hash_ranges("sha256", counts["labels"], _RANGE_LABELS)
        )
        classes = _classes(tables, annotations)
    counts["annotations"] = sum(found["annotations"] for found in classes)
    return counts, classes


_CLASS = ("kind", "name", "shape", "feature_hash")


def _classes(tables: DuckDBPyConnection, annotations: Path) -> list[dict[str, Any]]:
    """Return each class with its labels and annotations, objects first."""
    counted = _counted(tables, annotations, _CLASS)
    names = (*_CLASS, "labels", "annotations")
    return [dict(zip(names, (*values, *counted[values]), strict=True)) for values in sorted(counted, key=_class_order)]


def _class_order(values: Sequence[str | None]) -> tuple[tuple[bool, str], ...]:
    """Return the sort key of a class: objects first, then by name and the further columns; null last."""
    kind, *others = values
    return (kind != "object", ""), *((value is None, value or "") for value in others)


def _counted(
    tables: DuckDBPyConnection, annotations: Path, columns: Sequence[str]
) -> dict[tuple[str | None, ...], tuple[int, int]]:
    """Return the numbers of labels and annotations by the values of columns.

    One range of labels after the other, because counting distinct labels needs memory in proportion to them.
    """
    found: dict[tuple[str | None, ...], tuple[int, int]] = {}
    named = ", ".join(columns)
    for condition in hash_ranges("label_hash", _count(tables, parquet(annotations)), _RANGE_ANNOTATIONS):
        query = (
            f"SELECT {named}, count(DISTINCT label_hash), count(*) FROM {parquet(annotations)} "
            f"WHERE {condition} GROUP BY {named}"
        )
        for *values, labels, lines in tables.execute(query).fetchall():
            before = found.get(tuple(values), (0, 0))
            found[tuple(values)] = before[0] + labels, before[1] + lines
    return found


class Objects:
    """A manifest's contents, which of them are copied already, and which are not; use as a context manager."""

    def __init__(self, manifest: Path, folder: Path) -> None:
        self._folder = folder
        self._manifest = manifest
        self._tables = open_tables(folder=folder, only=folder)
        self._tables.execute("CREATE TABLE there (sha256 VARCHAR)")
        self._ranges = hash_ranges("sha256", _count(self._tables, parquet(manifest)), _RANGE_LABELS)

    def __enter__(self) -> Objects:
        """Return the objects."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Close the tables."""
        self._tables.close()

    def note(self, digests: Iterator[str]) -> None:
        """Record existing digests. A file is a hundred times as fast as statements."""
        path = self._folder / "there.csv"
        with path.open("w", encoding="ascii") as file:
            file.writelines(f"{digest}\n" for digest in digests)
        columns = "header = false, columns = {'sha256': 'VARCHAR'}, delim = ',', quote = ''"
        self._tables.execute(f"INSERT INTO there SELECT sha256 FROM read_csv('{_quoted(path)}', {columns})")
        path.unlink()

    def counts(self) -> tuple[int, int]:
        """Return the number of contents, and how many of them are missing."""
        whole = missing = 0
        for condition in self._ranges:
            wanted = f"(SELECT DISTINCT sha256 FROM {parquet(self._manifest)} WHERE {condition})"
            whole += _count(self._tables, wanted)
            missing += _count(self._tables, f"{wanted} ANTI JOIN {_there(condition)} USING (sha256)")
        return whole, missing

    def missing(self, after: str) -> Iterator[Frozen]:
        """Yield missing contents after a digest, in the order of digests."""
        return self._read(after, among_all=False)

    def all(self, after: str) -> Iterator[Frozen]:
        """Yield all contents after a digest, in the order of digests."""
        return self._read(after, among_all=True)

    def _read(self, after: str, *, among_all: bool) -> Iterator[Frozen]:
        for condition in self._ranges:
            missing = "" if among_all else f"ANTI JOIN {_there(condition)} USING (sha256)"
            rows = self._tables.execute(
                "SELECT sha256, min_by(label_hash, key), min(key), min_by(version_id, key), min_by(etag, key), "
                f"coalesce(min(size), 0) FROM (FROM {parquet(self._manifest)} WHERE {condition} AND sha256 > ?) "
                f"{missing} GROUP BY sha256 ORDER BY sha256",
                [after],
            ).fetchall()
            yield from (Frozen(*row) for row in rows)


def _there(condition: str) -> str:
    return f"(SELECT sha256 FROM there WHERE {condition}) found"


def labelled(manifest: Path, annotations: Path, folder: Path, after: str = "") -> Iterator[Labelled]:
    """Yield a snapshot's labels after a hash with their annotations, in the order of hashes.

    One label is in memory at a time.
    """
    with open_tables(folder=folder, only=folder, ordered=True) as tables:
        label_rows, annotation_rows = tables.cursor(), tables.cursor()
        # The file has this order: it is read as it is.
        annotation_rows.execute(
            f"SELECT label_hash, {', '.join(_SHOWN)} FROM {parquet(annotations)} WHERE label_hash > ?", [after]
        )
        waiting = _Grouped(annotation_rows)
        for condition in hash_ranges("label_hash", _count(tables, parquet(manifest)), _RANGE_LABELS):
            label_rows.execute(
                f"SELECT {_READ} FROM {parquet(manifest)} WHERE label_hash > ? AND {condition} "
                "ORDER BY label_hash, key",
                [after],
            )
            while rows := label_rows.fetchmany(_STEP):
                for values in rows:
                    row = dict(zip(LABEL_COLUMNS, values, strict=True))
                    yield Labelled(row, units_of(row["units"]), tuple(waiting.of(row["label_hash"])))


class _Grouped:
    """Annotations grouped by label, from rows in the order of labels."""

    def __init__(self, cursor: DuckDBPyConnection) -> None:
        self._rows = _rows(cursor)
        self._next = next(self._rows, None)

    def of(self, label_hash: str) -> Iterator[Annotation]:
        """Yield a label's annotations. Labels must be requested in their order."""
        while self._next is not None and self._next[0] <= label_hash:
            if self._next[0] == label_hash:
                yield _annotation(self._next[1:])
            self._next = next(self._rows, None)


def _rows(cursor: DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(_STEP):
        yield from rows


def _annotation(values: Sequence[Any]) -> Annotation:
    given = dict(zip(_SHOWN, values, strict=True))
    for name in ("data_hash", "hash", "feature_hash"):
        given[name] = given[name] or ""
    given["geometry"] = None if given["geometry"] is None else json.loads(given["geometry"])
    given["attributes"] = {} if given["attributes"] is None else json.loads(given["attributes"])
    return Annotation(**given)


def difference(before: tuple[Path, Path], after: tuple[Path, Path], folder: Path) -> dict[str, Any]:
    """Return the differences between two snapshots, each given as the paths of its manifest and its annotations.

    A label is changed if its bytes differ. The first thousand labels of each kind are named.
    """
    with open_tables(folder=folder, only=folder) as tables:
        most = max(_count(tables, parquet(manifest)) for manifest, _ in (before, after))
        found: dict[str, Any] = {name: {"total": 0, "labels": []} for name in ("added", "removed", "changed")}
        found["same"] = 0
        for condition in hash_ranges("label_hash", most, _RANGE_LABELS):
            for name, (manifest, _) in (("one", before), ("two", after)):
                tables.execute(
                    f"CREATE OR REPLACE VIEW {name} AS SELECT label_hash, data_title, dataset_title, sha256 "
                    f"FROM {parquet(manifest)} WHERE {condition}"
                )
            _add_named(tables, found["added"], "two ANTI JOIN one USING (label_hash)", "two")
            _add_named(tables, found["removed"], "one ANTI JOIN two USING (label_hash)", "one")
            both = "two JOIN one USING (label_hash) WHERE two.sha256"
            _add_named(tables, found["changed"], f"{both} <> one.sha256", "two")
            found["same"] += _count(tables, f"{both} = one.sha256")
        # Classes are compared by name and shape, as people do: a copied ontology has other feature hashes.
        columns = ("kind", "name", "shape")
        one, two = (_counted(tables, annotations, columns) for _, annotations in (before, after))
    found["classes"] = []
    for values in sorted(one | two, key=_class_order):
        (labels_before, lines_before), (labels_after, lines_after) = (side.get(values, (0, 0)) for side in (one, two))
        counts = {"labels_before": labels_before, "labels_after": labels_after}
        counts |= {"annotations_before": lines_before, "annotations_after": lines_after}
        found["classes"].append({**dict(zip(columns, values, strict=True)), **counts})
    return found


def _add_named(tables: DuckDBPyConnection, named: dict[str, Any], source: str, side: str) -> None:
    """Add a range's labels: their number, and the first thousand of all ranges."""
    columns = ("label_hash", "data_title", "dataset_title")
    asked = ", ".join(f"{side}.{column}" if column != "label_hash" else column for column in columns)
    limit = _MOST - len(named["labels"])
    rows = tables.execute(f"SELECT {asked} FROM {source} ORDER BY label_hash LIMIT {limit}").fetchall()
    named["total"] += _count(tables, source)
    named["labels"] += [dict(zip(columns, row, strict=True)) for row in rows]


def _count(tables: DuckDBPyConnection, source: str) -> int:
    row = tables.execute(f"SELECT count(*) FROM {source}").fetchone()
    return int(row[0]) if row else 0


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
