"""The proxy itself: each fault as a client sees it, whether the server was reached, and which requests are chosen."""

from __future__ import annotations

import pytest
import urllib3
from exported_system import System
from fault_proxy import (
    Answer,
    Fault,
    FaultProxy,
    Rule,
    answers,
    blackholes,
    calls,
    delays,
    described,
    resets,
    truncates,
)

HEALTH = "/_stand_in/health"


def ask(proxy: FaultProxy, system: System, patience: float = 30.0) -> int | str:
    """Return the status that a client gets within ``patience`` seconds, or the name of its error."""
    certificate = str(system.stand_in.files.certificate)
    with urllib3.PoolManager(ca_certs=certificate, retries=False, timeout=patience) as client:
        try:
            return client.request("GET", proxy.url + HEALTH).status
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__


@pytest.mark.parametrize(
    ("fault", "seen", "reached"),
    [
        (delays(before=0.01, after=0.01), 200, True),
        (answers(Answer(503)), 503, False),
        (answers(Answer(503), after_effect=True), 503, True),
        (resets(), "ProtocolError", False),
        (resets(after_effect=True), "ProtocolError", True),
        (truncates(0.5), "ProtocolError", True),
        (truncates(0.5, reset=True), "ProtocolError", True),
        (blackholes(), "ReadTimeoutError", False),
        (blackholes(after_effect=True), "ReadTimeoutError", True),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else str(value),
)
def test_what_a_client_sees_and_whether_the_server_was_reached(
    system: System, fault: Fault, seen: int | str, reached: bool
) -> None:
    system.encord.inject(Rule(fault, path="health", times=1))
    assert ask(system.encord, system, 0.5 if fault.end == "blackhole" else 30.0) == seen
    (exchange,) = system.encord.exchanges
    assert (exchange.reached, exchange.fault) == (reached, fault.name)
    assert ask(system.encord, system) == 200


def test_a_function_of_the_test_runs_before_or_after_the_effect(system: System) -> None:
    reached: list[bool] = []
    for first in (True, False):
        system.encord.inject(Rule(calls(lambda exchange: reached.append(exchange.reached), first=first), times=1))
        assert ask(system.encord, system) == 200
    assert reached == [False, True]


def test_requests_are_chosen_by_number_path_and_seed(system: System) -> None:
    def which(**chosen: object) -> list[int]:
        system.encord.forget()
        system.encord.inject(Rule(answers(Answer(503)), **chosen))  # type: ignore[arg-type]
        return [number for number in range(1, 13) if ask(system.encord, system) == 503]

    assert which(nth=[2, 5]) == [2, 5]
    assert which(times=2) == [1, 2]
    assert which(path="elsewhere") == which(method="PUT") == which(operation="PutObject") == []
    first = which(probability=0.5, seed=7)
    assert 0 < len(first) < 12
    assert which(probability=0.5, seed=7) == first != which(probability=0.5, seed=8)


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "operation"),
    [
        ("PUT", "/bucket/key", {}, b"x", "PutObject"),
        ("HEAD", "/bucket/key", {}, b"", "HeadObject"),
        ("POST", "/bucket/key?uploads=", {}, b"", "CreateMultipartUpload"),
        ("PUT", "/bucket/key?partNumber=1&uploadId=u", {}, b"x", "UploadPart"),
        ("POST", "/bucket/key?uploadId=u", {}, b"x", "CompleteMultipartUpload"),
        ("DELETE", "/bucket/key?uploadId=u", {}, b"", "AbortMultipartUpload"),
        ("POST", "/", {"x-amz-target": "AmazonSQS.SendMessageBatch"}, b"{}", "SendMessageBatch"),
        ("POST", "/public", {}, b'{"query_type":"labelrow"}', "labelrow"),
        ("POST", "/public", {}, b"[", ""),
    ],
)
def test_operations_have_the_names_of_the_services(
    method: str, target: str, headers: dict[str, str], body: bytes, operation: str
) -> None:
    assert described(method, target, headers, body, "127.0.0.1").operation == operation
