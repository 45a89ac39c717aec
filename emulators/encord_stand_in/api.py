"""Encord's API over the state: verifies requests and answers them."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from encord_stand_in import legacy, rest
from encord_stand_in.answers import Answer, error, json_answer
from encord_stand_in.asgi import CHUNK
from encord_stand_in.legacy import LegacyApi, Query
from encord_stand_in.rest import RestApi
from encord_stand_in.signatures import RefusedError, SignedRequest, verify_legacy, verify_rest
from encord_stand_in.state import State

_SMALLEST_GZIPPED = 512
_GZIPPED_KEPT_BYTES = 256 * 1024 * 1024
_GZIPPED_KEPT = 256


class Api:
    """Verifies and answers signed requests."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._legacy = LegacyApi(state.projects)
        self._rest = RestApi(state.projects)
        self._gzipped: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def respond(self, request: SignedRequest, path: str, query: Query | None) -> Answer:
        """Verify a request and answer it."""
        settings = self._state.settings
        if path == legacy.PATH:
            if request.method != "POST":
                return error("METHOD_NOT_ALLOWED_ERROR", settings, refused="method")
            try:
                verify_legacy(request, self._state.keys)
            except RefusedError as exc:
                name = "SSH_KEY_NOT_FOUND_ERROR" if exc.reason == "unknown_key" else "AUTHENTICATION_ERROR"
                return error(name, settings, refused=exc.reason)
            headers = request.headers
            return self._legacy.answer(query, headers.get("resourcetype", ""), headers.get("resourceid", ""), settings)
        if path.startswith(rest.PREFIX):
            try:
                verify_rest(request, self._state.keys, now=time.time(), tolerance=settings.clock_tolerance_seconds)
            except RefusedError as exc:
                return json_answer(401, {"message": "Authentication failed"}, refused=exc.reason)
            asked = parse_qs(urlsplit(request.target).query)
            return self._rest.answer(request.method, path, asked, settings)
        return json_answer(404, {"message": "Not found"}, refused="unknown_path")

    async def encoded(self, answer: Answer, request_headers: Mapping[str, str]) -> Answer:
        """Compress the body if client and settings allow it; big bodies in a thread, bodies with a key only once."""
        if answer.stream is not None:
            return answer
        accepted = request_headers.get("accept-encoding", "")
        if not self._state.settings.gzip or "gzip" not in accepted or answer.size < _SMALLEST_GZIPPED:
            return answer
        level = self._state.settings.gzip_level
        compressed = self._gzipped.get(answer.cache_key) if answer.cache_key is not None else None
        if compressed is None:
            body = b"".join(answer.body)
            if len(body) > CHUNK:
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
