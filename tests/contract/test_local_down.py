"""`make down` ends the recorded processes and containers, whatever the environment of its shell contains."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS, ANOTHER = "localhost:4766/label-export-local:1", "localhost:4566/label-export-local:1"


class Engine(BaseHTTPRequestHandler):
    """A container engine with an image for each of two stacks."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer the requests that the Docker client makes before it removes something."""
        path = unquote(self.path)
        self.asked.append(path)
        answers = {
            "/version": {"ApiVersion": "1.41", "MinAPIVersion": "1.12"},
            "/info": {"OSType": "linux"},
            "/images/json": [{"Id": "a", "RepoTags": [OURS]}, {"Id": "b", "RepoTags": [ANOTHER]}],
            "/images/a/json": {"Id": "a", "RepoTags": [OURS], "RepoDigests": []},
            f"/images/{OURS}/json": {"Id": "a", "RepoTags": [OURS], "RepoDigests": []},
            "/containers/json": [],
        }
        for end, answer in answers.items():
            if path.partition("?")[0].endswith(end):
                return self.answer(200, answer)
        return self.answer(200 if path.endswith("/_ping") else 404, {"message": "not found"})

    def do_DELETE(self) -> None:
        """Record what is removed."""
        self.asked.append(f"DELETE {unquote(self.path)}")
        self.answer(200, [])

    def answer(self, status: int, value: object) -> None:
        """Send an answer in JSON."""
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    Engine.asked.clear()
    address = tmp_path / "engine.sock"
    with socketserver.ThreadingUnixStreamServer(str(address), Engine) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"unix://{address}"
        server.shutdown()


def down(directory: Path, **variables: str) -> None:
    """End the stack whose state is in a directory."""
    result = subprocess.run(
        ["ansible-playbook", "playbooks/local_down.yml", "-e", f"local_stack_directory={directory}"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_recorded_processes_are_ended(engine: str, tmp_path: Path) -> None:
    state = tmp_path / "local" / "state"
    state.mkdir(parents=True)
    (state / "started.json").write_text(json.dumps({"aws_port": 4766, "docker_host": engine}))
    down(state.parent, DOCKER_HOST="unix:///nowhere.sock", LOCAL_STACK_AWS_PORT="4566")
    removed = [line for line in Engine.asked if line.startswith("DELETE")]
    assert len(removed) == 1
    assert OURS in removed[0]
    assert any("ministack.instance=" in line and ":4766" in line for line in Engine.asked)
    assert not state.exists()


def test_if_nothing_was_started_no_engine_is_contacted(engine: str, tmp_path: Path) -> None:
    down(tmp_path / "local", DOCKER_HOST=engine)
    assert Engine.asked == []
