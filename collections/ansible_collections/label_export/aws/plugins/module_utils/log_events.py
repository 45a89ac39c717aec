"""Events of a log group, read page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def filtered_events(client: Any, pages: int, **request: Any) -> Iterator[dict[str, Any]]:
    """Yield the events that FilterLogEvents finds, oldest first, from at most ``pages`` pages.

    A page may be empty although a later one is not: FilterLogEvents ends a page after a share of the log, whatever it
    has found there (API reference of CloudWatch Logs).
    """
    for _ in range(pages):
        answer = client.filter_log_events(aws_retry=True, **request)
        yield from answer["events"]
        if not answer.get("nextToken"):
            return
        request["nextToken"] = answer["nextToken"]
