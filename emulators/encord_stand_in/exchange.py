"""One request to Encord's API and its response, with counters and injected faults."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from starlette.types import Receive, Scope, Send

from encord_stand_in import legacy, rest
from encord_stand_in.answers import Answer, error, json_answer
from encord_stand_in.api import Api
from encord_stand_in.asgi import read_body, send_answer, start_message
from encord_stand_in.faults import Fault, Seen
from encord_stand_in.legacy import Query, parse_query
from encord_stand_in.projects import NotFoundError
from encord_stand_in.server import CONNECTION, Connection
from encord_stand_in.signatures import SignedRequest
from encord_stand_in.state import State

logger = logging.getLogger("encord_stand_in.access")

_HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"


class Exchange:
    """One request to the API and its response."""

    def __init__(self, state: State, api: Api, scope: Scope, receive: Receive, send: Send) -> None:
        self._state = state
        self._api = api
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
        body = await read_body(self._receive)
        first = self._connection.next_request_is_first()
        query = parse_query(body) if self._path == legacy.PATH and body is not None else None
        endpoint = self._endpoint(query)
        labels = query.hashes if query is not None else []
        counters = self._state.counters
        counters.request(
            endpoint,
            new_connection=first,
            client=str(self._scope["client"][0]),
            labels=labels,
            write=query is not None and query.is_write,
        )
        name = query.name if query is not None else ""
        verdict = self._state.faults.judge(Seen(self._path, self._method, name, tuple(labels), first))
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
        return self._api.respond(request, self._path, query)

    async def _answer(self, answer: Answer) -> tuple[str, int]:
        if answer.refused is not None:
            self._state.counters.refused(answer.refused)
        answer = await self._api.encoded(answer, self._headers)
        await send_answer(self._send, answer)
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
            return error(rule["envelope_error"], self._state.settings)
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
            other = self._state.projects.row(label_hash=label_hash).parts(self._state.settings)
            asked = [self._state.projects.row(label_hash=item) for item in (query.hashes if query else [])]
        except NotFoundError:
            return answer
        text = b"".join(answer.body)
        for row in asked:
            text = text.replace(b"".join(row.parts(self._state.settings)), b"".join(other))
        return Answer(answer.status, (text,))

    async def _truncate(self, amount: Any, body: bytes, query: Query | None) -> tuple[str, int]:
        """Announce the length of the whole body, send its beginning, and close the connection."""
        answer = await self._api.encoded(self._respond(body, query), self._headers)
        whole = b"".join(answer.body)
        length = len(whole) // 2 if amount is True else int(len(whole) * amount) if amount < 1 else int(amount)
        length = min(length, len(whole) - 1)
        await self._send(start_message(answer, len(whole)))
        await self._send({"type": "http.response.body", "body": whole[:length], "more_body": True})
        self._connection.close()
        await self._disconnected()
        return "truncated", length

    async def _disconnected(self) -> None:
        """Wait until the connection is closed: otherwise uvicorn would send its own response."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
