"""The stand-in once for this directory, and a new AWS and catalog for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog_system import CatalogAws, CatalogSystem
from encord_harness import Files, StandInProcess, make_files
from index_system import IndexSystem


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("encord"))


@pytest.fixture(scope="session")
def running(files: Files) -> Iterator[StandInProcess]:
    stand_in = StandInProcess(files)
    yield stand_in
    stand_in.stop()


@pytest.fixture(scope="session")
def certificate(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one file with the stand-in's certificate and key, which the small AWS uses too."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(files.certificate.read_bytes() + files.tls_key.read_bytes())
    return path


@pytest.fixture
def aws(certificate: Path) -> Iterator[CatalogAws]:
    server = CatalogAws(certificate)
    with server.running():
        yield server


@pytest.fixture
def system(aws: CatalogAws, running: StandInProcess, files: Files, monkeypatch: pytest.MonkeyPatch) -> CatalogSystem:
    running.control("DELETE", "webhooks")
    running.control("POST", "reset")
    return CatalogSystem(aws, running, files, monkeypatch, files.certificate)


@pytest.fixture
def index(system: CatalogSystem) -> IndexSystem:
    return IndexSystem(system)
