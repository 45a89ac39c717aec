"""Dead letters: each is sent before it is deleted, with all its attributes, and no more than there were."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from fake_aws import Fake, RefusedError, Values, done, run

ATTRIBUTES = {"kind": {"DataType": "String", "StringValue": "a"}, "blob": {"DataType": "Binary", "BinaryValue": b"b"}}
NAMES = {"source": "dead", "destination": "work"}


class FakeSqs(Fake):
    """SQS with the messages of two queues in order; a received message is hidden until it is deleted."""

    def __init__(self, *bodies: str) -> None:
        super().__init__()
        self.state = {"dead": [{"Body": body} for body in bodies], "work": []}
        self.hidden: dict[str, Values] = {}
        self.order: list[str] = []
        self.unsent: set[str] = set()
        self.undeleted: set[str] = set()
        self.returns_at_once = False

    def queue(self, p: Values) -> list[Values]:
        return self.state[p["QueueUrl"].rpartition("/")[2]]  # type: ignore[no-any-return]

    def get_queue_url(self, p: Values) -> Values:
        if p["QueueName"] not in self.state:
            raise RefusedError("AWS.SimpleQueueService.NonExistentQueue")
        return {"QueueUrl": f"https://sqs/{p['QueueName']}"}

    def get_queue_attributes(self, p: Values) -> Values:
        dead = p["QueueUrl"].endswith("dead")
        counts = {"ApproximateNumberOfMessages": str(len(self.queue(p)))}
        return {"Attributes": {**counts, "ApproximateNumberOfMessagesNotVisible": str(len(self.hidden) if dead else 0)}}

    def receive_message(self, p: Values) -> Values:
        assert p["MessageAttributeNames"] == ["All"]
        queue = self.queue(p)
        found = [queue.pop(0) for _ in range(min(p["MaxNumberOfMessages"], len(queue)))]
        for message in found:
            message["ReceiptHandle"] = f"receipt of {message['Body']}"
            self.hidden[message["ReceiptHandle"]] = message
        return {"Messages": found} if found else {}

    def send_message_batch(self, p: Values) -> Values:
        assert p["QueueUrl"].endswith("work")
        taken = [entry for entry in p["Entries"] if entry["MessageBody"] not in self.unsent]
        for entry in taken:
            self.order.append(f"sent {entry['MessageBody']}")
            self.queue(p).append({key: value for key, value in entry.items() if key != "Id"})
            if self.returns_at_once:
                self.state["dead"].append({"Body": entry["MessageBody"]})
        failed = [
            {"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in p["Entries"] if e not in taken
        ]
        return {
            "Successful": [{"Id": e["Id"], "MessageId": "m", "MD5OfMessageBody": "d"} for e in taken],
            "Failed": failed,
        }

    def delete_message_batch(self, p: Values) -> Values:
        assert p["QueueUrl"].endswith("dead")
        done_, failed = [], []
        for entry in p["Entries"]:
            body = self.hidden[entry["ReceiptHandle"]]["Body"]
            if body in self.undeleted:
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
                continue
            del self.hidden[entry["ReceiptHandle"]]
            self.order.append(f"deleted {body}")
            done_.append({"Id": entry["Id"]})
        return {"Successful": done_, "Failed": failed}


def bodies(queue: list[Values]) -> list[str]:
    return [message.get("MessageBody", message.get("Body")) for message in queue]


def test_all_are_moved_each_sent_before_it_is_deleted() -> None:
    names = [f"message {number}" for number in range(23)]
    fake = FakeSqs(*names)
    checked = done("sqs_redrive", fake, check=True, **NAMES)
    assert (checked["changed"], checked["moved"], checked["remaining"], len(fake.state["dead"])) == (True, 23, 0, 23)
    result = done("sqs_redrive", fake, **NAMES)
    assert (result["changed"], result["moved"], result["remaining"]) == (True, 23, 0)
    assert result["diff"] == checked["diff"] == {"before": {"messages": 23}, "after": {"messages": 0}}
    assert (bodies(fake.state["work"]), fake.state["dead"], fake.hidden) == (names, [], {})
    for name in names:
        assert fake.order.index(f"sent {name}") < fake.order.index(f"deleted {name}")
    for check in (True, False):
        again = done("sqs_redrive", fake, check=check, **NAMES)
        assert (again["changed"], again["moved"]) == (False, 0)


def test_attributes_are_moved_too() -> None:
    fake = FakeSqs()
    trace = {"AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    fake.state["dead"] = [{"Body": "a", "MessageAttributes": deepcopy(ATTRIBUTES), "Attributes": trace}]
    done("sqs_redrive", fake, **NAMES)
    (message,) = fake.state["work"]
    assert message["MessageAttributes"] == ATTRIBUTES
    header = {"DataType": "String", "StringValue": trace["AWSTraceHeader"]}
    assert message["MessageSystemAttributes"] == {"AWSTraceHeader": header}


def test_a_limit_is_kept() -> None:
    fake = FakeSqs(*"abcdefghijklmno")
    checked, result = (done("sqs_redrive", fake, check=check, limit=12, **NAMES) for check in (True, False))
    assert (checked["moved"], checked["remaining"]) == (result["moved"], result["remaining"]) == (12, 3)
    assert bodies(fake.state["dead"]) == ["m", "n", "o"]


def test_messages_that_fail_again_meanwhile_are_left_to_the_next_run() -> None:
    fake = FakeSqs(*(str(number) for number in range(20)))
    fake.returns_at_once = True
    result = done("sqs_redrive", fake, **NAMES)
    assert (result["moved"], result["remaining"]) == (20, 20)


@pytest.mark.parametrize(
    ("fault", "left", "sent"), [("unsent", ["b"], ["a", "c"]), ("undeleted", ["b"], ["a", "b", "c"])]
)
def test_no_message_is_lost_if_sqs_accepts_only_some(fault: str, left: list[str], sent: list[str]) -> None:
    fake = FakeSqs("a", "b", "c")
    getattr(fake, fault).add("b")
    result = run("sqs_redrive", fake, **NAMES)
    assert result["failed"]
    assert "1 of 3 messages could not be moved" in result["msg"]
    assert "none is lost: run this again" in result["msg"]
    assert (result["moved"], result["changed"]) == (2, True)
    assert [message["Body"] for message in fake.hidden.values()] == left
    assert bodies(fake.state["work"]) == sent


@pytest.mark.parametrize("given", [{"destination": "dead"}, {"limit": 0}])
def test_invalid_options_are_refused(given: dict[str, Any]) -> None:
    fake = FakeSqs("a")
    assert "must be two queues, and limit 1 or more" in run("sqs_redrive", fake, **{**NAMES, **given})["msg"]
    assert fake.calls == []


def test_a_missing_queue_is_named() -> None:
    result = run("sqs_redrive", FakeSqs(), source="dead", destination="nowhere")
    assert "The messages of dead could not be moved to nowhere" in result["msg"]
