#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: scheduler_schedule
short_description: Ensure an EventBridge Scheduler schedule and all its settings
description:
  - Creates, changes or deletes a schedule that invokes one target, such as a Lambda function or its alias.
  - amazon.aws and community.aws have no module for EventBridge Scheduler.
  - A schedule has no tags. Only its group has, and this module does not manage groups.
  - EventBridge Scheduler cannot assume a role that was created a few seconds ago. The module fails then; retry the task
    on the text C(must allow AWS EventBridge Scheduler to assume the role).
author: The label-export contributors
options:
  name:
    description: The schedule's name.
    type: str
    required: true
  group:
    description: The schedule's group, which must exist.
    type: str
    default: default
  state:
    description: Whether the schedule exists.
    type: str
    choices: [present, absent]
    default: present
  schedule_expression:
    description:
      - When the target is invoked, such as C(rate(3 days)) or C(cron(0 3 * * ? *)).
      - Required when O(state=present).
    type: str
  timezone:
    description: The time zone of a C(cron) expression.
    type: str
    default: UTC
  description:
    description: The schedule's description.
    type: str
    default: ""
  enabled:
    description: Whether the schedule invokes its target.
    type: bool
    default: true
  target_arn:
    description: The ARN of what is invoked. Required when O(state=present).
    type: str
  role_arn:
    description:
      - The ARN of the role that EventBridge Scheduler assumes to invoke the target.
      - Required when O(state=present).
    type: str
  input:
    description: The JSON document that the target gets. Empty for the event that EventBridge Scheduler itself composes.
    type: json
    default: ""
  flexible_window_minutes:
    description: Minutes after the scheduled time within which the target is invoked, 1 to 1440. 0 for the time itself.
    type: int
    default: 0
  retry_attempts:
    description: How often a failed invocation is retried, 0 to 185.
    type: int
    default: 185
  retry_seconds:
    description: Seconds for which a failed invocation is retried, 60 to 86400.
    type: int
    default: 86400
  dead_letter_queue_arn:
    description: The ARN of the SQS queue that gets the events of invocations that failed. Empty for none.
    type: str
    default: ""
  kms_key_arn:
    description: The KMS key that encrypts the schedule; without it AWS uses a key of its own.
    type: str
    default: ""
attributes:
  check_mode:
    description: Nothing is changed; the schedule is returned as it would be.
    support: full
  diff_mode:
    description: Shows each changed setting.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the function is invoked every three days
  label_export.aws.scheduler_schedule:
    name: label-export-dev-keep-active
    schedule_expression: rate(3 days)
    target_arn: arn:aws:lambda:eu-west-1:123456789012:function:label-export-dev:live
    role_arn: arn:aws:iam::123456789012:role/label-export-dev-eu-west-1-keep-active
    input: {action: self_check}
  register: schedule
  retries: 12
  delay: 5
  until: schedule is success or "must allow AWS EventBridge Scheduler to assume the role" not in schedule.msg
"""

RETURN = r"""
settings:
  description: The schedule's settings after the run; in check mode as they would be.
  returned: when state is present
  type: dict
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    difference,
    json_document,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

# What EventBridge Scheduler returns for a schedule without a retry policy (API reference, RetryPolicy).
RETRY_ATTEMPTS = 185
RETRY_SECONDS = 86400


def comparable_input(text: Any) -> Any:
    """Return a target's input as a document, so that spacing is no difference; {} for none.

    Text that is no JSON stays text.
    """
    try:
        return json_document(text) or {}
    except ValueError:
        return text


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings."""
    return {
        "schedule_expression": params["schedule_expression"],
        "timezone": params["timezone"],
        "description": params["description"],
        "enabled": params["enabled"],
        "target_arn": params["target_arn"],
        "role_arn": params["role_arn"],
        "input": comparable_input(params["input"]),
        "flexible_window_minutes": params["flexible_window_minutes"],
        "retry_attempts": params["retry_attempts"],
        "retry_seconds": params["retry_seconds"],
        "dead_letter_queue_arn": params["dead_letter_queue_arn"],
        "kms_key_arn": params["kms_key_arn"],
        # Of a schedule with a start or an end, or one that deletes itself, both are removed.
        "start": "",
        "end": "",
        "after_completion": "NONE",
    }


def current_settings(schedule: dict[str, Any]) -> dict[str, Any]:
    """Bring GetSchedule's response into the form of wanted_settings."""
    target = schedule["Target"]
    retry = target.get("RetryPolicy") or {}
    return {
        "schedule_expression": schedule["ScheduleExpression"],
        "timezone": schedule.get("ScheduleExpressionTimezone", "UTC"),
        "description": schedule.get("Description", ""),
        "enabled": schedule.get("State", "ENABLED") == "ENABLED",
        "target_arn": target["Arn"],
        "role_arn": target["RoleArn"],
        "input": comparable_input(target.get("Input")),
        "flexible_window_minutes": schedule["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0),
        "retry_attempts": retry.get("MaximumRetryAttempts", RETRY_ATTEMPTS),
        "retry_seconds": retry.get("MaximumEventAgeInSeconds", RETRY_SECONDS),
        "dead_letter_queue_arn": (target.get("DeadLetterConfig") or {}).get("Arn", ""),
        "kms_key_arn": schedule.get("KmsKeyArn", ""),
        "start": str(schedule.get("StartDate") or ""),
        "end": str(schedule.get("EndDate") or ""),
        "after_completion": schedule.get("ActionAfterCompletion", "NONE"),
    }


def as_request(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the whole schedule for CreateSchedule or UpdateSchedule, which resets whatever it is not given."""
    target: dict[str, Any] = {
        "Arn": wanted["target_arn"],
        "RoleArn": wanted["role_arn"],
        "RetryPolicy": {
            "MaximumRetryAttempts": wanted["retry_attempts"],
            "MaximumEventAgeInSeconds": wanted["retry_seconds"],
        },
    }
    if wanted["input"]:
        target["Input"] = json.dumps(wanted["input"])
    if wanted["dead_letter_queue_arn"]:
        target["DeadLetterConfig"] = {"Arn": wanted["dead_letter_queue_arn"]}
    minutes = wanted["flexible_window_minutes"]
    request = {
        "ScheduleExpression": wanted["schedule_expression"],
        "ScheduleExpressionTimezone": wanted["timezone"],
        "State": "ENABLED" if wanted["enabled"] else "DISABLED",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": minutes} if minutes else {"Mode": "OFF"},
        "Target": target,
    }
    optional = {"Description": wanted["description"], "KmsKeyArn": wanted["kms_key_arn"]}
    return request | {key: value for key, value in optional.items() if value}


def identity(params: dict[str, Any]) -> dict[str, str]:
    """Return the arguments that name the schedule."""
    return {"Name": params["name"], "GroupName": params["group"]}


def find(client: Any, named: dict[str, str]) -> dict[str, Any] | None:
    """Return the schedule's settings in the form of wanted_settings, or None."""
    try:
        return current_settings(client.get_schedule(aws_retry=True, **named))
    except is_boto3_error_code("ResourceNotFoundException"):
        return None


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    named = identity(module.params)
    wanted = wanted_settings(module.params)
    current = find(client, named)
    changed = bool(changed_values(current, wanted))
    if changed and not module.check_mode:
        if current is None:
            client.create_schedule(aws_retry=True, **named, **as_request(wanted))
        else:
            client.update_schedule(aws_retry=True, **named, **as_request(wanted))
    module.exit_json(changed=changed, diff=difference(current, wanted), settings=wanted)


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    named = identity(module.params)
    current = find(client, named)
    if current is not None and not module.check_mode:
        client.delete_schedule(aws_retry=True, **named)
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "group": {"type": "str", "default": "default"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "schedule_expression": {"type": "str"},
            "timezone": {"type": "str", "default": "UTC"},
            "description": {"type": "str", "default": ""},
            "enabled": {"type": "bool", "default": True},
            "target_arn": {"type": "str"},
            "role_arn": {"type": "str"},
            "input": {"type": "json", "default": ""},
            "flexible_window_minutes": {"type": "int", "default": 0},
            "retry_attempts": {"type": "int", "default": RETRY_ATTEMPTS},
            "retry_seconds": {"type": "int", "default": RETRY_SECONDS},
            "dead_letter_queue_arn": {"type": "str", "default": ""},
            "kms_key_arn": {"type": "str", "default": "", "no_log": False},
        },
        required_if=[("state", "present", ("schedule_expression", "target_arn", "role_arn"))],
        supports_check_mode=True,
    )
    # A conflict is another change of the same schedule that is not finished.
    retry = AWSRetry.jittered_backoff(catch_extra_error_codes=["ConflictException"])
    client = module.client("scheduler", retry_decorator=retry)
    ensure_state(module, f"The schedule {module.params['name']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
