"""Requests of playbooks: self check, status, probe; no response or error contains a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from catalog_system import CatalogSystem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord import exceptions
from encord_harness import private_key_text
from handler_deployment import KEY_ARN, Context, openssh
from handler_servers import Answer, Fault
from label_catalog import handler
from label_catalog.adapters.encord import source
from label_export.core.errors import (
    ExportError,
    KeyRefusedError,
    PermanentError,
    RetryableError,
    TerminalError,
    UnknownEventError,
)


def checks(system: CatalogSystem) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in system.catalog({"action": "self_check"})["checks"]}


def probed(system: CatalogSystem) -> list[dict[str, str]]:
    found: list[dict[str, str]] = system.catalog({"action": "probe", "project_hash": system.project})["answers"]
    assert all(set(answer) == {"question", "answer", "detail", "setting"} for answer in found)
    return found


def answers(system: CatalogSystem) -> dict[str, str]:
    return {answer["question"]: answer["answer"] for answer in probed(system)}


def test_a_self_check_tests_everything_and_writes_nothing(system: CatalogSystem) -> None:
    answer = system.catalog({"action": "self_check"})
    assert answer["ok"], answer
    assert set(checks(system)) == {
        "encord",
        "bucket",
        "export queue",
        "backfill queue",
        "catalog queue",
        "index",
    }
    assert system.aws.objects == {}
    assert not any(system.aws.queues.values())


def test_a_self_check_names_what_fails(system: CatalogSystem) -> None:
    system.aws.fail("ListObjectsV2", Fault(Answer(403, b"<Error><Code>AccessDenied</Code></Error>")))
    found = checks(system)
    assert (found["bucket"]["ok"], found["bucket"]["reason"]) == (False, "s3_access_denied")
    assert found["encord"]["ok"]
    system.aws.secrets[KEY_ARN] = private_key_text(Ed25519PrivateKey.generate())
    system.restart()
    assert checks(system)["encord"]["reason"] == "key_refused"


@pytest.mark.parametrize("kind", ["other curve", "public", "cut", "empty"])
def test_an_invalid_key_is_reported_without_its_text(
    system: CatalogSystem, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = openssh(ec.generate_private_key(ec.SECP256R1()))
    text = {"other curve": whole, "public": "ssh-ed25519 CANARYCANARY", "cut": whole[:120], "empty": ""}[kind]
    system.aws.secrets[KEY_ARN] = text
    system.restart()
    answer = system.catalog({"action": "self_check"})
    shown = json.dumps(answer) + capsys.readouterr().out
    assert checks(system)["encord"]["reason"] == "private_key"
    for part in (line for line in text.split() if len(line) > 20):
        assert part not in shown


def test_a_key_that_was_pasted_badly_works(system: CatalogSystem) -> None:
    good = system.aws.secrets[KEY_ARN]
    for pasted in (good.replace("\n", "\\n"), good.replace("\n", " "), good.replace("\n", "\r\n"), good.strip()):
        system.aws.secrets[KEY_ARN] = pasted
        system.restart()
        assert checks(system)["encord"]["ok"]


def test_a_key_that_was_replaced_is_read_again(system: CatalogSystem) -> None:
    good = system.aws.secrets[KEY_ARN]
    system.aws.secrets[KEY_ARN] = private_key_text(Ed25519PrivateKey.generate())
    system.restart()
    assert not checks(system)["encord"]["ok"]
    system.aws.secrets[KEY_ARN] = good
    assert checks(system)["encord"]["ok"]  # the same process


def test_unknown_events_are_refused(system: CatalogSystem) -> None:
    for event in ({}, {"action": "dance"}, [], "census", {"action": ["census"]}):
        with pytest.raises(UnknownEventError):
            system.catalog(event)


def test_status_summarises_each_project(system: CatalogSystem) -> None:
    (before,) = system.catalog({"action": "status"})["projects"]
    assert before["line"] == "project Street scenes: no census yet"
    assert before["index"] == "project Street scenes: no index yet"
    system.census()
    system.census()
    system.reconcile()
    (after,) = system.catalog({"action": "status"})["projects"]
    assert after["complete"]
    assert after["line"] == system.report()["line"]
    assert after["reconciled_at"] is not None
    assert after["missing"] == 0


def test_status_counts_the_tasks_that_should_have_sent_a_webhook(system: CatalogSystem) -> None:
    text, video = (system.stand_in.row(key)["label_hash"] for key in ("text", "video"))
    deployed = datetime.now(UTC)
    for label in (text, video, video):
        system.stand_in.control("POST", "complete-task", {"label_hash": label, "deliver": False})

    def counted(since: datetime) -> int | None:
        (found,) = system.catalog({"action": "status", "since": since.isoformat()})["projects"]
        return int(found["tasks_since"]) if found["tasks_since"] is not None else None

    assert counted(deployed - timedelta(seconds=1)) == 2
    assert counted(deployed + timedelta(days=1)) == 0
    system.stand_in.control("POST", "settings", {"task_actions": "refused"})
    assert counted(deployed) is None
    (without,) = system.catalog({"action": "status"})["projects"]
    assert "tasks_since" not in without
    with pytest.raises(UnknownEventError, match="since"):
        system.catalog({"action": "status", "since": "yesterday"})


def test_a_project_off_the_list_is_refused(system: CatalogSystem) -> None:
    other = system.stand_in.project(1)["project_hash"]
    with pytest.raises(ExportError, match="export_function_projects"):
        system.catalog({"action": "status", "project_hash": other})
    system.set(LABEL_EXPORT_PROJECTS="[]")
    assert len(system.catalog({"action": "status"})["projects"]) == 2


# Each question of the probe, and what makes it answer each way; None: nothing has to be changed.
# A setting of the stand-in, or a function that changes its data. The last of several is the reason for the answer.
def approve(system: CatalogSystem) -> None:
    audio = system.stand_in.row("audio")["label_hash"]
    system.stand_in.control("POST", "move-task", {"label_hash": audio, "stage": "Complete", "action": "approve"})


def approve_with_an_edit(system: CatalogSystem) -> None:
    approve(system)
    audio = system.stand_in.row("audio")["label_hash"]
    edited = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    system.stand_in.control("PATCH", f"label-rows/{audio}", {"edited_at": edited})


def complete_a_task(system: CatalogSystem) -> None:
    text = system.stand_in.row("text")["label_hash"]
    system.stand_in.control("POST", "complete-task", {"label_hash": text, "deliver": False})


def complete_with_a_late_action(system: CatalogSystem) -> None:
    complete_a_task(system)
    system.stand_in.control("POST", "settings", {"task_actions_lag_seconds": 86_400})
    system.set(LABEL_CATALOG_OVERLAP_SECONDS="0")


def five_completed_tasks(system: CatalogSystem) -> None:
    for minute, key in enumerate(("image", "video", "audio", "text", "pdf")):
        label = system.stand_in.row(key)["label_hash"]
        system.stand_in.control("POST", "move-task", {"label_hash": label, "stage": "Complete", "action": "approve"})
        edited = datetime(2026, 1, 1, 12, minute, tzinfo=UTC).isoformat()
        system.stand_in.control("PATCH", f"label-rows/{label}", {"edited_at": edited})


def newest_first(system: CatalogSystem) -> None:
    five_completed_tasks(system)
    system.stand_in.control("POST", "settings", {"stage_tasks_order": "newest-first"})


def oldest_first(system: CatalogSystem) -> None:
    five_completed_tasks(system)
    system.stand_in.control("POST", "settings", {"stage_tasks_order": "oldest-first"})


def slow_listing(system: CatalogSystem) -> None:
    system.set(LABEL_CATALOG_LISTING_SECONDS="1")
    system.stand_in.control("POST", "faults", {"path": "/public", "latency_ms": 600})


def another_time_in_the_listing(system: CatalogSystem) -> None:
    for row in system.stand_in.project()["label_rows"]:
        if row["label_hash"]:
            listing = {"last_edited_at": "2026-01-01T00:00:00Z"}
            system.stand_in.control("PATCH", f"label-rows/{row['label_hash']}", {"listing": listing})


def four_minutes_off(system: CatalogSystem) -> None:
    system.clock.off = timedelta(minutes=4)


Change = Callable[[CatalogSystem], None] | dict[str, str] | None
BOTH_WAYS: dict[str, tuple[Change, Change]] = {
    "The envelope is compact, its status first": (None, {"envelope_key_order": "response-first"}),
    "An error in the envelope comes with HTTP 200": (None, {"error_http_status": "same"}),
    "A missing label in a request for several is left out": (None, {"missing_labels": "error"}),
    "Our clock is within a minute of Encord's": (None, four_minutes_off),
    "A listing of all label rows is fast": (None, slow_listing),
    "The task actions are served": (None, {"task_actions": "refused"}),
    "Task actions appear within the overlap": (complete_a_task, complete_with_a_late_action),
    "A final stage lists its newest task first": (newest_first, oldest_first),
    "An approval leaves the edit time alone": (approve, approve_with_an_edit),
    "A window of edit times includes its ends": ({"edit_window_ends": "included"}, None),
    "The listing and the label row have the same edit time": (None, another_time_in_the_listing),
}
# The setting that follows, for answers from which one follows.
FOLLOWS = {
    "A listing of all label rows is fast": "catalog_function_listing_timeout: ",
    "Task actions appear within the overlap": "catalog_function_overlap: ",
}


def test_each_question_of_the_probe_has_a_test_for_both_answers(system: CatalogSystem) -> None:
    assert list(answers(system)) == list(BOTH_WAYS)
    assert system.aws.objects == {}
    assert system.stand_in.counts()["total"]["writes"] == 0


@pytest.mark.parametrize("answer", ["holds", "does_not_hold"])
@pytest.mark.parametrize("question", BOTH_WAYS)
def test_the_probe_can_give_both_answers(system: CatalogSystem, question: str, answer: str) -> None:
    change = BOTH_WAYS[question][answer == "does_not_hold"]
    if callable(change):
        change(system)
    elif change is not None:
        system.stand_in.control("POST", "settings", change)
    (found,) = [item for item in probed(system) if item["question"] == question]
    assert found["answer"] == answer, found["detail"]
    assert found["setting"].startswith(FOLLOWS.get(question, "") if answer == "does_not_hold" else "none")


def test_the_probe_answers_unknown_without_evidence(system: CatalogSystem) -> None:
    first = answers(system)
    assert first["Task actions appear within the overlap"] == "unknown"
    assert first["An approval leaves the edit time alone"] == "unknown"
    system.stand_in.control("POST", "settings", {"task_actions": "refused"})
    second = answers(system)
    assert second["Task actions appear within the overlap"] == "unknown"
    assert second["An approval leaves the edit time alone"] == "unknown"


def test_the_key_comes_from_each_source(system: CatalogSystem, tmp_path: Path) -> None:
    text = system.aws.secrets.pop(KEY_ARN)
    system.set(LABEL_EXPORT_PRIVATE_KEY_SOURCE="environment", LABEL_EXPORT_PRIVATE_KEY=text)
    assert checks(system)["encord"]["ok"]
    file = tmp_path / "key"
    system.set(LABEL_EXPORT_PRIVATE_KEY_SOURCE="file", LABEL_EXPORT_PRIVATE_KEY_FILE=str(file))
    assert checks(system)["encord"]["reason"] == "private_key"
    file.write_text(text)
    assert checks(system)["encord"]["ok"]
    system.set(LABEL_EXPORT_PRIVATE_KEY_SOURCE="secretsmanager")
    assert checks(system)["encord"]["reason"] == "secretsmanager_refused"


def test_lambda_calls_the_handler(system: CatalogSystem) -> None:
    assert handler.handle({"action": "self_check"}, Context())["ok"]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (exceptions.AuthenticationError("CANARY"), KeyRefusedError),
        (exceptions.AuthorisationError("CANARY"), PermanentError),
        (exceptions.ResourceNotFoundError("CANARY"), TerminalError),
        (exceptions.InvalidArgumentsError("CANARY"), PermanentError),
        (exceptions.RequestException("CANARY"), RetryableError),
        (ValueError("CANARY"), RetryableError),
        (ConnectionRefusedError("CANARY"), ConnectionRefusedError),
    ],
)
def test_errors_of_the_sdk_are_classified_without_their_text(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught, source._translated("the projects"):
        raise raised
    assert type(caught.value) is expected
    assert expected is ConnectionRefusedError or "CANARY" not in str(caught.value)
