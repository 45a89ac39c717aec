"""Creates a snapshot, writes its formats, and verifies it: work that continues where it stopped.

The order makes each step safe to repeat, also in parallel with another worker: `manifest.parquet` is written once and
determines everything else; each further file follows from it and is written once too; `snapshot.json` is last. Formats
come after that, each with its loss report as its last file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from label_export.core.errors import PermanentError

from label_catalog import __version__
from label_catalog.adapters.aws.snapshots import Lock
from label_catalog.adapters.snapshot_tables import (
    Frozen,
    Objects,
    facts,
    freeze,
    freeze_annotations,
    matched,
    notes,
    read_filter,
    write_lines,
)
from label_catalog.core.index_schema import ANNOTATIONS, LABELS, ONTOLOGY
from label_catalog.core.places import Places
from label_catalog.core.snapshots import DOCUMENT, MANIFEST, MANIFEST_LINES, census_facts, document
from label_catalog.core.work import Work
from label_catalog.entrypoints.generations import file_digest
from label_catalog.entrypoints.snapshot_formats import SnapshotFormats
from label_catalog.toolbox import Toolbox, batched

_STEP = 500  # copies between two saves
_CHECK = 200  # objects between two saves of a verification
_MOST_WRONG = 20


class SnapshotWork:
    """One run of the work. `save` writes its state, and raises if another worker has taken over."""

    def __init__(self, tools: Toolbox, work: Work, save: Callable[[], None]) -> None:
        self._tools = tools
        self._work = work
        self._save = save
        self._places = Places(work.project_hash)
        self._name = str(work.options["name"])

    def run(self) -> None:
        """Continue until the work is complete; raises OutOfTimeError when the time of this run ends."""
        with tempfile.TemporaryDirectory(prefix="label-catalog-") as folder:
            if self._work.options["step"] == "verify":
                self._verify(Path(folder))
            else:
                if not self._tools.snapshots.exists(self._key(DOCUMENT)):
                    self._create(Path(folder))
                SnapshotFormats(self._tools, self._work, self._save, Path(folder)).write()

    def _key(self, file: str) -> str:
        return self._places.snapshot(self._name, file)

    @property
    def _lock(self) -> Lock:
        settings = self._tools.settings
        if settings.snapshot_lock_mode == "none":
            return Lock()
        return Lock(settings.snapshot_lock_mode, self._tools.now() + timedelta(days=settings.snapshot_lock_days))

    def _create(self, folder: Path) -> None:
        tools, lock = self._tools, self._lock
        manifest, annotations, ontology = (folder / name for name in (MANIFEST, ANNOTATIONS, ONTOLOGY))
        self._have_manifest(manifest, folder)
        noted = notes(manifest, folder)
        if noted.get("where") != self._work.options["where"]:
            raise PermanentError(
                "snapshot_begun",
                f"snapshot {self._name} was started with another filter ({noted.get('where')!r}) and not completed: use"
                " another name, or that filter",
            )
        self._have_rest(manifest, annotations, ontology, noted["generation"], folder)
        self._copy(manifest, folder, lock)
        tools.check_time()
        lines = folder / MANIFEST_LINES
        write_lines(manifest, lines, folder)
        tools.snapshots.put_once(self._key(MANIFEST_LINES), lines, lock)
        self._complete(manifest, annotations, ontology, noted, lock)

    def _have_manifest(self, path: Path, folder: Path) -> None:
        """Provide the manifest that counts in `path`: the existing one, or a new one."""
        tools = self._tools
        if tools.bucket.download(self._key(MANIFEST), path):
            return
        generation = str(self._work.options["generation"])
        labels = self._part(generation, LABELS, folder)
        chosen = read_filter(str(self._work.options["where"]), folder)
        found = matched(labels, chosen, folder)
        if not found.labels:
            raise PermanentError("snapshot_empty", f"no label of generation {generation} matches snapshot_where")
        if found.without_bytes:
            raise PermanentError(
                "snapshot_bytes",
                f"{found.without_bytes} labels match whose SHA-256 the index does not have: rebuild the index"
                " (playbooks/index.yml -e index_rebuild=true)",
            )
        noted = {
            "generation": generation,
            "where": str(self._work.options["where"]),
            "project_hash": self._work.project_hash,
            "snapshot": self._name,
            "tool_version": __version__,
        }
        freeze(labels, chosen, noted, path, folder)
        labels.unlink()
        if not tools.snapshots.put_once(self._key(MANIFEST), path, self._lock):
            tools.bucket.download(self._key(MANIFEST), path)  # another worker was first: its manifest counts

    def _have_rest(self, manifest: Path, annotations: Path, ontology: Path, generation: str, folder: Path) -> None:
        """Provide annotations and ontology of the manifest's generation, in the snapshot and in `folder`."""
        bucket, snapshots, lock = self._tools.bucket, self._tools.snapshots, self._lock
        if not bucket.download(self._key(ANNOTATIONS), annotations):
            whole = self._part(generation, ANNOTATIONS, folder, "all-annotations.parquet")
            freeze_annotations(whole, manifest, annotations, folder)
            whole.unlink()
            if not snapshots.put_once(self._key(ANNOTATIONS), annotations, lock):
                bucket.download(self._key(ANNOTATIONS), annotations)
        if not bucket.download(self._key(ONTOLOGY), ontology):
            self._part(generation, ONTOLOGY, folder)
            if not snapshots.put_once(self._key(ONTOLOGY), ontology, lock):
                bucket.download(self._key(ONTOLOGY), ontology)

    def _part(self, generation: str, file: str, folder: Path, name: str | None = None) -> Path:
        self._tools.check_time()
        path = folder / (name or file)
        if not self._tools.bucket.download(self._places.generation(generation, file), path):
            raise PermanentError(
                "snapshot_generation_gone",
                f"index generation {generation} is gone, and snapshot {self._name} needs its {file}: take the snapshot"
                " under another name",
            )
        return path

    def _copy(self, manifest: Path, folder: Path, lock: Lock) -> None:
        """Copy the labels that no snapshot has copied yet. The cursor is the last digest that exists."""
        tools, work = self._tools, self._work
        base = self._places.object("").removesuffix(".json")
        with Objects(manifest, folder) as objects:
            objects.note(tools.timed(tools.snapshots.digests(base, work.cursor)))
            if not work.cursor:
                whole, missing = objects.counts()
                work.to_queue, work.counts["shared"] = missing, whole - missing
                self._save()
            wanted = objects.missing(work.cursor) if lock.until is None else objects.all(work.cursor)
            for batch in batched(wanted, _STEP):
                tools.check_time()
                made = sum(tools.threads.map(lambda source: self._copy_one(source, lock), batch))
                work.cursor, work.queued = batch[-1].sha256, work.queued + made
                self._save()

    def _copy_one(self, source: Frozen, lock: Lock) -> bool:
        key = self._places.object(source.sha256)
        made = self._tools.snapshots.copy(source, key, lock)
        if not made:
            self._tools.snapshots.retain(key, lock)
        return made

    def _complete(self, manifest: Path, annotations: Path, ontology: Path, noted: dict[str, str], lock: Lock) -> None:
        tools, work = self._tools, self._work
        counts, classes = facts(manifest, annotations, manifest.parent)
        report, _ = tools.documents.load(self._places.latest_report)
        files = {
            path.name: {"sha256": file_digest(path), "bytes": path.stat().st_size}
            for path in (manifest, annotations, ontology)
        }
        (project,) = tools.encord.projects([work.project_hash])
        made = document(
            name=self._name,
            project_hash=work.project_hash,
            title=project.title,
            fixed=noted,
            created_at=tools.now().isoformat(),
            counts=counts,
            classes=classes,
            files=files,
            census=census_facts(report),
            lock=None if lock.until is None else {"mode": lock.mode, "until": lock.until.isoformat()},
        )
        self._save()  # a worker that was replaced must not complete it
        if tools.snapshots.put_json_once(self._key(DOCUMENT), made, lock):
            about = {"snapshot": self._name, "id": made["id"], "labels": counts["labels"], "copied": work.queued}
            tools.telemetry.log("INFO", "snapshot_completed", project_hash=work.project_hash, **about)

    def _verify(self, folder: Path) -> None:
        """Read the manifest's objects again and compare their digests, for all or about `sample` of them."""
        tools, work = self._tools, self._work
        found, _ = tools.documents.load(self._key(DOCUMENT))
        manifest = folder / MANIFEST
        if found is None or not tools.bucket.download(self._key(MANIFEST), manifest):
            raise PermanentError("snapshot_unknown", f"there is no snapshot {self._name}")
        wrong: list[str] = json.loads(work.detail) if work.detail.startswith("[") else []
        if not work.cursor:
            wrong = [
                f"{name}: {'missing' if digest is None else 'other bytes'}"
                for name, about in found["files"].items()
                if (digest := tools.snapshots.digest(self._key(name))) != about["sha256"]
            ]
            work.counts |= {"wrong": len(wrong), "files": len(found["files"])}
        if file_digest(manifest) != found["id"]:  # a changed manifest proves nothing about objects
            self._note_wrong(wrong)
            return
        sample = work.options.get("sample")
        with Objects(manifest, folder) as objects:
            whole, _ = objects.counts()
            step = 1 if sample is None else max(1, whole // max(1, int(sample)))
            work.to_queue = (whole + step - 1) // step
            for batch in batched(_every(objects.all(work.cursor), step), _CHECK):
                tools.check_time()
                digests = tools.threads.map(lambda one: tools.snapshots.digest(self._places.object(one.sha256)), batch)
                bad = [
                    f"{one.label_hash}: {'missing' if digest is None else 'other bytes'}"
                    for one, digest in zip(batch, digests, strict=True)
                    if digest != one.sha256
                ]
                wrong = (wrong + bad)[:_MOST_WRONG]
                work.counts["wrong"] += len(bad)
                work.cursor, work.queued = batch[-1].sha256, work.queued + len(batch)
                work.detail = json.dumps(wrong) if wrong else ""
                self._save()
        self._note_wrong(wrong)

    def _note_wrong(self, wrong: list[str]) -> None:
        tools, work = self._tools, self._work
        work.detail = json.dumps(wrong) if wrong else ""
        if wrong:
            about = {"snapshot": self._name, "wrong": work.counts["wrong"], "labels": wrong}
            tools.telemetry.log("ERROR", "snapshot_not_whole", project_hash=work.project_hash, **about)
        # Also when nothing is wrong: it ends the alarm.
        tools.telemetry.metrics({"SnapshotObjectsWrong": work.counts["wrong"]}, project=work.project_hash)


def _every(items: Iterable[Frozen], step: int) -> Iterator[Frozen]:
    return (item for place, item in enumerate(items) if place % step == 0)
