"""An index generation as the catalog writes it, from chosen rows, and a synthetic project."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from label_catalog.adapters.tables_duckdb import Appender, create, open_tables, parquet, write_parquet
from label_catalog.core.annotations import data_units
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, ANNOTATIONS, LABEL_COLUMNS, LABELS, ONTOLOGY, Pointer
from label_catalog.core.places import Places

Row = Mapping[str, Any]

NO_CLASSES = {"version": 1, "objects": [], "classifications": []}
GENERATION = "20261127T140500Z-1f2e3d4c"
CLASSES = (
    ("Car", "bounding_box", 9),
    ("Person", "bounding_box", 5),
    ("Lane", "polyline", 3),
    ("Traffic light", "point", 1),
)
DATA_SETS = ("Street scenes, Zurich", "Night drives", "Motorway A1")
WIDTH, HEIGHT = 1920, 1080
STAGES = ("Complete", "Complete", "Complete", "Review", "Annotate")


def write_table(path: Path, columns: Mapping[str, str], rows: Sequence[Row], order: str) -> None:
    """Write rows as a Parquet file with exactly these columns; those that a row lacks are null."""
    with open_tables(folder=path.parent) as tables:
        create(tables, "written", columns)
        with Appender(tables, "written", columns) as appender:
            for row in rows:
                assert row.keys() <= columns.keys(), row.keys() - columns.keys()
                appender.add([row.get(column) for column in columns])
        write_parquet(tables, f"FROM written ORDER BY {order}", path)


def write_parquets(folder: Path, labels: Sequence[Row], annotations: Sequence[Row]) -> None:
    """Write both tables of an index."""
    write_table(folder / LABELS, LABEL_COLUMNS, labels, "key")
    write_table(folder / ANNOTATIONS, ANNOTATION_COLUMNS, annotations, "label_hash, frame, kind, hash")


def index_objects(  # noqa: PLR0913 - the pointer's own facts
    folder: Path,
    project_hash: str,
    labels: Sequence[Row],
    annotations: Sequence[Row],
    *,
    generation: str = GENERATION,
    ontology: Mapping[str, Any] = NO_CLASSES,
    written_at: str = "2026-11-27T14:05:00+00:00",
) -> dict[str, bytes]:
    """Return the objects of a project's index by key: the generation's files and the pointer."""
    write_parquets(folder, labels, annotations)
    files = {"labels": LABELS, "annotations": ANNOTATIONS, "ontology": ONTOLOGY}
    (folder / ONTOLOGY).write_text(json.dumps(ontology))
    contents = {name: (folder / file).read_bytes() for name, file in files.items()}
    stored = [row["stored_at"] for row in labels if row.get("stored_at") is not None]
    parsed = sum(1 for row in labels if row.get("parsed"))
    pointer = Pointer(
        generation=generation,
        written_at=written_at,
        rows=len(labels),
        annotations=len(annotations),
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        watermark=max(stored).isoformat() if stored else None,
        parsed=parsed,
        not_parsed=len(labels) - parsed,
    )
    places = Places(project_hash)
    found = {places.generation(generation, files[name]): content for name, content in contents.items()}
    return {**found, places.index_pointer: json.dumps(pointer.as_document()).encode()}


def street_scenes(project_hash: str, count: int = 400, days: int = 60) -> tuple[list[Row], list[Row]]:
    """Return labels and annotations of a synthetic project, saved within `days` up to 27 November 2026."""
    chance = random.Random(17)  # noqa: S311  (a picture's numbers)
    end = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
    labels: list[Row] = []
    annotations: list[Row] = []
    for number in range(count):
        label_hash, data_hash = _uuid(chance), _uuid(chance)
        unit = {
            "data_hash": data_hash,
            "data_title": f"frame-{number:05d}.jpg",
            "data_type": "image/jpeg",
            "data_link": f"https://images.example.com/{data_hash}",
            "width": WIDTH,
            "height": HEIGHT,
        }
        stored = end - timedelta(days=days * chance.random() ** 1.6, seconds=chance.randrange(3600))
        drawn = [index for index, (_, _, weight) in enumerate(CLASSES) for _ in range(chance.randrange(weight + 1))]
        labels.append(
            {
                "label_hash": label_hash,
                "data_hash": data_hash,
                "dataset_hash": f"{number % 3:08d}-0000-4000-8000-000000000000",
                "project_hash": project_hash,
                "data_title": unit["data_title"],
                "data_type": "image",
                "dataset_title": DATA_SETS[chance.choice((0, 0, 0, 1, 1, 2))],
                "branch_name": "main",
                "stage": chance.choice(STAGES),
                "status": "LABELLED",
                "edited_at": stored - timedelta(seconds=chance.lognormvariate(1.2, 0.8)),
                "key": f"encord/{project_hash}/labels/{label_hash}.json",
                "version_id": f"v{number}",
                "sha256": hashlib.sha256(label_hash.encode()).hexdigest(),
                "size": 900 + 640 * len(drawn),
                "stored_at": stored,
                "etag": '"0"',
                "objects": len(drawn),
                "classifications": 0,
                "parsed": True,
                "units": data_units({"data_units": {data_hash: unit}}),
            }
        )
        for index in drawn:
            name, shape, _ = CLASSES[index]
            box = {"x": round(chance.random() * 0.8, 4), "y": round(chance.random() * 0.8, 4), "w": 0.1, "h": 0.1}
            annotations.append(
                {
                    "label_hash": label_hash,
                    "data_hash": data_hash,
                    "frame": 0,
                    "kind": "object",
                    "hash": _uuid(chance)[:8],
                    "feature_hash": f"f{index}",
                    "name": name,
                    "shape": shape,
                    "geometry": json.dumps(box),
                    "attributes": "{}",
                    "width": WIDTH,
                    "height": HEIGHT,
                    "data_link": unit["data_link"],
                }
            )
    return labels, annotations


def censuses(days: int = 30) -> dict[str, bytes]:
    """Return reports of daily censuses by their times, such as 20261127T030000Z: the first ones find missing labels."""
    found = {}
    for number in range(days):
        moment = datetime(2026, 11, 27, 3, 0, tzinfo=UTC) - timedelta(days=days - 1 - number)
        missing, selected = (14 if number == 4 else 3 if number in (5, 12) else 0), 120 + number * 9
        report = {
            "as_of": moment.isoformat(),
            "complete": not missing,
            "encord": {"selected": selected},
            "bucket": {"current": selected - missing},
            **{
                kind: {"total": total, "labels": []}
                for kind, total in (
                    ("missing", missing),
                    ("stale", 1 if number == 5 else 0),
                    ("extra", 0),
                    ("moved_back", 2 if number > 20 else 0),
                    ("odd", 0),
                )
            },
        }
        found[f"{moment:%Y%m%dT%H%M%SZ}"] = json.dumps(report).encode()
    return found


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def snapshot_objects(
    folder: Path, project_hash: str, name: str, labels: Sequence[Row], created_at: str = "2026-11-27T14:10:00+00:00"
) -> dict[str, bytes]:
    """Return a snapshot's objects by key; `folder` holds the tables that `write_parquets` wrote."""
    base = f"encord/{project_hash}"
    manifest, lines = folder / "manifest.parquet", folder / "manifest.jsonl.gz"
    with open_tables(folder=folder) as tables:
        frozen = f"SELECT *, 'objects/' || sha256 || '.json' AS object FROM {parquet(folder / LABELS)} ORDER BY key"  # noqa: S608 - a test's own path
        write_parquet(tables, frozen, manifest)
        tables.execute(f"COPY (FROM '{manifest}') TO '{lines}' (FORMAT json, COMPRESSION gzip)")
    place = f"{base}/snapshots/{name}"
    identity = hashlib.sha256(manifest.read_bytes()).hexdigest()
    about = {
        "version": 1,
        "name": name,
        "id": identity,
        "created_at": created_at,
        "where": "",
        "generation": GENERATION,
    }
    return {
        **{
            f"{base}/objects/{row['sha256']}.json": json.dumps(
                {"label_hash": row["label_hash"], "data_units": {row.get("data_hash", ""): {}}}
            ).encode()
            for row in labels
        },
        f"{place}/{manifest.name}": manifest.read_bytes(),
        f"{place}/{lines.name}": lines.read_bytes(),
        f"{place}/{ANNOTATIONS}": (folder / ANNOTATIONS).read_bytes(),
        f"{place}/snapshot.json": json.dumps({**about, "counts": {"labels": len(labels)}}).encode(),
    }
