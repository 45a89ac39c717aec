"""The rule: created, kept and restored after drift, and never touched in check mode."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:events"
MINIMAL: Values = {
    "name": "labels",
    "event_pattern": {"source": ["aws.s3"], "detail": {"object": {"key": [{"wildcard": "encord/*/labels/*.json"}]}}},
    "target_arn": QUEUE,
}
EVERYTHING: Values = {
    **MINIMAL,
    "event_bus": "ours",
    "description": "Sends labels to the index",
    "input_paths": {"key": "$.detail.object.key"},
    "input_template": '{"key": <key>}',
    "retry_attempts": 10,
    "retry_seconds": 3600,
    "dead_letter_queue_arn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead-letters",
    "tags": {"owner": "us"},
}


class FakeEvents(Fake):
    """EventBridge with rules, their targets and tags."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[Values] = []

    def rule(self, p: Values) -> Values:
        found = self.state.get((p["EventBusName"], p.get("Name", p.get("Rule"))))
        if found is None:
            raise RefusedError("ResourceNotFoundException")
        rule: Values = found
        return rule

    def describe_rule(self, p: Values) -> Values:
        return {name: value for name, value in self.rule(p).items() if name not in ("targets", "tags")}

    def list_targets_by_rule(self, p: Values) -> Values:
        return {"Targets": list(self.rule(p)["targets"].values())}

    def list_tags_for_resource(self, p: Values) -> Values:
        (found,) = [rule for rule in self.state.values() if rule["Arn"] == p["ResourceARN"]]
        return {"Tags": [{"Key": key, "Value": value} for key, value in found["tags"].items()]}

    def put_rule(self, p: Values) -> Values:
        key = (p["EventBusName"], p["Name"])
        kept = self.state.get(key, {"targets": {}, "tags": {}})
        assert not (key in self.state and "Tags" in p), "AWS ignores the tags of a rule that exists"
        tags = {tag["Key"]: tag["Value"] for tag in p.pop("Tags", [])}
        arn = f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/{p['Name']}"
        self.state[key] = {**p, "Arn": arn, "targets": kept["targets"], "tags": {**kept["tags"], **tags}}
        return {"RuleArn": arn}

    def tag_resource(self, p: Values) -> None:
        (found,) = [rule for rule in self.state.values() if rule["Arn"] == p["ResourceARN"]]
        found["tags"] |= {tag["Key"]: tag["Value"] for tag in p["Tags"]}

    def put_targets(self, p: Values) -> Values:
        if self.failed:
            return {"FailedEntryCount": 1, "FailedEntries": self.failed}
        self.rule(p)["targets"] |= {target["Id"]: target for target in p["Targets"]}
        return {"FailedEntryCount": 0}

    def remove_targets(self, p: Values) -> Values:
        for name in p["Ids"]:
            del self.rule(p)["targets"][name]
        return {"FailedEntryCount": 0}

    def delete_rule(self, p: Values) -> None:
        if self.rule(p)["targets"]:
            raise RefusedError("ValidationException")
        del self.state[p["EventBusName"], p["Name"]]


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING])
def test_it_is_created_kept_and_removed(given: Values) -> None:
    fake = FakeEvents()
    assert_converges("eventbridge_rule", fake, **given)
    ((_, rule),) = fake.state.items()
    assert json.loads(rule["EventPattern"]) == given["event_pattern"]
    assert rule["targets"]["queue"]["Arn"] == QUEUE
    assert rule["tags"] == given.get("tags", {})
    assert_gone("eventbridge_rule", fake, name="labels", event_bus=given.get("event_bus", "default"))
    assert fake.state == {}


@pytest.mark.parametrize(
    ("drift", "target_drift", "setting"),
    [
        ({"EventPattern": '{"source": ["aws.ec2"]}'}, {}, "event_pattern"),
        ({"Description": "changed"}, {}, "description"),
        ({"State": "DISABLED"}, {}, "enabled"),
        ({"tags": {"owner": "them"}}, {}, "tags"),
        ({}, {"Arn": f"{QUEUE}-other"}, "target"),
        ({}, {"InputTransformer": {}}, "target"),
        ({}, {"RetryPolicy": {}}, "target"),
        ({}, {"DeadLetterConfig": {}}, "target"),
    ],
)
def test_drift_is_corrected(drift: Values, target_drift: Values, setting: str) -> None:
    fake = FakeEvents()
    done("eventbridge_rule", fake, **EVERYTHING)
    (rule,) = fake.state.values()
    rule.update(drift)
    rule["targets"]["queue"].update(target_drift)
    result = assert_converges("eventbridge_rule", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == [setting]


def test_other_targets_are_removed_and_other_tags_stay() -> None:
    fake = FakeEvents()
    done("eventbridge_rule", fake, **EVERYTHING)
    (rule,) = fake.state.values()
    rule["targets"]["theirs"] = {"Id": "theirs", "Arn": QUEUE}
    rule["tags"]["theirs"] = "kept"
    assert_converges("eventbridge_rule", fake, **EVERYTHING)
    assert set(rule["targets"]) == {"queue"}
    assert rule["tags"] == {"owner": "us", "theirs": "kept"}


def test_a_target_that_eventbridge_refuses_is_an_error() -> None:
    fake = FakeEvents()
    fake.failed = [{"ErrorCode": "AccessDenied", "ErrorMessage": "the queue is another account's"}]
    result: Any = run("eventbridge_rule", fake, **MINIMAL)
    assert result["failed"]
    assert "the queue is another account's" in result["msg"]
