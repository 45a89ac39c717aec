"""The schedule: created, kept and restored after drift, and never touched in check mode."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

ALIAS = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:label-export-dev:live"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/keep-active"
MINIMAL: Values = {
    "name": "keep-active",
    "schedule_expression": "rate(3 days)",
    "target_arn": ALIAS,
    "role_arn": ROLE,
}
EVERYTHING: Values = {
    **MINIMAL,
    "group": "ours",
    "timezone": "Europe/Berlin",
    "description": "Keeps the function active",
    "enabled": False,
    "input": {"action": "self_check"},
    "flexible_window_minutes": 15,
    "retry_attempts": 2,
    "retry_seconds": 3600,
    "dead_letter_queue_arn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead-letters",
    "kms_key_arn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f",
}
# As GetSchedule returns a schedule that was created without one.
DEFAULT_RETRY_POLICY = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}


class FakeScheduler(Fake):
    """EventBridge Scheduler, whose UpdateSchedule resets settings that are not given."""

    def key(self, p: Values) -> tuple[str, str]:
        key = (p.get("GroupName", "default"), p["Name"])
        if key not in self.state:
            raise RefusedError("ResourceNotFoundException")
        return key

    def get_schedule(self, p: Values) -> Values:
        found: Values = self.state[self.key(p)]
        return found

    def keep(self, key: tuple[str, str], p: Values) -> Values:
        defaults = {"ScheduleExpressionTimezone": "UTC", "State": "ENABLED", "ActionAfterCompletion": "NONE"}
        p["Target"].setdefault("RetryPolicy", DEFAULT_RETRY_POLICY)
        self.state[key] = {**defaults, "GroupName": key[0], **p}
        return {"ScheduleArn": f"arn:aws:scheduler:eu-west-1:{ACCOUNT}:schedule/{key[0]}/{key[1]}"}

    def create_schedule(self, p: Values) -> Values:
        return self.keep((p.get("GroupName", "default"), p["Name"]), p)

    def update_schedule(self, p: Values) -> Values:
        return self.keep(self.key(p), p)

    def delete_schedule(self, p: Values) -> None:
        del self.state[self.key(p)]


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING])
def test_it_is_created_kept_and_removed(given: Values) -> None:
    fake = FakeScheduler()
    assert_converges("scheduler_schedule", fake, **given)
    schedule = fake.state[(given.get("group", "default"), "keep-active")]
    assert schedule["ScheduleExpression"] == "rate(3 days)"
    assert schedule["Target"]["Arn"] == ALIAS
    assert json.loads(schedule["Target"].get("Input", "{}")) == given.get("input", {})
    assert_gone("scheduler_schedule", fake, name="keep-active", group=given.get("group", "default"))
    assert fake.state == {}


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"ScheduleExpression": "rate(30 days)"}, "schedule_expression"),
        ({"ScheduleExpressionTimezone": "UTC"}, "timezone"),
        ({"Description": "changed"}, "description"),
        ({"State": "ENABLED"}, "enabled"),
        ({"FlexibleTimeWindow": {"Mode": "OFF"}}, "flexible_window_minutes"),
        ({"KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/other"}, "kms_key_arn"),
        ({"StartDate": datetime(2030, 1, 1, tzinfo=UTC)}, "start"),
        ({"EndDate": datetime(2030, 1, 1, tzinfo=UTC)}, "end"),
        ({"ActionAfterCompletion": "DELETE"}, "after_completion"),
    ],
)
def test_drift_of_the_schedule_is_corrected(drift: Values, setting: str) -> None:
    assert_corrected(drift, {}, setting)


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"Arn": f"{ALIAS[:-4]}other"}, "target_arn"),
        ({"RoleArn": f"{ROLE}-other"}, "role_arn"),
        ({"Input": '{"action":"other"}'}, "input"),
        ({"Input": "no JSON"}, "input"),
        ({"RetryPolicy": {**DEFAULT_RETRY_POLICY, "MaximumEventAgeInSeconds": 3600}}, "retry_attempts"),
        ({"RetryPolicy": {**DEFAULT_RETRY_POLICY, "MaximumRetryAttempts": 2}}, "retry_seconds"),
        ({"DeadLetterConfig": {}}, "dead_letter_queue_arn"),
    ],
)
def test_drift_of_the_target_is_corrected(drift: Values, setting: str) -> None:
    assert_corrected({}, drift, setting)


def assert_corrected(drift: Values, target_drift: Values, setting: str) -> None:
    fake = FakeScheduler()
    done("scheduler_schedule", fake, **EVERYTHING)
    (key,) = fake.state
    before: Any = json.dumps(fake.state[key], sort_keys=True)
    fake.state[key].update(drift)
    fake.state[key]["Target"].update(target_drift)
    result = assert_converges("scheduler_schedule", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == [setting]
    assert json.dumps(fake.state[key], sort_keys=True) == before


def test_spacing_in_the_input_is_no_drift() -> None:
    fake = FakeScheduler()
    done("scheduler_schedule", fake, **EVERYTHING)
    fake.state[("ours", "keep-active")]["Target"]["Input"] = '{ "action":"self_check" }'
    assert not done("scheduler_schedule", fake, **EVERYTHING)["changed"]


def test_an_input_that_is_no_longer_wanted_is_removed() -> None:
    fake = FakeScheduler()
    done("scheduler_schedule", fake, **EVERYTHING)
    assert_converges("scheduler_schedule", fake, **{**EVERYTHING, "input": ""})
    assert "Input" not in fake.state[("ours", "keep-active")]["Target"]


def test_a_schedule_in_another_group_is_another_schedule() -> None:
    fake = FakeScheduler()
    done("scheduler_schedule", fake, **EVERYTHING)
    assert done("scheduler_schedule", fake, **MINIMAL)["changed"]
    assert sorted(fake.state) == [("default", "keep-active"), ("ours", "keep-active")]


def test_a_conflict_with_another_change_is_retried() -> None:
    fake = FakeScheduler()
    fake.refusals["create_schedule"] = ("ConflictException", 2)
    assert done("scheduler_schedule", fake, **MINIMAL)["changed"]


def test_a_missing_permission_is_reported_with_the_schedules_name() -> None:
    fake = FakeScheduler()
    fake.refusals["create_schedule"] = ("AccessDeniedException", 1)
    message = run("scheduler_schedule", fake, **MINIMAL)["msg"]
    assert "The schedule keep-active could not be ensured" in message
    assert "The credentials lack a permission" in message
