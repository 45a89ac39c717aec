#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: log_group
short_description: Ensure a CloudWatch Logs log group, its retention and its key
description:
  - Makes, changes or deletes a log group.
  - Unlike M(amazon.aws.cloudwatchlogs_log_group) it changes nothing in check mode, where that module sets the
    retention, and it heals the KMS key of a group that exists.
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
    return {"retention": params["retention"], "kms_key_arn": params["kms_key_arn"], "tags": params["tags"]}


def find(client: Any, name: str) -> tuple[str, dict[str, Any] | None]:
    """Return the group's ARN and its settings in the form of wanted_settings; an empty text and None without one."""
    found = find_group(client, name)
    if found is None:
        return "", None
    # The API ends the ARN with :* where it means the group's streams, and wants it without where it means the group.
    arn = found["arn"].removesuffix(":*")
    return arn, {
        "retention": found.get("retentionInDays"),
        "kms_key_arn": found.get("kmsKeyId", ""),
        "tags": own_tags(client.list_tags_for_resource(aws_retry=True, resourceArn=arn).get("tags", {})),
    }


def create(client: Any, name: str, wanted: dict[str, Any]) -> None:
    key = {"kmsKeyId": wanted["kms_key_arn"]} if wanted["kms_key_arn"] else {}
    tags = {"tags": wanted["tags"]} if wanted["tags"] else {}
    client.create_log_group(aws_retry=True, logGroupName=name, **key, **tags)
    if wanted["retention"]:
        client.put_retention_policy(aws_retry=True, logGroupName=name, retentionInDays=wanted["retention"])


def update(client: Any, name: str, arn: str, current: dict[str, Any], changes: dict[str, Any]) -> None:
    if "retention" in changes:
        client.put_retention_policy(aws_retry=True, logGroupName=name, retentionInDays=changes["retention"])
    if "kms_key_arn" in changes:
        if changes["kms_key_arn"]:
            client.associate_kms_key(aws_retry=True, logGroupName=name, kmsKeyId=changes["kms_key_arn"])
        else:
            client.disassociate_kms_key(aws_retry=True, logGroupName=name)
    to_set, to_remove = compare_aws_tags(current["tags"], changes.get("tags", current["tags"]))
    if to_set:
        client.tag_resource(aws_retry=True, resourceArn=arn, tags=to_set)
    if to_remove:
        client.untag_resource(aws_retry=True, resourceArn=arn, tagKeys=to_remove)


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    name = module.params["name"]
    wanted = wanted_settings(module.params)
    arn, current = find(client, name)
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
    _arn, current = find(client, name)
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
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    client = module.client("logs", retry_decorator=AWSRetry.jittered_backoff())
    ensure_state(module, f"The log group {module.params['name']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
