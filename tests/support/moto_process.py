"""Moto's server as a process of a test: an AWS that this repository neither wrote nor patches."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "locks" / "moto.txt"
ACCOUNT = "123456789012"  # Moto's own
START_SECONDS = 120


def environment() -> Path:
    """Return the directory of Moto's own environment, created from its lock: its packages conflict with Ansible's."""
    digest = hashlib.sha256(sys.version.encode() + LOCK.read_bytes()).hexdigest()
    folder = ROOT / ".local" / "cache" / "moto"
    marker = folder / ".installed"
    if not marker.is_file() or marker.read_text() != digest:
        uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "--requirement"]
        subprocess.run([*install, str(LOCK)], check=True)
        marker.write_text(digest)
    return folder


@contextmanager
def moto(log: Path) -> Iterator[str]:
    """Run Moto's server while the block runs; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(environment() / "bin" / "moto_server"), "--host=127.0.0.1", f"--port={port}"]
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
