"""The two handlers, each with its dependencies as in its image, and the processes that run them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PACKAGE = ROOT / "lambda" / "label_export"
LOCK = ROOT / "lambda" / "requirements.lock"
FUNCTION_PYTHON = tuple(map(int, (ROOT / "lambda" / "python-version").read_text("ascii").split(".")))


class MeasurementError(Exception):
    """Why nothing could be measured, and what to do."""


@dataclass(frozen=True)
class Took:
    """The cost of one event: seconds of wall clock and of CPU (user and system), and the peak memory so far."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    failed: int


@dataclass(frozen=True)
class Contender:
    """A handler: its module, the folder that stands for /var/task, and its environment."""

    name: str
    python: Path
    module: str
    task_root: Path
    environment: Mapping[str, str]

    def with_environment(self, name: str, **variables: str) -> Contender:
        """Return the same handler under another name, with more environment variables."""
        return Contender(name, self.python, self.module, self.task_root, {**self.environment, **variables})


class Worker:
    """A process that runs a contender's handler."""

    def __init__(self, contender: Contender) -> None:
        self._name = contender.name
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(contender.task_root),
            "PYTHONPATH": str(contender.task_root),
            "PYTHONDONTWRITEBYTECODE": "1",  # in Lambda the image is read-only
            **contender.environment,
        }
        self._process = subprocess.Popen(
            [contender.python, "-s", "-P", HERE / "worker.py", contender.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    @contextmanager
    def anonymous(self) -> Iterator[list[int]]:
        """Record the process's memory that belongs to no file, every few milliseconds, until the end."""
        seen: list[int] = []
        status = Path(f"/proc/{self._process.pid}/status")
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.005):
                seen.extend(
                    int(found) * 1024 for found in re.findall(r"RssAnon:\s*(\d+) kB", status.read_text("ascii"))
                )

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()

    def call(self, event: Mapping[str, Any]) -> Took:
        """Let the handler process an event."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementError(f"{self._name} ended without an answer; its error is above")
        took = Took(**json.loads(line))
        if took.failed:
            raise MeasurementError(f"{self._name} did not store {took.failed} label(s) of an event")
        return took


def cold(contender: Contender, event: Mapping[str, Any]) -> tuple[float, Took]:
    """Return the seconds from the start of a process to the response of its first event, and that event's cost."""
    began = time.perf_counter()
    with Worker(contender) as worker:
        took = worker.call(event)
        return time.perf_counter() - began, took


def function_python() -> Path:
    """Return a Python of the function's version, or this one."""
    name = f"python{FUNCTION_PYTHON[0]}.{FUNCTION_PYTHON[1]}"
    versions = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob(f"{name[6:]}*"))
    candidates = [shutil.which(name), *(version / "bin" / "python" for version in versions), _python_of_uv()]
    for candidate in candidates:
        if candidate is not None and python_version(Path(candidate))[:2] == FUNCTION_PYTHON:
            return Path(candidate)
    return Path(sys.executable)


def python_version(python: Path) -> tuple[int, ...]:
    """Return an interpreter's version; empty if it does not run (for example a shim of pyenv)."""
    code = "import sys; print(*sys.version_info[:3])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return tuple(int(part) for part in found.stdout.split()) if found.returncode == 0 else ()


def _python_of_uv() -> str | None:
    version = f"{FUNCTION_PYTHON[0]}.{FUNCTION_PYTHON[1]}"
    found = _uv("python", "find", "--no-python-downloads", version)
    return found.stdout.strip() or None


def lay_out_exporter(folder: Path, python: Path) -> Path:
    """Lay out our function's /var/task, as the Dockerfile's target `source` does; return it."""
    task_root = folder / "exporter"
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    _install(task_root, python, [*options, f"--requirement={LOCK}"], LOCK.read_text())
    shutil.rmtree(task_root / PACKAGE.name, ignore_errors=True)
    shutil.copytree(PACKAGE, task_root / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return task_root


def lay_out_compiled(task_root: Path, python: Path) -> Path:
    """Return a copy of a laid out /var/task with bytecode beside it, as the Dockerfile's target `compiled` makes it."""
    compiled = task_root.with_name(f"{task_root.name}-compiled")
    shutil.rmtree(compiled, ignore_errors=True)
    shutil.copytree(task_root, compiled)
    _compile(compiled, python)
    return compiled


def _compile(folder: Path, python: Path) -> None:
    subprocess.run([python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder], check=True)


def lay_out_doc_style(folder: Path, python: Path) -> Path:
    """Lay out the baseline's /var/task; with bytecode, since pip makes it in an image's build. Return it."""
    task_root = folder / "doc-style"
    pinned = re.findall(r"^(?:encord|boto3)==.*$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    _install(task_root, python, ["--compile-bytecode", *pinned], "\n".join(pinned))
    shutil.copy(HERE / "doc_style_handler.py", task_root)
    return task_root


def added_bytes(folder: Path, python: Path) -> dict[str, int]:
    """Return the unpacked size of everything that our image has beyond its base, by top-level name.

    Laid out by the same commands as in roles/handler_image and the Dockerfile, for this machine's architecture.
    """
    target = folder / "image"
    shutil.rmtree(target, ignore_errors=True)
    machine = "aarch64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
    _checked_uv(
        *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        f"--python-version={FUNCTION_PYTHON[0]}.{FUNCTION_PYTHON[1]}",
        f"--python-platform={machine}-manylinux_2_28",
        f"--target={target}",
        f"--requirement={LOCK}",
    )
    shutil.copytree(PACKAGE, target / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    _compile(target, python)
    return {entry.name: _size(entry) for entry in sorted(target.iterdir())}


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _install(target: Path, python: Path, arguments: Sequence[str], content: str) -> None:
    marker = target / ".installed"
    wanted = hashlib.sha256(f"{python_version(python)} {content}".encode()).hexdigest()
    if marker.is_file() and marker.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    _checked_uv("pip", "install", "--quiet", f"--python={python}", f"--target={target}", *arguments)
    marker.write_text(wanted)


def _checked_uv(*arguments: str) -> None:
    done = _uv(*arguments)
    if done.returncode != 0:
        raise MeasurementError(f"uv could not fetch what is measured:\n{done.stderr.strip()}")


def _uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False)
