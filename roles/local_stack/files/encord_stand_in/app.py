"""The ASGI application: Encord's API with faults and counters around it, and the control API beside it."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from encord_stand_in import legacy, rest
from encord_stand_in.answers import Answer, error, json_answer
from encord_stand_in.control import CONTROL_PREFIX, control_app
from encord_stand_in.counters import Counters
from encord_stand_in.faults import Fault, Faults, Seen
from encord_stand_in.keys import KeyRegistry
from encord_stand_in.legacy import LegacyApi, Query, parse_query
from encord_stand_in.projects import NotFoundError, Projects
from encord_stand_in.rest import RestApi
from encord_stand_in.server import CONNECTION, Connection
from encord_stand_in.settings import Settings
from encord_stand_in.signatures import RefusedError, SignedRequest, verify_legacy, verify_rest
from encord_stand_in.webhooks import SigningSecrets, Webhooks

logger = logging.getLogger("encord_stand_in.access")

_BODY_LIMIT = 16 * 1024 * 1024
_CHUNK = 1024 * 1024
_SMALLEST_GZIPPED = 512
_GZIPPED_KEPT_BYTES = 256 * 1024 * 1024
_GZIPPED_KEPT = 256
_HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"


class StandIn:
    """Everything that the server holds, and its entry point for requests."""

    def __init__(self, keys: KeyRegistry, secrets: SigningSecrets, ca_file: Path | None) -> None:
        self.keys = keys
        self.secrets = secrets
        self.ca_file = ca_file
        self.projects = Projects()
        self.webhooks = Webhooks()
        self.faults = Faults()
        self.counters = Counters()
        self.settings = Settings()
        self._legacy = LegacyApi(self.projects)
        self._rest = RestApi(self.projects)
        self._control: ASGIApp = control_app(self)
        self._gzipped: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if scope["path"].startswith(CONTROL_PREFIX):
            if not _is_loopback(scope["client"][0]):
                await _send(send, json_answer(403, {"error": "the control API answers loopback clients only"}))
            else:
                await self._control(scope, receive, send)
            return
        await _Exchange(self, scope, receive, send).run()

    def respond(self, request: SignedRequest, path: str, query: Query | None) -> Answer:
        """Verify a request and answer it."""
        settings = self.settings
        if path == legacy.PATH:
            if request.method != "POST":
                return error("METHOD_NOT_ALLOWED_ERROR", settings, refused="method")
            try:
                verify_legacy(request, self.keys)
            except RefusedError as exc:
                name = "SSH_KEY_NOT_FOUND_ERROR" if exc.reason == "unknown_key" else "AUTHENTICATION_ERROR"
                return error(name, settings, refused=exc.reason)
            headers = request.headers
            return self._legacy.answer(query, headers.get("resourcetype", ""), headers.get("resourceid", ""), settings)
        if path.startswith(rest.PREFIX):
            try:
                verify_rest(request, self.keys, now=time.time(), tolerance=settings.clock_tolerance_seconds)
            except RefusedError as exc:
                return json_answer(401, {"message": "Authentication failed"}, refused=exc.reason)
            return self._rest.answer(request.method, path)
        return json_answer(404, {"message": "Not found"}, refused="unknown_path")

    async def encoded(self, answer: Answer, request_headers: Mapping[str, str]) -> Answer:
        """Compress the body where client and settings allow it; big bodies in a thread, known bodies once."""
        accepted = request_headers.get("accept-encoding", "")
        if not self.settings.gzip or "gzip" not in accepted or answer.size < _SMALLEST_GZIPPED:
            return answer
        level = self.settings.gzip_level
        compressed = self._gzipped.get(answer.cache_key) if answer.cache_key is not None else None
        if compressed is None:
            body = b"".join(answer.body)
            if len(body) > _CHUNK:
                compressed = await asyncio.to_thread(gzip.compress, body, level, mtime=0)
            else:
                compressed = gzip.compress(body, level, mtime=0)
            self._keep(answer.cache_key, compressed)
        answer.body = (compressed,)
        answer.headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return answer

    def _keep(self, key: tuple[Any, ...] | None, compressed: bytes) -> None:
        if key is None:
            return
        self._gzipped[key] = compressed
        while sum(map(len, self._gzipped.values())) > _GZIPPED_KEPT_BYTES or len(self._gzipped) > _GZIPPED_KEPT:
            self._gzipped.popitem(last=False)


class _Exchange:
    """One request to the API and its answer."""

    def __init__(self, stand_in: StandIn, scope: Scope, receive: Receive, send: Send) -> None:
        self._stand_in = stand_in
        self._scope = scope
        self._receive = receive
        self._send = send
        self._connection: Connection = scope["state"][CONNECTION]
        self._path: str = scope["path"]
        self._method: str = scope["method"]
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

    async def run(self) -> None:
        """Read, count, delay, answer or fault, count again."""
        started = time.monotonic()
        body = await _body(self._receive)
        first = self._connection.next_request_is_first()
        query = parse_query(body) if self._path == legacy.PATH and body is not None else None
        endpoint = self._endpoint(query)
        labels = query.hashes if query is not None else []
        counters = self._stand_in.counters
        counters.request(
            endpoint,
            new_connection=first,
            client=str(self._scope["client"][0]),
            labels=labels,
            write=query is not None and query.is_write,
        )
        name = query.name if query is not None else ""
        verdict = self._stand_in.faults.judge(Seen(self._path, self._method, name, tuple(labels), first))
        for fault_id in verdict.met:
            counters.faulted(fault_id)
        if verdict.delay:
            await asyncio.sleep(verdict.delay)
        if body is None:
            status, size = await self._answer(json_answer(413, {"message": "Payload too large"}, refused="too_large"))
        elif verdict.fault is not None:
            status, size = await self._fault(verdict.fault, body, query)
        else:
            status, size = await self._answer(self._respond(body, query))
        counters.answered(endpoint, status, size)
        logger.info(
            "%s %s status=%s bytes=%d ms=%.1f%s",
            self._scope["client"][0], endpoint, status, size, (time.monotonic() - started) * 1000,
            " new-connection" if first else "",
        )  # fmt: skip

    def _endpoint(self, query: Query | None) -> str:
        if self._path == legacy.PATH:
            return f"{self._method} {legacy.PATH} {query.name if query is not None else '?'}"
        if self._path.startswith(rest.PREFIX):
            return f"{self._method} {rest.endpoint(self._path)}"
        return f"{self._method} ?"

    def _respond(self, body: bytes, query: Query | None) -> Answer:
        target = self._scope["raw_path"].decode("latin-1")
        if self._scope["query_string"]:
            target += "?" + self._scope["query_string"].decode("latin-1")
        request = SignedRequest(self._method, target, self._headers, body)
        return self._stand_in.respond(request, self._path, query)

    async def _answer(self, answer: Answer) -> tuple[str, int]:
        if answer.refused is not None:
            self._stand_in.counters.refused(answer.refused)
        answer = await self._stand_in.encoded(answer, self._headers)
        await _send(self._send, answer)
        return str(answer.status), answer.size

    async def _fault(self, fault: Fault, body: bytes, query: Query | None) -> tuple[str, int]:
        rule, action = fault.rule, fault.action
        if rule.get("after_effect"):
            self._respond(body, query)
        if action == "reset":
            self._connection.reset()
            await self._disconnected()
            return "reset", 0
        if action == "blackhole":
            await self._disconnected()
            return "blackhole", 0
        if action == "truncate":
            return await self._truncate(rule["truncate"], body, query)
        return await self._answer(self._faulty(rule, action or "", body, query))

    def _faulty(self, rule: dict[str, Any], action: str, body: bytes, query: Query | None) -> Answer:
        if action == "html":
            return Answer(502 if rule["html"] is True else int(rule["html"]), (_HTML,), "text/html")
        if action == "empty":
            return Answer(200)
        if action == "envelope_error":
            return error(rule["envelope_error"], self._stand_in.settings)
        if action == "other_row":
            return self._other_row(rule["other_row"], body, query)
        answer = json_answer(rule["status"], {"message": "injected"})
        if "retry_after" in rule:
            answer.headers["Retry-After"] = str(int(rule["retry_after"]))
        return answer

    def _other_row(self, label_hash: str, body: bytes, query: Query | None) -> Answer:
        """Answer as asked, with another row in place of the one asked for."""
        answer = self._respond(body, query)
        try:
            other = self._stand_in.projects.row(label_hash=label_hash).parts(self._stand_in.settings)
            asked = [self._stand_in.projects.row(label_hash=item) for item in (query.hashes if query else [])]
        except NotFoundError:
            return answer
        text = b"".join(answer.body)
        for row in asked:
            text = text.replace(b"".join(row.parts(self._stand_in.settings)), b"".join(other))
        return Answer(answer.status, (text,))

    async def _truncate(self, amount: Any, body: bytes, query: Query | None) -> tuple[str, int]:
        """Announce the whole body, send its beginning, and end the connection."""
        answer = await self._stand_in.encoded(self._respond(body, query), self._headers)
        whole = b"".join(answer.body)
        length = len(whole) // 2 if amount is True else int(len(whole) * amount) if amount < 1 else int(amount)
        length = min(length, len(whole) - 1)
        await self._send(_start(answer, len(whole)))
        await self._send({"type": "http.response.body", "body": whole[:length], "more_body": True})
        self._connection.close()
        await self._disconnected()
        return "truncated", length

    async def _disconnected(self) -> None:
        """Wait until the connection has ended: uvicorn would answer in our place otherwise."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _body(receive: Receive) -> bytes | None:
    """Return the request's body, or None when it is too big; it is read to its end all the same."""
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


def _start(answer: Answer, length: int) -> dict[str, Any]:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(length), **answer.headers}
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }


async def _send(send: Send, answer: Answer) -> None:
    """Send an answer; a body of many megabytes in chunks, so that others are served between them."""
    await send(_start(answer, answer.size))
    if answer.size <= _CHUNK:
        await send({"type": "http.response.body", "body": b"".join(answer.body), "more_body": False})
        return
    for piece in answer.body:
        view = memoryview(piece)
        for offset in range(0, len(piece), _CHUNK):
            await send({"type": "http.response.body", "body": bytes(view[offset : offset + _CHUNK]), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
