"""The URL of a Lambda function or alias, as the API describes it."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code


def find_url(client: Any, named: dict[str, str]) -> tuple[str, dict[str, Any] | None]:
    """Return the URL and its settings; "" and None when there is none. ``named`` names the function or alias."""
    try:
        answer = client.get_function_url_config(aws_retry=True, **named)
    except is_boto3_error_code("ResourceNotFoundException"):
        return "", None
    settings = {
        "auth_type": answer["AuthType"],
        "invoke_mode": answer.get("InvokeMode", "BUFFERED"),
        "cors": answer.get("Cors") or {},
    }
    return answer["FunctionUrl"], settings
