"""An index generation of what is in the tests' bucket. Nothing of the index's update or rebuild has a part in it."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog_system import BUCKET, CatalogSystem
from handler_servers import StoredObject
from label_catalog.core.annotations import Counts, data_units, ontology_names, read_annotations
from label_catalog.core.index_schema import LABEL_COLUMNS
from label_catalog.core.places import Places
from synthetic_index import index_objects

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
            "stored_at": datetime(2026, 11, 27, tzinfo=UTC),
            "etag": stored.etag,
            "objects": len(counts.objects),
            "classifications": len(counts.classifications),
            "parsed": True,
            "units": data_units(row),
        }
        labels.append({**about, **values})
    objects = index_objects(
        folder,
        project["project_hash"],
        labels,
        annotations,
        generation=name,
        ontology=ontology,
        written_at=datetime.now(UTC).isoformat(),
    )
    for key, body in objects.items():
        system.aws.objects[f"/{BUCKET}/{key}"] = StoredObject(body, {})
    return system.document(Places(project["project_hash"]).index_pointer)


def ontology_of(system: CatalogSystem) -> dict[str, Any]:
    """Return `ontology.json` as the index writes it, from the stand-in's rows."""
    from encord_stand_in.rows.ontology import build_structure, editor  # noqa: PLC0415 - the SDK takes a second

    return {"version": 1, "ontology_hash": None, **editor(build_structure())}


def vars_of(value: Any) -> dict[str, Any]:
    """Return a slotted value's fields."""
    return {name: getattr(value, name) for name in value.__slots__}
