"""Injected faults and counters: what a client gets, and what the counters prove about its requests."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import (
    CorruptedLabelError,
    GenericServerError,
    RateLimitExceededError,
    RequestException,
    ResourceNotFoundError,
    UnknownException,
)


def query(label_hash: str) -> str:
    values = {"uid": label_hash, "payload": {"multi_request": False}}
    return json.dumps({"query_type": "labelrow", "query_method": "GET", "values": values})


@pytest.fixture
def get(caller: Any, stand_in: Any) -> Callable[[], requests.Response]:
    """Request the image's row."""
    body = query(stand_in.row("image")["label_hash"])
    headers = caller.legacy_headers(body)
    return lambda: caller.legacy(body, headers)


def inject(stand_in: Any, **rule: Any) -> str:
    fault_id: str = stand_in.control("POST", "faults", rule)["faults"][-1]["id"]
    return fault_id


def test_a_status_with_retry_after(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    inject(stand_in, status=429, retry_after=7, count=1)
    answer = get()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert get().status_code == 200


def test_the_sdk_raises_its_own_exceptions_for_faults(stand_in: Any, client: EncordUserClient) -> None:
    project = client.get_project(stand_in.project()["project_hash"])
    label_hash = stand_in.row("image")["label_hash"]
    for rule, expected in (
        ({"status": 429, "retry_after": 7}, RateLimitExceededError),
        ({"envelope_error": "RATE_LIMIT_ERROR"}, RateLimitExceededError),
        ({"envelope_error": "UNKNOWN_ERROR"}, UnknownException),
        ({"envelope_error": "CORRUPTED_LABEL_ERROR"}, CorruptedLabelError),
        ({"envelope_error": "RESOURCE_NOT_FOUND_ERROR"}, ResourceNotFoundError),
        ({"html": True}, RequestException),
        ({"empty": True}, RequestException),
        ({"truncate": True}, RequestException),
        ({"reset": True}, RequestException),
    ):
        inject(stand_in, count=1, path="/public", **rule)
        with pytest.raises(expected):
            project._client.get_label_row(label_hash)
    inject(stand_in, count=1, path="/v2/public/*", status=503)
    with pytest.raises(UnknownException):
        client.get_project(project.project_hash)
    assert project._client.get_label_row(label_hash)["label_hash"] == label_hash


def test_an_html_page_and_an_empty_answer(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    inject(stand_in, html=200, count=1)
    answer = get()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert "<html>" in answer.text
    inject(stand_in, empty=True, count=1)
    answer = get()
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(("amount", "expected"), [(True, 0.5), (0.25, 0.25), (100, None), (10**9, 1)])
def test_a_truncated_body(
    stand_in: Any, caller: Any, amount: Any, expected: float | None, get: Callable[[], requests.Response]
) -> None:
    whole = len(get().content)
    stand_in.control("POST", "settings", {"gzip": False})
    inject(stand_in, truncate=amount, count=1)
    body = query(stand_in.row("image")["label_hash"])
    answer = stand_in.session.post(
        f"{stand_in.url}/public", data=body, headers=caller.legacy_headers(body), stream=True, timeout=60
    )
    assert int(answer.headers["Content-Length"]) == whole
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(answer.iter_content(64))
    length = 100 if expected is None else int(whole * expected)
    assert answer.raw.tell() == min(length, whole - 1)
    assert get().status_code == 200


def test_a_reset_before_and_after_the_effect(stand_in: Any, client: EncordUserClient) -> None:
    project = client.get_project(stand_in.project()["project_hash"])
    (row,) = project.list_label_rows_v2(data_title_eq="not opened yet.jpg")
    inject(stand_in, reset=True, query="labelrow/PUT", count=1)
    with pytest.raises(RequestException) as caught:
        row.initialise_labels()
    assert "Connection aborted" in repr(caught.value.__cause__)
    assert stand_in.row("uninitialised")["label_hash"] is None
    inject(stand_in, reset=True, query="labelrow/PUT", count=1, after_effect=True)
    with pytest.raises(RequestException):
        row.initialise_labels()
    assert stand_in.row("uninitialised")["label_hash"] is not None


def test_a_reset_is_a_tcp_reset(new_stand_in: Callable[..., Any]) -> None:
    """Over plain HTTP, since Python's TLS reports a reset as an end of file."""
    stand_in = new_stand_in(tls=False)
    inject(stand_in, reset=True)
    with socket.create_connection(("127.0.0.1", int(stand_in.url.rsplit(":", 1)[1])), timeout=60) as connection:
        connection.sendall(b"GET /public HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


def test_a_blackhole_sends_nothing_and_ends_with_its_client(stand_in: Any, caller: Any) -> None:
    inject(stand_in, blackhole=True, count=1)
    body = query(stand_in.row("image")["label_hash"])
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            f"{stand_in.url}/public", data=body, headers=caller.legacy_headers(body), timeout=(60, 0.3),
            verify=str(stand_in.files.certificate),
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        statuses = stand_in.counts()["endpoints"]["POST /public labelrow/GET"]["statuses"]
        if statuses == {"blackhole": 1}:
            return
        time.sleep(0.05)
    pytest.fail(f"the request did not end when its client disconnected: {statuses}")


def test_another_row_replaces_the_requested_one(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    other = stand_in.row("video")["label_hash"]
    inject(stand_in, other_row=other, count=1)
    assert get().json()["response"]["label_hash"] == other
    assert get().json()["response"]["label_hash"] == stand_in.row("image")["label_hash"]


def test_latency_is_added_per_request_and_per_new_connection(stand_in: Any, caller: Any) -> None:
    inject(stand_in, latency_ms=40, connection_latency_ms=1000, path="/public")
    body = query(stand_in.row("image")["label_hash"])
    headers = caller.legacy_headers(body)

    def seconds(session: requests.Session) -> float:
        started = time.monotonic()
        session.post(f"{stand_in.url}/public", data=body, headers=headers, timeout=60)
        return time.monotonic() - started

    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(stand_in.files.certificate)
        assert seconds(session) >= 1.04
        kept = [seconds(session)]
        while min(kept) >= 1 and len(kept) < 60:  # on a machine with other work
            kept.append(seconds(session))
    assert 0.04 <= min(kept) < 1
    counts = stand_in.counts()["endpoints"]["POST /public labelrow/GET"]
    assert (counts["requests"], counts["new_connections"]) == (1 + len(kept), 1)


def test_the_control_api_is_never_delayed(stand_in: Any) -> None:
    inject(stand_in, latency_ms=120_000)
    stand_in.control("GET", "health")  # it gives up after 60 s


def test_a_kept_connection_answers_without_delay(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    """Nagle's algorithm would cost 40 ms for each response, and benchmarks measure through this server."""

    def seconds() -> float:
        started = time.monotonic()
        get()
        return time.monotonic() - started

    # With the delay no request is as fast; without it some are, even on a busy machine.
    end = time.monotonic() + 60
    while seconds() >= 0.035:
        assert time.monotonic() < end, "every request was held up"


def test_connections_are_counted_at_their_first_request(stand_in: Any, client: EncordUserClient) -> None:
    project = client.get_project(stand_in.project()["project_hash"])
    (row,) = project.list_label_rows_v2(data_title_eq="crossing.jpg")
    row.initialise_labels()
    answer = stand_in.control("GET", "requests?details=1")
    assert {name: (item["requests"], item["new_connections"]) for name, item in answer["endpoints"].items()} == {
        "GET /v2/public/projects/{project_hash}": (1, 1),
        "GET /v2/public/ontologies/{ontology_hash}": (1, 1),
        "POST /public labelrowmetadata/GET": (1, 1),
        "POST /public labelrow/GET": (1, 1),
    }
    assert answer["total"] == {"requests": 4, "new_connections": 4, "refused": 0, "writes": 0}
    assert answer["endpoints"]["POST /public labelrow/GET"]["statuses"] == {"200": 1}
    assert answer["endpoints"]["POST /public labelrow/GET"]["bytes_sent"] > 1000
    assert answer["details"][-1]["labels"] == [row.label_hash]
    assert answer["details"][-1]["client"] == "127.0.0.1"
    emptied = stand_in.control("DELETE", "requests")
    assert (emptied["endpoints"], emptied["total"]["requests"], emptied["connections_opened"]) == ({}, 0, 0)


def statuses(get: Callable[[], requests.Response], times: int) -> list[int]:
    return [get().status_code for _ in range(times)]


def test_faults_are_chosen_by_number_and_count(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    fault_id = inject(stand_in, status=503, nth=[2, 4])
    assert statuses(get, 5) == [200, 503, 200, 503, 200]
    (fault,) = stand_in.control("GET", "faults")["faults"]
    assert (fault["id"], fault["matched"], fault["applied"]) == (fault_id, 5, 2)
    assert stand_in.counts()["faults"] == {fault_id: 2}
    assert stand_in.control("DELETE", f"faults/{fault_id}") == {"faults": []}
    inject(stand_in, status=500, count=2)
    assert statuses(get, 3) == [500, 500, 200]
    inject(stand_in, status=502, nth=2)
    assert statuses(get, 3) == [200, 502, 200]


def test_a_probability_is_repeatable_by_its_seed(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    runs = []
    for seed in (3, 3, 4):
        stand_in.control("DELETE", "faults")
        inject(stand_in, status=503, probability=0.4, seed=seed)
        runs.append(statuses(get, 20))
    assert runs[0] == runs[1] != runs[2]
    assert 2 <= runs[0].count(503) <= 14


def test_faults_affect_only_matching_requests(stand_in: Any, client: EncordUserClient) -> None:
    project_hash, image = stand_in.project()["project_hash"], stand_in.row("image")["label_hash"]
    inject(stand_in, status=503, label_hash=image)
    inject(stand_in, status=503, path="/v2/public/ontologies/*", method="POST")
    inject(stand_in, status=503, query="labelrow/PUT")
    project = client.get_project(project_hash)
    assert project.list_label_rows_v2()
    assert project._client.get_label_row(stand_in.row("video")["label_hash"])
    with pytest.raises(GenericServerError):
        project._client.get_label_row(image)
    assert [fault["applied"] for fault in stand_in.control("GET", "faults")["faults"]] == [1, 0, 0]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "a fault needs one of"),
        ({"path": "/public"}, "a fault needs one of"),
        ({"status": 503, "reset": True}, "a fault has one action"),
        ({"status": 99}, "status must be an HTTP status"),
        ({"status": "503"}, "status must be a number"),
        ({"latency_ms": -1}, "latency_ms must be a number"),
        ({"reset": True, "nth": 0}, "nth must be a whole number from 1"),
        ({"reset": True, "probability": 2}, "probability must be"),
        ({"colour": 1, "reset": True}, "unknown key 'colour'"),
    ],
)
def test_an_invalid_fault_is_refused_by_name(stand_in: Any, rule: dict[str, Any], message: str) -> None:
    assert message in stand_in.control("POST", "faults", rule, status=400)["error"]
    assert stand_in.control("GET", "faults") == {"faults": []}


def test_several_faults_are_injected_all_or_none(stand_in: Any, get: Callable[[], requests.Response]) -> None:
    rules = [{"latency_ms": 5}, {"status": 503, "count": 1}, {"status": 500, "count": 1}]
    assert len(stand_in.control("POST", "faults", {"faults": rules})["faults"]) == 3
    assert statuses(get, 2) == [503, 200]  # only the first acts; the second was used up by the same request
    stand_in.control("DELETE", "faults")
    stand_in.control("POST", "faults", {"faults": [{"latency_ms": 5}, {"nth": 1}]}, status=400)
    assert stand_in.control("GET", "faults") == {"faults": []}


def test_a_body_beyond_the_limit_is_refused(stand_in: Any) -> None:
    answer = stand_in.session.post(f"{stand_in.url}/public", data=b"x" * (17 * 1024 * 1024), timeout=30)
    assert answer.status_code == 413
    assert stand_in.counts()["refused"] == {"too_large": 1}
