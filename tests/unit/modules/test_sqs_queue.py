"""The queue: what counts as a difference, and that every setting is created, kept and corrected."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.module_utils.sqs_queue import comparable
from ansible_collections.label_export.aws.plugins.modules.sqs_queue import as_text, wanted_attributes
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
DEAD_LETTERS = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead-letters"
NOT_FOUND = "AWS.SimpleQueueService.NonExistentQueue"
UNSET: Values = {
    "visibility_timeout": None,
    "message_retention_period": None,
    "maximum_message_size": None,
    "receive_message_wait_time": None,
    "redrive_policy": None,
    "redrive_allow_source_queue_arns": None,
    "kms_master_key_id": None,
    "policy": None,
}
OWN_ENCRYPTION = {"SqsManagedSseEnabled": "true", "KmsMasterKeyId": ""}


class FakeSqs(Fake):
    """SQS, which stores a queue's settings and tags by its URL."""

    def queue(self, url: str) -> Values:
        if url not in self.state:
            raise RefusedError(NOT_FOUND)
        found: Values = self.state[url]
        return found

    def get_queue_url(self, p: Values) -> Values:
        url = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/{p['QueueName']}"
        self.queue(url)
        return {"QueueUrl": url}

    def get_queue_attributes(self, p: Values) -> Values:
        return {"Attributes": self.queue(p["QueueUrl"])["attributes"]}

    def list_queue_tags(self, p: Values) -> Values:
        tags = self.queue(p["QueueUrl"])["tags"]
        return {"Tags": tags} if tags else {}

    def create_queue(self, p: Values) -> Values:
        assert "" not in p["Attributes"].values()
        url = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/{p['QueueName']}"
        attributes = {"VisibilityTimeout": "30", "SqsManagedSseEnabled": "true", "MessageRetentionPeriod": "345600"}
        self.state[url] = {"attributes": attributes, "tags": p["tags"]}
        self.set_queue_attributes({"QueueUrl": url, "Attributes": p["Attributes"]})
        return {"QueueUrl": url}

    def set_queue_attributes(self, p: Values) -> None:
        attributes, new = self.queue(p["QueueUrl"])["attributes"], p["Attributes"]
        if new.get("KmsMasterKeyId"):
            attributes["SqsManagedSseEnabled"] = "false"
        elif new.get("SqsManagedSseEnabled") == "true" and "KmsMasterKeyId" in attributes.keys() - new.keys():
            raise RefusedError("InvalidAttributeValue")  # Only one kind of encryption.
        attributes.update(new)
        for name in [name for name, value in attributes.items() if value == ""]:
            del attributes[name]

    def tag_queue(self, p: Values) -> None:
        self.queue(p["QueueUrl"])["tags"].update(p["Tags"])

    def untag_queue(self, p: Values) -> None:
        for key in p["TagKeys"]:
            del self.queue(p["QueueUrl"])["tags"][key]

    def delete_queue(self, p: Values) -> None:
        del self.state[p["QueueUrl"]]


POLICY = {"Version": "2012-10-17", "Statement": [{"Sid": "a", "Effect": "Deny", "Principal": "*", "Action": "sqs:*"}]}
EVERYTHING: Values = {
    "name": "queue",
    "visibility_timeout": 720,
    "message_retention_period": 86400,
    "maximum_message_size": 262144,
    "receive_message_wait_time": 20,
    "redrive_policy": {"dead_letter_target_arn": DEAD_LETTERS, "max_receive_count": 5},
    "redrive_allow_source_queue_arns": ["arn:b", "arn:a"],
    "policy": POLICY,
    "tags": {"owner": "us"},
}


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, OWN_ENCRYPTION),
        ({"kms_master_key_id": ""}, OWN_ENCRYPTION),
        ({"kms_master_key_id": KEY}, {"KmsMasterKeyId": KEY}),
        ({"visibility_timeout": 0}, {"VisibilityTimeout": "0", **OWN_ENCRYPTION}),
        ({"redrive_policy": {"dead_letter_target_arn": None, "max_receive_count": None}}, {"RedrivePolicy": {}}),
        (
            {"redrive_policy": {"dead_letter_target_arn": DEAD_LETTERS, "max_receive_count": "5"}},
            {"RedrivePolicy": {"deadLetterTargetArn": DEAD_LETTERS, "maxReceiveCount": 5}},
        ),
        ({"redrive_allow_source_queue_arns": []}, {"RedriveAllowPolicy": {"redrivePermission": "denyAll"}}),
        (
            {"redrive_allow_source_queue_arns": ["b", "a"]},
            {"RedriveAllowPolicy": {"redrivePermission": "byQueue", "sourceQueueArns": ["a", "b"]}},
        ),
        ({"policy": json.dumps(POLICY)}, {"Policy": POLICY}),
        ({"policy": "{}"}, {"Policy": {}}),
        ({"policy": ""}, {"Policy": {}}),
    ],
)
def test_wanted_attributes(options: Values, attributes: Values) -> None:
    encryption = {} if "KmsMasterKeyId" in attributes else OWN_ENCRYPTION
    assert wanted_attributes({**UNSET, **options}) == {**encryption, **attributes}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"Policy": "", "RedrivePolicy": ""}, {}),
        ({"KmsMasterKeyId": KEY}, {"KmsMasterKeyId": KEY}),
        # SQS returns the count as it was given, as a number or as text.
        (
            {"RedrivePolicy": '{"deadLetterTargetArn":"d","maxReceiveCount":"5"}'},
            {"RedrivePolicy": {"deadLetterTargetArn": "d", "maxReceiveCount": 5}},
        ),
        (
            {"RedriveAllowPolicy": '{"sourceQueueArns":["b","a"],"redrivePermission":"byQueue"}'},
            {"RedriveAllowPolicy": {"redrivePermission": "byQueue", "sourceQueueArns": ["a", "b"]}},
        ),
        (
            {"Policy": '{"Statement": {"Sid": "a", "Action": ["sqs:*"], "Principal": {"AWS": "*"}}}'},
            {"Policy": {"Statement": [{"Sid": "a", "Action": "sqs:*", "Principal": "*"}]}},
        ),
    ],
)
def test_comparable(given: dict[str, str], expected: Values) -> None:
    nothing = {"Policy": {}, "RedrivePolicy": {}, "RedriveAllowPolicy": {}, "KmsMasterKeyId": ""}
    assert comparable(given) == {**nothing, **expected}


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"VisibilityTimeout": "30"}, {"VisibilityTimeout": "30"}),
        ({"Policy": {}}, {"Policy": ""}),
        ({"RedrivePolicy": {"maxReceiveCount": 5}}, {"RedrivePolicy": '{"maxReceiveCount": 5}'}),
        ({"KmsMasterKeyId": ""}, {"KmsMasterKeyId": ""}),
    ],
)
def test_as_text(attributes: Values, text: dict[str, str]) -> None:
    assert as_text(attributes) == text


@pytest.mark.parametrize(
    "options",
    [
        EVERYTHING,
        {"name": "queue"},
        {"name": "queue", "kms_master_key_id": KEY, "redrive_policy": {}, "policy": "{}", "tags": {}},
    ],
)
def test_a_queue_is_created_kept_and_deleted(options: Values) -> None:
    fake = FakeSqs()
    assert done("sqs_queue", fake, check=True, **options)["queue_url"] == ""
    result = assert_converges("sqs_queue", fake, **options)
    assert list(fake.state) == [result["queue_url"]]
    assert_gone("sqs_queue", fake, name="queue")
    assert fake.state == {}


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"VisibilityTimeout": "1"}, "VisibilityTimeout"),
        ({"MessageRetentionPeriod": "60"}, "MessageRetentionPeriod"),
        ({"MaximumMessageSize": "1024"}, "MaximumMessageSize"),
        ({"ReceiveMessageWaitTimeSeconds": "0"}, "ReceiveMessageWaitTimeSeconds"),
        ({"RedrivePolicy": ""}, "RedrivePolicy"),
        ({"RedriveAllowPolicy": '{"redrivePermission":"allowAll"}'}, "RedriveAllowPolicy"),
        ({"Policy": ""}, "Policy"),
        ({"SqsManagedSseEnabled": "false"}, "SqsManagedSseEnabled"),
        ({"KmsMasterKeyId": KEY}, "SqsManagedSseEnabled"),
    ],
)
def test_drift_is_corrected(drift: dict[str, str], setting: str) -> None:
    fake = FakeSqs()
    url = done("sqs_queue", fake, **EVERYTHING)["queue_url"]
    before = deepcopy(fake.state)
    fake.set_queue_attributes({"QueueUrl": url, "Attributes": drift})
    assert fake.state != before
    result = assert_converges("sqs_queue", fake, **EVERYTHING)
    assert setting in result["diff"]["after"]
    assert fake.state == before


def test_a_key_is_set_on_a_queue_that_encrypts_with_its_own() -> None:
    fake = FakeSqs()
    done("sqs_queue", fake, name="queue")
    result = assert_converges("sqs_queue", fake, name="queue", kms_master_key_id=KEY)
    assert fake.state[result["queue_url"]]["attributes"]["KmsMasterKeyId"] == KEY


def test_a_policy_in_another_spelling_is_the_same() -> None:
    fake = FakeSqs()
    url = done("sqs_queue", fake, **EVERYTHING)["queue_url"]
    statement = {**POLICY["Statement"][0], "Principal": {"AWS": "*"}, "Action": ["sqs:*"]}  # type: ignore[dict-item]
    fake.state[url]["attributes"]["Policy"] = json.dumps({**POLICY, "Statement": statement})
    assert not done("sqs_queue", fake, **EVERYTHING)["changed"]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [({"a": "1"}, {"a": "1"}), ({}, {}), (None, {"a": "2", "b": "2"})],
)
def test_tags_are_the_wanted_ones_and_those_of_aws(wanted: dict[str, str] | None, left: dict[str, str]) -> None:
    fake = FakeSqs()
    url = done("sqs_queue", fake, name="queue")["queue_url"]
    theirs = {"aws:cloudformation:stack-name": "s"}
    fake.state[url]["tags"] = {"a": "2", "b": "2", **theirs}
    done("sqs_queue", fake, name="queue", tags=wanted)
    assert fake.state[url]["tags"] == {**left, **theirs}
    again = done("sqs_queue", fake, name="queue", tags=wanted)
    assert (again["changed"], again["diff"]) == (False, {"before": {}, "after": {}})


def test_a_queue_deleted_a_moment_ago_is_created_again() -> None:
    fake = FakeSqs()
    fake.refusals["create_queue"] = ("AWS.SimpleQueueService.QueueDeletedRecently", 3)
    assert done("sqs_queue", fake, name="queue")["changed"]


class DyingSqs(FakeSqs):
    """SQS, which finds a deleted queue a few times more."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.dying = False

    def delete_queue(self, p: Values) -> None:
        assert not self.dying
        self.dying = True

    def get_queue_url(self, p: Values) -> Values:
        if self.dying:
            self.times -= 1
            if self.times < 0:
                self.state.clear()
        return super().get_queue_url(p)


def test_a_deleted_queue_is_awaited() -> None:
    fake = DyingSqs(5)
    done("sqs_queue", fake, name="queue")
    assert "warnings" not in done("sqs_queue", fake, name="queue", state="absent")
    assert fake.state == {}


def test_a_queue_that_stays_is_reported_after_a_bounded_wait() -> None:
    fake = DyingSqs(1000)
    done("sqs_queue", fake, name="queue")
    result = done("sqs_queue", fake, name="queue", state="absent")
    assert "still finds the queue" in str(result["warnings"])


@pytest.mark.parametrize("half", [{"dead_letter_target_arn": DEAD_LETTERS}, {"max_receive_count": 5}])
def test_half_a_redrive_policy_is_refused(half: dict[str, Any]) -> None:
    result = run("sqs_queue", FakeSqs(), name="queue", redrive_policy=half)
    assert "required together" in result["msg"]


def test_what_aws_refuses_is_reported() -> None:
    fake = FakeSqs()
    fake.refusals["get_queue_url"] = ("AccessDenied", 1)
    result = run("sqs_queue", fake, name="queue")
    assert result["failed"]
    assert "The queue queue could not be ensured" in result["msg"]
    assert "AccessDenied" in result["msg"]
