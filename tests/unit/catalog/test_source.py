"""The catalog's reads from Encord, when Encord refuses, is slow or is missing: classified, bounded, without secrets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from catalog_system import CatalogSystem
from encord_harness import private_key_text
from label_catalog.adapters.encord import source
from label_catalog.adapters.encord.source import EncordFeeds
from label_catalog.core.model import TooLargeError
from label_export.core.errors import ExportError, KeyRefusedError, PermanentError, RetryableError

Feeds = Callable[..., EncordFeeds]
LISTING = ("labelrowmetadata", None, {"include_workflow_graph_node": True})


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def feeds(system: CatalogSystem, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> Feeds:
    """Return a reader of the stand-in, or of another address, that records its pauses and does not sleep."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(system.bundle))

    def made(domain: str = system.stand_in.url, *, seconds: float = 30, size: int = 1 << 30) -> EncordFeeds:
        def key() -> tuple[str, str | None]:
            return private_key_text(system.files.key), None

        return EncordFeeds(key, domain, listing_seconds=seconds, listing_bytes=size, sleep=slept.append)

    return made


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
