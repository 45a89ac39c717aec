"""The module that keeps a process running: it starts one, leaves it running, and never ends another one."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[3]
SPEC = importlib.util.spec_from_file_location(
    "background_process", ROOT / "roles/local_stack/library/background_process.py"
)
assert SPEC
assert SPEC.loader
module = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(module)
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


class Process:
    """The module with its own record and log."""

    def __init__(self, directory: Path) -> None:
        self.record = directory / "process.json"
        self.log = directory / "process.log"

    def run(self, state: str = "started", *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module as Ansible would; return its result."""
        arguments = {"state": state, "record": str(self.record), "log": str(self.log), "argv": SLEEPER, **options}
        output = io.StringIO()
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check}),
            redirect_stdout(output),
            pytest.raises(SystemExit),
        ):
            module.main()
        result: dict[str, Any] = json.loads(output.getvalue())
        return result


@pytest.fixture(name="process")
def a_process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    process.run("stopped")


@pytest.fixture(name="stranger")
def a_stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that the module did not start."""
    stranger = subprocess.Popen(SLEEPER, start_new_session=True)
    yield stranger
    stranger.kill()
    stranger.wait()


def test_a_process_is_started_once(process: Process) -> None:
    first = process.run()
    assert first["changed"]
    assert module.birth(first["pid"])
    assert process.record.stat().st_mode & 0o777 == 0o600
    again = process.run()
    assert (again["changed"], again["pid"]) == (False, first["pid"])


def test_a_changed_configuration_restarts_the_process(process: Process) -> None:
    first = process.run()
    second = process.run(secret_environment={"TOKEN": "other"})
    assert (second["changed"], second["reason"]) == (True, "configuration changed")
    assert module.birth(first["pid"]) is None
    assert module.birth(second["pid"])


def test_a_watched_file_that_changes_restarts_it(process: Process, tmp_path: Path) -> None:
    watched = tmp_path / "server.py"
    watched.write_text("one")
    process.run(watched_paths=[str(watched)])
    assert not process.run(watched_paths=[str(watched)])["changed"]
    watched.write_text("two")
    assert process.run(watched_paths=[str(watched)])["changed"]


def test_a_process_is_stopped_once(process: Process) -> None:
    pid = process.run()["pid"]
    assert process.run("stopped")["changed"]
    assert module.birth(pid) is None
    assert not process.record.exists()
    assert not process.run("stopped")["changed"]


def test_check_mode_reports_the_change_and_does_nothing(process: Process) -> None:
    assert process.run(check=True)["changed"]
    assert not process.record.exists()
    pid = process.run()["pid"]
    assert process.run("stopped", check=True)["changed"]
    assert module.birth(pid)


def test_a_process_that_died_is_started_again(process: Process) -> None:
    pid = process.run()["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    again = process.run()
    assert (again["changed"], again["reason"]) == (True, "not running")
    assert again["pid"] != pid


def test_a_process_that_waits_to_be_reaped_counts_as_ended(process: Process) -> None:
    pid = process.run()["pid"]
    os.kill(pid, signal.SIGKILL)
    # Waits for its end without reaping it.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert module.birth(pid) is None
        assert process.run()["changed"]
    finally:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_another_process_with_the_same_id_is_not_touched(
    state: str, process: Process, stranger: subprocess.Popen[bytes]
) -> None:
    process.run()
    record = json.loads(process.record.read_text())
    of_ours = record["pid"]
    # Two processes that start in succession can have the same start time; this test is older.
    process.record.write_text(json.dumps({**record, "pid": stranger.pid, "birth": module.birth(os.getpid())}))
    try:
        assert process.run(state)["changed"] == (state == "started")
        assert stranger.poll() is None
    finally:
        os.kill(of_ours, signal.SIGKILL)
        os.waitpid(of_ours, 0)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "birth": "y"}'])
def test_an_unreadable_record_counts_as_missing(text: str, process: Process) -> None:
    process.record.write_text(text)
    assert process.run()["changed"]


def test_a_process_that_ends_at_once_is_a_failure_with_its_last_output(process: Process) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    # It is awaited on a port that it never serves.
    result = process.run(
        argv=[sys.executable, "-c", "import sys; sys.exit('no such luck')"], listen_on=["127.0.0.1"], listen_port=port
    )
    assert result["failed"]
    assert "ended with exit code 1" in result["msg"]
    assert "no such luck" in result["msg"]
    assert not process.record.exists()
