"""Adds to MiniStack's Athena tables that are a list of files, and projected partitions of type `injected`.

MiniStack runs Athena's queries with DuckDB on the files below a table's location. It lacks Hive's
SymlinkTextInputFormat, where a file in the folder has the addresses of the table's files, and partitions whose values
are those in the query. Here such a table becomes a relation over the files that Athena would read, with the columns and
types of the Glue Data Catalog. Partitions are as AWS documents them:
docs.aws.amazon.com/athena/latest/ug/partition-projection-dynamic-id-partitioning.html.

Athena reads objects with the caller's permissions. MiniStack checks none for these reads.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ministack.services import athena, glue, s3

SYMLINKS = "SymlinkTextInputFormat"
INJECTED = (
    "CONSTRAINT_VIOLATION: Injected projected partition column {} must have only (and at least one) equality "
    "conditions in the WHERE clause!"
)
original_rewrite = athena._rewrite_data_paths


class QueryError(ValueError):
    """Athena refuses the query with this text."""


def location(table: dict[str, Any]) -> str:
    return str((table.get("StorageDescriptor") or {}).get("Location") or "")


def is_symlinked(table: dict[str, Any] | None) -> bool:
    return table is not None and SYMLINKS in str((table.get("StorageDescriptor") or {}).get("InputFormat", ""))


def named_values(query: str, column: str) -> list[str]:
    """Return the texts that a query compares a column with: `column = 'a'`, or `column IN ('a', 'b')`."""
    tokens = [(kind, text) for kind, text, _, _ in athena._sql_tokens(query)]
    found: dict[str, None] = {}
    for place, token in enumerate(tokens):
        if token not in (("name", column), ("qname", column)):
            continue
        after = tokens[place + 1 :]
        if after[:1] == [("punct", "=")]:
            values = after[1:2]
        elif after[:2] == [("name", "in"), ("punct", "(")]:
            end = after.index(("punct", ")"))
            values = [value for value in after[2:end] if value != ("punct", ",")]
        else:
            continue
        found.update({text[1:-1].replace("''", "'"): None for kind, text in values if kind == "str"})
    return list(found)


def folders(table: dict[str, Any], query: str) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the values of the partition key and the folder, for each partition that the query names."""
    parameters, keys = table.get("Parameters") or {}, [key["Name"] for key in table.get("PartitionKeys") or []]
    if not keys:
        yield {}, location(table)
        return
    (key,) = keys
    if parameters.get("projection.enabled") != "true" or parameters.get(f"projection.{key}.type") != "injected":
        raise QueryError("only tables with one injected partition key are read here")
    values = named_values(query, key)
    if not values:
        raise QueryError(INJECTED.format(key))
    for value in values:
        yield {key: value}, str(parameters["storage.location.template"]).replace(f"${{{key}}}", value)


def files(folder: str, workdirs: list[str]) -> list[str]:
    """Copy the objects that the lists in a folder name into local files; return their paths."""
    found = []
    for listed in athena._materialize_table_files(folder, workdirs):
        for line in Path(listed).read_text().splitlines():
            address = urlparse(line)
            content = s3._get_object_data(address.netloc, address.path.lstrip("/"))
            if content is None:
                raise QueryError(f"HIVE_BAD_DATA: {line} does not exist")
            workdirs.append(tempfile.mkdtemp(prefix="ministack-athena-"))
            found.append(str(Path(workdirs[-1], "file")))
            Path(found[-1]).write_bytes(content)
    return found


def column(name: str, kind: str) -> str:
    """Return a column as the table declares it. A time with a zone becomes one in UTC."""
    wanted = athena._duckdb_type({"Type": kind})
    value = f"timezone('UTC', \"{name}\"::TIMESTAMPTZ)" if wanted == "TIMESTAMP" else f'"{name}"::{wanted}'
    return f'{value} AS "{name}"'


def relation(table: dict[str, Any], query: str, workdirs: list[str]) -> str:
    """Return what DuckDB reads in a table's place."""
    selected = ", ".join(column(one["Name"], one["Type"]) for one in table["StorageDescriptor"]["Columns"])
    parts = []
    for values, folder in folders(table, query):
        paths = files(folder, workdirs)
        if paths:
            keys = "".join(f", '{value}' AS \"{key}\"" for key, value in values.items())
            parts.append(f"SELECT {selected}{keys} FROM read_parquet({athena._sql_list(paths)})")  # noqa: S608 - ours
    return f"({' UNION ALL '.join(parts)})" if parts else str(athena._empty_relation(table))


async def rewrite(query: str, database: str | None, catalog: str | None = None) -> Any:
    """Replace such tables by relations, and leave the rest to MiniStack."""
    workdirs: list[str] = []
    edits = []
    try:
        for reference in athena._table_references(query):
            table = glue._tables.get(f"{reference.database or database or 'default'}/{reference.table}")
            if is_symlinked(table):
                alias = "" if reference.aliased else f' AS "{reference.table}"'
                edits.append((reference.start, reference.end, relation(table, query, workdirs) + alias))
        for start, end, text in reversed(edits):
            query = query[:start] + text + query[end:]
        rewritten, buckets, others = await original_rewrite(query, database, catalog)
    except BaseException:
        for folder in workdirs:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return rewritten, buckets, [*others, *workdirs]


def install() -> None:
    """Have MiniStack's Athena read such tables."""
    athena._rewrite_data_paths = rewrite
