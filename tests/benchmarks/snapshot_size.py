"""Takes two snapshots of a synthetic index and compares them in a separate process, to measure its memory alone.

    python tests/benchmarks/snapshot_size.py LABELS [FORMAT...]

The bucket is in the process: a copy costs nothing here but its call. Prints what each step took, the number of copies,
and the peak of memory in bytes. Another process makes the index.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog_tools import settings_with, toolbox
from folder_bucket import FolderBucket, timed
from label_catalog.adapters.snapshot_tables import difference
from label_catalog.core.index_schema import ANNOTATIONS, LABELS, ONTOLOGY
from label_catalog.core.places import Places
from label_catalog.core.snapshots import MANIFEST
from label_catalog.core.work import Work
from label_catalog.entrypoints.snapshot_work import SnapshotWork
from spilled import Spilled
from synthetic_rows import CHANGED, PROJECT, STAGE, write_rows
from synthetic_rows import ONTOLOGY as CLASSES
from worker import peak_bytes


def write_index(count: int, folder: Path, changed: bool) -> None:
    """Write a generation of `count` labels; with `changed`, one in a hundred has other bytes."""
    folder.mkdir(parents=True)
    write_rows(range(count), folder / LABELS, folder / ANNOTATIONS, changed=changed)
    (folder / ONTOLOGY).write_text(json.dumps(CLASSES))


def one_size(count: int, folder: Path, formats: Sequence[str]) -> dict[str, Any]:
    """Take a snapshot, one after a hundredth has changed, write the formats, and compare the two."""
    places, bucket = Places(PROJECT), FolderBucket(folder)
    for name, changed in (("one", False), ("two", True)):
        place = folder / places.generation(name, "x").rpartition("/")[0]
        maker = multiprocessing.get_context("spawn").Process(target=write_index, args=(count, place, changed))
        maker.start()
        maker.join()
    found: dict[str, Any] = {}
    copies: dict[str, int] = {}
    files = [
        (bucket.place(places.snapshot(name, MANIFEST)), bucket.place(places.snapshot(name, ANNOTATIONS)))
        for name in ("one", "two")
    ]
    with toolbox(settings_with("none"), bucket) as tools, Spilled() as spilled:
        steps = [("snapshot", "one", []), ("second", "two", []), *((name, "two", [name]) for name in formats)]
        for step, name, asked in steps:
            options = {"step": "create", "name": name, "where": f"stage = '{STAGE}'", "formats": asked}
            now = datetime.now(UTC).isoformat()
            work = Work(step, "snapshot", PROJECT, {**options, "generation": name}, now, now)
            bucket.copies = 0
            found[step] = timed(SnapshotWork(tools, work, lambda: None).run)
            copies[step] = bucket.copies
        differing: list[int] = []
        found["diff"] = timed(lambda: differing.append(difference(files[0], files[1], folder)["changed"]["total"]))
    wanted = (count, (count + CHANGED - 1) // CHANGED)
    if (copies["snapshot"], copies["second"]) != wanted or differing != [wanted[1]]:
        raise SystemExit(f"{copies} copies, {differing} changed labels of {count}")
    return {**found, "copies": copies["second"], "memory": peak_bytes(), "spilled": spilled.most}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(one_size(int(sys.argv[1]), Path(place), sys.argv[2:])))
