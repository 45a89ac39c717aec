"""The stand-in, started once for all tests of this directory, and the unmodified SDK as its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord import EncordUserClient
from encord.http.constants import RequestsSettings
from encord_harness import Files, RawCaller, StandInProcess, make_files, private_key_text


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("encord"))


@pytest.fixture(scope="session")
def running(files: Files) -> Iterator[StandInProcess]:
    stand_in = StandInProcess(files)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def stand_in(running: StandInProcess) -> StandInProcess:
    """Return the stand-in, reset to its initial state."""
    running.control("DELETE", "webhooks")
    running.control("POST", "reset")
    return running


@pytest.fixture
def new_stand_in(tmp_path: Path) -> Iterator[Callable[..., StandInProcess]]:
    """Start a separate stand-in; it is stopped at the end of the test."""
    started: list[StandInProcess] = []

    def start(
        *more: str, tls: bool = True, files: Files | None = None, shutdown_seconds: int | None = None
    ) -> StandInProcess:
        files = files or make_files(tmp_path)
        started.append(StandInProcess(files, *more, tls=tls, shutdown_seconds=shutdown_seconds))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.stop()


@pytest.fixture
def client_for(files: Files, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EncordUserClient]:
    """Return a client of the unmodified SDK without retries: one call is one request."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files.certificate))
    settings = RequestsSettings(max_retries=0, connection_retries=0, connect_timeout=60, read_timeout=60)

    def make(url: str, key: Ed25519PrivateKey | None = None) -> EncordUserClient:
        text = private_key_text(key or files.key)
        return EncordUserClient.create_with_ssh_private_key(text, domain=url, requests_settings=settings)

    return make


@pytest.fixture
def client(stand_in: StandInProcess, client_for: Callable[..., EncordUserClient]) -> EncordUserClient:
    return client_for(stand_in.url)


@pytest.fixture
def caller(stand_in: StandInProcess, files: Files) -> RawCaller:
    return RawCaller(stand_in, files.key)
