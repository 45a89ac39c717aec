#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_account_info
short_description: Return how many executions Lambda allows an account, and how many functions can reserve
description:
  - Reads Lambda's quotas of the account and region. No module of amazon.aws or community.aws does.
  - A new account may have a quota of 10 executions instead of 1000, and can reserve none of them.
author: The label-export contributors
options:
  functions:
    description: Functions whose own reservations count as free, since a deploy sets them again.
    type: list
    elements: str
    default: []
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
- name: Ask how many executions can be reserved
  label_export.aws.lambda_account_info:
    functions: [label-export-dev]
"""

RETURN = r"""
problem:
  description: Why the quotas could not be read, in AWS's words; empty when they were read.
  returned: always
  type: str
limit:
  description: Executions that all functions of the account and region can have at a time; 0 when it could not be read.
  returned: always
  type: int
reservable:
  description: Executions that the given functions together can reserve; 0 when it could not be read.
  returned: always
  type: int
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import DENIED, reported

# Lambda keeps this number of executions for functions without a reservation (developer guide, reserved concurrency).
# With a quota below it nothing can be reserved.
KEPT_UNRESERVED = 100


def reserved_by(client: Any, function: str) -> int:
    """Return how many executions a function has reserved; 0 when it does not exist."""
    try:
        answer = client.get_function_concurrency(aws_retry=True, FunctionName=function)
    except is_boto3_error_code("ResourceNotFoundException"):
        return 0
    return int(answer.get("ReservedConcurrentExecutions", 0))


def reservable(limit: int, unreserved: int, own: int) -> int:
    """Return how many executions functions can reserve that have reserved ``own`` so far."""
    return max(0, unreserved + own - min(KEPT_UNRESERVED, limit))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"functions": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, "Lambda's quotas could not be read"):
        try:
            quotas = client.get_account_settings(aws_retry=True)["AccountLimit"]
            own = sum(reserved_by(client, name) for name in module.params["functions"])
        except is_boto3_error_code(list(DENIED)) as error:
            module.exit_json(changed=False, problem=str(error), limit=0, reservable=0)
    limit, unreserved = quotas["ConcurrentExecutions"], quotas["UnreservedConcurrentExecutions"]
    module.exit_json(changed=False, problem="", limit=limit, reservable=reservable(limit, unreserved, own))


if __name__ == "__main__":
    main()
