#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloudwatch_alarms
short_description: Ensure all metric alarms of one name prefix
description:
  - Creates, changes and deletes metric alarms, so that the alarms whose names begin with a prefix are exactly the
    listed ones.
  - Unlike M(amazon.aws.cloudwatch_metric_alarm) it manages tags, corrects alarms whose actions were switched off,
    ignores the order of dimensions and actions, shows what changes, and deletes alarms that are no longer listed.
author: The label-export contributors
options:
  name_prefix:
    description:
      - The prefix of the alarms' names. It is added to each listed name.
      - A metric alarm whose name begins with it and that is not listed is deleted.
    type: str
    required: true
  alarms:
    description: The alarms. An empty list deletes them all.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The alarm's name, without the prefix.
        type: str
        required: true
      description:
        description: What the alarm means and what to do next. It is part of each notification.
        type: str
        required: true
      namespace:
        description: The metric's namespace.
        type: str
        required: true
      metric_name:
        description: The metric.
        type: str
        required: true
      dimensions:
        description: All dimensions of the metric.
        type: dict
        default: {}
      statistic:
        description: The statistic over the values of a period.
        type: str
        choices: [Average, Maximum, Minimum, SampleCount, Sum]
        default: Sum
      period:
        description: The period in seconds, 10, 30 or a multiple of 60.
        type: int
        default: 300
      evaluation_periods:
        description: The number of periods to evaluate.
        type: int
        default: 1
      datapoints_to_alarm:
        description: How many of these periods raise the alarm. All of them when left out.
        type: int
      threshold:
        description: The value to compare with.
        type: float
        required: true
      comparison_operator:
        description: How the value is compared.
        type: str
        choices:
          - GreaterThanOrEqualToThreshold
          - GreaterThanThreshold
          - LessThanOrEqualToThreshold
          - LessThanThreshold
        default: GreaterThanOrEqualToThreshold
      treat_missing_data:
        description: How a period without values counts.
        type: str
        choices: [breaching, ignore, missing, notBreaching]
        default: notBreaching
  alarm_actions:
    description: ARNs that are notified when an alarm is raised, such as SNS topics.
    type: list
    elements: str
    default: []
  ok_actions:
    description: ARNs that are notified when an alarm ends.
    type: list
    elements: str
    default: []
  tags:
    description: The alarms' tags. Others are removed. Not managed when left out.
    type: dict
attributes:
  check_mode:
    description: Nothing is changed; the alarms are returned as they would be.
    support: full
  diff_mode:
    description: Shows, for each alarm by name, what changes.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure what fails for good is noticed, and nothing else is
  label_export.aws.cloudwatch_alarms:
    name_prefix: label-export-dev/
    alarms:
      - name: dead-letters
        description: Labels failed five times. Read the log, fix the cause, then redrive.
        namespace: AWS/SQS
        metric_name: ApproximateNumberOfMessagesVisible
        dimensions:
          QueueName: label-export-dev-dead-letters
        statistic: Maximum
        threshold: 1
    alarm_actions:
      - arn:aws:sns:eu-west-1:123456789012:label-export-dev-alarms

- name: Ensure there are none
  label_export.aws.cloudwatch_alarms:
    name_prefix: label-export-dev/
    alarms: []
"""

RETURN = r"""
alarms:
  description: The alarms' settings after the run by full name; in check mode as they would be.
  returned: always
  type: dict
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
    compare_aws_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.comparison import changed_values, own_tags
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

Settings = dict[str, Any]
# DeleteAlarms accepts this number of names at once.
DELETED_AT_ONCE = 100


def wanted_alarms(params: dict[str, Any]) -> dict[str, Settings]:
    """Translate the module's options into the API's settings of each alarm, by its full name."""
    return {params["name_prefix"] + alarm["name"]: wanted_settings(alarm, params) for alarm in params["alarms"]}


def wanted_settings(alarm: dict[str, Any], params: dict[str, Any]) -> Settings:
    return {
        "AlarmDescription": alarm["description"],
        "Namespace": alarm["namespace"],
        "MetricName": alarm["metric_name"],
        "Dimensions": {name: str(value) for name, value in alarm["dimensions"].items()},
        "Statistic": alarm["statistic"],
        # Neither a percentile nor a filter by unit, which may have been set elsewhere.
        "ExtendedStatistic": "",
        "Unit": "",
        "Period": alarm["period"],
        "EvaluationPeriods": alarm["evaluation_periods"],
        "DatapointsToAlarm": alarm["datapoints_to_alarm"] or alarm["evaluation_periods"],
        "Threshold": alarm["threshold"],
        "ComparisonOperator": alarm["comparison_operator"],
        "TreatMissingData": alarm["treat_missing_data"],
        "ActionsEnabled": True,
        "AlarmActions": sorted(params["alarm_actions"]),
        "OKActions": sorted(params["ok_actions"]),
        "InsufficientDataActions": [],
        "Tags": params["tags"],
    }


def current_settings(alarm: dict[str, Any], tags: dict[str, str]) -> Settings:
    """Bring the API's description of an alarm into the form of wanted_settings."""
    return {
        "AlarmDescription": alarm.get("AlarmDescription", ""),
        "Namespace": alarm.get("Namespace"),
        "MetricName": alarm.get("MetricName"),
        "Dimensions": {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", [])},
        "Statistic": alarm.get("Statistic"),
        "ExtendedStatistic": alarm.get("ExtendedStatistic") or "",
        "Unit": alarm.get("Unit") or "",
        "Period": alarm.get("Period"),
        "EvaluationPeriods": alarm.get("EvaluationPeriods"),
        # Returned only if it was set. Otherwise it is the number of periods.
        "DatapointsToAlarm": alarm.get("DatapointsToAlarm") or alarm.get("EvaluationPeriods"),
        "Threshold": alarm.get("Threshold"),
        "ComparisonOperator": alarm.get("ComparisonOperator"),
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
        "ActionsEnabled": alarm.get("ActionsEnabled", True),
        "AlarmActions": sorted(alarm.get("AlarmActions", [])),
        "OKActions": sorted(alarm.get("OKActions", [])),
        "InsufficientDataActions": sorted(alarm.get("InsufficientDataActions", [])),
        "Tags": tags,
    }


def as_request(settings: Settings) -> dict[str, Any]:
    """Bring settings into PutMetricAlarm's form, without the tags."""
    dimensions = [{"Name": name, "Value": value} for name, value in settings["Dimensions"].items()]
    given = {key: value for key, value in settings.items() if key != "Tags" and value != ""}
    return {**given, "Dimensions": dimensions}


def find(client: Any, prefix: str, wanted: dict[str, Settings]) -> tuple[dict[str, Settings], dict[str, str]]:
    """Return the settings and the ARNs of the metric alarms with that prefix, each by full name.

    Tags need a request for each alarm, so they are read only if they are managed.
    """
    pages = client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"])
    settings: dict[str, Settings] = {}
    arns: dict[str, str] = {}
    for alarm in (alarm for page in pages for alarm in page["MetricAlarms"]):
        name, arn = alarm["AlarmName"], alarm["AlarmArn"]
        managed = wanted.get(name, {}).get("Tags") is not None
        tags = client.list_tags_for_resource(aws_retry=True, ResourceARN=arn)["Tags"] if managed else []
        settings[name] = current_settings(alarm, own_tags(boto3_tag_list_to_ansible_dict(tags)))
        arns[name] = arn
    return settings, arns


def differences(current: dict[str, Settings], wanted: dict[str, Settings]) -> dict[str, dict[str, Settings]]:
    """Return the changes by alarm: all settings of a new or removed one, otherwise the settings that change."""
    before: dict[str, Settings] = {}
    after: dict[str, Settings] = {}
    for name in sorted(current.keys() | wanted.keys()):
        if name not in wanted:
            before[name] = current[name]
        elif changes := changed_values(current.get(name), wanted[name]):
            after[name] = changes
            if name in current:
                before[name] = {key: current[name][key] for key in changes}
    return {"before": before, "after": after}


def put(client: Any, name: str, arn: str, current: Settings | None, wanted: Settings) -> None:
    """Create or change an alarm. A request has all settings, and tags only if it creates the alarm."""
    if current is None:
        tags = {"Tags": ansible_dict_to_boto3_tag_list(wanted["Tags"])} if wanted["Tags"] else {}
        client.put_metric_alarm(aws_retry=True, AlarmName=name, **as_request(wanted), **tags)
        return
    changes = changed_values(current, wanted)
    if changes.keys() - {"Tags"}:
        client.put_metric_alarm(aws_retry=True, AlarmName=name, **as_request(wanted))
    to_set, to_remove = compare_aws_tags(current["Tags"], changes.get("Tags", current["Tags"]))
    if to_remove:
        client.untag_resource(aws_retry=True, ResourceARN=arn, TagKeys=to_remove)
    if to_set:
        client.tag_resource(aws_retry=True, ResourceARN=arn, Tags=ansible_dict_to_boto3_tag_list(to_set))


def ensure(module: AnsibleAWSModule, client: Any) -> None:
    wanted = wanted_alarms(module.params)
    current, arns = find(client, module.params["name_prefix"], wanted)
    diff = differences(current, wanted)
    changed = bool(diff["before"] or diff["after"])
    if changed and not module.check_mode:
        for name in diff["after"]:
            put(client, name, arns.get(name, ""), current.get(name), wanted[name])
        unwanted = sorted(current.keys() - wanted.keys())
        for first in range(0, len(unwanted), DELETED_AT_ONCE):
            client.delete_alarms(aws_retry=True, AlarmNames=unwanted[first : first + DELETED_AT_ONCE])
    module.exit_json(changed=changed, diff=diff, alarms=wanted)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name_prefix": {"type": "str", "required": True},
            "alarms": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "description": {"type": "str", "required": True},
                    "namespace": {"type": "str", "required": True},
                    "metric_name": {"type": "str", "required": True},
                    "dimensions": {"type": "dict", "default": {}},
                    "statistic": {
                        "type": "str",
                        "choices": ["Average", "Maximum", "Minimum", "SampleCount", "Sum"],
                        "default": "Sum",
                    },
                    "period": {"type": "int", "default": 300},
                    "evaluation_periods": {"type": "int", "default": 1},
                    "datapoints_to_alarm": {"type": "int"},
                    "threshold": {"type": "float", "required": True},
                    "comparison_operator": {
                        "type": "str",
                        "choices": [
                            "GreaterThanOrEqualToThreshold",
                            "GreaterThanThreshold",
                            "LessThanOrEqualToThreshold",
                            "LessThanThreshold",
                        ],
                        "default": "GreaterThanOrEqualToThreshold",
                    },
                    "treat_missing_data": {
                        "type": "str",
                        "choices": ["breaching", "ignore", "missing", "notBreaching"],
                        "default": "notBreaching",
                    },
                },
            },
            "alarm_actions": {"type": "list", "elements": "str", "default": []},
            "ok_actions": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    if not module.params["name_prefix"]:
        # Every alarm of the account begins with an empty prefix.
        module.fail_json(msg="name_prefix is empty: every alarm in the region that is not listed would be deleted")
    client = module.client("cloudwatch", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, f"The alarms {module.params['name_prefix']}* could not be ensured"):
        ensure(module, client)


if __name__ == "__main__":
    main()
