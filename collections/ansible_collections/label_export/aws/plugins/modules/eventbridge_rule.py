#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: eventbridge_rule
short_description: Ensure an EventBridge rule with one queue as its target
description:
  - Creates, changes or deletes a rule of an event bus that sends matching events to one SQS queue.
  - M(amazon.aws.cloudwatchevent_rule) has no check mode and no tags, and cannot set a target's dead-letter queue and
    retry policy.
  - Other targets of the rule are removed.
author: The label-export contributors
options:
  name:
    description: The rule's name.
    type: str
    required: true
  event_bus:
    description: The event bus, which must exist.
    type: str
    default: default
  state:
    description: Whether the rule exists.
    type: str
    choices: [present, absent]
    default: present
  event_pattern:
    description: Which events match. Required when O(state=present).
    type: dict
  description:
    description: The rule's description.
    type: str
    default: ""
  target_arn:
    description: The ARN of the queue that gets the events. Required when O(state=present).
    type: str
  input_paths:
    description: Values that the message takes from the event, by name, such as C($.detail.object.key).
    type: dict
    default: {}
  input_template:
    description: The message, with names of O(input_paths) in angle brackets. Empty for the whole event.
    type: str
    default: ""
  retry_attempts:
    description: How often a failed delivery is retried, 0 to 185.
    type: int
    default: 185
  retry_seconds:
    description: Seconds for which a failed delivery is retried, 60 to 86400.
    type: int
    default: 86400
  dead_letter_queue_arn:
    description: The ARN of the SQS queue that gets events that could not be delivered. Empty for none.
    type: str
    default: ""
  tags:
    description: Tags to set. Others stay.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Nothing is changed; the rule is returned as it would be.
    support: full
  diff_mode:
    description: Shows each changed setting.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure a queue gets each object that is written to a bucket
  label_export.aws.eventbridge_rule:
    name: label-export-dev-labels
    event_pattern:
      source: [aws.s3]
      detail-type: [Object Created]
      detail: {bucket: {name: [labels]}}
    target_arn: arn:aws:sqs:eu-west-1:123456789012:label-export-dev-catalog-events
    input_paths: {key: $.detail.object.key}
    input_template: '{"key": <key>}'
"""

RETURN = r"""
settings:
  description: The rule's settings after the run; in check mode as they would be.
  returned: when state is present
  type: dict
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
)
from ansible_collections.label_export.aws.plugins.module_utils.comparison import changed_values, difference
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

TARGET = "queue"
# What EventBridge does for a target without a retry policy (API reference, RetryPolicy).
RETRY_ATTEMPTS = 185
RETRY_SECONDS = 86400


def wanted_settings(params: dict[str, Any], current_tags: dict[str, str]) -> dict[str, Any]:
    """Translate the module's options into comparable settings, keeping tags that others have set."""
    return {
        "event_pattern": params["event_pattern"],
        "description": params["description"],
        "enabled": True,
        "target": {
            "target_arn": params["target_arn"],
            "input_paths": params["input_paths"],
            "input_template": params["input_template"],
            "retry_attempts": params["retry_attempts"],
            "retry_seconds": params["retry_seconds"],
            "dead_letter_queue_arn": params["dead_letter_queue_arn"],
        },
        "other_targets": [],
        "tags": {**current_tags, **params["tags"]},
    }


def current_target(target: dict[str, Any]) -> dict[str, Any]:
    """Bring a target of ListTargetsByRule into the form of wanted_settings."""
    transformer, retry = target.get("InputTransformer") or {}, target.get("RetryPolicy") or {}
    return {
        "target_arn": target["Arn"],
        "input_paths": transformer.get("InputPathsMap", {}),
        "input_template": transformer.get("InputTemplate", ""),
        "retry_attempts": retry.get("MaximumRetryAttempts", RETRY_ATTEMPTS),
        "retry_seconds": retry.get("MaximumEventAgeInSeconds", RETRY_SECONDS),
        "dead_letter_queue_arn": (target.get("DeadLetterConfig") or {}).get("Arn", ""),
    }


def as_target(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the target for PutTargets, which replaces one with the same identifier."""
    target: dict[str, Any] = {
        "Id": TARGET,
        "Arn": wanted["target_arn"],
        "RetryPolicy": {
            "MaximumRetryAttempts": wanted["retry_attempts"],
            "MaximumEventAgeInSeconds": wanted["retry_seconds"],
        },
    }
    if wanted["input_template"]:
        target["InputTransformer"] = {
            "InputPathsMap": wanted["input_paths"],
            "InputTemplate": wanted["input_template"],
        }
    if wanted["dead_letter_queue_arn"]:
        target["DeadLetterConfig"] = {"Arn": wanted["dead_letter_queue_arn"]}
    return target


class Rule:
    """The thin layer over the API for one rule."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        # The other error is another change of the same rule that is not finished.
        retry = AWSRetry.jittered_backoff(catch_extra_error_codes=["ConcurrentModificationException"])
        self.client = module.client("events", retry_decorator=retry)
        self.bus: str = module.params["event_bus"]
        self.named = {"Name": module.params["name"], "EventBusName": self.bus}
        self.of_rule = {"Rule": module.params["name"], "EventBusName": self.bus}
        self.arn = ""

    def find(self) -> dict[str, Any] | None:
        """Return the rule's settings in the form of wanted_settings, or None."""
        try:
            rule = self.client.describe_rule(aws_retry=True, **self.named)
        except is_boto3_error_code("ResourceNotFoundException"):
            return None
        self.arn = rule["Arn"]
        targets = {target["Id"]: target for target in self.targets()}
        ours = targets.pop(TARGET, None)
        answer = self.client.list_tags_for_resource(aws_retry=True, ResourceARN=self.arn)
        return {
            "event_pattern": json.loads(rule.get("EventPattern") or "{}"),
            "description": rule.get("Description", ""),
            "enabled": rule.get("State") == "ENABLED",
            "target": current_target(ours) if ours is not None else {},
            "other_targets": sorted(targets),
            "tags": boto3_tag_list_to_ansible_dict(answer.get("Tags", [])),
        }

    def targets(self) -> list[dict[str, Any]]:
        """Return all targets; a rule has at most five, so that they are in one answer."""
        answer = self.client.list_targets_by_rule(aws_retry=True, **self.of_rule)
        found: list[dict[str, Any]] = answer.get("Targets", [])
        return found

    def put(self, wanted: dict[str, Any], current: dict[str, Any] | None) -> None:
        """Write the rule, its target and its tags."""
        changes = changed_values(current, wanted)
        if {"event_pattern", "description", "enabled"} & changes.keys():
            # PutRule takes tags for a new rule only.
            tags = {"Tags": ansible_dict_to_boto3_tag_list(wanted["tags"])} if current is None else {}
            pattern = json.dumps(wanted["event_pattern"])
            about = {"Description": wanted["description"], "State": "ENABLED", "EventPattern": pattern}
            self.client.put_rule(aws_retry=True, **self.named, **about, **tags)
        if current is not None and "tags" in changes:
            tag_list = ansible_dict_to_boto3_tag_list(wanted["tags"])
            self.client.tag_resource(aws_retry=True, ResourceARN=self.arn, Tags=tag_list)
        if "target" in changes:
            answer = self.client.put_targets(aws_retry=True, **self.of_rule, Targets=[as_target(wanted["target"])])
            refuse_failed(answer)
        if current is not None and current["other_targets"]:
            self.remove_targets(current["other_targets"])

    def remove_targets(self, names: list[str]) -> None:
        """Remove targets by their identifiers."""
        refuse_failed(self.client.remove_targets(aws_retry=True, **self.of_rule, Ids=names))

    def delete(self) -> None:
        """Delete the rule; its targets go first."""
        if names := [target["Id"] for target in self.targets()]:
            self.remove_targets(names)
        self.client.delete_rule(aws_retry=True, **self.named)


def refuse_failed(answer: dict[str, Any]) -> None:
    """Raise ExplainedError for targets that EventBridge did not accept: its response is not an error then."""
    if answer.get("FailedEntryCount"):
        first = (answer.get("FailedEntries") or [{}])[0]
        raise ExplainedError(f"EventBridge refused a target: {first.get('ErrorCode')}: {first.get('ErrorMessage')}")


def ensure_present(module: AnsibleAWSModule, rule: Rule) -> None:
    current = rule.find()
    wanted = wanted_settings(module.params, current["tags"] if current else {})
    changed = bool(changed_values(current, wanted))
    if changed and not module.check_mode:
        rule.put(wanted, current)
    module.exit_json(changed=changed, diff=difference(current, wanted), settings=wanted)


def ensure_absent(module: AnsibleAWSModule, rule: Rule) -> None:
    current = rule.find()
    if current is not None and not module.check_mode:
        rule.delete()
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "event_bus": {"type": "str", "default": "default"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "event_pattern": {"type": "dict"},
            "description": {"type": "str", "default": ""},
            "target_arn": {"type": "str"},
            "input_paths": {"type": "dict", "default": {}},
            "input_template": {"type": "str", "default": ""},
            "retry_attempts": {"type": "int", "default": RETRY_ATTEMPTS},
            "retry_seconds": {"type": "int", "default": RETRY_SECONDS},
            "dead_letter_queue_arn": {"type": "str", "default": ""},
            "tags": {"type": "dict", "default": {}},
        },
        required_if=[("state", "present", ("event_pattern", "target_arn"))],
        supports_check_mode=True,
    )
    rule = Rule(module)
    ensure_state(module, f"The rule {module.params['name']}", rule, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
