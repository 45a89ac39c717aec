"""An SQS queue's attributes in comparable form."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.label_export.aws.plugins.module_utils.comparison import comparable_policy, json_document

# Attributes that the API returns as JSON text.
DOCUMENTS = ["Policy", "RedrivePolicy", "RedriveAllowPolicy"]
NOT_FOUND = ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"]


def comparable(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the API's attributes with their JSON documents as objects, in canonical form."""
    result = dict(attributes)
    for name in DOCUMENTS:
        result[name] = json_document(result.get(name)) or {}
    result["Policy"] = comparable_policy(result["Policy"])
    result.setdefault("KmsMasterKeyId", "")
    if "maxReceiveCount" in result["RedrivePolicy"]:
        result["RedrivePolicy"]["maxReceiveCount"] = int(result["RedrivePolicy"]["maxReceiveCount"])
    if "sourceQueueArns" in result["RedriveAllowPolicy"]:
        result["RedriveAllowPolicy"]["sourceQueueArns"].sort()
    return result


def find_queue(client: Any, name: str) -> tuple[str | None, dict[str, Any] | None]:
    """Return the queue's URL and its attributes in comparable form; None, None when there is no such queue."""
    try:
        url = client.get_queue_url(aws_retry=True, QueueName=name)["QueueUrl"]
        attributes = client.get_queue_attributes(aws_retry=True, QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except is_boto3_error_code(NOT_FOUND):
        return None, None
    return url, comparable(attributes)
