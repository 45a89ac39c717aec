"""The handler as Lambda runs it, between loopback servers that stand for AWS and Encord."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from handler_servers import AwsServer, EncordServer, StoredObject
from label_export import handler

ACCOUNT = "000000000000"
LATE = 3  # the receive from which a negative response counts, by default
KEY_ARN = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:encord-key-AbCdEf"
SIGNING_ARN = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:signing-AbCdEf"
PASSPHRASE_ARN = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:passphrase-AbCdEf"
PROJECT = str(uuid.UUID(int=1))


def openssh(key: Any, passphrase: bytes | None = None) -> str:
    """The OpenSSH text of a private key."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    return text.decode()


def public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


@dataclass
class Context:
    """Lambda's context."""

    seconds: float = 60.0
    aws_request_id: str = "request-1"
    began: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return int((self.seconds - (time.monotonic() - self.began)) * 1000)


@dataclass
class CountedContext(Context):
    """A context in which no real time passes: each call returns a second less."""

    seconds: float = 12.0

    def get_remaining_time_in_millis(self) -> int:
        self.seconds -= 1
        return int(self.seconds * 1000)


def works_with_enough_time(attempt: Callable[[float], bool], seconds: float) -> bool:
    """Return whether an attempt succeeds, given that many seconds or, for a machine with other work, a multiple."""
    return any(attempt(seconds * factor) for factor in (1, 5, 25))


class Deployment:
    """The function with its environment; each call goes through `label_export.handler.handle`."""

    def __init__(
        self, aws: AwsServer, encord: EncordServer, monkeypatch: pytest.MonkeyPatch, certificate: Path
    ) -> None:
        self.aws = aws
        self.encord = encord
        self._monkeypatch = monkeypatch
        self.key = Ed25519PrivateKey.generate()
        self.signing_secret = uuid.uuid4().hex
        self.token = uuid.uuid4().hex
        encord.public_keys.add(public_hex(self.key))
        aws.secrets[KEY_ARN] = openssh(self.key)
        aws.secrets[SIGNING_ARN] = json.dumps({"signing_secrets": [self.signing_secret], "url_tokens": [self.token]})
        self.set(
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "test"),
            AWS_REGION="eu-west-1",
            AWS_ENDPOINT_URL=aws.url,
            AWS_CA_BUNDLE=str(certificate),
            SSL_CERT_FILE=str(certificate),  # reading the system's takes longer than most tests
            LABEL_EXPORT_BUCKET="labels-bucket",
            LABEL_EXPORT_QUEUE_URL=f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/labels",
            LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN=KEY_ARN,
            LABEL_EXPORT_SIGNING_SECRETS_ARN=SIGNING_ARN,
            LABEL_EXPORT_ENCORD_DOMAIN=encord.url,
        )

    def set(self, **variables: str) -> None:
        """Set environment variables; the next call is a cold start."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        self.restart()

    def restart(self) -> None:
        handler.application.cache_clear()

    def call(self, event: object, context: Context | None = None) -> dict[str, Any]:
        return handler.handle(event, context or Context())

    def row(self, number: int = 1, **fields: Any) -> str:
        """Add a label row that Encord serves; return its hash."""
        label_hash = str(uuid.UUID(int=1000 + number))
        served = {
            "label_hash": label_hash,
            "branch_name": "main",
            "created_at": "2025-01-01 00:00:00",
            "last_edited_at": "2025-01-02 10:00:00",
            "data_hash": str(uuid.UUID(int=2000 + number)),
            "dataset_hash": str(uuid.UUID(int=3000)),
            "data_title": f"image {number}.png",
            "data_type": "image",
            "data_units": {"a": {"labels": {"objects": [], "n": 1.0, "é": "caf\u00e9 \U0001f600"}}},
        }
        self.encord.rows[label_hash] = served | fields
        return label_hash

    def served(self, label_hash: str) -> bytes:
        """Return the bytes of a label row as Encord serves it."""
        row = self.encord.rows[label_hash]
        return row if isinstance(row, bytes) else json.dumps(row).encode()

    def stored(self, label_hash: str, project: str = PROJECT) -> StoredObject | None:
        return self.aws.objects.get(f"/labels-bucket/encord/{project}/labels/{label_hash}.json")

    def export(self, *label_hashes: str, context: Context | None = None, receive_count: int = 1) -> list[str]:
        """Process a batch with one message for each label; return the labels that failed."""
        bodies = [message(label_hash) for label_hash in label_hashes]
        failed = self.call(batch(*bodies, receive_count=receive_count), context)
        return [label_hashes[int(item["itemIdentifier"])] for item in failed["batchItemFailures"]]

    def post(self, body: dict[str, Any] | bytes, /, **changes: Any) -> dict[str, Any]:
        """Send a signed webhook."""
        return self.call(signed_request(body, self.signing_secret, **changes))


def message(label_hash: str | None = None, project: str = PROJECT, **fields: Any) -> str:
    """Return the text of a queue message."""
    named = {} if label_hash is None else {"label_hash": label_hash}
    known = {"version": 1, "project_hash": project, "event_uid": "uid-1", "event_type": "task_completed_event"}
    return json.dumps(known | named | fields)


def batch(*bodies: Any, receive_count: int = 1) -> dict[str, Any]:
    """Return an event of the queue mapping; message ids are the numbers of the bodies."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receive_count)},
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def signed_request(
    body: dict[str, Any] | bytes,
    secret: str,
    /,
    *,
    at: float | None = None,
    headers: dict[str, str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return an HTTP event (payload format 2.0) with a webhook that Encord signed."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    is_text = _is_text(raw)
    timestamp = str(int(time.time() if at is None else at))
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return {
        "version": "2.0",
        "rawPath": "/webhook",
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json",
            "x-encord-signature": signature,
            "x-encord-timestamp": timestamp,
            **(headers or {}),
        },
        "requestContext": {"http": {"method": "POST", "path": "/webhook"}},
        "body": raw.decode() if is_text else base64.b64encode(raw).decode(),
        "isBase64Encoded": not is_text,
        **changes,
    }


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def webhook(event_type: str = "task_completed_event", **payload: Any) -> dict[str, Any]:
    """A webhook's body."""
    return {
        "uid": "uid-1",
        "version": 1,
        "source": "Encord",
        "event_type": event_type,
        "event_created_timestamp": 1735732800,
        "payload": {"project_hash": PROJECT, **payload},
    }


@dataclass
class Output:
    """The function's output: logs and metrics."""

    text: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in io.StringIO(self.text)]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == event]

    def metric(self, name: str, reason: str | None = None) -> Any:
        return next(
            (line[name] for line in self.lines if "_aws" in line and name in line and line.get("Reason") == reason),
            None,
        )
