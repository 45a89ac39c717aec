"""One statement of a Lambda function's resource policy: read, compared, added, removed."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.label_export.aws.plugins.module_utils.comparison import canonical_statement, statements

Statement = dict[str, Any]

# AddPermission's parameters other than action and principal, by their option names here.
CONDITIONS = {
    "source_arn": "SourceArn",
    "source_account": "SourceAccount",
    "function_url_auth_type": "FunctionUrlAuthType",
    "invoked_via_function_url": "InvokedViaFunctionUrl",
}

# The parts of a statement that AddPermission writes, except its effect, and the operators of its conditions.
ADDED = {"Sid", "Principal", "Action", "Resource", "Condition"}
ADDED_OPERATORS = {"ArnLike", "ArnEquals", "StringEquals", "StringLike", "Bool"}


def short_principal(principal: str) -> str:
    """Return an account's number for its root's ARN: AWS accepts both and returns the ARN."""
    return re.sub(r"^arn:[^:]+:iam::([0-9]{12}):root$", r"\1", principal)


def wanted_statement(params: dict[str, Any]) -> Statement:
    """Translate a module's options into a comparable statement, without conditions that are not set."""
    return {
        "action": params["action"],
        "principal": short_principal(params["principal"]),
        "source_arn": params.get("source_arn") or "",
        "source_account": params.get("source_account") or "",
        "function_url_auth_type": params.get("function_url_auth_type") or "",
        "invoked_via_function_url": bool(params.get("invoked_via_function_url")),
        "other_conditions": {},
    }


def comparable(statement: dict[str, Any]) -> Statement:
    """Bring a statement of a policy document into the form of wanted_statement.

    PutResourcePolicy takes what AddPermission cannot write: several principals or actions, NotPrincipal, Deny. Whatever
    is not in AddPermission's form is returned in ``other_conditions``, so that the statement equals no wanted one.
    """
    canonical = canonical_statement(statement)
    other = {key: canonical[key] for key in canonical.keys() - ADDED if key != "Effect" or canonical[key] != "Allow"}
    principal = canonical.get("Principal", "")
    if isinstance(principal, dict) and len(principal) == 1 and principal.keys() <= {"Service", "AWS"}:
        (principal,) = principal.values()
    if not isinstance(principal, str):
        principal, other["principal"] = "", principal
    action = canonical.get("Action", "")
    if not isinstance(action, str):
        action, other["action"] = "", action
    # AWS writes condition keys in either case.
    conditions = {
        key.lower() if operator in ADDED_OPERATORS else f"{operator} {key.lower()}": value
        for operator, tests in canonical.get("Condition", {}).items()
        for key, value in tests.items()
    }
    via_url = conditions.get("lambda:invokedviafunctionurl") == "true"
    if via_url:
        del conditions["lambda:invokedviafunctionurl"]
    return {
        "action": action,
        "principal": short_principal(principal),
        "source_arn": conditions.pop("aws:sourcearn", ""),
        "source_account": conditions.pop("aws:sourceaccount", ""),
        "function_url_auth_type": conditions.pop("lambda:functionurlauthtype", ""),
        "invoked_via_function_url": via_url,
        # AddPermission sets no other condition, so any other condition was set in another way.
        "other_conditions": {**conditions, **other},
    }


def target(params: dict[str, Any]) -> dict[str, str]:
    """Return the arguments that name the function or its alias."""
    qualifier = {"Qualifier": params["qualifier"]} if params["qualifier"] else {}
    return {"FunctionName": params["function_name"], **qualifier}


def list_statements(client: Any, named: dict[str, str]) -> dict[str, Statement]:
    """Return the policy's statements in comparable form by their identifiers; ``named`` is the result of ``target``."""
    try:
        policy = json.loads(client.get_policy(aws_retry=True, **named)["Policy"])
    except is_boto3_error_code("ResourceNotFoundException"):
        return {}
    return {
        statement.get("Sid") or f"(without a Sid: {number})": comparable(statement)
        for number, statement in enumerate(statements(policy), start=1)
    }


def add(client: Any, named: dict[str, str], statement_id: str, statement: Statement) -> None:
    """Add a statement in the form of wanted_statement."""
    conditions = {CONDITIONS[key]: statement[key] for key in CONDITIONS if statement[key]}
    client.add_permission(
        aws_retry=True,
        StatementId=statement_id,
        Action=statement["action"],
        Principal=statement["principal"],
        **conditions,
        **named,
    )


def remove(client: Any, named: dict[str, str], statement_id: str) -> None:
    """Remove an existing statement."""
    client.remove_permission(aws_retry=True, StatementId=statement_id, **named)
