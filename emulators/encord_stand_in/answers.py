"""An HTTP response in pieces, and Encord's legacy envelope around its content.

Source of the envelope: ``encord.http.querier.Querier._execute`` reads ``status``, ``response`` and ``payload`` of a
JSON object; ``encord.http.error_utils`` has the error names. Success: ``{"status": 200, "response": ...}``; an error:
``{"status": 4xx, "response": ["NAME"], "payload": ...}``, often with HTTP status 200.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from encord_stand_in.settings import Settings

JSON_TYPE = "application/json"

# Name of an error in the envelope -> the status in the envelope.
ERROR_STATUS = {
    "AUTHENTICATION_ERROR": 401,
    "SSH_KEY_NOT_FOUND_ERROR": 401,
    "AUTHORISATION_ERROR": 403,
    "RESOURCE_NOT_FOUND_ERROR": 404,
    "METHOD_NOT_ALLOWED_ERROR": 405,
    "OPERATION_NOT_ALLOWED": 403,
    "INVALID_ARGUMENTS_ERROR": 400,
    "INVALID_DATE_FORMAT_ERROR": 400,
    "MULTI_LABEL_LIMIT_ERROR": 400,
    "CORRUPTED_LABEL_ERROR": 400,
    "RESOURCE_EXISTS_ERROR": 409,
    "RATE_LIMIT_ERROR": 429,
    "UNKNOWN_ERROR": 500,
}


@dataclass(slots=True)
class Answer:
    """One HTTP response. The body is a sequence of pieces so that a big label row is never copied."""

    status: int
    body: tuple[bytes, ...] = ()
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)
    refused: str | None = None  # why the request was refused, for the counters
    cache_key: tuple[Any, ...] | None = None  # equal keys have equal bodies: the compressed body may be kept
    stream: Iterator[bytes] | None = None  # instead of a body: pieces that are generated while they are sent

    @property
    def size(self) -> int:
        """Bytes of the body before compression."""
        return sum(len(piece) for piece in self.body)


def json_answer(status: int, value: Any, *, refused: str | None = None) -> Answer:
    """Return a response with this value as its whole body."""
    return Answer(status, (json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),), refused=refused)


def enveloped(response: Iterable[bytes], settings: Settings, *, cache_key: tuple[Any, ...] | None = None) -> Answer:
    """Put a response that is already serialised into the envelope, without touching its bytes."""
    return Answer(200, _envelope(tuple(response), 200, None, settings, error=False), cache_key=cache_key)


def streamed(response: Iterator[bytes]) -> Answer:
    """Put a response into the compact envelope piece by piece; nothing is kept and nothing is compressed."""

    def pieces() -> Iterator[bytes]:
        yield b'{"status":200,"response":'
        yield from response
        yield b"}"

    return Answer(200, stream=pieces())


def error(name: str, settings: Settings, *, payload: Any = None, refused: str | None = None) -> Answer:
    """Return an error in the envelope, in the form that makes the SDK raise the exception of that name."""
    status = ERROR_STATUS.get(name, 400)
    body = _envelope((json.dumps([name]).encode(),), status, payload, settings, error=True)
    return Answer(status if settings.error_http_status == "same" else 200, body, refused=refused)


def array(items: Sequence[tuple[bytes, ...]], settings: Settings) -> tuple[bytes, ...]:
    """Return a JSON array of items that are already serialised."""
    comma = b"," if settings.envelope_whitespace == "compact" else b", "
    pieces: list[bytes] = [b"["]
    for index, item in enumerate(items):
        if index:
            pieces.append(comma)
        pieces.extend(item)
    pieces.append(b"]")
    return tuple(pieces)


def _envelope(
    response: tuple[bytes, ...], status: int, payload: Any, settings: Settings, *, error: bool
) -> tuple[bytes, ...]:
    start, colon, comma, end = {
        "compact": (b"{", b":", b",", b"}"),
        "spaced": (b"{", b": ", b", ", b"}"),
        "indented": (b"{\n  ", b": ", b",\n  ", b"\n}\n"),
    }[settings.envelope_whitespace]
    members: list[tuple[bytes, ...]] = [
        (b'"status"', colon, str(status).encode()),
        (b'"response"', colon, *response),
    ]
    if settings.envelope_key_order == "response-first":
        members.reverse()
    if error or settings.envelope_payload == "null":
        members.append((b'"payload"', colon, json.dumps(payload).encode()))
    pieces: list[bytes] = [start]
    for index, member in enumerate(members):
        if index:
            pieces.append(comma)
        pieces.extend(member)
    pieces.append(end)
    return tuple(pieces)
