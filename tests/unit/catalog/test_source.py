"""The catalog's reads from Encord, when Encord refuses, is slow or is missing: classified, bounded, without secrets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlparse

import pytest
from catalog_system import CatalogSystem
from encord_harness import private_key_text
from label_catalog.adapters.encord import source
from label_catalog.adapters.encord.connections import Connections
from label_catalog.adapters.encord.source import EncordFeeds
from label_catalog.core.model import TooLargeError
from label_export.core.errors import ExportError, KeyRefusedError, PermanentError, RetryableError

Feeds = Callable[..., EncordFeeds]
LISTING = ("labelrowmetadata", None, {"include_workflow_graph_node": True})


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def feeds(system: CatalogSystem, slept: list[float]) -> Feeds:
    """Return a reader of the stand-in, or of another address, that records its pauses and does not sleep."""

    def made(
        domain: str = system.stand_in.url, *, seconds: float = 30, size: int = 1 << 30, trusted: bool = True
    ) -> EncordFeeds:
        def key() -> tuple[str, str | None]:
            return private_key_text(system.files.key), None

        connections = Connections({"AWS_CA_BUNDLE": str(system.bundle)} if trusted else {}, 2)
        limits = {"listing_seconds": seconds, "listing_bytes": size}
        return EncordFeeds(key, domain, **limits, connections=connections, sleep=slept.append)

    return made


def host(system: CatalogSystem) -> str:
    return str(urlparse(system.stand_in.url).hostname)


@pytest.fixture
def handshakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the host of each TLS handshake that this process begins."""
    seen: list[str] = []
    wrap_socket = ssl.SSLContext.wrap_socket

    def wrapped(context: ssl.SSLContext, *given: Any, **options: Any) -> ssl.SSLSocket:
        if options.get("server_hostname"):
            seen.append(options["server_hostname"])
        return wrap_socket(context, *given, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrapped)
    return seen


def test_requests_of_the_sdk_and_our_own_share_connections(
    system: CatalogSystem, feeds: Feeds, handshakes: list[str]
) -> None:
    encord = feeds()
    (project,) = encord.projects([system.project])
    for stage in project.stages:
        list(encord.tasks(project, stage))
    assert list(encord.rows(system.project, {}))
    assert encord.ontology(system.project)["objects"]
    assert handshakes == [host(system)]


def test_the_connections_of_an_invocation_are_not_used_by_the_next(
    system: CatalogSystem, handshakes: list[str]
) -> None:
    for _ in range(2):
        handshakes.clear()
        system.catalog({"action": "probe", "project_hash": system.project})
        assert host(system) in handshakes


@pytest.mark.parametrize("wrong", ["an unknown authority", "another name"])
def test_a_certificate_that_cannot_be_verified_is_refused(
    system: CatalogSystem, feeds: Feeds, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    if wrong == "another name":
        addresses = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _name, *rest, **how: addresses(host(system), *rest, **how))
        encord = feeds(system.stand_in.url.replace(host(system), "other.example"))
    else:
        monkeypatch.delenv("SSL_CERT_FILE")
        encord = feeds(trusted=False)
    with pytest.raises(RetryableError):
        encord.projects([system.project])
    with pytest.raises(RetryableError):
        list(encord.rows(system.project, {}))


def fault(system: CatalogSystem, **rule: Any) -> None:
    system.stand_in.control("POST", "faults", {"path": "/public", **rule})


def test_a_refused_listing_is_requested_again_after_the_pause_that_encord_asks_for(
    system: CatalogSystem, feeds: Feeds, slept: list[float]
) -> None:
    fault(system, status=503, retry_after=7, count=1)
    assert list(feeds().rows(system.project, {}))
    assert slept == [7.0]


def test_a_listing_that_stays_refused_is_an_error_after_some_tries(
    system: CatalogSystem, feeds: Feeds, slept: list[float]
) -> None:
    fault(system, status=503)
    with pytest.raises(RetryableError) as caught:
        list(feeds().rows(system.project, {}))
    assert caught.value.reason == "encord_unavailable"
    assert len(slept) == source.TRIES - 1
    assert slept == sorted(slept)


def test_a_key_that_is_refused_is_read_again_once(system: CatalogSystem, feeds: Feeds) -> None:
    fault(system, envelope_error="AUTHENTICATION_ERROR", count=1)
    assert list(feeds().rows(system.project, {}))
    fault(system, envelope_error="AUTHENTICATION_ERROR")
    with pytest.raises(KeyRefusedError):
        list(feeds().rows(system.project, {}))


def test_a_listing_that_is_too_large_or_too_slow_is_not_a_failure_of_encord(
    system: CatalogSystem, feeds: Feeds
) -> None:
    with pytest.raises(TooLargeError):
        list(feeds(size=100).rows(system.project, {}, bounded=True))
    fault(system, latency_ms=1500)
    with pytest.raises(TooLargeError):
        list(feeds(seconds=0.2).rows(system.project, {}, bounded=True))


def test_an_unreachable_encord_is_retryable(system: CatalogSystem, feeds: Feeds) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = feeds(f"https://localhost:{unused.getsockname()[1]}")
        with pytest.raises(RetryableError, match="ConnectionError"):
            list(nowhere.rows(system.project, {}))
        with pytest.raises(RetryableError, match="ConnectionError"):
            nowhere.raw(system.project, *LISTING)


def test_a_raw_response_is_truncated(system: CatalogSystem, feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MOST_RAW", 100)
    monkeypatch.setattr(source, "_PIECE", 64)
    answer = feeds().raw(system.project, *LISTING)
    assert answer.status == 200
    assert 100 < len(answer.body) < 300


def test_a_project_is_looked_up_if_no_run_has_before(system: CatalogSystem, feeds: Feeds) -> None:
    reader = feeds()
    (project,) = reader.projects([system.project])
    reader.forget()
    (final,) = [stage for stage in project.stages if stage.kind == "DONE"]
    assert len(list(reader.tasks(project, final))) == len(reader.task_times(project, final, 1000)) > 0


@pytest.mark.parametrize(
    ("status", "error"), [(403, PermanentError), (404, PermanentError), (429, RetryableError), (500, RetryableError)]
)
def test_a_status_without_an_envelope_is_classified(
    system: CatalogSystem, feeds: Feeds, status: int, error: type[ExportError]
) -> None:
    fault(system, status=status)
    with pytest.raises(error):
        list(feeds().rows(system.project, {}))
