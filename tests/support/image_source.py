"""The source of the functions' images, for tests that build one."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def source_without_dependencies(folder: Path) -> Path:
    """Return a copy of the source in a folder, whose lock has no packages: they would be downloaded."""
    source = shutil.copytree(ROOT / "lambda", folder / "lambda")
    (source / "requirements.lock").write_text("")
    return source
