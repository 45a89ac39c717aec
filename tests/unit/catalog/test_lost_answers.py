"""A write that took place although its answer was lost is the worker's own: no work waits for another worker."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from catalog_system import BUCKET, CatalogAws, CatalogSystem
from handler_servers import Answer, Call, Fault
from index_system import IndexSystem, label_body
from label_catalog.core.work import KINDS
from test_snapshots import document, indexed, read_back, start, state

__all__ = ["indexed"]

CONFLICT = Answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
CONDITIONS = {"if-match", "if-none-match"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 repeats at once."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)


def conflict_first(system: CatalogSystem, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer the first try of each conditional write with 409: S3 wrote nothing, since another write was under way.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    seen: list[str] = []
    put = type(system.aws)._PutObject

    def conflicting(aws: CatalogAws, call: Call) -> Answer:
        name = f"{call.path} {hashlib.sha256(call.body).hexdigest()}"
        if CONDITIONS & set(call.headers) and name not in seen:
            seen.append(name)
            return CONFLICT
        return put(aws, call)

    monkeypatch.setattr(type(system.aws), "_PutObject", conflicting)
    return seen


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [str(line.get("event")) for line in lines]


def states(system: CatalogSystem) -> dict[str, str]:
    keys = {kind: f"encord/{system.project}/state/work/{kind}.json" for kind in KINDS}
    return {
        kind: system.document(key)["state"] for kind, key in keys.items() if f"/{BUCKET}/{key}" in system.aws.objects
    }


def test_a_census_whose_every_answer_was_lost_is_completed(
    system: CatalogSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    system.aws.lose_first_answers("PutObject")
    (started,) = system.catalog({"action": "census"})["started"]
    assert started["outcome"] == "started"
    system.work_all()
    assert states(system) == {"census": "completed"}
    assert "work_superseded" not in logged(capsys)
    tries = [call.headers["amz-sdk-invocation-id"] for call in system.aws.calls if call.operation == "PutObject"]
    assert len(tries) == 2 * len(set(tries)) > 0


def test_a_reconcile_whose_every_answer_was_lost_is_completed(system: CatalogSystem) -> None:
    system.aws.lose_first_answers("PutObject")
    assert system.catalog({"action": "reconcile"})["ok"]


def test_work_on_the_index_whose_every_answer_was_lost_is_completed(
    index: IndexSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    index.save("label-1")
    index.system.aws.lose_first_answers("PutObject")
    index.settle()  # the first event starts a rebuild
    index.rebuild()
    before = index.read().pointer["sequence"]
    assert index.deliver([index.save("label-2")]) == []
    assert index.compare() == 0
    index.system.catalog({"action": "index", "step": "refresh"})
    index.system.work_all()
    assert states(index.system) == {"index": "completed", "compare": "completed", "refresh": "completed"}
    assert index.read().pointer["sequence"] == before + 1
    assert index.differences() == []
    assert not {"work_superseded", "index_move_lost"} & set(logged(capsys))


def test_a_snapshot_whose_every_answer_was_lost_is_completed(
    indexed: CatalogSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    indexed.aws.lose_first_answers("PutObject")
    indexed.aws.lose_first_answers("CopyObject")
    assert start(indexed, "first")["outcome"] == "started"
    indexed.work_all()
    assert state(indexed)["state"] == "completed"
    assert "work_superseded" not in logged(capsys)
    prefix = f"/{BUCKET}/encord/{indexed.project}/"
    objects = {path.removeprefix(prefix): one.body for path, one in indexed.aws.objects.items()}
    assert read_back(objects, tmp_path, "first") == []


def test_a_save_that_was_given_up_and_took_place_leaves_the_work_with_its_worker(system: CatalogSystem) -> None:
    """The worker's next save finds its own state, and the work waits for the next reconcile: not for 20 minutes."""
    key = f"/{BUCKET}/encord/{system.project}/state/work/census.json"
    system.catalog({"action": "census"})
    system.work_all()
    written = [call.path for call in system.aws.calls if call.operation == "PutObject"]
    places = [place for place, path in enumerate(written) if path == key]
    assert len(places) > 3  # at its start, and at least three saves of its worker
    system.catalog({"action": "census"})
    event = system.take("catalog")
    assert event is not None
    before = places[2] - places[0] - 1  # writes of the worker before its second save
    system.aws.fail("PutObject", *[Fault()] * before, Fault(cut="after"), *[Fault(cut="before")] * 5)
    assert system.catalog(event) == {"batchItemFailures": []}
    assert states(system) == {"census": "waiting"}
    assert system.catalog({"action": "reconcile"})["projects"][0]["continued"] == ["census"]
    system.work_all()
    assert states(system) == {"census": "completed"}


def test_a_generation_whose_move_was_lost_and_overtaken_stays_for_its_readers(index: IndexSystem) -> None:
    """The move took place, and another worker moved the pointer on before the repetition: readers hold both."""
    index.save("label-1")
    index.rebuild()
    index.events.clear()
    held: list[str] = []

    def overtake(path: str) -> None:
        if path.endswith("index/latest.json"):
            index.system.aws.after_save = None
            pointer = index.pointer
            assert pointer is not None
            held.append(pointer["generation"])

    def deliver_another() -> None:
        index.system.aws.forget_faults()
        index.deliver([index.save("label-2")])

    index.system.aws.after_save = overtake
    # Three files, the move whose answer is lost, and before its repetition another worker's whole update.
    faults = [Fault(), Fault(), Fault(), Fault(cut="after"), Fault(when=deliver_another)]
    index.system.aws.fail("PutObject", *faults)
    assert index.deliver([index.save("label-1", label_body("label-1", boxes=5))]) == []
    assert held[0] in index.generations()
    assert held[0] in [old["generation"] for old in index.read().pointer["previous"]]
    assert index.differences() == []


def test_a_conflict_with_another_write_is_no_end(
    index: IndexSystem, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other write may have failed, so nothing follows from it."""
    index.save("label-1")
    index.rebuild()
    refused = conflict_first(index.system, monkeypatch)
    assert index.deliver([index.save("label-2")]) == []
    index.read()
    assert index.differences() == []
    index.rebuild()
    assert states(index.system) == {"index": "completed"}
    assert len(refused) > 10
    assert not {"work_superseded", "index_move_lost"} & set(logged(capsys))


def test_a_snapshot_goes_on_after_a_conflict(indexed: CatalogSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    conflict_first(indexed, monkeypatch)
    assert start(indexed, "first")["outcome"] == "started"
    indexed.work_all()
    assert state(indexed)["state"] == "completed"
    assert document(indexed, "first")["name"] == "first"
