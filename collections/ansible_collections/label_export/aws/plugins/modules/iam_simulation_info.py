#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iam_simulation_info
short_description: Return which actions of policy documents a user or role is not allowed
description:
  - Simulates, with IAM, every action of some policy documents, on every resource that they name, for a user or role
    with all its policies, its permissions boundary and the organization's policies. No module of amazon.aws does.
  - A wildcard in a resource or in a condition's value is replaced by a letter. The simulation gets
    the value of a condition, the first one if there are several.
  - The simulation does not include session policies, nor policies of resources such as buckets.
author: The label-export contributors
options:
  documents:
    description: The policy documents, by name.
    type: dict
    required: true
  principal_arn:
    description: The user or role. Empty for the one whose credentials are used.
    type: str
    default: ""
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
- name: Ask which actions of the policies the credentials lack
  label_export.aws.iam_simulation_info:
    documents: "{{ deployer_policies_documents }}"
"""

RETURN = r"""
principal:
  description: The user or role that was simulated; empty when there is none.
  returned: always
  type: str
problem:
  description: Why nothing was simulated; empty when it was.
  returned: always
  type: str
simulated:
  description: How many pairs of an action and a resource were simulated.
  returned: always
  type: int
denied:
  description:
    - What is not allowed, each with C(document), C(statement), C(action), C(resource) and C(decision)
      (V(implicitDeny) or V(explicitDeny)).
  returned: always
  type: list
left_out:
  description: Names of statements with a kind of condition that this module cannot give to the simulation.
  returned: always
  type: list
"""

from collections.abc import Iterator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import DENIED, reported

# Conditions that hold where the request has the value.
POSITIVE = ("StringEquals", "StringLike", "ArnEquals", "ArnLike", "Bool")
# Conditions that hold where the request has no value.
HOLD_WITHOUT = ("StringNotEquals", "StringNotLike", "ArnNotEquals", "ArnNotLike")
# IAM's error codes if it does not simulate: the permission, or the user or role, is missing.
UNANSWERED = [*DENIED, "NoSuchEntity", "InvalidInput"]


class UnknownPrincipalError(Exception):
    """Credentials whose permissions IAM cannot simulate. The text has the reason."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def without_wildcards(text: str) -> str:
    """Return a name that a pattern matches. ``*`` alone stays: IAM needs it for an action without a resource."""
    return text if text == "*" else text.replace("*", "x").replace("?", "x")


def context_of(statement: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return context entries with which the statement's conditions hold, None if that is not known."""
    entries = []
    for operator, values in statement.get("Condition", {}).items():
        quantifier, _, plain = operator.rpartition(":")
        if quantifier == "ForAllValues" or plain.endswith("IfExists") or plain in HOLD_WITHOUT:
            continue
        if plain not in POSITIVE:
            return None
        kind = "stringList" if quantifier else "boolean" if plain == "Bool" else "string"
        entries += [
            {
                "ContextKeyName": key,
                "ContextKeyType": kind,
                "ContextKeyValues": [without_wildcards(str(as_list(value)[0]))],
            }
            for key, value in values.items()
        ]
    return entries


def principal_of(iam: Any, caller_arn: str) -> str:
    """Return the ARN of the user or role for a caller's ARN from STS. Raises UnknownPrincipalError."""
    kind, *names = caller_arn.split(":", 5)[5].split("/")
    if kind == "user":
        return caller_arn
    if kind == "assumed-role":  # STS leaves out the role's path
        return str(iam.get_role(aws_retry=True, RoleName=names[0])["Role"]["Arn"])
    raise UnknownPrincipalError(f"IAM simulates users and roles, and the credentials are those of {caller_arn}")


def decisions(iam: Any, principal: str, statement: dict[str, Any], context: Any) -> Iterator[tuple[str, str, str]]:
    """Yield action, resource and IAM's decision for each pair that a statement names."""
    request = {
        "PolicySourceArn": principal,
        "ActionNames": as_list(statement["Action"]),
        "ResourceArns": sorted({without_wildcards(name) for name in as_list(statement["Resource"])}),
        "ContextEntries": context,
    }
    while True:
        answer = iam.simulate_principal_policy(aws_retry=True, **request)
        for result in answer["EvaluationResults"]:
            action = result["EvalActionName"]
            for part in result.get("ResourceSpecificResults", []):
                yield action, part["EvalResourceName"], part["EvalResourceDecision"]
            if not result.get("ResourceSpecificResults"):
                yield action, result.get("EvalResourceName", "*"), result["EvalDecision"]
        if not answer.get("IsTruncated"):
            return
        request["Marker"] = answer["Marker"]


def simulate(iam: Any, principal: str, documents: dict[str, Any]) -> dict[str, Any]:
    """Return what the module returns about the documents."""
    denied, left_out, simulated = [], [], 0
    for name, document in documents.items():
        for statement in as_list(document["Statement"]):
            context = context_of(statement)
            if context is None:
                left_out.append(statement["Sid"])
                continue
            for action, resource, decision in decisions(iam, principal, statement, context):
                simulated += 1
                if decision != "allowed":
                    denied.append(
                        {
                            "document": name,
                            "statement": statement["Sid"],
                            "action": action,
                            "resource": resource,
                            "decision": decision,
                        }
                    )
    return {"simulated": simulated, "denied": denied, "left_out": left_out}


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "documents": {"type": "dict", "required": True},
            "principal_arn": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    principal = module.params["principal_arn"]
    retry = AWSRetry.jittered_backoff()
    iam = module.client("iam", retry_decorator=retry)
    nothing: dict[str, Any] = {"simulated": 0, "denied": [], "left_out": []}
    with reported(module, "The permissions could not be simulated"):
        try:
            if not principal:
                sts = module.client("sts", retry_decorator=retry)
                principal = principal_of(iam, sts.get_caller_identity(aws_retry=True)["Arn"])
            found = simulate(iam, principal, module.params["documents"])
        except (UnknownPrincipalError, is_boto3_error_code(UNANSWERED)) as error:
            module.exit_json(changed=False, principal=principal, problem=str(error), **nothing)
    module.exit_json(changed=False, principal=principal, problem="", **found)


if __name__ == "__main__":
    main()
