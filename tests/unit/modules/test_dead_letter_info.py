"""Dead letters are counted and named, and stay in the queue."""

from __future__ import annotations

import json

from fake_aws import Fake, Values, done, run

QUEUE = {"queue": "dead"}


class FakeSqs(Fake):
    """SQS with one queue; a received message is hidden for the rest of the test, or received again at once."""

    def __init__(self, *bodies: str, comes_again: bool = False) -> None:
        super().__init__()
        self.waiting = [{"MessageId": str(number), "Body": body} for number, body in enumerate(bodies)]
        self.count = len(bodies)
        self.comes_again = comes_again

    def get_queue_url(self, p: Values) -> Values:
        return {"QueueUrl": f"https://sqs/{p['QueueName']}"}

    def get_queue_attributes(self, _p: Values) -> Values:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.count)}}

    def receive_message(self, p: Values) -> Values:
        assert p["VisibilityTimeout"] > p["WaitTimeSeconds"] > 0
        taken = self.waiting[: p["MaxNumberOfMessages"]]
        if not self.comes_again:
            del self.waiting[: p["MaxNumberOfMessages"]]
        return {"Messages": taken} if taken else {}


def message(label: str, uid: str) -> str:
    return json.dumps({"version": 1, "project_hash": "p", "label_hash": label, "event_uid": uid})


def test_counting_receives_no_messages() -> None:
    fake = FakeSqs(message("a", "backfill-1"))
    found = done("dead_letter_info", fake, **QUEUE)
    assert (found["messages"], found["labels"], found["changed"]) == (1, [], False)
    assert "receive_message" not in [name for name, _ in fake.calls]


def test_labels_are_named_with_their_origin_and_nothing_is_deleted() -> None:
    fake = FakeSqs(*(message(str(number), f"backfill-{number % 2}") for number in range(25)), "not ours", "[]")
    everything = done("dead_letter_info", FakeSqs(message("a", "backfill-1"), "not ours"), limit=100, **QUEUE)
    assert len(everything["labels"]) == 2
    found = done("dead_letter_info", fake, limit=100, event_uids=["backfill-1"], **QUEUE)
    assert found["messages"] == 27
    assert [label["label_hash"] for label in found["labels"]] == [str(number) for number in range(1, 25, 2)]
    assert {name for name, _ in fake.calls} == {"get_queue_url", "get_queue_attributes", "receive_message"}


def test_redelivered_messages_end_the_reading() -> None:
    fake = FakeSqs(*(message(str(number), "u") for number in range(3)), comes_again=True)
    assert len(done("dead_letter_info", fake, limit=100, **QUEUE)["labels"]) == 3


def test_at_most_the_requested_number_is_received() -> None:
    fake = FakeSqs(*(message(str(number), "u") for number in range(30)))
    assert len(done("dead_letter_info", fake, limit=12, **QUEUE)["labels"]) == 12


def test_a_queue_that_cannot_be_read_is_reported() -> None:
    fake = FakeSqs()
    fake.refusals["get_queue_url"] = ("AccessDenied", 1)
    assert "The dead letters of dead could not be read" in run("dead_letter_info", fake, **QUEUE)["msg"]
