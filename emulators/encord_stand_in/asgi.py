"""Read a request's body and send a response, as ASGI messages."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Send

from encord_stand_in.answers import Answer

CHUNK = 1024 * 1024
_BODY_LIMIT = 16 * 1024 * 1024


async def read_body(receive: Receive) -> bytes | None:
    """Return the request's body, or None if it is too big; it is read to its end in either case."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size <= _BODY_LIMIT:
            pieces.append(piece)
        if not message.get("more_body", False):
            break
    return b"".join(pieces) if size <= _BODY_LIMIT else None


def start_message(answer: Answer, length: int) -> dict[str, Any]:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(length), **answer.headers}
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a response; a large body in chunks, so that other requests are served in between."""
    if answer.stream is not None:
        start = start_message(answer, 0)
        start["headers"] = [header for header in start["headers"] if header[0] != b"content-length"]
        await send(start)
        for piece in answer.stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await send(start_message(answer, answer.size))
    if answer.size <= CHUNK:
        await send({"type": "http.response.body", "body": b"".join(answer.body), "more_body": False})
        return
    for piece in answer.body:
        view = memoryview(piece)
        for offset in range(0, len(piece), CHUNK):
            await send({"type": "http.response.body", "body": bytes(view[offset : offset + CHUNK]), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
