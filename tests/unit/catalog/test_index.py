"""The index: built from the bucket, updated by events, compared with the bucket, read by others."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import timedelta

import pytest
from catalog_system import BUCKET, CatalogSystem
from handler_servers import Fault, StoredObject
from index_system import IndexSystem, label_body
from label_catalog.adapters.index_tables import IndexTables
from label_catalog.entrypoints.index_work import IndexWork
from label_catalog.toolbox import Toolbox


def metric(capsys: pytest.CaptureFixture[str], name: str) -> list[float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line[name] for line in lines if name in line]


def test_the_first_event_starts_an_index_of_the_whole_bucket(index: IndexSystem) -> None:
    for number in range(5):
        index.save(f"label-{number}")
    first = index.events[:1]
    index.events.clear()
    assert index.deliver(first) == []
    assert index.pointer is None
    index.settle()
    assert index.differences() == []
    assert index.pointer is not None
    assert index.pointer["rows"] == 5
    assert index.pointer["annotations"] == 10


def test_every_label_of_the_stand_in_is_indexed_with_its_stage(system: CatalogSystem) -> None:
    system.set(LABEL_EXPORT_WORKFLOW_STAGES='["Annotate","Review","Complete"]')
    system.census()
    index = IndexSystem(system)
    index.rebuild()
    assert index.differences() == []
    rows = {row["label_hash"]: row for row in index.read().rows("labels")}
    expected = {row["label_hash"]: row for row in system.stand_in.project()["label_rows"] if row["label_hash"] in rows}
    assert len(rows) == len(expected) > 10
    for label, row in rows.items():
        assert row["stage"] == expected[label]["workflow_stage"]
        assert row["parsed"] is True
        assert row["data_hash"] == expected[label]["data_hash"]
        assert (row["assignee"], row["last_actor"]) == (None, None)
    lines = index.read().rows("annotations")
    assert {line["name"] for line in lines} >= {"Vehicle", "Weather", "Speech"}
    assert {line["created_by"] for line in lines} == {None}
    ontology = json.loads(index.read().files["ontology"])
    assert {item["name"] for item in ontology["objects"]} >= {"Vehicle", "Person"}


def test_people_are_in_the_index_only_while_the_setting_is_true(system: CatalogSystem) -> None:
    system.census()
    index = IndexSystem(system)
    system.set(LABEL_CATALOG_PERSONAL_DATA="true")
    index.rebuild()
    assert all(row["assignee"] for row in index.read().rows("labels"))
    assert any(line["created_by"] for line in index.read().rows("annotations"))
    system.set(LABEL_CATALOG_PERSONAL_DATA="false")
    index.save("label-1")
    index.settle()
    assert {row["assignee"] for row in index.read().rows("labels")} == {None}
    assert {line["created_by"] for line in index.read().rows("annotations")} == {None}


def test_an_event_updates_one_label_and_a_repeat_writes_nothing(index: IndexSystem) -> None:
    for number in range(3):
        index.save(f"label-{number}")
    index.rebuild()
    before = index.read().pointer
    index.events.clear()
    event = index.save("label-1", label_body("label-1", boxes=5))
    assert index.deliver([event]) == []
    after = index.read().pointer
    assert index.differences() == []
    assert (after["sequence"], after["rows"], after["annotations"]) == (before["sequence"] + 1, 3, 9)
    assert index.deliver([event, event]) == []
    assert index.read().pointer == after
    gone = index.delete("label-2")
    assert index.deliver([event, gone]) == []
    assert index.differences() == []
    assert index.read().pointer["rows"] == 2


def test_an_original_eventbridge_event_is_read_and_others_are_dead_letters(index: IndexSystem) -> None:
    index.save("label-1")
    index.rebuild()
    index.save("label-2")
    raw = {
        "version": "0", "source": "aws.s3", "detail-type": "Object Created", "time": "2026-05-01T12:00:00Z",
        "detail": {"bucket": {"name": BUCKET}, "object": {"key": index.key("label-2"), "size": 5, "etag": "e"}},
    }  # fmt: skip
    strange = {"version": 1, "action": "label"}
    foreign = {"version": 1, "action": "label", "key": f"{index.base}/index/latest.json", "at": None}
    assert index.deliver([raw, strange, foreign]) == [strange]
    assert index.differences() == []
    broken = '{"version": 1, "action": "label", "key": "encord/a"b.json", "at": "2026-05-01T12:00:00Z"}'
    answer = index.system.catalog({"Records": [{"messageId": "1", "body": broken}]})
    assert answer == {"batchItemFailures": []}


def test_a_compressed_label_a_giant_one_and_one_that_is_not_json(index: IndexSystem) -> None:
    index.system.set(LABEL_CATALOG_INDEX_LABEL_BYTES="20000")
    own = {"x-amz-meta-project-hash": index.system.project}
    plain = label_body("packed", boxes=3)
    index.put(
        "packed",
        StoredObject(gzip.compress(plain), {**own, "x-amz-meta-label-hash": "packed", "content-encoding": "gzip"}),
    )
    giant = label_body("giant", boxes=500)
    index.save("giant", giant)
    index.put(
        "bomb",
        StoredObject(gzip.compress(giant), {**own, "x-amz-meta-label-hash": "bomb", "content-encoding": "gzip"}),
    )
    index.save("broken", b'{"label_hash": "broken", "data_units": {')
    index.save("good")
    index.put("foreign", StoredObject(b"{}", {}))
    index.rebuild()
    rows = {row["label_hash"]: row for row in index.read().rows("labels")}
    assert set(rows) == {"packed", "giant", "bomb", "broken", "good"}
    assert {label for label, row in rows.items() if row["parsed"]} == {"packed", "good"}
    assert (rows["packed"]["size"], rows["packed"]["objects"]) == (len(plain), 3)
    assert rows["packed"]["sha256"] == hashlib.sha256(plain).hexdigest()
    for label in ("giant", "bomb"):  # read to the end for size and digest
        assert (rows[label]["size"], rows[label]["sha256"]) == (len(giant), hashlib.sha256(giant).hexdigest())
        assert (rows[label]["objects"], rows[label]["classifications"], rows[label]["data_title"]) == (None, None, None)
    assert index.read().pointer["not_parsed"] == 3
    assert index.read().pointer["parsed"] == 2


def test_labels_without_metadata_after_a_copy_are_recognised_by_their_content(index: IndexSystem) -> None:
    index.put("label-1", StoredObject(label_body("label-1"), {}))
    index.put("label-2", StoredObject(label_body("another"), {}))
    index.put("label-3", StoredObject(label_body("label-3"), {"x-amz-meta-project-hash": "another-project"}))
    index.rebuild()
    assert [row["label_hash"] for row in index.read().rows("labels")] == ["label-1"]


def test_a_rebuild_continues_where_its_time_ended(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("label_catalog.entrypoints.index_work._PART", 4)
    monkeypatch.setattr("label_catalog.entrypoints.index_rows._STEP", 2)
    for number in range(11):
        index.save(f"label-{number:02d}")
    index.put("foreign", StoredObject(b"no label", {}))
    index.system.catalog({"action": "index", "step": "rebuild"})
    kept: list[str] = []  # the parts of this run: its time ends with the first one
    keep_part = IndexWork._keep_part

    def keep(work: IndexWork, tables: IndexTables) -> None:
        keep_part(work, tables)
        kept.append("part")

    runs = 0
    with monkeypatch.context() as patch:
        patch.setattr(IndexWork, "_keep_part", keep)
        patch.setattr(Toolbox, "is_late", lambda _: bool(kept))
        while index.pointer is None and (event := index.system.take("catalog")) is not None:
            index.system.catalog(event)
            kept.clear()
            runs += 1
    assert runs == 4  # three parts of four objects, and their merge
    assert index.differences() == []
    assert not [path for path in index.system.aws.objects if "/state/index/" in path]


def test_changes_during_a_rebuild_are_in_its_result(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        index.save(f"label-{number}")
    changed: list[str] = []

    def change(path: str) -> None:
        if "/state/index/" in path and not changed:  # a part was written; its labels change now
            changed.append(path)
            index.save("label-0", label_body("label-0", boxes=7))
            index.save("label-9")
            index.delete("label-3")

    index.system.aws.after_save = change
    index.rebuild()
    assert changed
    assert index.differences() == []


def test_a_title_that_changes_the_key_leaves_one_set_of_annotations(index: IndexSystem) -> None:
    index.system.set(LABEL_EXPORT_KEY_TEMPLATE="encord/{project_hash}/labels/{data_title}/{label_hash}.json")
    own = {"x-amz-meta-project-hash": index.system.project, "x-amz-meta-label-hash": "label-1"}
    index.put("old title/label-1".replace(" ", "_"), StoredObject(label_body("label-1", boxes=1), own))
    index.rebuild()
    event = index.put("new_title/label-1", StoredObject(label_body("label-1", boxes=4), own))
    path = f"/{BUCKET}/{index.key('new_title/label-1')}"
    index.system.aws.modified[path] += timedelta(seconds=5)
    index.deliver([event])
    assert [(row["key"].split("/")[-2], row["objects"]) for row in index.read().rows("labels")] == [
        ("new_title", 4), ("old_title", 1),
    ]  # fmt: skip
    assert len(index.read().rows("annotations")) == 4
    index.rebuild()
    assert len(index.read().rows("annotations")) == 4
    index.deliver([index.delete("new_title/label-1")])
    assert len(index.read().rows("annotations")) == 1


def test_a_lost_event_is_one_difference_and_is_repaired(index: IndexSystem, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        index.save(f"label-{number}")
    index.rebuild()
    assert index.compare() == 0
    index.save("label-1", label_body("label-1", boxes=9))
    index.delete("label-2")
    index.save("label-7")
    index.events.clear()  # lost
    capsys.readouterr()
    assert index.compare() == 3
    assert max(metric(capsys, "IndexDifferences")) == 3
    assert index.differences() == []
    assert index.compare() == 0


def test_an_event_in_flight_is_not_a_difference(index: IndexSystem) -> None:
    index.save("label-1")
    index.rebuild()
    index.events.clear()
    late = index.save("label-1", label_body("label-1", boxes=3))
    index.system.catalog({"action": "index", "step": "compare"})
    first = index.system.take("catalog")
    assert first is not None
    index.system.catalog(first)  # the first check finds a difference
    index.deliver([late])
    index.system.work_all()
    assert index.system.document(f"{index.base}/state/index.json")["differences"] == 0


def test_wrong_rows_of_an_unchanged_object_are_found_and_repaired(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.save("label-1")
    index.rebuild()
    with monkeypatch.context() as patch:
        patch.setattr("label_catalog.entrypoints.index_rows.read_annotations", lambda *_, **__: iter(()))
        index.deliver([index.save("label-2")])
    assert index.differences() != []
    assert index.compare() == 1
    assert index.differences() == []


def test_a_damaged_generation_is_rebuilt(index: IndexSystem) -> None:
    index.save("label-1")
    index.rebuild()
    pointer = index.pointer
    assert pointer is not None
    index.system.aws.objects[f"/{BUCKET}/{index.base}/index/{pointer['generation']}/labels.parquet"].body = b"PAR1"
    assert index.deliver([index.save("label-2")]) == []
    index.settle()
    assert index.differences() == []


def test_replaced_generations_are_removed_after_an_hour_unless_a_snapshot_names_them(index: IndexSystem) -> None:
    index.system.set(LABEL_CATALOG_INDEX_GENERATIONS="1")
    index.save("label-0")
    index.rebuild()
    names = [index.read().pointer["generation"]]
    for number in range(1, 5):
        index.deliver([index.save(f"label-{number}")])
        names.append(index.read().pointer["generation"])
    assert index.generations() == set(names)  # a reader of the last hour may use any of them
    named = {"version": 1, "generation": names[1]}
    index.system.aws.objects[f"/{BUCKET}/{index.base}/snapshots/first/snapshot.json"] = StoredObject(
        json.dumps(named).encode(), {}
    )
    begun = {"version": 1, "options": {"name": "second", "generation": names[2]}, "data": {}}
    index.system.aws.objects[f"/{BUCKET}/{index.base}/state/work/snapshot.json"] = StoredObject(
        json.dumps(begun).encode(), {}
    )
    index.system.clock.off += timedelta(hours=1, minutes=1)
    index.deliver([index.save("label-5")])
    names.append(index.read().pointer["generation"])
    assert index.generations() == {names[1], names[2], names[4], names[5]}
    assert [old["generation"] for old in index.read().pointer["previous"]] == [names[4], names[2], names[1]]
    assert index.differences() == []


def test_a_generation_never_changes(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker has begun a generation of the same name: it keeps its files, and readers keep the last one."""
    index.save("label-0")
    index.rebuild()
    before = index.read().pointer
    other = f"/{BUCKET}/{index.base}/index/taken/labels.parquet"
    index.system.aws.objects[other] = StoredObject(b"another worker's", {})
    event = index.save("label-1")
    with monkeypatch.context() as patch:
        patch.setattr("label_catalog.entrypoints.generations.new_generation", lambda _: "taken")
        assert index.deliver([event]) == [event]
    assert index.system.aws.objects[other].body == b"another worker's"
    assert index.read().pointer == before
    assert index.deliver([event]) == []
    assert index.differences() == []


def test_files_of_a_dead_writer_are_removed_after_a_day(index: IndexSystem) -> None:
    index.save("label-0")
    named = {"version": 1, "generation": "20200102T000000Z-00000000"}
    index.system.aws.objects[f"/{BUCKET}/{index.base}/snapshots/first/snapshot.json"] = StoredObject(
        json.dumps(named).encode(), {}
    )
    for name in ("20200101T000000Z-00000000", named["generation"], "29990101T000000Z-00000000"):
        index.system.aws.objects[f"/{BUCKET}/{index.base}/index/{name}/labels.parquet"] = StoredObject(b"", {})
    index.rebuild()
    assert "20200101T000000Z-00000000" not in index.generations()
    assert named["generation"] in index.generations()  # a snapshot was begun from it
    assert "29990101T000000Z-00000000" in index.generations()  # too new, whatever the clocks show


def test_an_update_of_the_pointer_whose_response_was_lost_is_recognised(index: IndexSystem) -> None:
    index.save("label-0")
    index.rebuild()
    index.system.aws.fail("PutObject", Fault(cut="after"), Fault(), Fault(), Fault(), Fault(cut="after"))
    before = index.read().pointer["sequence"]
    assert index.deliver([index.save("label-1")]) == []
    assert index.differences() == []
    assert index.read().pointer["sequence"] == before + 1
    assert len(index.generations()) == 2


def test_stages_and_tombstones_come_with_the_census(system: CatalogSystem) -> None:
    index = IndexSystem(system)
    system.census()
    index.rebuild()
    assert index.differences() == []
    moved = next(row for row in system.stand_in.project()["label_rows"] if row["key"] == "image")
    move = {"label_hash": moved["label_hash"], "stage": "Annotate", "action": "reject"}
    system.stand_in.control("POST", "move-task", move)
    system.census()
    rows = {row["label_hash"]: row for row in index.read().rows("labels")}
    assert rows[moved["label_hash"]]["stage"] == "Annotate"
    assert rows[moved["label_hash"]]["gone_reason"] == "moved_back"
    assert rows[moved["label_hash"]]["gone_at"] is not None
    index.deliver([index.save(moved["label_hash"], system.stand_in.row_bytes(moved["label_hash"]) + b" ")])
    rows = {row["label_hash"]: row for row in index.read().rows("labels")}
    assert rows[moved["label_hash"]]["gone_reason"] == "moved_back"  # an event of its object says nothing about that


def test_if_encord_does_not_answer_only_stages_are_unknown(index: IndexSystem) -> None:
    index.save("label-1")
    index.rebuild()
    index.system.set(LABEL_EXPORT_ENCORD_DOMAIN="https://127.0.0.1:9")
    assert index.deliver([index.save("label-2")]) == []
    assert index.differences() == []
    assert {row["stage"] for row in index.read().rows("labels")} == {None}


def test_status_reports_the_content_of_the_index(index: IndexSystem) -> None:
    index.save("label-1")
    index.rebuild()
    index.compare()
    (found,) = index.system.catalog({"action": "index", "step": "status"})["projects"]
    assert (found["rows"], found["annotations"], found["differences"]) == (1, 2, 0)
    assert found["works"]["index"]["state"] == "completed"
    (status,) = index.system.catalog({"action": "status"})["projects"]
    assert status["index"] == found["line"]
