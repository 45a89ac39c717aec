"""The untrusted boundary: HTTP events and webhook bodies of any shape in, checked values or a named refusal out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from label_export.core.errors import RefusedRequestError
from label_export.core.event_types import normalised_event_type
from label_export.core.messages import LabelChange, is_hash

MAX_BODY_BYTES = 64 * 1024
WEBHOOK_VERSION = 1

_MAX_NAME = 128
_MAX_QUERY = 4096


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A POST to the webhook: header names in lower case, the raw body. The token does not show in its repr."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """What a webhook said: its type, and what changed (nothing for events that export nothing)."""

    event_type: str
    changes: tuple[LabelChange, ...]


def is_http(event: Mapping[str, Any]) -> bool:
    """Say whether an event is an HTTP request (payload format 2.0 of HTTP APIs and Function URLs)."""
    context = event.get("requestContext")
    return isinstance(context, dict) and isinstance(context.get("http"), dict)


def read_request(event: Mapping[str, Any], webhook_path: str) -> WebhookRequest:
    """Return the webhook request in an HTTP event.

    Any path that ends with `webhook_path` will do: a stage may stand before it. Raises RefusedRequestError: 404 and 405
    for what is not a POST to it, 413 before decoding, 415, 400.
    """
    method = event["requestContext"]["http"].get("method")
    path = event.get("rawPath")
    if method != "POST":
        status = 404 if method in ("GET", "HEAD") else 405
        raise RefusedRequestError(status, "method", "only POST is answered", "method")
    if not isinstance(path, str) or not path.rstrip("/").endswith(webhook_path):
        raise RefusedRequestError(404, "path", "there is nothing at this path", "path")
    given = event.get("headers")
    headers = {str(name).lower(): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    body = _read_body(event)
    content_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json":
        raise RefusedRequestError(415, "content_type", "the content type must be application/json", "content-type")
    return WebhookRequest(headers, body, _read_token(event.get("rawQueryString")))


def parse_webhook(body: bytes, event_types: frozenset[str]) -> Webhook:
    """Return what an authenticated webhook's body says.

    Project and hashes are read from events of `event_types` only; of any other, known or not, just the type. Lists and
    strings, plural and singular names are accepted. Raises RefusedRequestError(400) that names the wrong field.
    """
    envelope = _object(_loads(body), "body")
    version = envelope.get("version")
    if isinstance(version, bool) or version not in (WEBHOOK_VERSION, str(WEBHOOK_VERSION)):
        raise RefusedRequestError(
            400, "version", f"only version {WEBHOOK_VERSION} of the webhook is understood", "version"
        )
    event_type = normalised_event_type(_name(envelope.get("event_type"), "event_type"))
    if event_type not in event_types:
        return Webhook(event_type, ())
    event_uid = _name(envelope.get("uid", ""), "uid")
    payload = _object(envelope.get("payload"), "payload")
    project_hash = payload.get("project_hash")
    if not is_hash(project_hash):
        raise _wrong("payload.project_hash", "is missing or not a hash")
    labels = list(_hashes(payload, "label_hashes", "label_hash"))
    data = list(_hashes(payload, "data_hashes", "data_hash"))
    if not labels and not data:
        raise _wrong("payload.label_hashes", "names no label, and payload.data_hashes no data unit")
    # Some labels have no hash in the webhook (null, or fewer than data units): those are found by their data unit.
    named = dict.fromkeys(label for label in labels if label is not None)
    complete = None not in labels and len(named) >= len(set(data))
    unnamed = [] if complete else dict.fromkeys(unit for unit in data if unit is not None)
    if not named and not unnamed:
        raise _wrong("payload.label_hashes", "names no label, and payload.data_hashes no data unit")
    return Webhook(
        event_type,
        (
            *(LabelChange(project_hash, label, None, event_uid, event_type) for label in named),
            *(LabelChange(project_hash, None, unit, event_uid, event_type) for unit in unnamed),
        ),
    )


def _read_body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise _wrong("body", "is not text")
    encoded = event.get("isBase64Encoded") is True
    if len(text) > (MAX_BODY_BYTES * 4 // 3 + 4 if encoded else MAX_BODY_BYTES):
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if encoded else text.encode()
    except (binascii.Error, ValueError):
        raise _wrong("body", "is not base64, or not text") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _read_token(query: object) -> str | None:
    if not isinstance(query, str) or len(query) > _MAX_QUERY:
        return None
    # A `+` of a base64 token that was typed as it is stays one: no token has a space in it.
    tokens = parse_qs(query.replace("+", "%2B")).get("token", [])
    return tokens[0] if len(tokens) == 1 else None


def _loads(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _wrong("body", "is not JSON, or nested too deeply") from None


def _object(value: object, field_name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(field_name, "is not a JSON object")
    return value


def _name(value: object, field_name: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME or not (value == "" or value.isprintable()):
        raise _wrong(field_name, f"is not text of at most {_MAX_NAME} printable characters")
    return value


def _hashes(payload: Mapping[str, Any], *names: str) -> Iterator[str | None]:
    """Yield the hashes under any of `names`; None for a null in a list."""
    for name in names:
        value = payload.get(name)
        for item in value if isinstance(value, list) else [value] if value is not None else []:
            if item is not None and not is_hash(item):
                raise _wrong(f"payload.{name}", "holds something that is not a hash")
            yield item


def _wrong(field_name: str, problem: str) -> RefusedRequestError:
    return RefusedRequestError(400, "malformed", f"{field_name} {problem}", field_name)


def _too_large() -> RefusedRequestError:
    return RefusedRequestError(413, "too_large", f"the body is larger than {MAX_BODY_BYTES} bytes", "body")
