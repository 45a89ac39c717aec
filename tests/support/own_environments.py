"""Environments of Python packages that only single tests need, and that may conflict with Ansible's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def own_environment(name: str) -> Path:
    """Return the Python of an environment from locks/<name>.txt, which is kept in .local/cache."""
    lock = ROOT / "locks" / f"{name}.txt"
    digest = hashlib.sha256(sys.version.encode() + lock.read_bytes()).hexdigest()
    folder = ROOT / ".local" / "cache" / name
    marker, python = folder / ".installed", folder / "bin" / "python"
    if not marker.is_file() or marker.read_text() != digest:
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "--requirement"]
        subprocess.run([*install, str(lock)], check=True)
        marker.write_text(digest)
    return python
