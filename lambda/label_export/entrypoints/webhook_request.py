"""The untrusted boundary: HTTP events and bodies of any shape become checked values or a refusal."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from label_export.core.errors import RefusedRequestError
from label_export.core.event_types import normalised_event_type
from label_export.core.messages import LabelChange, is_hash
from label_export.entrypoints.webhook_authentication import SIGNATURE_HEADER

MAX_BODY_BYTES = 1 << 20  # about 13,000 tasks
WEBHOOK_VERSION = 1

_MAX_NAME = 128
_LABELS = ("label_hashes", "label_hash")
_DATA = ("data_hashes", "data_hash")
_MAX_QUERY = 4096


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A POST to the webhook: header names in lower case, the raw body. The token does not show in its repr."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """The content of an authenticated webhook, as far as it can be parsed.

    Hashes are distinct, in the order of the webhook. `odd` has the elements that are not hashes, as short
    printable texts. `unnamed`: at least one label was only a null.
    """

    event_uid: str
    event_type: str
    project_hash: str | None
    label_hashes: tuple[str, ...]
    data_hashes: tuple[str, ...]
    odd: tuple[str, ...]
    unnamed: bool
    payload: object = field(repr=False)

    @property
    def changes(self) -> tuple[LabelChange, ...]:
        """What to queue: each label, and each data unit that the labels may not cover.

        A webhook does not show which label belongs to which data unit, and a data unit can have several labels (one per
        branch). Only a single data unit whose labels are all named is covered. A further data unit costs a listing.
        """
        if self.project_hash is None:
            return ()
        covered = bool(self.label_hashes) and len(self.data_hashes) == 1 and not self.unnamed and not self.odd
        about = (self.event_uid, self.event_type)
        return (
            *(LabelChange(self.project_hash, label, None, *about) for label in self.label_hashes),
            *(LabelChange(self.project_hash, None, unit, *about) for unit in self.data_hashes if not covered),
        )


def is_http(event: Mapping[str, Any]) -> bool:
    """Return whether an event is an HTTP request (payload format 2.0 of HTTP APIs and Function URLs)."""
    context = event.get("requestContext")
    return isinstance(context, dict) and isinstance(context.get("http"), dict)


def read_request(event: Mapping[str, Any], webhook_path: str) -> WebhookRequest:
    """Return the webhook request in an HTTP event.

    Any path that ends with `webhook_path` is accepted, because a stage's name may precede it.
    Raises RefusedRequestError: 404 and 405 if it is not a POST to the path, 413 before decoding, 400.
    """
    method = event["requestContext"]["http"].get("method")
    path = event.get("rawPath")
    if method != "POST":
        status = 404 if method in ("GET", "HEAD") else 405
        raise RefusedRequestError(status, "method", "only POST is allowed", "method")
    if not isinstance(path, str) or not path.rstrip("/").endswith(webhook_path):
        raise RefusedRequestError(404, "path", "there is nothing at this path", "path")
    given = event.get("headers")
    headers = {str(name).lower(): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    return WebhookRequest(headers, _read_body(event), _read_token(event.get("rawQueryString")))


def require_json(request: WebhookRequest) -> None:
    """Check that the request's content type is JSON's; RefusedRequestError(415) if not."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json":
        raise RefusedRequestError(415, "content_type", "the content type must be application/json", "content-type")


def shows_identity(event: Mapping[str, Any]) -> bool:
    """Return whether an HTTP event has a signature or a URL token, right or wrong. Other requests have neither."""
    given = event.get("headers")
    names = {str(name).lower() for name in given} if isinstance(given, dict) else set()
    return SIGNATURE_HEADER in names or _read_token(event.get("rawQueryString")) is not None


def parse_webhook(body: bytes) -> Webhook:
    """Return the content of an authenticated webhook's body.

    Lists and strings, plural and singular names are accepted. Unimportant values are converted: a uid that
    is not a text, an element that is not a hash. Raises RefusedRequestError(400), which names the field, for a body
    that is not a JSON object, another version, or an event type that is not a text.
    """
    envelope = _object(_loads(body), "body")
    version = envelope.get("version")
    if isinstance(version, bool) or version not in (WEBHOOK_VERSION, str(WEBHOOK_VERSION)):
        raise RefusedRequestError(
            400, "version", f"only version {WEBHOOK_VERSION} of the webhook is understood", "version"
        )
    event_type = envelope.get("event_type")
    if not isinstance(event_type, str) or len(event_type) > _MAX_NAME or not event_type.isprintable():
        raise _wrong("event_type", f"is not text of at most {_MAX_NAME} printable characters")
    return _read(envelope)


def require_labels(webhook: Webhook) -> None:
    """Check that the webhook names something to export; RefusedRequestError(400), which names the field, if not."""
    payload = _object(webhook.payload, "payload")
    if webhook.project_hash is None:
        raise _wrong("payload.project_hash", "is missing or not a hash")
    if webhook.changes:
        return
    given = [name for name in (*_LABELS, *_DATA) if payload.get(name) not in (None, "", [], [None])]
    if given:
        raise _wrong(f"payload.{given[0]}", "has no element that is a hash")
    raise _wrong("payload.label_hashes", "names no label, and payload.data_hashes no data unit")


def readable_parts(body: bytes) -> Webhook:
    """Return the readable parts of any body, for the log. Never raises RefusedRequestError."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        envelope = None
    return _read(envelope if isinstance(envelope, dict) else {})


def _read(envelope: Mapping[str, Any]) -> Webhook:
    payload = envelope.get("payload")
    if not isinstance(payload, dict):
        payload = {}
    project_hash = payload.get("project_hash")
    labels, data = _elements(payload, _LABELS), _elements(payload, _DATA)
    return Webhook(
        _short(envelope.get("uid")),
        normalised_event_type(_short(envelope.get("event_type"))),
        project_hash if is_hash(project_hash) else None,
        tuple(dict.fromkeys(item for item in labels if is_hash(item))),
        tuple(dict.fromkeys(item for item in data if is_hash(item))),
        tuple(_short(item) for item in (*labels, *data) if item is not None and not is_hash(item)),
        unnamed=None in labels,
        payload=envelope.get("payload"),
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
    # A `+` in a base64 token that was not encoded stays a `+`: no token has a space.
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


def _short(value: object) -> str:
    """Return a value as a short printable text: empty for null, the type's name for a list or an object."""
    text = "" if value is None else type(value).__name__ if isinstance(value, (list, dict)) else str(value)
    return "".join(character for character in text[:_MAX_NAME] if character.isprintable())


def _elements(payload: Mapping[str, Any], names: tuple[str, ...]) -> list[object]:
    """Return the elements under any of `names`. An empty text counts as null, a null for the list as none."""
    found: list[object] = []
    for name in names:
        value = payload.get(name)
        if isinstance(value, list):
            found += [None if item == "" else item for item in value]
        elif value is not None and value != "":
            found.append(value)
    return found


def _wrong(field_name: str, problem: str) -> RefusedRequestError:
    return RefusedRequestError(400, "malformed", f"{field_name} {problem}", field_name)


def _too_large() -> RefusedRequestError:
    return RefusedRequestError(413, "too_large", f"the body is larger than {MAX_BODY_BYTES} bytes", "body")
