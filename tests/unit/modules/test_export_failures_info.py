"""What the exporter did not store: its log and its dead letters, by project and reason."""

from __future__ import annotations

import json
from typing import Any

from fake_aws import Fake, Values, done, run

NAMES = {"log_group": "/log", "queue": "dead"}
PROJECT, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def line(event: str, reason: str, label: str, **more: Any) -> str:
    return json.dumps({"event": event, "reason": reason, "project_hash": PROJECT, "label_hash": label, **more})


class FakeAccount(Fake):
    """A log, and a dead-letter queue whose messages are hidden once they were received."""

    def __init__(self, lines: list[str], *bodies: str) -> None:
        super().__init__()
        self.lines = lines
        self.waiting = [{"MessageId": str(number), "Body": body} for number, body in enumerate(bodies)]
        self.count = len(bodies)

    def filter_log_events(self, p: Values) -> Values:
        assert p["logGroupName"] == "/log"
        return {"events": [{"message": text} for text in self.lines if p["filterPattern"].strip('"') in text]}

    def get_queue_url(self, p: Values) -> Values:
        assert p["QueueName"] == "dead"
        return {"QueueUrl": "https://sqs/dead"}

    def get_queue_attributes(self, _p: Values) -> Values:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.count)}}

    def receive_message(self, p: Values) -> Values:
        taken, self.waiting = self.waiting[: p["MaxNumberOfMessages"]], self.waiting[p["MaxNumberOfMessages"] :]
        return {"Messages": taken} if taken else {}


def letter(label: str, project: str = PROJECT) -> str:
    return json.dumps({"version": 1, "project_hash": project, "label_hash": label, "event_uid": "u"})


def test_labels_are_counted_by_ending_and_reason_and_dead_letters_have_their_last_reason() -> None:
    lines = [
        line("label_failed", "encord_unavailable", "a"),
        line("label_failed", "no_access", "a"),
        line("label_failed", "no_access", "a"),
        line("label_failed", "no_access", "b"),
        line("nothing_to_export", "row_deleted", "c"),
        line("label_filtered", "stage", "d"),
        json.dumps(
            {"event": "labels_not_queued", "reason": "unavailable", "project_hash": OTHER, "label_hashes": ["e", "f"]}
        ),
        line("nothing_to_export", "row_deleted", "probe", event_uid="verify-1"),
        line("label_exported", "mentions label_failed", "g"),
        "label_failed is no JSON",
    ]
    found = done("export_failures_info", FakeAccount(lines, letter("a"), letter("z", OTHER), "not ours"), **NAMES)
    rows = {(one["project_hash"], one["what"], one["reason"]): one["labels"] for one in found["failures"]}
    assert rows == {
        (PROJECT, "failed", "encord_unavailable"): 1,
        (PROJECT, "failed", "no_access"): 2,
        (PROJECT, "nothing to export", "row_deleted"): 1,
        (PROJECT, "filtered", "stage"): 1,
        (PROJECT, "dead letter", "no_access"): 1,
        (OTHER, "not queued", "unavailable"): 2,
        (OTHER, "dead letter", "not in the log that was read"): 1,
        ("", "dead letter", "not in the log that was read"): 1,
    }
    assert (found["dead_letters"], found["changed"]) == (3, False)
    assert next(one for one in found["failures"] if one["labels"] == 2)["examples"] in (["a", "b"], ["e", "f"])


def test_nothing_is_sent_and_nothing_deleted() -> None:
    fake = FakeAccount([], letter("a"))
    done("export_failures_info", fake, **NAMES)
    assert {name for name, _ in fake.calls} == {
        "filter_log_events", "get_queue_url", "get_queue_attributes", "receive_message",
    }  # fmt: skip


def test_a_time_span_of_nothing_is_refused() -> None:
    assert "above 0" in run("export_failures_info", FakeAccount([]), hours=0, **NAMES)["msg"]
