#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: log_group
short_description: Ensure a CloudWatch Logs log group, its retention and its key
description:
  - Creates, changes or deletes a log group.
  - Unlike M(amazon.aws.cloudwatchlogs_log_group) it changes nothing in check mode, where that module sets the
    retention, and it corrects the KMS key of an existing group.
author: The label-export contributors
options:
  name:
    description: The log group's name.
    type: str
    required: true
  state:
    description: Whether the log group exists.
    type: str
    choices: [present, absent]
    default: present
  retention:
    description: Days for which events are kept. Not managed when left out.
    type: int
  kms_key_arn:
    description: The KMS key that encrypts the events; without it CloudWatch Logs uses its own.
    type: str
    default: ""
  metric_filters:
    description:
      - Filters that count events as a metric, by name. Not managed when left out.
      - Other filters that write to O(metric_namespace) are removed. Filters that write elsewhere stay.
      - M(amazon.aws.cloudwatchlogs_log_group_metric_filter) fails in a check of an account that lacks the log group,
        and finds a difference on every run where a dimension has an upper-case letter.
    type: dict
  metric_namespace:
    description: CloudWatch namespace of the metrics of O(metric_filters).
    type: str
    default: LabelExport
  metric_dimensions:
    description: Dimensions of these metrics, each with the field of an event that has its value.
    type: dict
    default: {}
  tags:
    description: The log group's tags. Others are removed. Not managed when left out.
    type: dict
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the function's log group forgets after thirty days
  label_export.aws.log_group:
    name: /aws/lambda/label-export-dev
    retention: 30

- name: Count the refused requests in the access log
  label_export.aws.log_group:
    name: /aws/vendedlogs/apigateway/label-export-dev
    retention: 30
    metric_filters:
      ApiThrottled: '{ $.status = "429" }'
    metric_dimensions: {Environment: $.environment}
"""

RETURN = r"""
settings:
  description: The log group's settings after the run; in check mode as they would be.
  returned: when state is present
  type: dict
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import compare_aws_tags
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    difference,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.log_group import find_group
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings."""
    namespace, dimensions = params["metric_namespace"], params["metric_dimensions"]
    filters = params["metric_filters"]
    return {
        "retention": params["retention"],
        "kms_key_arn": params["kms_key_arn"],
        "metric_filters": None
        if filters is None
        else {
            name: comparable_filter(pattern, metric(name, namespace, dimensions)) for name, pattern in filters.items()
        },
        "tags": params["tags"],
    }


def metric(name: str, namespace: str, dimensions: dict[str, str]) -> dict[str, Any]:
    """Return a filter's transformation: each event counts one for the metric with the filter's name."""
    made = {"metricName": name, "metricNamespace": namespace, "metricValue": "1"}
    return {**made, **({"dimensions": dimensions} if dimensions else {})}


def comparable_filter(pattern: str, *metrics: dict[str, Any]) -> dict[str, Any]:
    """Return a filter in one form, whether it is wanted or found."""
    return {"pattern": pattern, "metrics": list(metrics)}


def find_filters(client: Any, name: str, namespace: str) -> dict[str, Any]:
    """Return the log group's filters that write to a namespace, in the form of wanted_settings."""
    pages = client.get_paginator("describe_metric_filters").paginate(logGroupName=name)
    return {
        found["filterName"]: comparable_filter(found["filterPattern"], *found["metricTransformations"])
        for page in pages
        for found in page["metricFilters"]
        if any(made["metricNamespace"] == namespace for made in found["metricTransformations"])
    }


def find(client: Any, name: str, namespace: str | None) -> tuple[str, dict[str, Any] | None]:
    """Return the group's ARN and its settings in the form of wanted_settings; an empty text and None without one.

    Filters are looked for only where `namespace` names theirs.
    """
    found = find_group(client, name)
    if found is None:
        return "", None
    # The API returns the ARN with :* at its end, which means the group's streams. Tagging needs the group's ARN
    # without it.
    arn = found["arn"].removesuffix(":*")
    return arn, {
        "retention": found.get("retentionInDays"),
        "kms_key_arn": found.get("kmsKeyId", ""),
        **({"metric_filters": find_filters(client, name, namespace)} if namespace else {}),
        "tags": own_tags(client.list_tags_for_resource(aws_retry=True, resourceArn=arn).get("tags", {})),
    }


def create(client: Any, name: str, wanted: dict[str, Any]) -> None:
    key = {"kmsKeyId": wanted["kms_key_arn"]} if wanted["kms_key_arn"] else {}
    tags = {"tags": wanted["tags"]} if wanted["tags"] else {}
    client.create_log_group(aws_retry=True, logGroupName=name, **key, **tags)
    if wanted["retention"]:
        client.put_retention_policy(aws_retry=True, logGroupName=name, retentionInDays=wanted["retention"])
    set_filters(client, name, {}, wanted["metric_filters"] or {})


def set_filters(client: Any, name: str, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    for filter_name, found in wanted.items():
        if current.get(filter_name) != found:
            client.put_metric_filter(
                aws_retry=True,
                logGroupName=name,
                filterName=filter_name,
                filterPattern=found["pattern"],
                metricTransformations=found["metrics"],
            )
    for filter_name in current.keys() - wanted.keys():
        client.delete_metric_filter(aws_retry=True, logGroupName=name, filterName=filter_name)


def update(client: Any, name: str, arn: str, current: dict[str, Any], changes: dict[str, Any]) -> None:
    if "retention" in changes:
        client.put_retention_policy(aws_retry=True, logGroupName=name, retentionInDays=changes["retention"])
    if "kms_key_arn" in changes:
        if changes["kms_key_arn"]:
            client.associate_kms_key(aws_retry=True, logGroupName=name, kmsKeyId=changes["kms_key_arn"])
        else:
            client.disassociate_kms_key(aws_retry=True, logGroupName=name)
    if "metric_filters" in changes:
        set_filters(client, name, current["metric_filters"], changes["metric_filters"])
    to_set, to_remove = compare_aws_tags(current["tags"], changes.get("tags", current["tags"]))
    if to_set:
        client.tag_resource(aws_retry=True, resourceArn=arn, tags=to_set)
    if to_remove:
        client.untag_resource(aws_retry=True, resourceArn=arn, tagKeys=to_remove)


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    name = module.params["name"]
    wanted = wanted_settings(module.params)
    managed = module.params["metric_filters"] is not None
    arn, current = find(client, name, module.params["metric_namespace"] if managed else None)
    changes = changed_values(current, wanted)
    changed = current is None or bool(changes)
    if changed and not module.check_mode:
        if current is None:
            create(client, name, wanted)
        else:
            update(client, name, arn, current, changes)
    settings = {**(current or {}), **{key: value for key, value in wanted.items() if value is not None}}
    module.exit_json(changed=changed, diff=difference(current, wanted), settings=settings)


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    name = module.params["name"]
    _arn, current = find(client, name, None)
    if current is not None and not module.check_mode:
        client.delete_log_group(aws_retry=True, logGroupName=name)
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "retention": {"type": "int"},
            "kms_key_arn": {"type": "str", "default": "", "no_log": False},
            "metric_filters": {"type": "dict"},
            "metric_namespace": {"type": "str", "default": "LabelExport"},
            "metric_dimensions": {"type": "dict", "default": {}},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    client = module.client("logs", retry_decorator=AWSRetry.jittered_backoff())
    ensure_state(module, f"The log group {module.params['name']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
