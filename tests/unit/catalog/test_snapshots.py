"""Snapshots: frozen labels stay, byte for byte, whatever happens to the originals or to workers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import yaml
from catalog_system import BUCKET, CatalogSystem
from handler_servers import Answer, Fault, StoredObject
from index_files import GENERATION, write_generation
from label_catalog.adapters.snapshot_tables import labelled
from label_catalog.core import coco
from label_catalog.core.labelled_data import Labelled
from label_catalog.core.snapshots import MANIFEST
from label_catalog.entrypoints import snapshot_formats
from label_export.core.errors import PermanentError, UnknownEventError
from pycocotools.coco import COCO


@pytest.fixture
def indexed(system: CatalogSystem, tmp_path: Path) -> CatalogSystem:
    """Every label is in the bucket and in the index, and a census has proved it."""
    for row in system.stand_in.project()["label_rows"]:
        if row["label_hash"] is not None and row["key"] != "deleted":
            body = system.stand_in.row_bytes(row["label_hash"])
            system.aws._store(system.path(row["label_hash"]), body, {"content-type": "application/json"})
    rows = write_generation(system, tmp_path)["rows"]
    none = {"total": 0, "labels": []}
    report = {"as_of": system.clock().isoformat(), "missing": none, "stale": none, "bucket": {"current": rows}}
    system.aws.objects[f"/{BUCKET}/{base(system)}/reports/latest.json"] = StoredObject(json.dumps(report).encode(), {})
    return system


def start(system: CatalogSystem, name: str, where: str = "", **more: Any) -> dict[str, Any]:
    event = {
        "action": "snapshot",
        "step": "start",
        "project_hash": system.project,
        "name": name,
        "where": where,
        **more,
    }
    (answer,) = system.catalog(event)["started"]
    return dict(answer)


def ask(system: CatalogSystem, step: str, **more: Any) -> dict[str, Any]:
    return system.catalog({"action": "snapshot", "step": step, "project_hash": system.project, **more})


def state(system: CatalogSystem) -> dict[str, Any]:
    (found,) = ask(system, "status")["projects"]
    return dict(found)


def snapshot(system: CatalogSystem, name: str, where: str = "", **more: Any) -> dict[str, Any]:
    """Create a snapshot and return its document."""
    assert start(system, name, where, **more)["outcome"] == "started"
    system.work_all()
    assert state(system)["state"] == "completed", state(system)
    return document(system, name)


def base(system: CatalogSystem) -> str:
    return f"encord/{system.project}"


def document(system: CatalogSystem, name: str) -> dict[str, Any]:
    return system.document(f"{base(system)}/snapshots/{name}/snapshot.json")


def file(system: CatalogSystem, name: str, file: str) -> bytes:
    return system.aws.objects[f"/{BUCKET}/{base(system)}/snapshots/{name}/{file}"].body


def manifest(objects: dict[str, bytes], folder: Path, prefix: str) -> list[tuple[str, str, str]]:
    """Read a manifest with DuckDB only: label, SHA-256, object."""
    path = folder / "read.parquet"
    path.write_bytes(objects[f"{prefix}/{MANIFEST}"])
    return duckdb.read_parquet(str(path)).project("label_hash, sha256, object").order("label_hash").fetchall()


def bytes_of(system: CatalogSystem, bucket: str = BUCKET) -> dict[str, bytes]:
    """Everything below the project's prefix, by key below it."""
    prefix = f"/{bucket}/{base(system)}/"
    return {path.removeprefix(prefix): one.body for path, one in system.aws.objects.items() if path.startswith(prefix)}


def read_back(objects: dict[str, bytes], folder: Path, name: str, *, packed: bool = False) -> list[str]:
    """Return the manifest's mismatches with SHA-256, and those of every label that it names."""
    about = json.loads(objects[f"snapshots/{name}/snapshot.json"])
    wrong = [
        one
        for one, fact in about["files"].items()
        if hashlib.sha256(objects[f"snapshots/{name}/{one}"]).hexdigest() != fact["sha256"]
    ]
    rows = manifest(objects, folder, f"snapshots/{name}")
    assert len(rows) == about["counts"]["labels"] > 0
    for label, digest, key in rows:
        body = gzip.decompress(objects[key]) if packed else objects[key]
        if hashlib.sha256(body).hexdigest() != digest or json.loads(body)["label_hash"] != label:
            wrong.append(key)
    return wrong


def complete(system: CatalogSystem) -> list[str]:
    rows = system.stand_in.project()["label_rows"]
    return [row["label_hash"] for row in rows if row["workflow_stage"] == "Complete" and row["key"] != "deleted"]


def test_a_snapshot_freezes_the_labels_that_match(indexed: CatalogSystem, tmp_path: Path) -> None:
    made = snapshot(indexed, "first", "stage = 'Complete'")
    objects = bytes_of(indexed)
    rows = manifest(objects, tmp_path, "snapshots/first")
    assert sorted(label for label, _, _ in rows) == sorted(complete(indexed))
    for label, digest, key in rows:
        assert objects[key] == indexed.stand_in.row_bytes(label)
        assert key == f"objects/{digest}.json"
    assert made["id"] == hashlib.sha256(file(indexed, "first", MANIFEST)).hexdigest()
    assert made["generation"] == GENERATION
    assert made["where"] == "stage = 'Complete'"
    assert made["counts"]["labels"] == len(rows)
    assert made["counts"]["bytes"] == sum(len(indexed.stand_in.row_bytes(label)) for label, _, _ in rows)
    lines = gzip.decompress(file(indexed, "first", "manifest.jsonl.gz")).decode().splitlines()
    assert {json.loads(line)["label_hash"] for line in lines} == set(complete(indexed))
    assert json.loads(lines[0])["stored_at"] == "2026-11-27T00:00:00.000000Z"
    annotated = duckdb.read_parquet(str(written(indexed, "first", tmp_path))).project("label_hash").fetchall()
    assert {label for (label,) in annotated} <= set(complete(indexed))
    assert sum(one["annotations"] for one in made["classes"]) == made["counts"]["annotations"] > 0


def written(system: CatalogSystem, name: str, folder: Path, what: str = "annotations.parquet") -> Path:
    path = folder / what.replace("/", "-")
    path.write_bytes(file(system, name, what))
    return path


def test_frozen_labels_can_be_read_whatever_happens_to_the_labels(indexed: CatalogSystem, tmp_path: Path) -> None:
    snapshot(indexed, "frozen")
    label = complete(indexed)[0]
    path = indexed.path(label)
    for revision in range(100):
        indexed.aws.objects[path] = StoredObject(f"edit {revision}".encode(), {})
        indexed.aws._keep_version(path)
    assert read_back(bytes_of(indexed), tmp_path, "frozen") == []
    for one in list(indexed.aws.objects):
        if one.startswith(f"/{BUCKET}/{base(indexed)}/labels/"):
            del indexed.aws.objects[one]
    assert read_back(bytes_of(indexed), tmp_path, "frozen") == []
    indexed.aws.expire_versions()
    assert read_back(bytes_of(indexed), tmp_path, "frozen") == []
    for one in [one for one in indexed.aws.objects if "/index/" in one or "/state/" in one]:
        del indexed.aws.objects[one]
    other = "another-bucket"
    copy_to(indexed, other)
    indexed.aws.objects = {path: one for path, one in indexed.aws.objects.items() if path.startswith(f"/{other}/")}
    assert read_back(bytes_of(indexed, other), tmp_path, "frozen") == []
    # A catalog that has the other bucket finds the snapshot whole, too.
    indexed.set(LABEL_EXPORT_BUCKET=other)
    ask(indexed, "verify", name="frozen")
    indexed.work_all()
    found = state(indexed)
    assert (found["state"], found["counts"]["wrong"]) == ("completed", 0)
    assert found["queued"] == json.loads(bytes_of(indexed, other)["snapshots/frozen/snapshot.json"])["counts"]["labels"]


def copy_to(system: CatalogSystem, bucket: str) -> None:
    """Copy snapshots and their objects to another bucket, through S3's API."""
    s3 = boto3.client("s3", endpoint_url=system.aws.url, verify=str(system.bundle))
    for prefix in ("snapshots/", "objects/"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{base(system)}/{prefix}"):
            for found in page["Contents"]:
                s3.copy_object(Bucket=bucket, Key=found["Key"], CopySource={"Bucket": BUCKET, "Key": found["Key"]})


def test_it_freezes_the_version_that_the_index_names(indexed: CatalogSystem, tmp_path: Path) -> None:
    label = complete(indexed)[0]
    before = indexed.aws.objects[indexed.path(label)].body
    indexed.aws.objects[indexed.path(label)] = StoredObject(b'{"edited": true}', {})
    indexed.aws._keep_version(indexed.path(label))
    snapshot(indexed, "older")
    assert read_back(bytes_of(indexed), tmp_path, "older") == []
    assert before in bytes_of(indexed).values()


def test_compressed_labels_are_copied_as_they_are(indexed: CatalogSystem, tmp_path: Path) -> None:
    for path in [path for path in indexed.aws.objects if f"{base(indexed)}/labels/" in path]:
        body = gzip.compress(indexed.aws.objects[path].body, mtime=0)
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        indexed.aws.objects[path] = StoredObject(body, headers)
        indexed.aws._keep_version(path)
    write_generation(indexed, tmp_path, "20261127T150500Z-0a1b2c3d")
    snapshot(indexed, "packed")
    assert read_back(bytes_of(indexed), tmp_path, "packed", packed=True) == []
    (verified,) = ask(indexed, "verify", name="packed")["started"]
    assert verified["outcome"] == "started"
    indexed.work_all()
    assert (state(indexed)["state"], state(indexed)["counts"]["wrong"]) == ("completed", 0)


def copies(system: CatalogSystem) -> int:
    return system.aws.count("CopyObject")


def test_the_second_snapshot_copies_what_changed(indexed: CatalogSystem, tmp_path: Path) -> None:
    first = snapshot(indexed, "first")
    assert copies(indexed) == first["counts"]["labels"]
    row = next(row for row in indexed.stand_in.project()["label_rows"] if row["label_hash"] == complete(indexed)[0])
    edit(indexed, row)
    write_generation(indexed, tmp_path, "20261127T160500Z-0a1b2c3d")
    second = snapshot(indexed, "second")
    assert copies(indexed) == first["counts"]["labels"] + 1
    assert state(indexed)["counts"]["shared"] == second["counts"]["labels"] - 1
    assert second["id"] != first["id"]
    assert read_back(bytes_of(indexed), tmp_path, "first") == read_back(bytes_of(indexed), tmp_path, "second") == []
    found = ask(indexed, "diff", name="second", since="first")
    assert [found[kind]["total"] for kind in ("added", "removed", "changed")] == [0, 0, 1]
    assert found["changed"]["labels"][0]["label_hash"] == row["label_hash"]
    assert found["same"] == second["counts"]["labels"] - 1


def edit(system: CatalogSystem, row: dict[str, Any]) -> None:
    path = system.path(row["label_hash"])
    body = json.loads(system.aws.objects[path].body)
    body["label_status"] = "EDITED"
    system.aws.objects[path] = StoredObject(json.dumps(body).encode(), {})
    system.aws._keep_version(path)


def test_a_diff_counts_labels_and_annotations_for_each_class(indexed: CatalogSystem) -> None:
    snapshot(indexed, "all")
    snapshot(indexed, "complete", "stage = 'Complete'")
    found = ask(indexed, "diff", name="complete", since="all")
    assert found["removed"]["total"] == document(indexed, "all")["counts"]["labels"] - len(complete(indexed))
    by_name = {(one["kind"], one["name"], one["shape"]): one for one in found["classes"]}
    boxes = by_name["object", "Vehicle", "bounding_box"]
    assert boxes["labels_after"] < boxes["labels_before"]
    wanted = {(one["name"], one["shape"]): one["annotations"] for one in document(indexed, "complete")["classes"]}
    assert boxes["annotations_after"] == wanted["Vehicle", "bounding_box"]
    speech = by_name["object", "Speech", "audio"]
    assert (speech["labels_after"], speech["annotations_after"]) == (0, 0)


def test_a_name_exists_once(indexed: CatalogSystem) -> None:
    made = snapshot(indexed, "once", "stage = 'Complete'")
    before = bytes_of(indexed)
    assert start(indexed, "once", "stage = 'Complete'")["outcome"] == "exists"
    assert start(indexed, "once")["outcome"] == "exists"
    refused = start(indexed, "once", "stage = 'Review'")
    assert refused["outcome"] == "refused"
    assert "choose another" in refused["detail"]
    assert not indexed.aws.queues["catalog"]
    assert bytes_of(indexed) == before
    assert document(indexed, "once") == made


def test_a_plan_writes_nothing(indexed: CatalogSystem) -> None:
    before = bytes_of(indexed)
    found = ask(indexed, "plan", name="planned", where="stage = 'Complete'")
    assert (found["outcome"], found["labels"], found["to_copy"]) == (
        "would_start",
        len(complete(indexed)),
        len(complete(indexed)),
    )
    assert bytes_of(indexed) == before
    assert not indexed.aws.queues["catalog"]
    snapshot(indexed, "planned", "stage = 'Complete'")
    assert ask(indexed, "plan", name="planned")["outcome"] == "exists"
    more = ask(indexed, "plan", name="more")
    assert more["to_copy"] == more["labels"] - len(complete(indexed))


def test_a_snapshot_is_refused_while_completeness_is_not_proved(indexed: CatalogSystem, tmp_path: Path) -> None:
    report = f"/{BUCKET}/{base(indexed)}/reports/latest.json"
    good = indexed.aws.objects[report]

    def refusal(**changed: Any) -> str:
        body = {**json.loads(good.body), **changed}
        indexed.aws.objects[report] = StoredObject(json.dumps(body).encode(), {})
        with pytest.raises(PermanentError) as caught:
            start(indexed, "refused")
        assert ask(indexed, "plan", name="refused")["outcome"] == "refused"
        return str(caught.value)

    assert "3 labels missing" in refusal(missing={"total": 3, "labels": []})
    assert "1 stale" in refusal(stale={"total": 1, "labels": []})
    assert "more than a day ago" in refusal(as_of="2026-01-01T00:00:00+00:00")
    assert "caught up" in refusal(bucket={"objects": 999, "current": 999})
    del indexed.aws.objects[report]
    with pytest.raises(PermanentError, match="no census"):
        start(indexed, "refused")
    assert start(indexed, "allowed", allow_incomplete=True)["outcome"] == "started"
    indexed.aws.objects[report] = good
    indexed.clock.off = timedelta(days=2)
    with pytest.raises(PermanentError, match="snapshot_allow_incomplete"):
        start(indexed, "late")


def test_without_an_index_nothing_is_frozen(system: CatalogSystem) -> None:
    with pytest.raises(PermanentError, match="has not been built"):
        start(system, "early", allow_incomplete=True)


def test_a_lifecycle_rule_that_would_expire_it_is_refused(indexed: CatalogSystem) -> None:
    expiring = "<Expiration><Days>30</Days></Expiration>"
    old = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
    for prefix, action in (("", expiring), ("encord/", expiring), (f"{base(indexed)}/objects/", expiring)):
        indexed.aws.lifecycle = [{"ID": "cleaner", "Prefix": prefix, "Action": action}]
        with pytest.raises(PermanentError, match="cleaner"):
            start(indexed, "refused")
    for prefix, action in (("", old), ("logs/", expiring), (f"{base(indexed)}/labels/", expiring)):
        indexed.aws.lifecycle = [{"ID": "cleaner", "Prefix": prefix, "Action": action}]
        assert ask(indexed, "plan", name="fine")["outcome"] == "would_start"


def test_labels_that_encord_no_longer_has_are_left_out_unless_the_filter_names_them(
    indexed: CatalogSystem, tmp_path: Path
) -> None:
    whole = ask(indexed, "plan", name="fine")["labels"]
    write_generation(indexed, tmp_path, gone_at=datetime(2026, 11, 1, tzinfo=UTC), gone_reason="deleted")
    assert ask(indexed, "plan", name="fine")["outcome"] == "refused"
    assert ask(indexed, "plan", name="fine", where="gone_reason = 'deleted'")["labels"] == whole


def test_a_filter_that_fails_for_a_label_names_no_value(indexed: CatalogSystem) -> None:
    with pytest.raises(PermanentError) as caught:
        ask(indexed, "plan", name="wrong", where="data_title::integer = 1")
    assert "crossing" not in str(caught.value)
    assert "try_cast" in str(caught.value)


def test_a_snapshot_is_completed_at_whatever_step_it_is_killed(
    indexed: CatalogSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writes of a run are its steps. The run is killed before each of them in turn, and started again."""
    where, more = "stage = 'Complete'", {"formats": ["jsonl"]}
    wanted = None
    for step in range(200):
        name = "killed"
        for path in [path for path in indexed.aws.objects if "/snapshots/" in path or "/objects/" in path]:
            del indexed.aws.objects[path]
        indexed.aws.objects.pop(f"/{BUCKET}/{base(indexed)}/state/work/snapshot.json", None)
        indexed.aws.queues["catalog"].clear()
        assert start(indexed, name, where, **more)["outcome"] == "started"
        writes = run_killed(indexed, step)
        if writes <= step:
            break
        indexed.restart()
        indexed.clock.off = timedelta(minutes=30)  # its worker is considered dead
        again = start(indexed, name, where, **more)
        assert again["outcome"] in ("started", "joined", "exists"), again
        indexed.work_all()
        if again["outcome"] == "exists":  # only the note that the work has ended is missing: a reconcile continues it
            indexed.catalog({"action": "reconcile"})
            indexed.work_all()
        found = state(indexed)
        assert found["state"] == "completed", (step, found)
        assert read_back(bytes_of(indexed), tmp_path, name) == []
        made = {key: body for key, body in bytes_of(indexed).items() if "/formats/" in key}
        wanted = wanted or sorted(made)
        assert sorted(made) == wanted
        indexed.clock.off = timedelta()
    assert step > 15


def run_killed(system: CatalogSystem, step: int) -> int:
    """Deliver the work's message with all writes after the first `step` refused; return how many there were."""
    seen = 0
    gate = system.aws.operation

    def operation(method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        nonlocal seen
        name = gate(method, path, query, headers, body)
        if name in ("PutObject", "CopyObject"):
            seen += 1
            if seen > step:
                return "Dead"
        return name

    system.aws.operation = operation  # type: ignore[method-assign]
    system.aws._Dead = lambda call: Answer(403, b"<Error><Code>AccessDenied</Code></Error>")  # type: ignore[attr-defined]
    try:
        event = system.take("catalog")
        assert event is not None
        system.catalog(event)
    finally:
        system.aws.operation = gate  # type: ignore[method-assign]
    return seen


def test_two_workers_at_once_create_one_snapshot(indexed: CatalogSystem, tmp_path: Path) -> None:
    """A second worker does all the work while the first one copies; the first then stops."""
    assert start(indexed, "both")["outcome"] == "started"
    message = indexed.aws.queues["catalog"][0]
    calls = 0

    def second() -> None:
        nonlocal calls
        calls += 1
        indexed.aws.queues["catalog"].append(message)
        indexed.catalog(indexed.take("catalog"))

    indexed.aws.fail("CopyObject", Fault(when=second))
    indexed.work_all()
    assert calls == 1
    assert read_back(bytes_of(indexed), tmp_path, "both") == []
    assert state(indexed)["state"] == "completed"
    names = [
        call.path for call in indexed.aws.calls if call.operation == "PutObject" and "/snapshots/both/" in call.path
    ]
    assert len({*names}) == 5


def test_another_start_joins_or_is_refused_while_one_is_in_progress(indexed: CatalogSystem) -> None:
    assert start(indexed, "one")["outcome"] == "started"
    assert start(indexed, "one")["outcome"] == "joined"
    refused = start(indexed, "two")
    assert refused["outcome"] == "refused"
    assert "create one" in refused["detail"]


def test_a_started_snapshot_continues_with_its_manifest_and_refuses_another_filter(
    indexed: CatalogSystem, tmp_path: Path
) -> None:
    start(indexed, "begun", "stage = 'Complete'")
    indexed.aws.fail("CopyObject", *[Fault(answer=Answer(403, b"<Error><Code>AccessDenied</Code></Error>"))] * 3)
    indexed.work_all()
    assert state(indexed)["state"] == "failed"
    assert ask(indexed, "list")["snapshots"] == [{"name": "begun", "completed": False}]
    start(indexed, "begun", "stage = 'Review'")
    indexed.work_all()
    assert "another filter" in state(indexed)["detail"]
    made = snapshot(indexed, "begun", "stage = 'Complete'")
    assert made["counts"]["labels"] == len(complete(indexed))


def test_a_missing_version_is_an_error_and_not_a_gap(indexed: CatalogSystem) -> None:
    label = complete(indexed)[0]
    indexed.aws.versions[indexed.path(label)].clear()
    start(indexed, "gap")
    indexed.work_all()
    assert state(indexed)["state"] == "failed"
    assert label in state(indexed)["detail"]
    assert f"/{BUCKET}/{base(indexed)}/snapshots/gap/snapshot.json" not in indexed.aws.objects


def spend(left: list[int]) -> float:
    """Return the remaining seconds of a run, which ends after a number of calls."""
    left[0] -= 1
    return 600.0 if left[0] > 0 else 0.0


def test_work_continues_in_the_next_run_when_time_ends(
    indexed: CatalogSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("label_catalog.entrypoints.snapshot_work._STEP", 3)
    start(indexed, "long")
    runs = 0
    left = [0]
    monkeypatch.setattr("handler_deployment.Context.get_remaining_time_in_millis", lambda _: 1000 * spend(left))
    while (event := indexed.take("catalog")) is not None:
        runs += 1
        left[0] = 6 + 2 * runs
        indexed.catalog(event)
    monkeypatch.undo()
    assert runs >= 2
    indexed._application = None
    assert read_back(bytes_of(indexed), tmp_path, "long") == []


def test_formats_are_written_with_the_snapshot_or_afterwards(indexed: CatalogSystem, tmp_path: Path) -> None:
    made = snapshot(indexed, "set", formats=["coco"])
    assert start(indexed, "set", formats=["coco"])["outcome"] == "exists"
    assert start(indexed, "set", formats=["yolo", "jsonl"])["outcome"] == "started"
    indexed.work_all()
    assert state(indexed)["state"] == "completed", state(indexed)
    assert document(indexed, "set") == made
    assert ask(indexed, "list")["snapshots"][0]["formats"] == ["coco", "jsonl", "yolo"]
    path = written(indexed, "set", tmp_path, MANIFEST)
    units = duckdb.read_parquet(str(path)).project("label_hash, data_type, units").fetchall()
    wanted = {
        (label, unit["data_hash"])
        for label, kind, text in units
        for unit in json.loads(text)
        if kind in ("image", "img_group") or (unit["type"] or "").startswith(("scene_image", "image"))
        if kind not in ("dicom", "nifti")
    }
    read = COCO(str(written(indexed, "set", tmp_path, "formats/coco/annotations.json")))
    images = read.loadImgs(read.getImgIds())
    assert {(one["label_hash"], one["data_hash"]) for one in images if "frame" not in one} == wanted
    assert {one["title"] for one in images} >= {"nothing to see.jpg", "crossing.jpg", "step 1.png"}
    losses = json.loads(file(indexed, "set", "formats/coco/losses.json"))
    assert losses["images"] == len(images)
    assert losses["written"] + losses["left_out"] >= made["counts"]["annotations"]
    assert {one["shape"] for one in read.loadAnns(read.getAnnIds())} == coco.SHAPES
    with zipfile.ZipFile(io.BytesIO(file(indexed, "set", "formats/yolo/labels-000.zip"))) as archive:
        assert len(archive.namelist()) == json.loads(file(indexed, "set", "formats/yolo/losses.json"))["images"]
    lines = gzip.decompress(file(indexed, "set", "formats/jsonl/annotations.jsonl.gz")).decode().splitlines()
    found = sum(len(json.loads(line)["objects"]) + len(json.loads(line)["classifications"]) for line in lines)
    assert found == made["counts"]["annotations"]


def wrong_objects(capsys: pytest.CaptureFixture[str]) -> list[int]:
    """Return the values of the alarm's metric since the last look."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line["SnapshotObjectsWrong"] for line in lines if "SnapshotObjectsWrong" in line]


def test_formats_go_on_in_the_next_run_where_time_ends(indexed: CatalogSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second run has time for a few parts only. The files are those of one long run, byte for byte."""
    formats = ["coco", "yolo", "jsonl"]
    part = "label_catalog.entrypoints.snapshot_formats._PART_LABELS"
    monkeypatch.setattr(part, 3, raising=False)
    snapshot(indexed, "set", formats=formats)
    wanted = {key: body for key, body in bytes_of(indexed).items() if "/formats/" in key}
    for path in [path for path in indexed.aws.objects if "/formats/" in path]:
        del indexed.aws.objects[path]
    assert start(indexed, "set", formats=formats)["outcome"] == "started"
    left, cursors = [0], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("handler_deployment.Context.get_remaining_time_in_millis", lambda _: 1000 * spend(left))
        while (event := indexed.take("catalog")) is not None:
            left[0] = 25 if len(cursors) % 2 else 6  # parts are put together within one run
            indexed.catalog(event)
            work = indexed.document(f"{base(indexed)}/state/work/snapshot.json")
            cursors.append(json.dumps(work["data"].get("formats")))
    assert state(indexed)["state"] == "completed", state(indexed)
    assert len(set(cursors)) >= 4
    assert {key: body for key, body in bytes_of(indexed).items() if "/formats/" in key} == wanted
    assert not [key for key in bytes_of(indexed) if key.startswith("state/index/")]


def test_a_format_reads_the_rows_once(indexed: CatalogSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def read(*paths: Path, **others: Any) -> Iterator[Labelled]:
        reads.append(paths[0].name)
        return labelled(*paths, **others)

    monkeypatch.setattr(snapshot_formats, "labelled", read)
    snapshot(indexed, "set", formats=["coco", "yolo", "jsonl"])
    assert len(reads) == 3


def test_a_format_whose_part_needs_more_than_a_run_fails_with_what_to_do(indexed: CatalogSystem) -> None:
    snapshot(indexed, "set")
    assert start(indexed, "set", formats=["coco"])["outcome"] == "started"
    left, runs = [0], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("handler_deployment.Context.get_remaining_time_in_millis", lambda _: 1000 * spend(left))
        while (event := indexed.take("catalog")) is not None:
            left[0], runs = 1, runs + 1
            indexed.catalog(event)
    assert runs == 3
    assert state(indexed)["state"] == "failed"
    assert "catalog_function_timeout" in state(indexed)["detail"]


def test_verify_finds_what_is_missing_or_changed(indexed: CatalogSystem, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot(indexed, "checked")
    ask(indexed, "verify", name="checked")
    indexed.work_all()
    assert wrong_objects(capsys) == [0], "what ends the alarm"
    (first, second, *_) = sorted(path for path in indexed.aws.objects if "/objects/" in path)
    del indexed.aws.objects[first]
    indexed.aws.objects[second] = StoredObject(b"{}", {})
    assert ask(indexed, "verify", name="checked")["started"][0]["outcome"] == "started"
    indexed.work_all()
    found = state(indexed)
    assert found["counts"]["wrong"] == 2
    assert wrong_objects(capsys) == [2]
    assert sorted(one.partition(": ")[2] for one in json.loads(found["detail"])) == ["missing", "other bytes"]
    indexed.aws.objects[f"/{BUCKET}/{base(indexed)}/snapshots/checked/{MANIFEST}"].body += b" "
    ask(indexed, "verify", name="checked", sample=1)
    indexed.work_all()
    assert MANIFEST in state(indexed)["detail"]


def test_a_sample_reads_about_the_requested_number(indexed: CatalogSystem) -> None:
    snapshot(indexed, "sampled")
    before = indexed.aws.count("GetObject")
    ask(indexed, "verify", name="sampled", sample=2)
    indexed.work_all()
    assert state(indexed)["queued"] in (2, 3)
    assert indexed.aws.count("GetObject") - before < 15


def test_a_lock_keeps_files_and_copies_until_a_day(indexed: CatalogSystem) -> None:
    indexed.set(LABEL_CATALOG_SNAPSHOT_LOCK_MODE="GOVERNANCE", LABEL_CATALOG_SNAPSHOT_LOCK_DAYS="30")
    made = snapshot(indexed, "locked", "stage = 'Complete'")
    assert made["lock"]["mode"] == "GOVERNANCE"
    first = dict(indexed.aws.retained)
    assert len(first) == len(complete(indexed))
    indexed.clock.off = timedelta(hours=5)
    snapshot(indexed, "later", "stage = 'Complete'")
    assert all(indexed.aws.retained[path] > until for path, until in first.items())
    puts = [call for call in indexed.aws.calls if call.operation == "PutObject" and "/snapshots/locked/" in call.path]
    assert len(puts) == 5
    assert all(call.headers["x-amz-object-lock-mode"] == "GOVERNANCE" for call in puts)


def test_a_bucket_without_object_lock_is_named_before_anything_is_written(indexed: CatalogSystem) -> None:
    indexed.set(LABEL_CATALOG_SNAPSHOT_LOCK_MODE="COMPLIANCE")
    refusal = (
        b"<Error><Code>InvalidRequest</Code><Message>Bucket is missing Object Lock Configuration</Message></Error>"
    )
    gate = indexed.aws.operation

    def operation(method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        name = gate(method, path, query, headers, body)
        return "Lockless" if "x-amz-object-lock-mode" in headers else name

    indexed.aws.operation = operation  # type: ignore[method-assign]
    indexed.aws._Lockless = lambda call: Answer(400, refusal)  # type: ignore[attr-defined]
    start(indexed, "locked")
    indexed.work_all()
    found = state(indexed)
    assert found["state"] == "failed"
    assert f"S3 refuses a lock in the bucket {BUCKET}" in found["detail"]
    assert "label_bucket_object_lock" in found["detail"]
    assert not [key for key in bytes_of(indexed) if key.startswith(("snapshots/", "objects/"))]


@pytest.mark.parametrize(
    "event",
    [
        {"name": "../other"},
        {"name": ""},
        {"name": "a/b"},
        {"name": "x" * 64},
        {"name": "fine", "formats": ["voc"]},
        {"name": "fine", "formats": "coco"},
        {"name": "fine", "where": 1},
        {"name": "fine", "step": "remove"},
    ],
)
def test_malformed_events_are_refused(event: dict[str, Any], indexed: CatalogSystem) -> None:
    with pytest.raises(UnknownEventError):
        indexed.catalog({"action": "snapshot", "step": "start", "project_hash": indexed.project, **event})


def test_unknown_snapshots_are_named(indexed: CatalogSystem) -> None:
    for step in ("diff", "verify"):
        with pytest.raises(PermanentError, match="there is no snapshot"):
            ask(indexed, step, name="never", since="never")


def test_the_bucket_roles_own_rule_expires_no_current_object() -> None:
    """Copies are written once, so they have no old versions: a rule for old versions only never affects them."""
    role = yaml.safe_load((Path(__file__).parents[3] / "roles/label_bucket/vars/main.yml").read_text())
    rules = role["__label_bucket_lifecycle_rules"]
    assert rules
    assert {name for rule in rules for name in rule} <= {
        *("ID", "Status", "Filter", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"),
    }


def test_a_generation_that_the_index_built_is_frozen(indexed: CatalogSystem, tmp_path: Path) -> None:
    indexed.set(LABEL_CATALOG_INDEX="true")
    indexed.catalog({"action": "index", "step": "rebuild", "project_hash": indexed.project})
    indexed.work_all()
    made = snapshot(indexed, "real", "stage is null or stage <> 'nowhere'", formats=["coco"], allow_incomplete=True)
    assert made["generation"] != GENERATION
    assert read_back(bytes_of(indexed), tmp_path, "real") == []
    read = COCO(str(written(indexed, "real", tmp_path, "formats/coco/annotations.json")))
    titles = {one["title"] for one in read.loadImgs(read.getImgIds())}
    assert titles >= {"nothing to see.jpg", "crossing.jpg", "step 1.png", "morning drive.mp4"}
    skeletons = [one for one in read.loadCats(read.getCatIds()) if one["supercategory"] == "skeleton"]
    assert [one["keypoints"] for one in skeletons] == [["head", "hand", "foot"]]
