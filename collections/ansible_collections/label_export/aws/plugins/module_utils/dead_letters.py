# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Dead letters, received without being deleted, and what they name."""

from __future__ import annotations

import json
from typing import Any

BATCH = 10  # SQS's limit for one call
HIDDEN_FOR = 30  # seconds: longer than it takes to receive all, so that none comes twice
WAIT = 1  # seconds: SQS then asks all its servers, so that an empty answer means an empty queue
COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


def label_of(body: str) -> dict[str, Any]:
    """Return what a message names: project, label or data unit, and event uid. Empty where it is not the exporter's."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found.get(name) for name in ("project_hash", "label_hash", "data_hash", "event_uid")}


def received(client: Any, url: str, limit: int) -> list[dict[str, Any]]:
    """Return what up to ``limit`` messages name, each once."""
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
