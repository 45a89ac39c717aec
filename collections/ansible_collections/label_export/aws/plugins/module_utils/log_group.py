"""A CloudWatch Logs log group, as the API describes it."""

from __future__ import annotations

from typing import Any


def find_group(client: Any, name: str) -> dict[str, Any] | None:
    """Return DescribeLogGroups' description of the log group of exactly this name, or None."""
    pages = client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    return next((group for page in pages for group in page["logGroups"] if group["logGroupName"] == name), None)
