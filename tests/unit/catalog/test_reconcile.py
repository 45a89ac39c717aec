"""A reconcile corrects what webhooks missed within one interval, whatever happens to feed, clock or state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from catalog_system import BUCKET, CatalogSystem, chance, differences
from handler_servers import Fault
from label_catalog.core.model import ListedRow
from label_catalog.core.selection import Selection
from label_catalog.entrypoints import reconcile
from label_catalog.toolbox import OutOfTimeError


@pytest.fixture
def complete(system: CatalogSystem) -> CatalogSystem:
    """A system with a complete bucket that has reconciled before."""
    system.census()
    system.reconcile()
    system.work_all()
    system.export_all()
    assert differences(system) == []
    return system


def act(system: CatalogSystem, key: str, **more: Any) -> dict[str, Any]:
    """Complete a task whose webhook is lost."""
    label = system.stand_in.row(key)["label_hash"]
    found: dict[str, Any] = system.stand_in.control(
        "POST", "complete-task", {"label_hash": label, "deliver": False, **more}
    )
    return found


def state(system: CatalogSystem) -> dict[str, Any]:
    return system.document(f"encord/{system.project}/state/reconcile.json")


def test_a_lost_webhook_is_corrected_at_the_next_reconcile(complete: CatalogSystem) -> None:
    act(complete, "audio")
    act(complete, "video", event_type="task_submitted_event")
    assert len(differences(complete)) == 2
    (result,) = complete.reconcile()["projects"]
    assert (result["outcome"], result["queued"], result["feed"]) == ("reconciled", 2, "answered")
    assert complete.catalog({"action": "status"})["projects"][0]["acted"] == 2
    assert differences(complete) == []
    assert complete.reconcile()["projects"][0]["queued"] == 0
    assert complete.stand_in.counts()["total"]["writes"] == 0


def test_an_approval_without_an_edit_is_found(complete: CatalogSystem) -> None:
    row = complete.stand_in.row("nifti")
    complete.stand_in.control(
        "POST", "move-task", {"label_hash": row["label_hash"], "stage": "Complete", "action": "approve"}
    )
    assert differences(complete) == ["nifti is missing"]
    complete.reconcile()
    assert differences(complete) == []


def test_the_oracle_sees_a_reconcile_that_forgets_stages(
    complete: CatalogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_first_stage(self: Selection, row: ListedRow, kinds: Any) -> bool:
        return row.label_hash is not None and row.stage == "Review"

    monkeypatch.setattr(Selection, "selects", by_first_stage)
    act(complete, "audio")
    complete.reconcile()
    assert differences(complete) == ["audio is missing"]


def test_a_webhook_that_never_came_is_counted_once_by_stage(
    complete: CatalogSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    complete.set(LABEL_CATALOG_GRACE_SECONDS="0")
    act(complete, "audio")
    capsys.readouterr()
    assert complete.catalog({"action": "reconcile"})["projects"][0]["missed_webhooks"] == 1
    assert complete.catalog({"action": "reconcile"})["projects"][0]["missed_webhooks"] == 0  # not exported yet
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [line for line in lines if line.get("MissedWebhooks")]
    assert [(line["MissedWebhooks"], line["Stage"]) for line in counted] == [(1, "Annotate")]
    assert state(complete)["missed_webhooks_total"] == 1


def test_a_webhook_that_came_is_not_counted(complete: CatalogSystem) -> None:
    complete.set(LABEL_CATALOG_GRACE_SECONDS="0")
    complete.webhook(act(complete, "audio"), "task_completed_event")
    complete.export_all()
    assert complete.reconcile()["projects"][0]["missed_webhooks"] == 0
    complete.set(LABEL_CATALOG_WEBHOOKS="false")
    act(complete, "text")
    assert complete.reconcile()["projects"][0]["missed_webhooks"] == 0


@pytest.mark.parametrize("how", ["refused", "absent"])
def test_if_the_feed_is_refused_edit_times_are_compared(complete: CatalogSystem, how: str) -> None:
    complete.stand_in.control("POST", "settings", {"task_actions": how})
    act(complete, "audio")
    (result,) = complete.reconcile()["projects"]
    assert result["outcome"] == "reconciled"
    assert (result["feed"] != "answered", result["by_edit_time"]) == (True, 1)
    assert differences(complete) == []
    (shown,) = complete.catalog({"action": "status"})["projects"]
    assert shown["feed"] == result["feed"]


def test_a_feed_that_breaks_off_does_not_move_the_watermark(complete: CatalogSystem) -> None:
    complete.stand_in.control("POST", "settings", {"page_size": 1})
    for key in ("audio", "text", "html"):
        row = complete.stand_in.row(key)
        complete.stand_in.control(
            "POST", "move-task", {"label_hash": row["label_hash"], "stage": "Complete", "action": "approve"}
        )
    before = state(complete)["watermark"]
    complete.stand_in.control("POST", "faults", {"path": "*/task-actions", "nth": [2, 3, 4, 5, 6, 7, 8], "status": 403})
    complete.reconcile()
    assert state(complete)["watermark"] == before
    complete.stand_in.control("DELETE", "faults")
    complete.reconcile()
    assert state(complete)["watermark"] != before
    assert differences(complete) == []


def test_actions_that_appear_late_are_found_by_the_overlap(complete: CatalogSystem) -> None:
    act(complete, "text")
    complete.reconcile()
    watermark = datetime.fromisoformat(state(complete)["watermark"])
    row = complete.stand_in.row("audio")
    late = {"label_hash": row["label_hash"], "stage": "Complete", "action": "approve"}
    complete.stand_in.control("POST", "move-task", {**late, "at": (watermark - timedelta(minutes=20)).isoformat()})
    complete.reconcile()
    assert differences(complete) == []


def test_an_action_from_the_future_hides_no_later_one(complete: CatalogSystem) -> None:
    future = (datetime.now(UTC) + timedelta(hours=20)).isoformat()
    rows = [complete.stand_in.row(key)["label_hash"] for key in ("text", "audio")]
    for row, at in zip(rows, (future, None), strict=True):
        body = {"label_hash": row, "stage": "Complete", "action": "approve"}
        complete.stand_in.control("POST", "move-task", body if at is None else {**body, "at": at})
        complete.reconcile()
        assert differences(complete) == []


def test_a_deleted_or_broken_watermark_starts_a_census(complete: CatalogSystem) -> None:
    path = f"/{BUCKET}/encord/{complete.project}/state/reconcile.json"
    long_ago = "2025-04-01T00:00:00+00:00"  # before the time that a reconcile without a watermark looks back
    for broken in (None, b"{"):
        row = complete.stand_in.row("audio" if broken is None else "text")
        body = {"label_hash": row["label_hash"], "stage": "Complete", "action": "approve", "at": long_ago}
        complete.stand_in.control("POST", "move-task", body)
        if broken is None:
            del complete.aws.objects[path]
        else:
            complete.aws.objects[path].body = broken
        assert complete.reconcile()["projects"][0]["census_started"]
        complete.work_all()
        complete.export_all()
        assert differences(complete) == []
    assert not complete.reconcile()["projects"][0]["census_started"]


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_off_loses_nothing(complete: CatalogSystem, minutes: int) -> None:
    complete.clock.off = timedelta(minutes=minutes)
    for key in ("audio", "text", "html", "nifti"):
        act(complete, key)
        complete.reconcile()
        assert differences(complete) == []


def test_the_watermark_waits_until_sqs_has_everything(complete: CatalogSystem) -> None:
    before = state(complete)["watermark"]
    act(complete, "audio")
    complete.aws.refuse_entries.extend([{"0"}] * 4)
    (result,) = complete.catalog({"action": "reconcile"})["projects"]
    assert (result["outcome"], result["reason"]) == ("failed", "sqs_unavailable")
    assert state(complete)["watermark"] == before
    complete.reconcile()
    assert differences(complete) == []


def test_a_run_without_time_saves_how_far_it_came(complete: CatalogSystem) -> None:
    act(complete, "audio")
    answer = complete.catalog({"action": "reconcile"}, seconds=30)
    assert [result["outcome"] for result in answer["projects"]] == ["no_time"]
    complete.reconcile()
    assert differences(complete) == []


def test_a_run_that_is_stopped_in_the_middle_moves_the_watermark_that_far(
    complete: CatalogSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_UNITS", 1)
    original, calls = reconcile.Reconcile._deal_with, []

    def stopped(self: reconcile.Reconcile, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            raise OutOfTimeError
        original(self, *arguments)

    act(complete, "audio")
    act(complete, "text")
    monkeypatch.setattr(reconcile.Reconcile, "_deal_with", stopped)
    assert complete.catalog({"action": "reconcile"})["projects"][0]["outcome"] == "no_time"
    reached = state(complete)["watermark"]
    monkeypatch.setattr(reconcile.Reconcile, "_deal_with", original)
    complete.export_all()
    assert len(differences(complete)) == 1
    complete.reconcile()
    assert differences(complete) == []
    assert reached < state(complete)["watermark"], "the watermark moved past an action that was not dealt with"


def test_two_reconciles_at_once_are_harmless(complete: CatalogSystem) -> None:
    act(complete, "audio")
    path = f"/{BUCKET}/encord/{complete.project}/state/reconcile.json"
    other = dict(state(complete), run="other")

    def meanwhile() -> None:
        complete.aws.objects[path].body = json.dumps(other).encode()

    complete.aws.fail("SendMessageBatch", Fault(when=meanwhile))
    (result,) = complete.catalog({"action": "reconcile"})["projects"]
    assert result["outcome"] == "superseded"
    complete.export_all()
    assert differences(complete) == []


def test_an_odd_row_is_reported_and_the_others_are_dealt_with(complete: CatalogSystem) -> None:
    odd = act(complete, "audio")
    act(complete, "text")
    complete.stand_in.control("PATCH", f"label-rows/{odd['label_hash']}", {"listing": {"branch_name": ["main"]}})
    complete.reconcile()
    assert differences(complete) == ["audio is missing"]
    complete.stand_in.control("PATCH", f"label-rows/{odd['label_hash']}", {"listing": {}})
    complete.reconcile()
    assert differences(complete) == []


def test_a_project_that_cannot_be_read_does_not_stop_the_others(complete: CatalogSystem) -> None:
    small = complete.stand_in.project(1)["project_hash"]
    complete.set(LABEL_EXPORT_PROJECTS=json.dumps([complete.project, small]))
    complete.stand_in.control("POST", "access", {"project_hash": small, "accessible": False})
    act(complete, "audio")
    answer = complete.reconcile()
    assert not answer["ok"]
    assert {result["outcome"] for result in answer["projects"]} == {"reconciled", "failed"}
    assert differences(complete) == []


def test_the_age_of_the_last_reconcile_is_measured(complete: CatalogSystem, capsys: pytest.CaptureFixture[str]) -> None:
    """After a failure the age is that of the last successful reconcile."""

    def age() -> float:
        capsys.readouterr()
        complete.catalog({"action": "reconcile"})
        lines = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        (found,) = [line["ReconcileAgeSeconds"] for line in lines if "ReconcileAgeSeconds" in line]
        return float(found)

    assert age() < 60
    complete.clock.off = timedelta(hours=1)
    complete.stand_in.control("POST", "faults", {"path": "/public", "envelope_error": "AUTHORISATION_ERROR"})
    assert 3500 < age() < 3700


def summed(text: str, name: str) -> int:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return sum(line.get(name, 0) for line in lines)


def test_a_project_for_which_there_is_never_time_is_a_failure_after_an_hour(
    complete: CatalogSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    (result,) = complete.catalog({"action": "reconcile"}, seconds=30.0)["projects"]
    assert result["outcome"] == "no_time"
    assert summed(capsys.readouterr().out, "ReconcileFailed") == 0
    complete.clock.off = timedelta(hours=2)
    complete.catalog({"action": "reconcile"}, seconds=30.0)
    text = capsys.readouterr().out
    assert summed(text, "ReconcileFailed") == 1
    assert summed(text, "ReconcileAgeSeconds") > 7000
    assert "raise catalog_function_timeout" in text


def test_a_project_that_encord_no_longer_lists_is_a_failure_until_its_state_is_deleted(
    complete: CatalogSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a list of projects in the settings nothing else shows that the key has lost its access."""
    complete.set(LABEL_EXPORT_PROJECTS="[]")
    assert complete.catalog({"action": "reconcile"})["ok"]
    lost = "11111111-2222-4333-8444-555555555555"
    path = f"/{BUCKET}/encord/{lost}/state/reconcile.json"
    complete.aws.objects[path] = complete.aws.objects[f"/{BUCKET}/encord/{complete.project}/state/reconcile.json"]
    capsys.readouterr()
    answer = complete.catalog({"action": "reconcile"})
    assert not answer["ok"]
    assert [(found["project_hash"], found["reason"]) for found in answer["projects"] if "reason" in found] == [
        (lost, "not_listed")
    ]
    assert summed(capsys.readouterr().out, "ReconcileFailed") == 1
    del complete.aws.objects[path]
    assert complete.catalog({"action": "reconcile"})["ok"]


def test_a_chaos_of_changes_is_corrected(complete: CatalogSystem) -> None:
    """Webhooks are lost, tasks approved without an edit, moved back, deleted, renamed, labels saved by the SDK."""
    stand_in, dice = complete.stand_in, chance(13)
    made = stand_in.control("POST", "giant-rows", {"frames": 1, "objects": 2, "count": 60})
    for row in made["rows"]:
        body = {"label_hash": row["label_hash"]}
        if dice.random() < 0.7:
            event_type = dice.choice(["task_submitted_event", "task_completed_event"])
            changed = stand_in.control("POST", "complete-task", {**body, "event_type": event_type, "deliver": False})
            if dice.random() > 0.3:
                complete.webhook(changed, event_type)
        what = dice.choice(["approve", "back", "delete", "save", "rename", "nothing", "reopen"])
        if what == "approve":
            stand_in.control("POST", "move-task", {**body, "stage": "Complete", "action": "approve"})
        elif what in ("back", "reopen"):
            stand_in.control("POST", "move-task", {**body, "stage": "Annotate", "action": "reject"})
            if what == "reopen":
                stand_in.control("POST", "complete-task", {**body, "deliver": False})
        elif what == "delete":
            stand_in.control("DELETE", f"label-rows/{row['label_hash']}")
        elif what == "save":
            stand_in.control("POST", "save-labels", body)
        elif what == "rename":
            stand_in.control("PATCH", f"label-rows/{row['label_hash']}", {"data_title": f"renamed {row['key']}"})
        if dice.random() < 0.1:
            complete.export_all()
    complete.reconcile()
    assert {problem.rpartition(" ")[2] for problem in differences(complete)} <= {"stale"}
    report = complete.census()
    assert report["missing"]["total"] == 0
    complete.catalog({"action": "backfill", "step": "start", "project_hash": "all", "deep": True})
    complete.work_all()
    complete.export_all()
    assert differences(complete) == []
    assert complete.letters == []
    assert complete.census()["complete"]
    assert stand_in.counts()["total"]["writes"] == 0
