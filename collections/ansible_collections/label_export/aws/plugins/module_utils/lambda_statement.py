"""One statement of a Lambda function's resource policy: read, compared, added, removed."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code

Statement = dict[str, Any]

# What AddPermission takes besides action and principal, by the name that it has here.
CONDITIONS = {
    "source_arn": "SourceArn",
    "source_account": "SourceAccount",
    "function_url_auth_type": "FunctionUrlAuthType",
    "invoked_via_function_url": "InvokedViaFunctionUrl",
}


def short_principal(principal: str) -> str:
    """Return an account's number for its root's ARN: AWS takes either and gives back the ARN."""
    return re.sub(r"^arn:[^:]+:iam::([0-9]{12}):root$", r"\1", principal)


def wanted_statement(params: dict[str, Any]) -> Statement:
    """Translate a module's options into a comparable statement; conditions that are left out are not there."""
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
    """Bring a statement of a policy document into the form of wanted_statement."""
    principal = statement["Principal"]
    if isinstance(principal, dict):
        principal = principal.get("Service") or principal.get("AWS")
    # AWS writes condition keys in either case.
    conditions = {
        key.lower(): value for tests in statement.get("Condition", {}).values() for key, value in tests.items()
    }
    via_url = str(conditions.get("lambda:invokedviafunctionurl", "")).lower() == "true"
    if via_url:
        del conditions["lambda:invokedviafunctionurl"]
    return {
        "action": statement["Action"],
        "principal": short_principal(principal),
        "source_arn": conditions.pop("aws:sourcearn", ""),
        "source_account": conditions.pop("aws:sourceaccount", ""),
        "function_url_auth_type": conditions.pop("lambda:functionurlauthtype", ""),
        "invoked_via_function_url": via_url,
        # AddPermission is never told any other, so that whatever is left was set by somebody else.
        "other_conditions": conditions,
    }


def target(params: dict[str, Any]) -> dict[str, str]:
    """Return the arguments that name the function or its alias."""
    qualifier = {"Qualifier": params["qualifier"]} if params["qualifier"] else {}
    return {"FunctionName": params["function_name"], **qualifier}


def list_statements(client: Any, named: dict[str, str]) -> dict[str, Statement]:
    """Return the policy's statements in comparable form by their identifiers; ``named`` is what ``target`` gives."""
    try:
        policy = json.loads(client.get_policy(aws_retry=True, **named)["Policy"])
    except is_boto3_error_code("ResourceNotFoundException"):
        return {}
    return {statement.get("Sid", ""): comparable(statement) for statement in policy["Statement"]}


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
    """Remove a statement that is there."""
    client.remove_permission(aws_retry=True, StatementId=statement_id, **named)
