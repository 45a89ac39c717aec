"""Watches how much a process has in its temporary folder: what a function's ephemeral storage has to hold."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path

_INTERVAL = 0.2


class Spilled:
    """Gives the process a temporary folder of its own, and notes the most bytes in it; use as a context manager."""

    def __init__(self) -> None:
        self.most = 0
        self._before = tempfile.tempdir
        self._folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Spilled:
        """Begin."""
        tempfile.tempdir = str(self._folder)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End, and remove the folder."""
        self._ended.set()
        self._thread.join()
        tempfile.tempdir = self._before
        shutil.rmtree(self._folder, ignore_errors=True)

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self.most = max(self.most, _bytes(self._folder))


def _bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512
            except OSError:  # it was removed meanwhile
                continue
    return total
