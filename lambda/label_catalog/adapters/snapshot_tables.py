"""DuckDB for snapshots: filter, freeze, compare. Each connection can access only one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from label_catalog.adapters.tables_duckdb import open_tables, parquet, write_parquet
from label_catalog.core.filters import TABLE, Filter, checked, refused, statement
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS
from label_catalog.core.labelled_data import Annotation, Labelled, units_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STEP = 2000
_MOST = 1000
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
    with open_tables(folder=folder, only=folder, threads=1) as tables:
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
    with open_tables(folder=folder, only=folder) as tables:
        _labels(tables, labels, chosen)
        columns = ", ".join(LABEL_COLUMNS)
        query = f"SELECT {columns}, 'objects/' || sha256 || '.json' AS object FROM chosen ORDER BY key"
        with _explained():
            return write_parquet(tables, query, path, noted=noted)


def notes(manifest: Path, folder: Path) -> dict[str, str]:
    """Return what `freeze` wrote into a manifest's metadata."""
    with open_tables(folder=folder, only=folder, threads=1) as tables:
        name = str(manifest).replace("'", "''")
        found = tables.execute(f"SELECT key, value FROM parquet_kv_metadata('{name}')").fetchall()
    return {bytes(key).decode(): bytes(value).decode() for key, value in found}


def freeze_annotations(annotations: Path, manifest: Path, path: Path, folder: Path) -> int:
    """Write the annotations of a manifest's labels, in the order of labels and frames; return their number."""
    with open_tables(folder=folder, only=folder) as tables:
        return write_parquet(
            tables,
            f"SELECT {', '.join(ANNOTATION_COLUMNS)} FROM {parquet(annotations)} "
            f"SEMI JOIN (SELECT label_hash FROM {parquet(manifest)}) USING (label_hash) "
            "ORDER BY label_hash, frame, hash",
            path,
        )


def write_lines(manifest: Path, path: Path, folder: Path) -> None:
    """Write a manifest as JSON Lines, compressed: for readers without Parquet."""
    name = str(path).replace("'", "''")
    with open_tables(folder=folder, only=folder) as tables:
        tables.execute(
            f"COPY (SELECT {_LINES}, object FROM {parquet(manifest)} ORDER BY key) "
            f"TO '{name}' (FORMAT json, COMPRESSION gzip)"
        )


def facts(manifest: Path, annotations: Path, folder: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return a snapshot's counts, and its classes with their numbers of labels and annotations."""
    with open_tables(folder=folder, only=folder) as tables:
        sums = ", ".join(f"coalesce(sum({column}), 0)::BIGINT" for column in _COUNTED)
        row = tables.execute(
            f"SELECT count(*), count(DISTINCT sha256), {sums}, count(*) FILTER (NOT parsed) FROM {parquet(manifest)}"
        ).fetchone()
        names = ("labels", "distinct_objects", *_COUNTED, "not_parsed")
        counts = {name: int(value) for name, value in zip(names, row or (0,) * len(names), strict=True)}
        counts["bytes"] = counts.pop("size")
        classes = tables.execute(_classes(annotations)).fetchall()
    counts["annotations"] = sum(line[-1] for line in classes)
    return counts, [dict(zip(_CLASS, line, strict=True)) for line in classes]


_CLASS = ("kind", "name", "feature_hash", "shape", "labels", "annotations")


def _classes(annotations: Path) -> str:
    return (
        "SELECT kind, name, feature_hash, shape, count(DISTINCT label_hash), count(*) "
        f"FROM {parquet(annotations)} GROUP BY ALL ORDER BY kind DESC, name, shape, feature_hash"
    )


class Objects:
    """A manifest's contents, those that are copied already, and those that are not; use as a context manager."""

    def __init__(self, manifest: Path, folder: Path) -> None:
        self._folder = folder
        self._tables = open_tables(folder=folder, only=folder)
        self._tables.execute(
            "CREATE TABLE wanted AS SELECT sha256, min_by(label_hash, key) AS label_hash, min(key) AS key, "
            "min_by(version_id, key) AS version_id, min_by(etag, key) AS etag, coalesce(min(size), 0) AS size "
            f"FROM {parquet(manifest)} GROUP BY sha256"
        )
        self._tables.execute("CREATE TABLE there (sha256 VARCHAR)")

    def __enter__(self) -> Objects:
        """Return the objects."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Close the tables."""
        self._tables.close()

    def note(self, digests: Iterator[str]) -> None:
        """Record existing digests, through a file, which is a hundred times as fast as statements."""
        path = self._folder / "there.csv"
        with path.open("w", encoding="ascii") as file:
            file.writelines(f"{digest}\n" for digest in digests)
        columns = "header = false, columns = {'sha256': 'VARCHAR'}, delim = ',', quote = ''"
        self._tables.execute(f"INSERT INTO there SELECT sha256 FROM read_csv('{_quoted(path)}', {columns})")
        path.unlink()

    def counts(self) -> tuple[int, int]:
        """Return the number of contents, and how many of them are missing."""
        row = self._tables.execute(
            "SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM wanted ANTI JOIN there USING (sha256))"
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def missing(self, after: str) -> Iterator[Frozen]:
        """Yield missing contents after a digest, in the order of digests."""
        return self._read("ANTI JOIN there USING (sha256)", after)

    def all(self, after: str) -> Iterator[Frozen]:
        """Yield all contents after a digest, in the order of digests."""
        return self._read("", after)

    def _read(self, join: str, after: str) -> Iterator[Frozen]:
        cursor = self._tables.cursor()
        cursor.execute(
            f"SELECT sha256, label_hash, key, version_id, etag, size FROM wanted {join} "
            "WHERE sha256 > ? ORDER BY sha256",
            [after],
        )
        while rows := cursor.fetchmany(_STEP):
            yield from (Frozen(*row) for row in rows)


def labelled(manifest: Path, annotations: Path, folder: Path) -> Iterator[Labelled]:
    """Yield a snapshot's labels with their annotations, in the order of hashes, one label in memory at a time."""
    with open_tables(folder=folder, only=folder, ordered=True) as tables:
        label_rows, annotation_rows = tables.cursor(), tables.cursor()
        label_rows.execute(f"SELECT {_READ} FROM {parquet(manifest)} ORDER BY label_hash, key")
        # The file has this order. It is read as it is, since a sort would need as much memory as the annotations.
        annotation_rows.execute(f"SELECT label_hash, {', '.join(_SHOWN)} FROM {parquet(annotations)}")
        waiting = _Grouped(annotation_rows)
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
        for name, (manifest, _) in (("one", before), ("two", after)):
            tables.execute(
                f"CREATE VIEW {name} AS SELECT label_hash, data_title, dataset_title, sha256 FROM {parquet(manifest)}"
            )
        found: dict[str, Any] = {
            "added": _named(tables, "two ANTI JOIN one USING (label_hash)", "two"),
            "removed": _named(tables, "one ANTI JOIN two USING (label_hash)", "one"),
            "changed": _named(tables, "two JOIN one USING (label_hash) WHERE two.sha256 <> one.sha256", "two"),
            "same": _count(tables, "two JOIN one USING (label_hash) WHERE two.sha256 = one.sha256"),
        }
        # Classes are compared by name and shape, as people do: a copied ontology has other feature hashes.
        lines = tables.execute(
            "SELECT coalesce(one.kind, two.kind), coalesce(one.name, two.name), coalesce(one.shape, two.shape), "
            "coalesce(one.labels, 0), coalesce(two.labels, 0), "
            "coalesce(one.annotations, 0), coalesce(two.annotations, 0) "
            f"FROM ({_class_counts(before[1])}) one FULL JOIN ({_class_counts(after[1])}) two "
            "ON one.kind = two.kind AND one.name IS NOT DISTINCT FROM two.name "
            "AND one.shape IS NOT DISTINCT FROM two.shape ORDER BY 1 DESC, 2, 3"
        ).fetchall()
    columns = ("kind", "name", "shape", "labels_before", "labels_after", "annotations_before", "annotations_after")
    found["classes"] = [dict(zip(columns, line, strict=True)) for line in lines]
    return found


def _class_counts(annotations: Path) -> str:
    return (
        "SELECT kind, name, shape, count(DISTINCT label_hash) AS labels, count(*) AS annotations "
        f"FROM {parquet(annotations)} GROUP BY kind, name, shape"
    )


def _named(tables: DuckDBPyConnection, source: str, side: str) -> dict[str, Any]:
    columns = ("label_hash", "data_title", "dataset_title")
    asked = ", ".join(f"{side}.{column}" if column != "label_hash" else column for column in columns)
    rows = tables.execute(f"SELECT {asked} FROM {source} ORDER BY label_hash LIMIT {_MOST}").fetchall()
    return {"total": _count(tables, source), "labels": [dict(zip(columns, row, strict=True)) for row in rows]}


def _count(tables: DuckDBPyConnection, source: str) -> int:
    row = tables.execute(f"SELECT count(*) FROM {source}").fetchone()
    return int(row[0]) if row else 0


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
