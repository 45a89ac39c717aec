"""The process: addresses, TLS, a port in use, its end, and its log."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from encord_harness import PACKAGE_FOLDER, RawCaller, make_files, private_key_text
from encord_stand_in import faults, times
from encord_stand_in.app import StandIn
from encord_stand_in.control import CONTROL_PREFIX, control_app
from encord_stand_in.keys import KeyRegistry
from encord_stand_in.state import State
from encord_stand_in.webhooks import Form, SigningSecrets

ALL_ADDRESSES = ".".join("0000")
LISTING = json.dumps({"query_type": "labelrowmetadata", "query_method": "GET", "values": {"uid": None, "payload": {}}})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=str(PACKAGE_FOLDER))
    command = [sys.executable, "-m", "encord_stand_in", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_it_listens_on_the_addresses_it_is_given_with_one_port(new_stand_in: Callable[..., Any]) -> None:
    stand_in = new_stand_in("--bind", "127.0.0.1", "--bind", "127.0.0.2")
    assert len(stand_in.urls) == 2
    assert len({url.rsplit(":", 1)[1] for url in stand_in.urls}) == 1
    for url in stand_in.urls:
        assert stand_in.session.get(f"{url}/_stand_in/health", timeout=60).json()["status"] == "ok"
    port = int(stand_in.url.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.3", port), timeout=2):
        pass


def test_serves_plain_http_without_a_certificate(new_stand_in: Callable[..., Any]) -> None:
    stand_in = new_stand_in(tls=False)
    assert stand_in.url.startswith("http://")
    assert stand_in.control("GET", "health")["status"] == "ok"


def test_tls_is_verifiable_and_not_plain(stand_in: Any) -> None:
    assert stand_in.url.startswith("https://")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{stand_in.url}/_stand_in/health", timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_even_with_open_connections(
    new_stand_in: Callable[..., Any], number: signal.Signals
) -> None:
    # A server that waits for idle connections to close takes 30 s with TLS (asyncio), or ten minutes here without it.
    stand_in = new_stand_in(shutdown_seconds=600)
    stand_in.control("GET", "health")  # its connection stays open
    stand_in.process.send_signal(number)
    assert stand_in.process.wait(timeout=25) == 0


def test_a_port_in_use_is_reported_in_one_line(stand_in: Any) -> None:
    port = stand_in.url.rsplit(":", 1)[1]
    result = run("--port", port, "--public-key-file", str(stand_in.files.public_keys))
    assert result.returncode == 1
    assert result.stderr == (
        f"encord_stand_in: cannot listen on 127.0.0.1 port {port}: Address already in use;"
        " choose another port with --port\n"
    )


def test_an_address_of_another_machine_is_reported_in_one_line(files: Any) -> None:
    result = run("--port", "0", "--bind", "192.0.2.1", "--public-key-file", str(files.public_keys))
    assert result.returncode == 1
    assert result.stderr.startswith("encord_stand_in: cannot listen on 192.0.2.1 port 0: Cannot assign requested")
    assert result.stderr.endswith("choose another with --bind\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--public-key-file", "/nonexistent"], "--public-key-file: no such file: /nonexistent"),
        (["--public-key-file", "FILE", "--certificate", "FILE"], "--certificate and --key go together"),
        (["--public-key-file", "FILE", "--bind", ALL_ADDRESSES], "does not listen on all addresses"),
        (["--public-key-file", "FILE", "--webhook-secret-file", "/nonexistent"], "--webhook-secret-file: no such"),
        ([], "--public-key-file"),
    ],
)
def test_invalid_arguments_are_refused_by_name(files: Any, arguments: list[str], message: str) -> None:
    result = run(*(str(files.public_keys) if item == "FILE" else item for item in arguments))
    assert result.returncode == 2
    assert message in result.stderr


def test_a_secret_is_made_when_no_file_is_given(files: Any) -> None:
    first, second = SigningSecrets(None), SigningSecrets(None)
    assert first.current() == first.current() != second.current()
    assert len(first.current()) == 64


def test_the_log_contains_no_bodies_keys_or_signatures(new_stand_in: Callable[..., Any], tmp_path: Path) -> None:
    files = make_files(tmp_path)
    stand_in = new_stand_in(files=files)
    caller = RawCaller(stand_in, files.key)
    headers = caller.legacy_headers(LISTING)
    assert caller.legacy(LISTING, headers).status_code == 200
    assert caller.legacy(LISTING, headers | {"Authorization": "canary:in-a-header"}).status_code == 200
    assert caller.legacy(LISTING.replace("labelrowmetadata", "Canary\\ncanary")).json()["status"] == 405
    assert stand_in.session.get(f"{stand_in.url}/v2/public/projects?canary=in-a-query", timeout=60).status_code == 401
    stand_in.control("POST", "webhooks", {"url": "http://127.0.0.1:9/canary-in-a-path"})
    label_hash = stand_in.row("image")["label_hash"]
    stand_in.control("POST", "complete-task", {"label_hash": label_hash})
    stand_in.stop()
    log = files.log.read_text()
    assert "POST /public labelrowmetadata/GET status=200" in log
    key, signature = headers["Authorization"].split(":")
    secret = files.secrets.read_text().strip()
    for text in (
        "canary",
        "Canary",
        key,
        signature,
        secret,
        "crossing",
        label_hash,
        *private_key_text(files.key).split()[4:-4],
    ):
        assert text not in log


@pytest.mark.parametrize(
    ("client", "status"),
    [("127.0.0.1", 200), ("127.8.9.1", 200), ("::1", 200), ("172.17.0.2", 403), ("10.0.0.1", 403), ("", 403)],
)
def test_the_control_api_answers_loopback_clients_only(files: Any, client: str, status: int) -> None:
    answered, body = control_answer(StandIn(state_of(files)), client)
    assert answered == status
    assert (b"label_rows" in body) == (status == 200)


@pytest.mark.parametrize(("token", "status"), [(b"right", 200), (b"wrong", 403), (b"", 403), (None, 403)])
def test_the_control_api_requires_its_token(files: Any, token: bytes | None, status: int) -> None:
    stand_in = StandIn(state_of(files), "right")
    headers = [] if token is None else [(b"x-control-token", token)]
    answered, body = control_answer(stand_in, headers=headers)
    assert answered == status
    assert (b"label_rows" in body) == (status == 200)
    assert control_answer(stand_in, path="/_stand_in/health")[0] == 200


def state_of(files: Any) -> State:
    return State(KeyRegistry(files.public_keys), SigningSecrets(None), None)


def control_answer(
    stand_in: StandIn, client: str = "127.0.0.1", path: str = "/_stand_in/projects", headers: Any = ()
) -> tuple[int, bytes]:
    """Return status and body of the control API's response to a client with this address."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": list(headers), "client": (client, 1), "server": ("127.0.0.1", 1),
        "scheme": "https", "root_path": "", "http_version": "1.1", "state": {},
    }  # fmt: skip
    asyncio.run(stand_in(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("path", ["nothing", "label-rows/00000000-0000-4000-8000-000000000000"])
def test_an_unknown_path_is_404(stand_in: Any, path: str) -> None:
    assert stand_in.session.get(f"{stand_in.url}/_stand_in/{path}", timeout=60).status_code == 404


def test_reset_restores_the_initial_state(stand_in: Any) -> None:
    before = stand_in.control("GET", "projects")
    row = stand_in.row("video")
    bytes_before = stand_in.row_bytes(row["label_hash"])
    stand_in.control("POST", "complete-task", {"label_hash": row["label_hash"]})
    stand_in.control("POST", "complete-task", {"data_hash": stand_in.row("uninitialised")["data_hash"],
                                               "initialise": True})  # fmt: skip
    stand_in.control("DELETE", f"label-rows/{stand_in.row('audio')['label_hash']}")
    stand_in.control("POST", "settings", {"row_whitespace": "spaced"})
    stand_in.control("POST", "faults", {"status": 503})
    stand_in.control("POST", "access", {"project_hash": stand_in.project()["project_hash"], "accessible": False})
    stand_in.control("POST", "reset")
    assert stand_in.control("GET", "projects") == before
    assert stand_in.row_bytes(row["label_hash"]) == bytes_before
    assert stand_in.control("GET", "faults") == {"faults": []}


def test_the_readme_names_every_option_route_setting_and_fault(stand_in: Any) -> None:
    readme = (PACKAGE_FOLDER / "encord_stand_in" / "README.md").read_text(encoding="utf-8")
    offline = State(KeyRegistry(stand_in.files.public_keys), SigningSecrets(None), None)
    options = set(re.findall(r"--[a-z-]+", run("--help").stdout)) - {"--help"}
    routes = {route.path.removeprefix(CONTROL_PREFIX).split("/")[0] for route in control_app(offline).routes}
    fields = set(stand_in.control("GET", "settings")) | {field.name for field in dataclasses.fields(Form)}
    named = options | routes | fields | faults.KEYS | set(times.TIME_FORMS)
    assert len(named) > 50
    assert {name for name in named if name not in readme} == set()
