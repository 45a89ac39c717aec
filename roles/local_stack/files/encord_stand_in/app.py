"""The ASGI application: what the server holds, Encord's API over it, and the control API beside it."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from encord_stand_in import legacy, rest
from encord_stand_in.answers import Answer, error, json_answer
from encord_stand_in.asgi import CHUNK, send_answer
from encord_stand_in.control import CONTROL_PREFIX, control_app
from encord_stand_in.counters import Counters
from encord_stand_in.exchange import Exchange
from encord_stand_in.faults import Faults
from encord_stand_in.keys import KeyRegistry
from encord_stand_in.legacy import LegacyApi, Query
from encord_stand_in.projects import Projects
from encord_stand_in.rest import RestApi
from encord_stand_in.settings import Settings
from encord_stand_in.signatures import RefusedError, SignedRequest, verify_legacy, verify_rest
from encord_stand_in.webhooks import SigningSecrets, Webhooks

_SMALLEST_GZIPPED = 512
_GZIPPED_KEPT_BYTES = 256 * 1024 * 1024
_GZIPPED_KEPT = 256


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
                await send_answer(send, json_answer(403, {"error": "the control API answers loopback clients only"}))
            else:
                await self._control(scope, receive, send)
            return
        await Exchange(self, scope, receive, send).run()

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


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
