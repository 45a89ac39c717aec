"""Encord's webhooks: the registered URLs, the events, and their signatures.

Source: the fact sheet on Encord's API. Envelope: ``uid``, ``version`` (1), ``source`` ("Encord"), ``event_type``,
``event_created_timestamp``, ``payload`` with ``project_hash``, ``data_hashes``, ``label_hashes``. Signature:
``X-Encord-Signature`` = hexadecimal HMAC-SHA256 of ``"{timestamp}." + raw body``, ``X-Encord-Timestamp`` = whole Unix
seconds. The types of the fields are not documented, so all forms that were seen are available (``PayloadForm``).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import secrets
import ssl
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from encord_stand_in.rows.names import identifier
from encord_stand_in.watched import WatchedFile

logger = logging.getLogger(__name__)

PayloadForm = Literal["lists", "strings", "singular", "label_hash_only", "data_hashes_only"]
SignatureForm = Literal["valid", "wrong", "missing", "malformed"]

# Some copies of the documentation have this misspelling.
MISSPELT = {"task_sumbitted_event": "task_submitted_event"}

_TIMEOUT_SECONDS = 15.0
_ANSWER_KEPT = 2048


class NoSecretError(Exception):
    """There is no secret to sign with."""


class SigningSecrets:
    """Signing secrets from a file, one on each line, read again when it changes; the first one signs.

    Without a file the process has one random secret.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = WatchedFile(path) if path is not None else None
        self._secrets = [secrets.token_hex(32)] if path is None else []

    def current(self) -> str:
        """Return the current signing secret. Raises NoSecretError if the file has none."""
        if self._file is not None:
            text = self._file.changed_text()
            if text is not None:
                self._secrets = [line.strip() for line in text.splitlines() if line.strip()]
        if not self._secrets:
            raise NoSecretError("the webhook secret file has no secret")
        return self._secrets[0]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that is registered for the stages of a project."""

    id: str
    url: str
    event_types: tuple[str, ...]  # empty: all
    project_hash: str | None  # None: all

    def wants(self, event_type: str, project_hash: str) -> bool:
        """Return whether this URL gets the event."""
        event = MISSPELT.get(event_type, event_type)
        return (not self.event_types or event in self.event_types) and self.project_hash in (None, project_hash)

    def as_dict(self) -> dict[str, Any]:
        """Return the webhook as the control API lists it: without the secret."""
        return {
            "id": self.id,
            "url": self.url,
            "event_types": list(self.event_types),
            "project_hash": self.project_hash,
        }


@dataclass(frozen=True, slots=True)
class Form:
    """How an event is written and signed; the defaults follow the documentation."""

    payload_form: PayloadForm = "lists"
    signature: SignatureForm = "valid"
    version: Any = 1
    timestamp_offset: int = 0
    successor_header: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.payload_form not in get_args(PayloadForm):
            raise ValueError(f"payload_form must be one of {', '.join(get_args(PayloadForm))}")
        if self.signature not in get_args(SignatureForm):
            raise ValueError(f"signature must be one of {', '.join(get_args(SignatureForm))}")
        if type(self.timestamp_offset) is not int:
            raise ValueError("timestamp_offset must be whole seconds")


class Webhooks:
    """The registered URLs."""

    def __init__(self) -> None:
        self._webhooks: dict[str, Webhook] = {}

    def register(self, url: str, event_types: Sequence[str], project_hash: str | None) -> Webhook:
        """Register a URL, or change its events; the same URL keeps its id. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii() or parts.port == 0:
            raise ValueError("url must be an http or https URL")
        webhook = Webhook(identifier("webhook", url), url, tuple(event_types), project_hash)
        self._webhooks[url] = webhook
        return webhook

    def remove(self, webhook_id: str | None = None) -> None:
        """Remove one webhook, or all."""
        kept = {url: hook for url, hook in self._webhooks.items() if webhook_id and hook.id != webhook_id}
        self._webhooks = kept

    def all(self) -> list[Webhook]:
        """Return all webhooks in the order of their registration."""
        return list(self._webhooks.values())


def event(
    event_type: str, project_hash: str, data_hashes: Sequence[str], label_hashes: Sequence[str], form: Form
) -> bytes:
    """Return the raw body of a webhook. The ``uid`` is random, as in Encord."""
    body: dict[str, Any] = {
        "uid": str(uuid.uuid4()),
        "version": form.version,
        "source": "Encord",
        "event_type": event_type,
        "event_created_timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "payload": {"project_hash": project_hash, **_hashes(data_hashes, label_hashes, form.payload_form)},
    }
    body.update(form.extra)
    return json.dumps(body).encode()


def _hashes(data_hashes: Sequence[str], label_hashes: Sequence[str], form: PayloadForm) -> dict[str, Any]:
    if form == "lists":
        return {"data_hashes": list(data_hashes), "label_hashes": list(label_hashes)}
    if form == "strings":
        return {"data_hashes": ",".join(data_hashes), "label_hashes": ",".join(label_hashes)}
    if form == "data_hashes_only":
        return {"data_hashes": list(data_hashes)}
    label_hash = label_hashes[0] if label_hashes else None
    if form == "label_hash_only":
        return {"label_hash": label_hash}
    return {"data_hash": data_hashes[0] if data_hashes else None, "label_hash": label_hash}


def signed_headers(body: bytes, secret: str, form: Form, *, now: float) -> dict[str, str]:
    """Return the headers of a webhook with this body."""
    timestamp = str(int(now) + form.timestamp_offset)
    headers = {"Content-Type": "application/json", "User-Agent": "encord-stand-in", "X-Encord-Timestamp": timestamp}
    if form.signature == "missing":
        return headers
    key = secret if form.signature != "wrong" else f"not {secret}"
    digest = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers["X-Encord-Signature"] = digest if form.signature != "malformed" else digest[:-1] + "g"
    if form.successor_header:
        headers["X-Encord-Signature-V2"] = hashlib.sha512(digest.encode()).hexdigest()
    return headers


def deliver(url: str, body: bytes, headers: dict[str, str], ca_file: Path | None) -> dict[str, Any]:
    """Send a webhook once and return the result. Blocks, at most 15 s for each step; follows no redirects."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    started = time.monotonic()
    result: dict[str, Any] = {"url": url, "status": None, "body": ""}
    connection: http.client.HTTPConnection | None = None
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
        connection.request("POST", target, body=body, headers=headers)
        response = connection.getresponse()
        result["status"] = response.status
        result["body"] = response.read(_ANSWER_KEPT).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        result["error"] = f"{type(exc).__name__}: {exc}"
    finally:
        if connection is not None:
            connection.close()
    result["milliseconds"] = round((time.monotonic() - started) * 1000)
    logger.info("webhook delivered to %s: status %s", parts.netloc, result["status"])
    return result
