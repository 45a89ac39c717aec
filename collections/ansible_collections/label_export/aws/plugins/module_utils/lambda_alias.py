"""The settings of a Lambda function's alias."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code


def current_settings(alias: dict[str, Any]) -> dict[str, Any]:
    """Bring GetAlias's answer, which leaves out what was never set, into the form of wanted_settings."""
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {
        "FunctionVersion": alias["FunctionVersion"],
        "Description": alias.get("Description", ""),
        "RoutingConfig": {"AdditionalVersionWeights": weights},
    }


def find_alias(client: Any, named: dict[str, str]) -> dict[str, Any] | None:
    """Return the alias's settings, or None."""
    try:
        return current_settings(client.get_alias(aws_retry=True, **named))
    except is_boto3_error_code("ResourceNotFoundException"):
        return None
