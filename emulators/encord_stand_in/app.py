"""The ASGI application: Encord's API and the control API, over one state."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from encord_stand_in.answers import json_answer
from encord_stand_in.api import Api
from encord_stand_in.asgi import send_answer
from encord_stand_in.control import CONTROL_PREFIX, control_app
from encord_stand_in.exchange import Exchange
from encord_stand_in.state import State

# Carries the secret that the control API shares with its clients.
HEADER = "X-Control-Token"


class StandIn:
    """The entry point for requests."""

    def __init__(self, state: State, control_token: str | None = None) -> None:
        """With ``control_token``, the control API answers only requests that carry it, except for ``health``."""
        self._state = state
        self._control_token = control_token or ""
        self._api = Api(state)
        self._control: ASGIApp = control_app(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if scope["path"].startswith(CONTROL_PREFIX):
            if not _is_loopback(scope["client"][0]):
                await send_answer(send, json_answer(403, {"error": "the control API answers loopback clients only"}))
            elif not self._names_the_token(scope):
                await send_answer(send, json_answer(403, {"error": f"the header {HEADER} lacks the control token"}))
            else:
                await self._control(scope, receive, send)
            return
        await Exchange(self._state, self._api, scope, receive, send).run()

    def _names_the_token(self, scope: Scope) -> bool:
        if not self._control_token or scope["path"] == f"{CONTROL_PREFIX}health":
            return True
        named = dict(scope["headers"]).get(HEADER.lower().encode(), b"")
        return hmac.compare_digest(named, self._control_token.encode())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
