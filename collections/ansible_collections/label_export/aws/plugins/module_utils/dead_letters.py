# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Dead letters, received without being deleted, and what they name."""

from __future__ import annotations

import json
from typing import Any

BATCH = 10  # SQS's limit for one call
HIDDEN_FOR = 30  # seconds: longer than it takes to receive all, so that none is received twice
WAIT = 1  # seconds: SQS then queries all its servers, so that an empty response means an empty queue
COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


def label_of(body: str) -> dict[str, Any]:
    """Return a message's project, label or data unit, and event uid. Empty if it is not a message of the exporter."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found.get(name) for name in ("project_hash", "label_hash", "data_hash", "event_uid")}


def received(client: Any, url: str, limit: int) -> list[dict[str, Any]]:
    """Return the names in up to ``limit`` messages, each once."""
    found: dict[str, dict[str, Any]] = {}
    while len(found) < limit:
        answer = client.receive_message(
            aws_retry=True,
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, limit - len(found)),
            VisibilityTimeout=HIDDEN_FOR,
            WaitTimeSeconds=WAIT,
        )
        messages = {item["MessageId"]: label_of(item["Body"]) for item in answer.get("Messages", [])}
        if not messages.keys() - found.keys():
            break
        found.update(messages)
    return list(found.values())
