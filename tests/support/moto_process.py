"""Moto's server as a process of a test: an AWS that this repository neither wrote nor patches."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from own_environments import own_environment

ACCOUNT = "123456789012"  # Moto's own
START_SECONDS = 120


@contextmanager
def moto(log: Path) -> Iterator[str]:
    """Run Moto's server while the block runs; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = own_environment("moto").with_name("moto_server")
    command = [str(program), "--host=127.0.0.1", f"--port={port}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(port, process, log)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers; raises RuntimeError with its log if it does not."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"Moto's server does not answer: {log.read_text()}")
