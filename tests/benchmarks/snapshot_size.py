"""Takes two snapshots of a synthetic index and compares them in a separate process, to measure its memory alone.

    python tests/benchmarks/snapshot_size.py LABELS

The bucket is in the process: a copy costs only its call. Prints the seconds of each step, the number of copies, and
the peak memory in bytes. Another process creates the index.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog_tools import settings_with, toolbox
from label_catalog.adapters.snapshot_tables import difference
from label_catalog.adapters.tables_duckdb import open_tables, write_parquet
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS
from label_catalog.core.model import ProjectInfo
from label_catalog.core.places import Places
from label_catalog.core.snapshots import MANIFEST
from label_catalog.core.work import Work
from label_catalog.entrypoints.snapshot_work import SnapshotWork
from worker import peak_bytes

ANNOTATIONS = 5  # of a label
CHANGED = 100  # one label in so many
PROJECT = "38136ad7-7770-5bcf-a77b-654eb7680bd0"
UNIT = '"title":"a.jpg","type":"image/jpeg","width":1280,"height":720'
ONTOLOGY = {"objects": [{"name": "Vehicle", "shape": "bounding_box", "featureNodeHash": "vehicle"}]}


def write_index(count: int, folder: Path, changed: bool) -> None:
    """Write a generation of `count` labels; with `changed`, one in a hundred has other bytes."""
    folder.mkdir(parents=True)
    digest = f"sha256(i::VARCHAR || CASE WHEN {changed} AND i % {CHANGED} = 0 THEN 'b' ELSE 'a' END)"
    values = {
        "label_hash": "label",
        "data_hash": "label",
        "data_title": "'street ' || i || '.jpg'",
        "data_type": "'image'",
        "dataset_title": "'street scenes'",
        "branch_name": "'main'",
        "stage": "'Complete'",
        "key": f"'encord/{PROJECT}/labels/' || label || '.json'",
        "version_id": "'v' || i",
        "sha256": digest,
        "size": "5000",
        "objects": str(ANNOTATIONS),
        "classifications": "0",
        "parsed": "true",
        "units": f"""'[{{"data_hash":"' || label || '",{UNIT}}}]'""",
    }
    given = {
        "label_hash": "label",
        "data_hash": "label",
        "frame": "0",
        "kind": "'object'",
        "hash": "left(md5(i || '/' || n), 8)",
        "feature_hash": "'vehicle'",
        "name": "'Vehicle'",
        "shape": "'bounding_box'",
        "geometry": """'{"h":0.1,"w":0.2,"x":0.05,"y":0.1}'""",
        "attributes": """'{"Kind":"Car"}'""",
        "width": "1280",
        "height": "720",
    }
    rows = f"SELECT i, md5(i::VARCHAR)::UUID::VARCHAR AS label FROM range({count}) r(i)"  # noqa: S608 - a number
    each = f"SELECT * FROM ({rows}), range({ANNOTATIONS}) s(n)"  # noqa: S608 - a number
    with open_tables(folder=folder) as tables:
        for name, columns, chosen, source, order in (
            ("labels", LABEL_COLUMNS, values, rows, "key"),
            ("annotations", ANNOTATION_COLUMNS, given, each, "label_hash, frame, hash"),
        ):
            shown = ", ".join(f"({chosen.get(name, 'NULL')})::{kind} AS {name}" for name, kind in columns.items())
            query = f"SELECT {shown} FROM ({source}) ORDER BY {order}"  # noqa: S608 - constants of this module
            write_parquet(tables, query, folder / f"{name}.parquet")
    (folder / "ontology.json").write_text(json.dumps(ONTOLOGY))


class Bucket:
    """A bucket in a folder; the shared copies are only counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied: set[str] = set()
        self.copies = 0

    def place(self, key: str) -> Path:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def download(self, key: str, path: Path) -> bool:
        if not self.place(key).exists():
            return False
        shutil.copyfile(self.place(key), path)
        return True

    def upload(self, key: str, path: Path) -> None:
        shutil.copyfile(path, self.place(key))

    def exists(self, key: str) -> bool:
        return self.place(key).exists()

    def put_once(self, key: str, path: Path, lock: object) -> bool:
        self.upload(key, path)
        return True

    def put_json_once(self, key: str, document: Mapping[str, Any], lock: object) -> bool:
        self.place(key).write_text(json.dumps(document))
        return True

    def upload_text(self, key: str, texts: Iterable[str], content_type: str) -> None:
        with self.place(key).open("w") as file:
            file.writelines(texts)

    def digests(self, prefix: str, after: str) -> Iterator[str]:
        yield from self.copied

    def copy(self, source: Any, key: str, lock: object) -> bool:
        self.copies += 1
        self.copied.add(source.sha256)
        return True

    def load(self, key: str) -> tuple[None, None]:
        return None, None

    def projects(self, hashes: Iterable[str]) -> list[ProjectInfo]:
        return [ProjectInfo(PROJECT, "Street scenes", datetime.now(UTC), ())]


def one_size(count: int, folder: Path) -> dict[str, float]:
    """Take a snapshot, one after a hundredth has changed, write COCO, and compare the two."""
    places, bucket = Places(PROJECT), Bucket(folder)
    for name, changed in (("one", False), ("two", True)):
        place = folder / places.generation(name, "x").rpartition("/")[0]
        maker = multiprocessing.get_context("spawn").Process(target=write_index, args=(count, place, changed))
        maker.start()
        maker.join()
    found: dict[str, float] = {}
    with toolbox(settings_with("none"), bucket) as tools:
        for step, name, formats in (("snapshot", "one", []), ("second", "two", []), ("coco", "two", ["coco"])):
            options = {
                "step": "create",
                "name": name,
                "where": "stage = 'Complete'",
                "formats": formats,
                "generation": name,
            }
            now = datetime.now(UTC).isoformat()
            bucket.copies, began = 0, time.perf_counter()
            SnapshotWork(tools, Work("b", "snapshot", PROJECT, options, now, now), lambda: None).run()
            found[step], found[f"{step}_copies"] = time.perf_counter() - began, bucket.copies
    began = time.perf_counter()
    files = [
        (bucket.place(places.snapshot(name, MANIFEST)), bucket.place(places.snapshot(name, "annotations.parquet")))
        for name in ("one", "two")
    ]
    changed_labels = difference(files[0], files[1], folder)["changed"]["total"]
    found["diff"] = time.perf_counter() - began
    wanted = (count, (count + CHANGED - 1) // CHANGED)
    if (found["snapshot_copies"], found["second_copies"]) != wanted or changed_labels != wanted[1]:
        raise SystemExit(f"{found} copies, {changed_labels} changed labels of {count}")
    return {**found, "memory": peak_bytes()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(one_size(int(sys.argv[1]), Path(place))))
