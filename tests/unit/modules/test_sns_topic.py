"""The topic, its subscriptions, and whether alarms may use its key."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.modules.kms_key_access_info import lacking
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done

ARN = f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
POLICY = {"Version": "2012-10-17", "Statement": [{"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "sns:*"}]}
EVERYTHING: Values = {
    "arn": ARN,
    "display_name": "alarms",
    "kms_master_key_id": KEY,
    "policy": json.dumps(POLICY),
    "emails": ["a@example.com", "b@example.com"],
    "tags": {"owner": "us"},
}


class FakeSns(Fake):
    """SNS with one topic, which waits for each address to confirm."""

    def existing(self) -> Values:
        if not self.state:
            raise RefusedError("NotFound")
        topic: Values = self.state
        return topic

    def get_topic_attributes(self, p: Values) -> Values:
        return {"Attributes": {"TopicArn": p["TopicArn"], **self.existing()["attributes"]}}

    def list_tags_for_resource(self, _p: Values) -> Values:
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.existing()["tags"].items()]}

    def list_subscriptions_by_topic(self, _p: Values) -> Values:
        return {"Subscriptions": self.existing()["subscriptions"]}

    def create_topic(self, p: Values) -> Values:
        tags = {tag["Key"]: tag["Value"] for tag in p["Tags"]}
        self.state = {"attributes": p["Attributes"], "tags": tags, "subscriptions": []}
        return {"TopicArn": ARN}

    def set_topic_attributes(self, p: Values) -> None:
        self.state["attributes"][p["AttributeName"]] = p["AttributeValue"]

    def tag_resource(self, p: Values) -> None:
        self.state["tags"].update({tag["Key"]: tag["Value"] for tag in p["Tags"]})

    def untag_resource(self, p: Values) -> None:
        self.state["tags"] = {k: v for k, v in self.state["tags"].items() if k not in p["TagKeys"]}

    def subscribe(self, p: Values) -> None:
        pending = {"SubscriptionArn": "PendingConfirmation", "Protocol": p["Protocol"], "Endpoint": p["Endpoint"]}
        self.state["subscriptions"].append(pending)

    def confirm(self, address: str) -> None:
        next(s for s in self.state["subscriptions"] if s["Endpoint"] == address)["SubscriptionArn"] = f"{ARN}:{address}"

    def unsubscribe(self, p: Values) -> None:
        for subscription in self.state["subscriptions"]:
            if subscription["SubscriptionArn"] == p["SubscriptionArn"]:
                subscription["SubscriptionArn"] = "Deleted"

    def delete_topic(self, _p: Values) -> None:
        self.state = {}


@pytest.mark.parametrize("given", [EVERYTHING, {"arn": ARN}])
def test_a_topic_is_created_kept_and_deleted(given: Values) -> None:
    fake = FakeSns()
    assert_converges("sns_topic", fake, **given)
    assert_gone("sns_topic", fake, arn=ARN)


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"DisplayName": ""}, "DisplayName"),
        ({"KmsMasterKeyId": "alias/aws/sns"}, "KmsMasterKeyId"),
        ({"Policy": "{}"}, "Policy"),
    ],
)
def test_drift_is_corrected(drift: Values, setting: str) -> None:
    fake = FakeSns()
    done("sns_topic", fake, **EVERYTHING)
    before = deepcopy(fake.state)
    fake.state["attributes"].update(drift)
    fake.state["tags"] = {"extra": "1"}
    result = assert_converges("sns_topic", fake, **EVERYTHING)
    assert set(result["diff"]["after"]) == {setting, "Tags"}
    assert fake.state == before


def test_an_unconfirmed_address_is_reported_and_not_subscribed_again() -> None:
    fake = FakeSns()
    assert done("sns_topic", fake, **EVERYTHING)["unconfirmed_emails"] == ["a@example.com", "b@example.com"]
    fake.confirm("a@example.com")
    fake.writes()
    again = done("sns_topic", fake, **EVERYTHING)
    assert (again["changed"], again["unconfirmed_emails"], fake.writes()) == (False, ["b@example.com"], [])


def test_an_address_that_is_removed_from_the_list_is_unsubscribed() -> None:
    fake = FakeSns()
    done("sns_topic", fake, **EVERYTHING)
    fake.state["subscriptions"].append({"SubscriptionArn": f"{ARN}:q", "Protocol": "sqs", "Endpoint": "queue"})
    fake.confirm("a@example.com")
    # The other never confirmed, and cannot be unsubscribed: it is never a difference.
    assert_converges("sns_topic", fake, **{**EVERYTHING, "emails": []})
    arns = {s["Endpoint"]: s["SubscriptionArn"] for s in fake.state["subscriptions"]}
    assert arns == {"a@example.com": "Deleted", "b@example.com": "PendingConfirmation", "queue": f"{ARN}:q"}


def statement(**given: Any) -> Values:
    service = {"Service": "cloudwatch.amazonaws.com"}
    return {"Effect": "Allow", "Principal": service, "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], **given}


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([statement()], []),
        ([statement(Principal="*")], []),
        ([statement(Principal={"Service": ["s3.amazonaws.com", "cloudwatch.amazonaws.com"]})], []),
        ([statement(Action="kms:*")], []),
        ([statement(Action="kms:Decrypt")], ["kms:GenerateDataKey"]),
        ([statement(Principal={"Service": "sns.amazonaws.com"})], ["kms:Decrypt", "kms:GenerateDataKey"]),
        ([statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})], ["kms:Decrypt", "kms:GenerateDataKey"]),
        ([statement(), statement(Effect="Deny", Action="kms:Decrypt")], ["kms:Decrypt"]),
        ([statement(), statement(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})], []),
        ([], ["kms:Decrypt", "kms:GenerateDataKey"]),
    ],
)
def test_missing_actions_of_a_key_policy_are_reported(statements: list[Values], expected: list[str]) -> None:
    actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    assert lacking({"Statement": statements}, "cloudwatch.amazonaws.com", actions) == expected


class FakeKms(Fake):
    def get_key_policy(self, _p: Values) -> Values:
        return {"Policy": json.dumps({"Statement": statement()})}


def test_a_policy_that_may_not_be_read_is_reported() -> None:
    fake = FakeKms()
    given: Values = {"key_arn": KEY, "service": "cloudwatch.amazonaws.com", "actions": ["kms:Decrypt"]}
    assert done("kms_key_access_info", fake, **given)["problem"] == ""
    fake.refusals["get_key_policy"] = ("AccessDeniedException", 1)
    result = done("kms_key_access_info", fake, **given)
    assert (result["changed"], result["lacking"]) == (False, [])
    assert "AccessDeniedException" in result["problem"]
