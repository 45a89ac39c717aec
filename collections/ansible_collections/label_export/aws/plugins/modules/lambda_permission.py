#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_permission
short_description: Ensure one statement of a function's resource policy
description:
  - Adds, replaces or removes one statement that allows an AWS service to invoke a function, version or alias.
  - Unlike M(amazon.aws.lambda_policy) it predicts changes in check mode, and manages the conditions of Function
    URLs.
author: The label-export contributors
options:
  function_name:
    description: The function's name.
    type: str
    required: true
  qualifier:
    description: The version or alias whose policy it is.
    type: str
  statement_id:
    description: The statement's identifier.
    type: str
    required: true
  state:
    description: Whether the statement exists.
    type: str
    choices: [present, absent]
    default: present
  action:
    description: The allowed action.
    type: str
    default: lambda:InvokeFunction
  principal:
    description: The service that may invoke, such as C(apigateway.amazonaws.com). Required when O(state=present).
    type: str
  source_arn:
    description: The ARN of the resource on whose behalf the service calls.
    type: str
  source_account:
    description: The account on whose behalf the service calls.
    type: str
  function_url_auth_type:
    description: The authentication type of the Function URL in the statement's condition.
    type: str
    choices: [NONE, AWS_IAM]
  invoked_via_function_url:
    description: Whether the statement applies only to calls through a Function URL.
    type: bool
    default: false
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
  diff_mode:
    description: Shows the statement before and after.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the API, and nothing else, may invoke the alias
  label_export.aws.lambda_permission:
    function_name: label-export-dev
    qualifier: live
    statement_id: http-api
    principal: apigateway.amazonaws.com
    source_arn: arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/*/POST/webhook
"""

RETURN = r"""
statement:
  description: The statement as it is after the run, in comparable form.
  returned: when state is present
  type: dict
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import difference
from ansible_collections.label_export.aws.plugins.module_utils.lambda_statement import (
    add,
    list_statements,
    remove,
    target,
    wanted_statement,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    named, statement_id = target(module.params), module.params["statement_id"]
    current, wanted = list_statements(client, named).get(statement_id), wanted_statement(module.params)
    if current != wanted and not module.check_mode:
        if current is not None:
            remove(client, named, statement_id)
        add(client, named, statement_id, wanted)
    module.exit_json(changed=current != wanted, diff=difference(current, wanted), statement=wanted)


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    named, statement_id = target(module.params), module.params["statement_id"]
    current = list_statements(client, named).get(statement_id)
    if current is not None and not module.check_mode:
        remove(client, named, statement_id)
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "qualifier": {"type": "str"},
            "statement_id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "action": {"type": "str", "default": "lambda:InvokeFunction"},
            "principal": {"type": "str"},
            "source_arn": {"type": "str"},
            "source_account": {"type": "str"},
            "function_url_auth_type": {"type": "str", "choices": ["NONE", "AWS_IAM"]},
            "invoked_via_function_url": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ("principal",))],
        supports_check_mode=True,
    )
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    name = f"The statement {module.params['statement_id']} of {module.params['function_name']}"
    ensure_state(module, name, client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
