"""A synthetic project by numbers: label rows as Encord serves them, and the same rows as the index has them.

DuckDB makes the index's rows: a million labels with five boxes each take less than a minute.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

from label_catalog.adapters.tables_duckdb import open_tables, write_parquet
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS

PROJECT = "38136ad7-7770-5bcf-a77b-654eb7680bd0"
CLASSES = ("Vehicle", "Person", "Lane", "Sign", "Tree")
BOXES = len(CLASSES)  # of a label
CHANGED = 100  # one label in so many
MOMENT = datetime(2026, 5, 1, 10, tzinfo=UTC)
STAGE = "Complete"
ONTOLOGY = {
    "version": 1,
    "objects": [{"name": name, "shape": "bounding_box", "featureNodeHash": name.lower()} for name in CLASSES],
    "classifications": [],
}
_TIME = f"TIMESTAMPTZ '{MOMENT.isoformat()}'"
_LABELS = {
    "label_hash": "label",
    "data_hash": "label",
    "project_hash": f"'{PROJECT}'",
    "data_title": "format('street {:07d}.jpg', i)",
    "data_type": "'image'",
    "dataset_title": "'set ' || i % 10",
    "branch_name": "'main'",
    "stage": f"'{STAGE}'",
    "edited_at": _TIME,
    "key": f"'encord/{PROJECT}/labels/' || label || '.json'",
    "version_id": "'v' || i",
    "size": "2000",
    "stored_at": _TIME,
    "etag": "'\"' || md5(label) || '\"'",
    "objects": str(BOXES),
    "classifications": "0",
    "parsed": "true",
    "units": """'[{"data_hash":"' || label || '","title":"a.jpg","type":"image/jpeg","width":1280,"height":720}]'""",
}
_ANNOTATIONS = {
    "label_hash": "label",
    "data_hash": "label",
    "frame": "0",
    "kind": "'object'",
    "hash": "left(md5(i || '/' || n), 8)",
    "feature_hash": f"lower({list(CLASSES)}[n + 1])",
    "name": f"{list(CLASSES)}[n + 1]",
    "shape": "'bounding_box'",
    "geometry": """'{"x":' || (i % 97) / 100 || ',"y":' || n / 10 || ',"w":0.1,"h":0.2}'""",
    "attributes": """'{"Kind":"Car"}'""",
    "width": "1280",
    "height": "720",
    "created_at": _TIME,
    "edited_at": _TIME,
}


def label(number: int) -> str:
    """Return a label's hash."""
    return str(uuid.UUID(hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()))


def key(number: int) -> str:
    """Return a label's key."""
    return f"encord/{PROJECT}/labels/{label(number)}.json"


def etag(number: int) -> str:
    """Return the ETag of a label that nobody has changed."""
    return f'"{hashlib.md5(label(number).encode(), usedforsecurity=False).hexdigest()}"'


def body(number: int, note: str = "") -> bytes:
    """Return a label row with five boxes. Another note makes other bytes."""
    item = {"createdAt": "Tue, 04 Mar 2025 07:30:00 UTC", "lastEditedAt": "Tue, 04 Mar 2025 07:30:00 UTC"}
    boxes = [
        {
            **item, "objectHash": f"{number:07x}{place}", "featureHash": name.lower(), "name": name,
            "shape": "bounding_box", "boundingBox": {"x": (number % 97) / 100, "y": place / 10, "w": 0.1, "h": 0.2},
        }
        for place, name in enumerate(CLASSES)
    ]  # fmt: skip
    unit = {
        "data_hash": label(number), "data_title": "a.jpg", "data_type": "image/jpeg", "width": 1280, "height": 720,
        "data_sequence": 0, "labels": {"objects": boxes, "classifications": []},
    }  # fmt: skip
    row = {
        "label_hash": label(number), "data_hash": label(number), "dataset_title": f"set {number % 10}", "note": note,
        "data_title": f"street {number:07d}.jpg", "data_type": "image", "last_edited_at": "2026-05-01 10:00:00",
        "data_units": {label(number): unit}, "object_answers": {}, "classification_answers": {},
    }  # fmt: skip
    return json.dumps(row).encode()


def write_rows(numbers: range, labels: Path, annotations: Path, *, changed: bool = False) -> None:
    """Write the index's rows of some labels, sorted as the index has them.

    With `changed` one label in a hundred has another SHA-256.
    """
    content = f"sha256(i::VARCHAR || CASE WHEN {changed} AND i % {CHANGED} = 0 THEN 'b' ELSE 'a' END)"
    rows = f"SELECT i, md5(i::VARCHAR)::UUID::VARCHAR AS label FROM range({numbers.start}, {numbers.stop}) r(i)"  # noqa: S608 - numbers
    each = f"SELECT * FROM ({rows}), range({BOXES}) s(n)"  # noqa: S608 - a number
    with open_tables(folder=labels.parent) as tables:
        for path, columns, chosen, source, order in (
            (labels, LABEL_COLUMNS, {**_LABELS, "sha256": content}, rows, "key"),
            (annotations, ANNOTATION_COLUMNS, _ANNOTATIONS, each, "label_hash, frame, kind, hash"),
        ):
            shown = ", ".join(f"({chosen.get(name, 'NULL')})::{kind} AS {name}" for name, kind in columns.items())
            query = f"SELECT {shown} FROM ({source}) ORDER BY {order}"  # noqa: S608 - constants of this module
            write_parquet(tables, query, path)
