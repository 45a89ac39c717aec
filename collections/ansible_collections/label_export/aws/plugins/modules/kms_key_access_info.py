#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kms_key_access_info
short_description: Return which actions a KMS key's policy does not allow to an AWS service
description:
  - Reads the policy of a key and returns which of some actions it does not allow to an AWS service.
  - M(amazon.aws.kms_key_info) needs permission to read the key's aliases, grants and tags as well, and fails without
    any one of them.
  - Conditions are not evaluated. A statement that allows under a condition counts as allowing, and one that denies
    under a condition does not count.
author: The label-export contributors
options:
  key_arn:
    description: The key's ARN.
    type: str
    required: true
  service:
    description: The service's principal, such as V(cloudwatch.amazonaws.com).
    type: str
    required: true
  actions:
    description: The actions that the service needs.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Changes nothing, in check mode or not.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ask whether alarms can publish with the key
  label_export.aws.kms_key_access_info:
    key_arn: arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef
    service: cloudwatch.amazonaws.com
    actions: ["kms:Decrypt", "kms:GenerateDataKey"]
"""

RETURN = r"""
problem:
  description: Why the policy could not be read, in AWS's words; empty when it was read.
  returned: always
  type: str
lacking:
  description: The actions that the policy does not allow to the service; empty when it could not be read.
  returned: always
  type: list
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import json_document
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

UNREADABLE = ["AccessDeniedException", "AccessDenied"]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def names(principal: Any, service: str) -> bool:
    """Return whether a statement's Principal is the service, or everyone."""
    if isinstance(principal, dict):
        return service in as_list(principal.get("Service", [])) or "*" in as_list(principal.get("AWS", []))
    return bool(principal == "*")


def covers(patterns: Any, action: str) -> bool:
    return any(fnmatchcase(action.lower(), str(pattern).lower()) for pattern in as_list(patterns))


def lacking(policy: dict[str, Any], service: str, actions: Iterable[str]) -> list[str]:
    """Return the actions that the policy does not allow to the service."""
    about = [entry for entry in as_list(policy.get("Statement", [])) if names(entry.get("Principal"), service)]
    allowed = [entry.get("Action", []) for entry in about if entry.get("Effect") == "Allow"]
    always = [entry for entry in about if not entry.get("Condition")]
    denied = [entry.get("Action", []) for entry in always if entry.get("Effect") == "Deny"]
    return [
        action
        for action in actions
        if not any(covers(patterns, action) for patterns in allowed)
        or any(covers(patterns, action) for patterns in denied)
    ]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "key_arn": {"type": "str", "required": True, "no_log": False},
            "service": {"type": "str", "required": True},
            "actions": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    client = module.client("kms", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, f"The policy of the key {params['key_arn']} could not be read"):
        try:
            answer = client.get_key_policy(aws_retry=True, KeyId=params["key_arn"], PolicyName="default")
        except is_boto3_error_code(UNREADABLE) as error:
            module.exit_json(changed=False, problem=str(error), lacking=[])
        policy = json_document(answer["Policy"]) or {}
    module.exit_json(changed=False, problem="", lacking=lacking(policy, params["service"], params["actions"]))


if __name__ == "__main__":
    main()
