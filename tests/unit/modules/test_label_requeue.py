"""Labels that were not queued are found in the log by their fields, and queued once each in the function's form."""

from __future__ import annotations

import json
from typing import Any

from fake_aws import Fake, Values, done, run
from label_export.core.messages import decode

PROJECT, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NAMES = {"log_group": "/log", "queue": "work"}


def line(event: str = "labels_not_queued", **fields: Any) -> str:
    known = {"event": event, "reason": "project", "event_uid": "uid-1", "project_hash": PROJECT}
    return json.dumps(known | fields)


class FakeAccount(Fake):
    """A log, read with two lines on a page, and a queue."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.lines = lines
        self.state: list[Values] = []
        self.refused: set[str] = set()

    def filter_log_events(self, p: Values) -> Values:
        assert p["logGroupName"] == "/log"
        matching = [text for text in self.lines if p["filterPattern"].strip('"') in text]
        begin = int(p.get("nextToken", "0"))
        more = {"nextToken": str(begin + 2)} if begin + 2 < len(matching) else {}
        return {"events": [{"message": text} for text in matching[begin : begin + 2]], **more}

    def get_queue_url(self, p: Values) -> Values:
        assert p["QueueName"] == "work"
        return {"QueueUrl": "https://sqs/work"}

    def send_message_batch(self, p: Values) -> Values:
        assert 1 <= len(p["Entries"]) <= 10
        taken = [entry for entry in p["Entries"] if not self.refused & set(json.loads(entry["MessageBody"]).values())]
        self.state += [json.loads(entry["MessageBody"]) for entry in taken]
        failed = [
            {"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in p["Entries"] if e not in taken
        ]
        successful = [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "d"} for entry in taken]
        return {"Successful": successful, "Failed": failed}

    def targets(self) -> list[tuple[str, str | None, str | None]]:
        return [decode(json.dumps(message)).target for message in self.state]


def test_each_label_and_data_unit_is_queued_once_in_the_functions_form() -> None:
    fake = FakeAccount(
        "START RequestId",
        line(label_hashes=["l-1", "l-2"], data_hashes=["d-1"]),
        line(label_hashes=["l-2"], project_hash=OTHER),
        line(label_hashes=["l-1"], reason="sqs_unavailable"),
        line("label_filtered", label_hash="l-3", data_hash="d-3"),
    )
    checked = done("label_requeue", fake, check=True, **NAMES)
    assert (checked["changed"], checked["queued"], fake.state) == (True, 5, [])
    result = done("label_requeue", fake, **NAMES)
    assert (result["queued"], result["lines"]) == (5, 4)
    assert result["projects"] == checked["projects"] == {PROJECT: 4, OTHER: 1}
    assert fake.targets() == [
        (PROJECT, "l-1", None),
        (PROJECT, "l-2", None),
        (PROJECT, None, "d-1"),
        (OTHER, "l-2", None),
        (PROJECT, "l-3", None),
    ]


def test_unselected_labels_are_left_out() -> None:
    fake = FakeAccount(
        line(label_hashes=["l-1"], reason="not_selected"),
        line(label_hashes=["l-2"], event_uid="verify-1"),
        line(label_hashes=["l-3"], project_hash=None),
        line("webhook_accepted", note="labels_not_queued", label_hashes=["l-4"]),
        line("nothing_to_export", label_hash="l-5"),
        "labels_not_queued, and no JSON",
        '["labels_not_queued"]',
    )
    result = done("label_requeue", fake, **NAMES)
    assert (result["changed"], result["queued"], fake.state) == (False, 0, [])
    done("label_requeue", fake, events=["nothing_to_export"], **NAMES)
    done("label_requeue", fake, reasons_left_out=[], **NAMES)
    assert [label for _, label, _ in fake.targets()] == ["l-5", "l-1"]


def test_only_the_given_time_span_is_read() -> None:
    fake = FakeAccount()
    done("label_requeue", fake, hours=1, **NAMES)
    done("label_requeue", fake, hours=3, **NAMES)
    begins = [params["startTime"] for name, params in fake.calls if name == "filter_log_events"]
    assert 7_190_000 < begins[0] - begins[2] <= 7_200_000
    assert run("label_requeue", fake, hours=0, **NAMES)["failed"]


def test_a_message_that_sqs_refuses_fails_the_run() -> None:
    fake = FakeAccount(line(label_hashes=[f"l-{number}" for number in range(15)]))
    fake.refused = {"l-12"}
    result = run("label_requeue", fake, **NAMES)
    assert result["failed"]
    assert "14 of 15 messages" in result["msg"]
    assert (result["queued"], result["changed"]) == (14, True)
