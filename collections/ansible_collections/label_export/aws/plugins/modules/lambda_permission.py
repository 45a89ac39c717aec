#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_permission
short_description: Ensure one statement of a function's resource policy
description:
  - Adds, replaces or removes one statement that lets an AWS service invoke a function, version or alias.
  - Unlike M(amazon.aws.lambda_policy) it says in check mode what would change.
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
    description: What is allowed.
    type: str
    default: lambda:InvokeFunction
  principal:
    description: The service that is let in, such as C(apigateway.amazonaws.com). Required when O(state=present).
    type: str
  source_arn:
    description: The ARN of the resource on whose behalf the service calls.
    type: str
  source_account:
    description: The account on whose behalf the service calls.
    type: str
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
  diff_mode:
    description: Shows the statement before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
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

import json
import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import difference
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported


def short_principal(principal: str) -> str:
    """Return an account's number for its root's ARN: AWS takes either and gives back the ARN."""
    return re.sub(r"^arn:[^:]+:iam::([0-9]{12}):root$", r"\1", principal)


def wanted_statement(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into a comparable statement."""
    return {
        "action": params["action"],
        "principal": short_principal(params["principal"]),
        "source_arn": params["source_arn"] or "",
        "source_account": params["source_account"] or "",
        "other_conditions": {},
    }


def comparable(statement: dict[str, Any]) -> dict[str, Any]:
    """Bring a statement of a policy document into the form of wanted_statement."""
    principal = statement["Principal"]
    if isinstance(principal, dict):
        principal = principal.get("Service") or principal.get("AWS")
    # AWS writes condition keys in either case.
    conditions = {
        key.lower(): value for tests in statement.get("Condition", {}).values() for key, value in tests.items()
    }
    return {
        "action": statement["Action"],
        "principal": short_principal(principal),
        "source_arn": conditions.pop("aws:sourcearn", ""),
        "source_account": conditions.pop("aws:sourceaccount", ""),
        # The module sets none, so that whatever is left was set by somebody else.
        "other_conditions": conditions,
    }


def target(params: dict[str, Any]) -> dict[str, str]:
    """Return the arguments that name the function or its alias."""
    qualifier = {"Qualifier": params["qualifier"]} if params["qualifier"] else {}
    return {"FunctionName": params["function_name"], **qualifier}


def find(client: Any, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the statement in comparable form, or None."""
    try:
        policy = json.loads(client.get_policy(aws_retry=True, **target(params))["Policy"])
    except is_boto3_error_code("ResourceNotFoundException"):
        return None
    found = [statement for statement in policy["Statement"] if statement.get("Sid") == params["statement_id"]]
    return comparable(found[0]) if found else None


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    params = module.params
    current, wanted = find(client, params), wanted_statement(params)
    if current != wanted and not module.check_mode:
        if current is not None:
            client.remove_permission(aws_retry=True, StatementId=params["statement_id"], **target(params))
        source = {"SourceArn": params["source_arn"], "SourceAccount": params["source_account"]}
        client.add_permission(
            aws_retry=True,
            StatementId=params["statement_id"],
            Action=params["action"],
            Principal=params["principal"],
            **{key: value for key, value in source.items() if value},
            **target(params),
        )
    module.exit_json(changed=current != wanted, diff=difference(current, wanted), statement=wanted)


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    params = module.params
    current = find(client, params)
    if current is not None and not module.check_mode:
        client.remove_permission(aws_retry=True, StatementId=params["statement_id"], **target(params))
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
        },
        required_if=[("state", "present", ("principal",))],
        supports_check_mode=True,
    )
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    ensure = ensure_present if module.params["state"] == "present" else ensure_absent
    failure = f"The statement {module.params['statement_id']} of {module.params['function_name']} could not be ensured"
    with reported(module, failure):
        ensure(module, client)


if __name__ == "__main__":
    main()
