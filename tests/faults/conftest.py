"""Servers for the whole session behind proxies, and a new function for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from encord_harness import StandInProcess, make_files, public_key_text
from exported_system import Servers, System
from fault_proxy import FaultProxy
from label_export import handler, retry
from ministack_process import MiniStackProcess


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    files = make_files(tmp_path_factory.mktemp("encord"))
    tls = {"certificate": files.certificate, "key": files.tls_key, "ca_file": files.certificate}
    with ExitStack() as running:
        ministack = MiniStackProcess(files, tmp_path_factory.mktemp("ministack"))
        running.callback(ministack.stop)
        stand_in = StandInProcess(files)
        running.callback(stand_in.stop)
        aws = running.enter_context(FaultProxy(ministack.url, **tls).running())
        encord = running.enter_context(FaultProxy(stand_in.url.replace("127.0.0.1", "localhost"), **tls).running())
        yield Servers(ministack, stand_in, aws, encord)


@pytest.fixture
def system(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """Return the function between healthy servers, cold-started, with short pauses between retries."""
    servers.stand_in.files.public_keys.write_text(public_key_text(servers.stand_in.files.key))
    servers.stand_in.control("POST", "reset")
    servers.aws.forget()
    servers.encord.forget()
    made = System(servers)
    for name in ("AWS_LAMBDA_RUNTIME_API", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    handler.application.cache_clear()
    yield made
    handler.application.cache_clear()
