"""The ASGI application: Encord's API, and the control API beside it, over one state."""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from encord_stand_in.answers import json_answer
from encord_stand_in.api import Api
from encord_stand_in.asgi import send_answer
from encord_stand_in.control import CONTROL_PREFIX, control_app
from encord_stand_in.exchange import Exchange
from encord_stand_in.state import State


class StandIn:
    """The entry point for requests."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._api = Api(state)
        self._control: ASGIApp = control_app(state)

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
        await Exchange(self._state, self._api, scope, receive, send).run()


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
