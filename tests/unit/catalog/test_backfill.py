"""A backfill exports everything, wherever it is killed, and only one runs at a time for different options."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from catalog_system import BUCKET, CatalogSystem, chance, differences
from handler_servers import Answer, Fault
from label_catalog import toolbox
from label_catalog.adapters.aws import s3, sqs
from label_catalog.core.work import MAX_HOPS
from label_catalog.entrypoints import survey as survey_module
from label_export import retry
from label_export.core.errors import UnknownEventError

EVERYTHING = {"action": "backfill", "project_hash": "all"}


class Killed(BaseException):
    """Stands for a killed process: nothing catches it, and nothing is saved after it."""


def start(system: CatalogSystem, **more: Any) -> dict[str, Any]:
    (found,) = system.catalog({**EVERYTHING, "step": "start", **more})["started"]
    return dict(found)


def work(system: CatalogSystem, kind: str = "backfill", project: str = "") -> dict[str, Any]:
    return system.document(f"encord/{project or system.project}/state/work/{kind}.json")


def labels_queued(system: CatalogSystem) -> Counter[str]:
    found = (message for message in system.aws.waiting("backfill") if message["event_type"] == "backfill")
    return Counter(message["label_hash"] for message in found)


def rows(system: CatalogSystem, count: int) -> set[str]:
    body = {"frames": 1, "objects": 1, "count": count, "stage": "Complete"}
    return {row["label_hash"] for row in system.stand_in.control("POST", "giant-rows", body)["rows"]}


def test_a_plan_counts_and_changes_nothing(system: CatalogSystem) -> None:
    made = rows(system, 50)
    (plan,) = system.catalog({**EVERYTHING, "step": "plan"})["projects"]
    assert plan["to_queue"] == plan["selected"] >= len(made)
    assert plan["complete"]
    assert system.aws.objects == {}
    assert not any(system.aws.queues.values())
    start(system)
    system.work_all()
    assert len(labels_queued(system)) == plan["to_queue"]


def test_a_backfill_goes_into_its_own_lane_and_ends(system: CatalogSystem) -> None:
    made = rows(system, 50)
    assert start(system)["outcome"] == "started"
    system.work_all()
    assert not system.aws.queues["labels"]
    assert made <= set(labels_queued(system))
    status = system.catalog({**EVERYTHING, "step": "status"})
    (shown,) = status["projects"]
    assert (shown["state"], shown["queued"]) == ("completed", shown["to_queue"])
    assert status["lane"] == {"waiting": shown["queued"], "in_flight": 0}
    system.export_all()
    assert differences(system) == []
    assert start(system)["outcome"] == "started"
    system.work_all()
    assert not labels_queued(system)  # nothing is missing any more


def test_only_labels_edited_since_are_queued(system: CatalogSystem) -> None:
    recent = system.stand_in.row("video")["label_hash"]
    moment = datetime.now(UTC)
    system.stand_in.control("PATCH", f"label-rows/{recent}", {"edited_at": moment.isoformat()})
    start(system, since=(moment - timedelta(days=1)).date().isoformat())
    system.work_all()
    assert set(labels_queued(system)) == {recent}


def test_a_backfill_with_other_options_is_refused_and_the_options_are_named(system: CatalogSystem) -> None:
    assert start(system)["outcome"] == "started"
    refused = start(system, deep=True)
    assert refused["outcome"] == "refused"
    assert "since the beginning, not deep" in refused["detail"]
    joined = start(system)
    assert joined["outcome"] == "joined"
    assert len(system.aws.queues["catalog"]) == 1
    system.work_all()
    assert start(system, deep=True)["outcome"] == "started"


@pytest.mark.parametrize(
    "wrong", [{"step": "go"}, {"step": "start", "since": "yesterday"}, {"step": "start", "deep": "yes"}]
)
def test_invalid_events_are_refused(system: CatalogSystem, wrong: dict[str, Any]) -> None:
    with pytest.raises(UnknownEventError):
        system.catalog({**EVERYTHING, **wrong})


def synthetic(system: CatalogSystem, count: int) -> str:
    """Let the catalog see only a project of `count` rows, which the stand-in generates while it sends them."""
    project = system.stand_in.control("POST", "synthetic-project", {"rows": count})["project_hash"]
    system.set(LABEL_EXPORT_PROJECTS=json.dumps([project]))
    system.stand_in.control("POST", "settings", {"page_size": 1000})
    return str(project)


def test_no_label_of_ten_thousand_is_skipped_after_twenty_kills(
    system: CatalogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills between any two requests to AWS. A message is redelivered; the next reconcile finds a lost one."""
    project = synthetic(system, 10_000)
    monkeypatch.setattr(survey_module, "QUEUE_STEP", 100)
    monkeypatch.setattr(survey_module.Survey, "_cross_check", lambda _: None)  # has its own tests, and takes long
    dice = chance(7)
    kills = 0

    def kill() -> None:
        raise Killed

    start(system)
    seen: Counter[str] = Counter()
    for _ in range(200):
        event = system.take("catalog")
        if event is None:
            if work(system, project=project)["state"] == "completed":
                break
            system.clock.off += timedelta(minutes=30)
            system.catalog({"action": "reconcile"})
            continue
        body = event["Records"][0]["body"]
        if kills < 20:
            operation = dice.choice(["SendMessageBatch", "PutObject"])
            _kill_at(system, monkeypatch, operation, dice.randint(1, 8))
        try:
            system.catalog(event)
        except Killed:
            kills += 1
            system.restart()
            if dice.random() < 0.7:
                system.aws.queues["catalog"].append(body)  # SQS redelivers it; otherwise it is lost with the worker
        seen += labels_queued(system)
        system.aws.queues["backfill"].clear()
    assert kills == 20
    assert work(system, project=project)["state"] == "completed"
    assert len(seen) == 10_000
    assert sum(seen.values()) < 13_000, "labels that were queued before a kill are queued at most once more"


def _kill_at(system: CatalogSystem, monkeypatch: pytest.MonkeyPatch, operation: str, after: int) -> None:
    """Kill the catalog before its `after`-th call of an operation."""
    left = [after]

    def dying(original: Any) -> Any:
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                monkeypatch.setattr(holder, name, original)
                raise Killed
            return original(self, *arguments, **named)

        return call

    holder, name = {"SendMessageBatch": (sqs.ExportLane, "send"), "PutObject": (s3.StateDocuments, "save")}[operation]
    original = getattr(holder, name)
    while hasattr(original, "__wrapped__"):
        original = original.__wrapped__
    replaced = dying(original)
    replaced.__wrapped__ = original
    monkeypatch.setattr(holder, name, replaced)


def test_a_worker_that_died_is_replaced_within_thirty_minutes(system: CatalogSystem) -> None:
    start(system)
    system.take("catalog")  # its message is lost too
    system.catalog({"action": "reconcile"})
    assert not [m for m in system.aws.waiting("catalog") if m["kind"] == "backfill"]  # it may still be running
    system.clock.off = timedelta(minutes=21)
    system.catalog({"action": "reconcile"})
    assert [m for m in system.aws.waiting("catalog") if m["kind"] == "backfill"]
    system.work_all()
    assert work(system)["state"] == "completed"


def test_a_long_backfill_hops_and_then_waits_for_the_next_reconcile(
    system: CatalogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rows(system, 100)
    monkeypatch.setattr(survey_module, "QUEUE_STEP", 5)
    sent = [0]
    original = toolbox.Toolbox.check_time

    def two_steps(self: toolbox.Toolbox) -> None:
        original(self)
        if len(system.aws.queues["backfill"]) - sent[0] >= 10:
            sent[0] = len(system.aws.queues["backfill"])
            raise toolbox.OutOfTimeError

    monkeypatch.setattr(toolbox.Toolbox, "check_time", two_steps)
    start(system)
    assert system.work_all() == MAX_HOPS
    assert work(system)["state"] == "waiting"
    system.catalog({"action": "reconcile"})
    system.work_all()
    assert work(system)["state"] == "completed"
    counts = labels_queued(system)
    assert made <= set(counts)
    assert max(counts.values()) == 1  # nothing twice: the cursor moved with the queue


def test_two_backfills_and_a_census_at_once(system: CatalogSystem) -> None:
    rows(system, 100)
    start(system)
    system.catalog({"action": "census"})
    events = [system.take("catalog"), system.take("catalog")]
    events.append(events[0])  # SQS delivers a message twice
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(system.catalog, events))
    assert answers == [{"batchItemFailures": []}] * 3
    system.work_all()
    system.export_all()
    assert differences(system) == []
    assert {work(system, kind)["state"] for kind in ("backfill", "census")} == {"completed"}


def test_an_invalid_state_is_replaced(system: CatalogSystem) -> None:
    start(system)
    system.aws.objects[f"/{BUCKET}/encord/{system.project}/state/work/backfill.json"].body = b"[]"
    system.work_all()
    assert start(system)["outcome"] == "started"
    system.work_all()
    assert work(system)["state"] == "completed"


def test_a_message_that_cannot_be_read_fails(system: CatalogSystem) -> None:
    for body in ("{", "[]", json.dumps({"version": 1, "action": "work", "kind": "dance"})):
        system.aws.queues["catalog"].append(body)
        event = system.take("catalog")
        assert system.catalog(event)["batchItemFailures"] == [{"itemIdentifier": "0"}]


def test_a_message_whose_state_cannot_be_written_is_redelivered(system: CatalogSystem) -> None:
    start(system)
    event = system.take("catalog")
    system.aws.fail("PutObject", Fault(Answer(403, b"<Error><Code>AccessDenied</Code></Error>")))
    assert system.catalog(event)["batchItemFailures"] == [{"itemIdentifier": "0"}]


def test_work_of_a_project_without_access_fails_and_says_so(system: CatalogSystem) -> None:
    start(system)
    system.stand_in.control("POST", "access", {"project_hash": system.project, "accessible": False})
    system.work_all()
    assert work(system)["state"] == "failed"
    assert work(system)["detail"].startswith("no_access")


def test_work_waits_while_encord_is_down(system: CatalogSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("label_catalog.adapters.encord.source.time.sleep", lambda _: None)
    start(system)
    system.stand_in.control("POST", "faults", {"path": "/public", "envelope_error": "RATE_LIMIT_ERROR", "count": 12})
    system.work_all()
    assert work(system)["state"] == "waiting"
    system.stand_in.control("DELETE", "faults")
    system.catalog({"action": "reconcile"})
    system.work_all()
    system.export_all()
    assert work(system)["state"] == "completed"
    assert differences(system) == []


def test_a_backfill_slows_down_at_a_rate_limit_and_brings_everything(
    system: CatalogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter's threads pause together, longer with each refusal, so that no message uses up its receives."""
    rows(system, 30)
    start(system)
    system.work_all()
    system.set(LABEL_EXPORT_CONCURRENCY="5")
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    pauses = []
    refused, one_at_a_time = retry.Pace.refused, threading.Lock()

    def noted(pace: retry.Pace, began: int, retry_after: float | None) -> None:
        with one_at_a_time:
            refused(pace, began, retry_after)
            pauses.append(pace.pause)

    monkeypatch.setattr(retry.Pace, "refused", noted)
    fault = {"path": "/public", "envelope_error": "RATE_LIMIT_ERROR", "count": 25}
    system.stand_in.control("POST", "faults", fault)
    system.export_all()
    assert len(pauses) == 25
    # Five threads: at most five requests are refused before the next, longer pause.
    assert max(pauses) >= 0.01 * 2**5
    assert pauses == sorted(pauses)
    assert system.letters == []
    assert differences(system) == []
