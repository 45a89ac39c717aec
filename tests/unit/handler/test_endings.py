"""Every outcome of the code has a row in the table of endings, and every reason is in operations.md.

The outcomes and reasons are read from the code itself, so that a new one without a row or a line fails.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from label_export.core.endings import Ending
from label_export.core.export import Outcome
from label_export.entrypoints import queue_batch

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "lambda" / "label_export"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
# Metrics that count no ending: an object exists, the queue has the work, or the message is redelivered.
OTHER_METRICS = {
    "Received": "a webhook came",
    "StaleSecret": "the value from before is used",
    "Enqueued": "the queue has it",
    "WebhooksAccepted": "beside Enqueued",
    "Exported": "the object is stored",
    "Unchanged": "the object is stored already",
    "HandedBack": "delivered again",
    "Unconfirmed": "delivered again",
    "UnknownEventType": "beside Ignored or Enqueued",
    "FilteredShare": "beside Exported, Unchanged or Filtered",
    "ExportedBytes": "a size",
    "EditToObjectSeconds": "a duration",
}
SERVICES = ("s3", "sqs", "secretsmanager")
# Calls with a reason that are not errors: the position of the reason among their arguments.
TAKES_A_REASON = {"_hand_back": 1, "_refused": 0, "_unavailable": 0}
REASON = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield each call in the package: the file, the name of what is called, and the call."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                yield path.name, name, node


def texts(node: ast.expr | None) -> list[str]:
    """Return the possible values of an argument: its text, or for f"{service}_..." one for each service."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    if isinstance(node, ast.JoinedStr):
        fixed = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        return [service + fixed for service in SERVICES] if fixed.startswith("_") else []
    return []


def argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    named = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return call.args[place] if len(call.args) > place else named[0] if named else None


def reasons() -> dict[str, str]:
    """Return each reason in the code, and a file that gives it."""
    found = {}
    for file, name, call in calls():
        if name.endswith("Error") and name not in ("SettingsError", "UnknownEventError"):
            place = 1 if name == "RefusedRequestError" else 0
        elif name in TAKES_A_REASON:
            place = TAKES_A_REASON[name]
        elif name == "count":
            place = 1
        else:
            continue
        found |= {text: file for text in texts(argument(call, place, "reason")) if REASON.fullmatch(text)}
    return found | {ending.reason: "endings.py" for ending in Ending if ending.reason}


def alarms() -> dict[str, dict[str, Any]]:
    variables = yaml.safe_load((ROOT / "roles/monitoring/vars/main.yml").read_text())
    return {alarm["name"]: alarm for alarm in variables["__monitoring_alarms"]}


KNOWN = "row_deleted no_access unsigned project s3_access_denied sqs_unavailable overdue unexpected poison_message"


def test_the_reasons_are_found() -> None:
    assert set(reasons()) >= {*KNOWN.split(), "not_selected", "older_edit_time", "stage"}


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_each_reason_is_in_operations(reason: str) -> None:
    assert f"`{reason}`" in OPERATIONS, (
        f"{reasons()[reason]} can give the reason {reason}: say in docs/operations.md what to do"
    )


def test_each_metric_is_an_ending_or_listed_as_none() -> None:
    counted = {
        text
        for file, name, call in calls()
        if name in ("count", "measure") and file != "telemetry.py"
        for text in texts(argument(call, 0, "name"))
        if text[:1].isupper()
    }
    assert counted - {ending.metric for ending in Ending} <= OTHER_METRICS.keys()
    assert "Received" in counted


def test_each_terminal_error_has_a_row() -> None:
    terminal = {text for _, name, call in calls() if name == "TerminalError" for text in texts(argument(call, 0, ""))}
    assert terminal == {ending.reason for ending in Ending if ending.metric == "Terminal"}


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_of_an_export_is_counted(outcome: Outcome) -> None:
    metrics = queue_batch.METRICS[outcome]
    assert set(metrics) & ({"Exported", "Unchanged"} | {ending.metric for ending in Ending})


@pytest.mark.parametrize("ending", Ending)
def test_each_ending_has_an_alarm_or_a_written_reason_why_not(ending: Ending) -> None:
    row = ending.value
    assert (row.alarm is None) != (row.no_alarm_because is None)
    if row.alarm is None:
        assert len(row.no_alarm_because.split()) > 5
        return
    alarm = alarms()[row.alarm]
    assert alarm["metric_name"] == row.watched
    assert f"\n### {row.alarm}\n" in OPERATIONS


def test_the_alarms_of_the_handlers_metrics_each_have_an_ending() -> None:
    ours = {name for name, alarm in alarms().items() if alarm["namespace"] == "LabelExport"}
    assert ours <= {ending.value.alarm for ending in Ending}
