"""The local AWS invokes a function's container as Lambda does, also on a slow machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import lambda_containers
import pytest
from lambda_containers import invoking

START, LAST = b"START RequestId: one\n", b"END RequestId: one\nREPORT RequestId: one\tDuration: 1 ms\n"
CALLED = "INVOKE START(requestId: one)"


class Container:
    """A container of the Docker SDK whose states and logs are given in the order in which they are read."""

    def __init__(
        self, port: int, *, states: list[str] | None = None, logs: list[bytes | Exception] | None = None
    ) -> None:
        self.ports = {"8080/tcp": [{"HostPort": str(port)}]}
        self.states, self.texts = states or ["running"], logs or [LAST]
        self.status = "created"
        self.starts = 0

    def reload(self) -> None:
        self.status = self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def start(self) -> None:
        self.starts += 1

    def logs(self, **_wanted: Any) -> bytes:
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        if isinstance(text, Exception):
            raise text
        return text


class Runtime(BaseHTTPRequestHandler):
    """Answers like the runtime interface emulator for unknown paths; the first connections are cut."""

    def do_GET(self) -> None:
        if self.server.refused:  # type: ignore[attr-defined]
            self.server.refused.pop()  # type: ignore[attr-defined]
            self.close_connection = True
            return
        self.send_error(404)

    def log_message(self, *_parts: Any) -> None:
        """Say nothing."""


@pytest.fixture
def runtime() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    server.refused = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def port(runtime: Any) -> int:
    return int(runtime.server_address[1])


def answer(container: Any, *_request: Any) -> dict[str, Any]:
    """Read the log once, as MiniStack does after the function's response."""
    return {"body": "done", "log": container.logs(stdout=True).decode()}


def test_the_log_is_read_until_the_invocations_last_line(port: int) -> None:
    container = Container(port, logs=[b"", START, START + LAST])
    assert invoking(answer)(container, {}, 3, "one")["log"] == (START + LAST).decode()


def test_the_log_is_requested_again_if_the_engine_times_out(port: int) -> None:
    container = Container(port, logs=[TimeoutError("read timed out"), START + LAST])
    assert invoking(answer)(container, {}, 3, "one")["log"] == (START + LAST).decode()


def test_the_log_of_a_runtime_that_ended_is_returned_as_it_is(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_containers, "LOG_SECONDS", 0)
    assert invoking(answer)(Container(port, logs=[START]), {}, 3, "one")["log"] == START.decode()


def test_a_container_that_was_killed_writes_no_more(port: int) -> None:
    container = Container(port, logs=[START, START + LAST])

    def invoke(container: Any, *request: Any) -> dict[str, Any]:
        container._container.status = "exited"  # as MiniStack's next look at it says
        return answer(container, *request)

    assert invoking(invoke)(container, {}, 3, "one")["log"] == START.decode()


def test_a_container_is_invoked_only_when_it_listens(runtime: Any, port: int) -> None:
    runtime.refused += [1, 2, 3]
    container = Container(port)

    def invoke(container: Any, *request: Any) -> dict[str, Any]:
        assert runtime.refused == []
        return answer(container, *request)

    assert invoking(invoke)(container, {}, 3, "one")["body"] == "done"


def test_a_container_that_ended_before_it_listened_is_started_once_more(port: int) -> None:
    container = Container(port, states=["exited", "running"])
    assert invoking(answer)(container, {}, 3, "one")["body"] == "done"
    assert container.starts == 1


def test_a_container_that_ends_twice_is_invoked_and_fails(port: int) -> None:
    container = Container(port, states=["exited"])
    invoking(answer)(container, {}, 3, "one")
    assert container.starts == 1


def timed_out_first(log: str) -> tuple[list[int], Any]:
    """Return the attempts, and an invocation whose first attempt times out with that log."""
    attempts: list[int] = []

    def invoke(container: Any, _event: Any, timeout: int, _request_id: str) -> dict[str, Any]:
        attempts.append(timeout)
        if len(attempts) == 1:
            return {"body": {"errorType": "Sandbox.Timedout"}, "log": log, "timeout": True}
        return {"body": "done", "log": ""}

    return attempts, invoke


def test_an_initialisation_that_took_all_the_time_is_repeated_with_the_whole_time_out(port: int) -> None:
    attempts, invoke = timed_out_first("INIT START(type: on-demand, phase: init)")
    assert invoking(invoke)(Container(port), {}, 3, "one")["body"] == "done"
    assert attempts == [3, 3]


def test_a_handler_that_took_all_the_time_is_not_called_again(port: int) -> None:
    attempts, invoke = timed_out_first(CALLED)
    assert invoking(invoke)(Container(port), {}, 3, "one")["timeout"]
    assert attempts == [3]


def test_a_warm_container_that_times_out_is_not_invoked_again(port: int) -> None:
    container = Container(port)
    invoking(answer)(container, {}, 3, "one")
    attempts, invoke = timed_out_first("")
    assert invoking(invoke)(container, {}, 3, "one")["timeout"]
    assert attempts == [3]
