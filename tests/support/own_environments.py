"""Environments of Python packages that only single tests need, and that may conflict with Ansible's."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".local" / "cache"


def own_environment(name: str, lock: Path | None = None) -> Path:
    """Return the Python of an environment, which is kept in .local/cache.

    Args:
        name: the environment's directory there.
        lock: the packages; the default is locks/<name>.txt.
    """
    lock = lock or ROOT / "locks" / f"{name}.txt"
    digest = hashlib.sha256(sys.version.encode() + lock.read_bytes()).hexdigest()
    folder = CACHE / name
    marker, python = folder / ".installed", folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as one_at_a_time:  # two workers of pytest may need it
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not marker.is_file() or marker.read_text() != digest:
            uv = str(Path(sys.executable).with_name("uv"))
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
            install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "--requirement"]
            subprocess.run([*install, str(lock)], check=True)
            marker.write_text(digest)
    return python
