"""Reliable invocations of a function's container: on a slow machine none may fail or be lost, as in Lambda.

MiniStack posts each invocation to the runtime interface emulator in the container. It falls short of Lambda in three
places, which show on a machine with other work:

- It reads the container's log once, when the response is there. The engine writes the log on its own time, so the last
  lines were missing, and with them the metrics in them. Here the log is read until it has the invocation's last line.
- It gives a container 30 s to listen. Here it gets longer, and one that ended before it listened is started once more.
- The runtime interface emulator counts the initialisation as part of the invocation. Lambda stops an initialisation
  after 10 s and repeats it within the first invocation, which has the function's whole time-out
  (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, "Init phase"). Here an invocation that timed
  out before the handler was called is repeated once; the emulator then initialises again.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any

LISTEN_SECONDS = 120
ANSWER_SECONDS = 5
LOG_SECONDS = 3
LOOK_EVERY_SECONDS = 0.05
PORT = "8080/tcp"

# Takes a container of the Docker SDK, the event, the function's time-out in seconds and the request's id.
Invoke = Callable[[Any, dict[str, Any], int, str], dict[str, Any]]


class Invoked:
    """A container whose log of one invocation is returned when it has the invocation's last line.

    Everything else is the container's own.
    """

    def __init__(self, container: Any, request_id: str) -> None:
        self._container = container
        self._last_line = f"REPORT RequestId: {request_id}".encode()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def logs(self, **wanted: Any) -> bytes:
        """Return the log, at the latest after LOG_SECONDS: a runtime that ended leaves no last line."""
        end = time.monotonic() + LOG_SECONDS
        while True:
            is_over = self._container.status != "running" or time.monotonic() > end
            try:
                text = bytes(self._container.logs(**wanted))
            except OSError:
                # The engine did not answer in time. MiniStack would take that for a failed invocation, and repeat it.
                text = b""
            if self._last_line in text or is_over:
                return text
            time.sleep(LOOK_EVERY_SECONDS)


def listens(container: Any) -> bool:
    """Return whether the runtime interface emulator in a container answers; it knows one path, and others with a 404.

    The engine's own proxy accepts connections before anything in the container does.
    """
    published = container.ports.get(PORT)
    if not published:
        return False
    connection = http.client.HTTPConnection("127.0.0.1", int(published[0]["HostPort"]), timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def await_listening(container: Any) -> None:
    """Return once a new container listens, or after LISTEN_SECONDS; start it again, once, when it has ended by then."""
    end, started_again = time.monotonic() + LISTEN_SECONDS, False
    while time.monotonic() < end:
        container.reload()
        if container.status == "exited":
            if started_again:
                return
            container.start()
            started_again = True
        elif listens(container):
            return
        time.sleep(LOOK_EVERY_SECONDS)


def invoking(invoke: Invoke) -> Invoke:
    """Return MiniStack's ``invoke`` with the corrections above."""

    def corrected(container: Any, event: dict[str, Any], timeout: int, request_id: str) -> dict[str, Any]:
        is_new = not getattr(container, "has_listened", False)
        if is_new:
            await_listening(container)
            container.has_listened = True
        result = invoke(Invoked(container, request_id), event, timeout, request_id)
        handler_called = f"INVOKE START(requestId: {request_id})" in result.get("log", "")
        if is_new and result.get("timeout") and not handler_called:
            result = invoke(Invoked(container, request_id), event, timeout, request_id)
        return result

    return corrected
