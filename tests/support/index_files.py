"""An index generation of what is in the tests' bucket, written only with DuckDB.

The index's own code reads only what is in a label row.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from catalog_system import BUCKET, CatalogSystem
from handler_servers import StoredObject
from label_catalog.core.annotations import Counts, data_units, ontology_names, read_annotations
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS

GENERATION = "20261127T140500Z-0a1b2c3d"


def write_generation(
    system: CatalogSystem, folder: Path, name: str = GENERATION, stages: Mapping[str, str] | None = None, **values: Any
) -> dict[str, Any]:
    """Write a generation of the main project's labels, update the pointer to it, and return the pointer."""
    project = system.stand_in.project()
    base = f"encord/{project['project_hash']}"
    ontology = ontology_of(system)
    names = ontology_names(ontology)
    labels, annotations = [], []
    titles = {row["label_hash"]: row for row in project["label_rows"]}
    for path in sorted(path for path in system.aws.objects if path.startswith(f"/{BUCKET}/{base}/labels/")):
        stored = system.aws.objects[path]
        body = gzip.decompress(stored.body) if stored.headers.get("content-encoding") == "gzip" else stored.body
        row = json.loads(body)
        counts = Counts()
        found = [vars_of(one) for one in read_annotations(row, names, counts)]
        annotations += [{**one, "created_at": None, "edited_at": None} for one in found]
        label = row["label_hash"]
        stage = (stages or {}).get(label) or titles.get(label, {}).get("workflow_stage")
        about = {
            **{column: row.get(column) for column in LABEL_COLUMNS if column in row and column != "units"},
            "project_hash": project["project_hash"],
            "status": row.get("label_status"),
            "stage": stage,
            "edited_at": None,
            "key": path.removeprefix(f"/{BUCKET}/"),
            "version_id": system.aws.version(path),
            "sha256": hashlib.sha256(body).hexdigest(),
            "size": len(body),
            "stored_at": datetime(2026, 11, 27, tzinfo=UTC).isoformat(),
            "etag": stored.etag,
            "objects": len(counts.objects),
            "classifications": len(counts.classifications),
            "parsed": True,
            "units": data_units(row),
        }
        labels.append({**about, **values})
    files = {
        "labels": parquet(labels, LABEL_COLUMNS, "key", folder),
        "annotations": parquet(annotations, ANNOTATION_COLUMNS, "label_hash, frame, hash", folder),
        "ontology": json.dumps(ontology).encode(),
    }
    for file, (part, body) in zip(
        ("labels.parquet", "annotations.parquet", "ontology.json"), files.items(), strict=True
    ):
        assert part in file
        system.aws.objects[f"/{BUCKET}/{base}/index/{name}/{file}"] = StoredObject(body, {})
    pointer = {
        "version": 1,
        "generation": name,
        "sequence": 1,
        "written_at": datetime.now(UTC).isoformat(),
        "rows": len(labels),
        "annotations": len(annotations),
        "sha256": {part: hashlib.sha256(body).hexdigest() for part, body in files.items()},
        "watermark": None,
        "parsed": len(labels),
        "not_parsed": 0,
        "previous": [],
    }
    system.aws.objects[f"/{BUCKET}/{base}/index/latest.json"] = StoredObject(json.dumps(pointer).encode(), {})
    return pointer


def ontology_of(system: CatalogSystem) -> dict[str, Any]:
    """Return `ontology.json` as the index writes it, from the stand-in's rows."""
    from encord_stand_in.rows.ontology import build_structure, editor  # noqa: PLC0415 - the SDK takes a second

    return {"version": 1, "ontology_hash": None, **editor(build_structure())}


def vars_of(value: Any) -> dict[str, Any]:
    """Return a slotted value's fields."""
    return {name: getattr(value, name) for name in value.__slots__}


def parquet(rows: list[dict[str, Any]], columns: Mapping[str, str], order: str, folder: Path) -> bytes:
    """Return rows as a Parquet file with exactly these columns."""
    source, target = folder / "rows.jsonl", folder / "rows.parquet"
    source.write_text("".join(json.dumps({column: row.get(column) for column in columns}) + "\n" for row in rows))
    with duckdb.connect() as tables:
        tables.execute("SET TimeZone = 'UTC'")
        kinds = ", ".join(f"{column}: '{kind}'" for column, kind in columns.items())
        tables.execute(
            f"COPY (SELECT * FROM read_json('{source}', format = 'newline_delimited', columns = {{{kinds}}}) "  # noqa: S608 - own paths
            f"ORDER BY {order}) TO '{target}' (FORMAT parquet)"
        )
    return target.read_bytes()
