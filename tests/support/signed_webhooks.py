"""Webhooks as Encord sends them, created and signed by the test itself."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import Any

from local_stack import LocalStack


def signed(
    stack: LocalStack, body: bytes, *, secret: str | None = None, timestamp: int | None = None
) -> dict[str, str]:
    """Return the headers that Encord sends with a webhook, as documented."""
    secret = secret or Path(stack.facts["webhook_secret_file"]).read_text().split()[0]
    stamp = str(timestamp or int(time.time()))
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Encord-Signature": signature, "X-Encord-Timestamp": stamp}


def webhook(label_rows: list[dict[str, Any]]) -> bytes:
    row = label_rows[0]
    payload = {
        "project_hash": row["project_hash"],
        "data_hashes": [row["data_hash"]],
        "label_hashes": [row["label_hash"]],
    }
    envelope = {
        "uid": str(uuid.uuid4()),
        "version": 1,
        "source": "Encord",
        "event_type": "task_completed_event",
        "event_created_timestamp": "2026-01-01T00:00:00Z",
        "payload": payload,
    }
    return json.dumps(envelope).encode()
