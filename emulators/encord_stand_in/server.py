"""Uvicorn with two additions: each request has its connection, and SIGTERM ends the process with exit code 0."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTION = "connection"  # key in the ASGI scope's state


class Connection:
    """One accepted connection, TLS included."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._requests = 0

    def next_request_is_first(self) -> bool:
        """Count a request; return whether it is the connection's first."""
        self._requests += 1
        return self._requests == 1

    def reset(self) -> None:
        """Reset the connection: the client's next read fails, and data that was sent before is lost."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        """Close the connection after all written data has been sent."""
        self._transport.close()


def protocol_class(opened: Callable[[], None]) -> type[H11Protocol]:
    """Return a protocol that calls ``opened`` for each connection and stores a Connection in the scope's state."""

    class ConnectionProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            opened()
            self.app_state = {**self.app_state, CONNECTION: Connection(transport)}
            super().connection_made(transport)

        def shutdown(self) -> None:
            """Reset an idle connection: a clean TLS close would wait for the client, which may never read."""
            idle = self.cycle is None or self.cycle.response_complete
            super().shutdown()
            if idle:
                self.transport.abort()

    return ConnectionProtocol


class Server(uvicorn.Server):
    """A server that reports when it is ready and treats SIGTERM and SIGINT as a request to end, not as a failure."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then report it."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn, do not raise the signal again after a clean exit."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before: dict[signal.Signals, Any] = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class ListenError(Exception):
    """The server cannot listen on an address. The message says what to do, in one line."""


_ADVICE = {
    errno.EADDRINUSE: "choose another port with --port",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose another with --bind",
    errno.EACCES: "choose a port of 1024 or more with --port",
}


def listening_sockets(addresses: list[str], port: int) -> list[socket.socket]:
    """Return bound sockets, all with the same port; port 0 takes a free one. Raises ListenError."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            # asyncio turns off Nagle's algorithm, which costs 40 ms for each response, only if the protocol is named.
            sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, port))
                sock.listen(256)
            except OSError as exc:
                advice = _ADVICE.get(exc.errno or 0, "see --bind and --port")
                raise ListenError(f"cannot listen on {address} port {port}: {exc.strerror}; {advice}") from exc
            port = sock.getsockname()[1]
            sock.setblocking(False)
    except ListenError:
        for sock in sockets:
            sock.close()
        raise
    return sockets
