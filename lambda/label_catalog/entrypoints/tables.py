"""The Glue tables: each reads a folder whose only file names the Parquet file of the generation in use.

The definition of the tables never changes, so the function needs no permission on Glue: docs/decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from label_catalog.core.index_schema import ANNOTATIONS, LABELS, Pointer
from label_catalog.core.model import SupersededError
from label_catalog.core.places import Places
from label_catalog.entrypoints.generations import load_pointer
from label_catalog.toolbox import Toolbox

TABLES = {"labels": LABELS, "annotations": ANNOTATIONS}
_DEAD_AFTER = timedelta(minutes=15)  # by then Lambda has ended every worker that could still write the files


def point_tables(tools: Toolbox, project_hash: str) -> None:
    """Point the tables to the generation in use. Does nothing if there are no tables.

    No worker replaces a newer generation by an older one: the file is read first and the pointer after it,
    and the file is written only if it has not changed since.
    """
    if not tools.settings.table:
        return
    for table in TABLES:
        while not _is_pointed(tools, project_hash, table):
            tools.check_time()


def _is_pointed(tools: Toolbox, project_hash: str, table: str) -> bool:
    key = Places(project_hash).table_file(table)
    text, etag = tools.documents.load_text(key)
    pointer, _ = load_pointer(tools, project_hash)
    wanted = None if pointer is None else _text(tools, project_hash, table, pointer)
    if wanted is None or text == wanted:
        return True
    try:
        tools.documents.save_text(key, wanted, etag)
    except SupersededError:
        return False
    return True


def tables_behind(tools: Toolbox, project_hash: str) -> list[str]:
    """Return the tables that read an older generation although the worker that updated the pointer has ended."""
    if not tools.settings.table:
        return []
    found = dict(_files(tools, project_hash))
    pointer, _ = load_pointer(tools, project_hash)
    if pointer is None or tools.now() - datetime.fromisoformat(pointer.written_at) < _DEAD_AFTER:
        return []
    return [
        table
        for table, text in found.items()
        if text is not None and text != _text(tools, project_hash, table, pointer)
    ]


def _files(tools: Toolbox, project_hash: str) -> Iterator[tuple[str, str | None]]:
    for table in TABLES:
        yield table, tools.documents.load_text(Places(project_hash).table_file(table))[0]


def _text(tools: Toolbox, project_hash: str, table: str, pointer: Pointer) -> str:
    """Return the content of a table's file, in the format of Hive's SymlinkTextInputFormat: one address a line."""
    return f"s3://{tools.settings.bucket}/{Places(project_hash).generation(pointer.generation, TABLES[table])}\n"
