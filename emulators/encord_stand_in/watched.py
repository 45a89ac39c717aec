"""A small text file that is read again when it changes."""

from __future__ import annotations

from pathlib import Path


class WatchedFile:
    """Detects changes by modification time, size and inode; a missing file counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._first = True

    def changed_text(self) -> str | None:
        """Return the text at the first call and after each change, otherwise None."""
        try:
            stat = self._path.stat()
            mark: tuple[int, int, int] | None = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except FileNotFoundError:
            mark = None
        if mark == self._seen and not self._first:
            return None
        self._seen, self._first = mark, False
        return self._path.read_text(encoding="utf-8") if mark is not None else ""
