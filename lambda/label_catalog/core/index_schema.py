"""The index's tables, and the pointer to the generation in use.

A generation is a folder of files that never change. Readers follow `index/latest.json`, which is updated last.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

LABELS, ANNOTATIONS, ONTOLOGY = "labels.parquet", "annotations.parquet", "ontology.json"

# One row for each label, sorted by key. The types are DuckDB's. Null: unknown.
LABEL_COLUMNS: Mapping[str, str] = {
    "label_hash": "VARCHAR",
    "data_hash": "VARCHAR",
    "dataset_hash": "VARCHAR",
    "project_hash": "VARCHAR",
    "data_title": "VARCHAR",
    "data_type": "VARCHAR",
    "dataset_title": "VARCHAR",
    "branch_name": "VARCHAR",
    "stage": "VARCHAR",
    "status": "VARCHAR",
    "assignee": "VARCHAR",
    "last_actor": "VARCHAR",
    "edited_at": "TIMESTAMPTZ",
    "key": "VARCHAR",
    "version_id": "VARCHAR",
    "sha256": "VARCHAR",
    "size": "BIGINT",
    "stored_at": "TIMESTAMPTZ",
    "etag": "VARCHAR",
    "objects": "INTEGER",
    "classifications": "INTEGER",
    "parsed": "BOOLEAN",
    "gone_at": "TIMESTAMPTZ",
    "gone_reason": "VARCHAR",
    "units": "VARCHAR",  # JSON, see core/annotations.data_units; null if the row was not parsed
}

# One row for each object or classification and frame, sorted by label_hash and frame.
ANNOTATION_COLUMNS: Mapping[str, str] = {
    "label_hash": "VARCHAR",
    "data_hash": "VARCHAR",
    "frame": "INTEGER",
    "kind": "VARCHAR",
    "hash": "VARCHAR",
    "feature_hash": "VARCHAR",
    "name": "VARCHAR",
    "shape": "VARCHAR",
    "geometry": "VARCHAR",
    "attributes": "VARCHAR",
    "track_hash": "VARCHAR",
    "width": "INTEGER",
    "height": "INTEGER",
    "data_link": "VARCHAR",
    "created_at": "TIMESTAMPTZ",
    "edited_at": "TIMESTAMPTZ",
    "created_by": "VARCHAR",
    "last_edited_by": "VARCHAR",
}

# Columns from Encord's listing and the tombstones: a comparison with the bucket ignores them.
FOREIGN_COLUMNS = frozenset({"stage", "assignee", "last_actor", "gone_at", "gone_reason"})

KEPT_FOR = timedelta(hours=1)  # how long readers may use a generation after it was replaced
_GENERATION = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")


def new_generation(now: datetime) -> str:
    """Return a unique name of a generation, such as 20261127T140500Z-1f2e3d4c; `now` is in UTC."""
    return f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


def generation_time(name: str) -> datetime | None:
    """Return the time in a generation's name, or None if it is not such a name."""
    found = _GENERATION.fullmatch(name)
    try:
        return datetime.strptime(found[1], "%Y%m%dT%H%M%S%z") if found else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A former generation, and when it was replaced (ISO 8601, UTC)."""

    generation: str
    replaced_at: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """The generation in use. `rows` and `annotations` count rows, `sha256` has the files' digests by name.

    `sequence` increases by one with every update. `watermark` is the newest `stored_at` of the rows, None without rows.
    """

    generation: str
    written_at: str
    rows: int
    annotations: int
    sha256: Mapping[str, str]
    watermark: str | None
    parsed: int
    not_parsed: int
    sequence: int = 1
    previous: tuple[Replaced, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """Return the content of `index/latest.json`."""
        return {
            "version": 1,
            "generation": self.generation,
            "sequence": self.sequence,
            "written_at": self.written_at,
            "rows": self.rows,
            "annotations": self.annotations,
            "sha256": dict(self.sha256),
            "watermark": self.watermark,
            "parsed": self.parsed,
            "not_parsed": self.not_parsed,
            "previous": [{"generation": old.generation, "replaced_at": old.replaced_at} for old in self.previous],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> Pointer | None:
        """Return the pointer in a document; None if there is none that this version can read."""
        if document is None or document.get("version") != 1:
            return None
        try:
            return cls(
                generation=document["generation"],
                written_at=document["written_at"],
                rows=document["rows"],
                annotations=document["annotations"],
                sha256=document["sha256"],
                watermark=document["watermark"],
                parsed=document["parsed"],
                not_parsed=document["not_parsed"],
                sequence=document.get("sequence", 1),
                previous=tuple(Replaced(old["generation"], old["replaced_at"]) for old in document["previous"]),
            )
        except (KeyError, TypeError):
            return None
