"""Collects an answer's body: a small one in memory, a large one in a mapped file, both within bounds."""

from __future__ import annotations

import mmap
import tempfile
import threading
import weakref
from collections.abc import Iterator

from label_export.core.errors import PermanentError, RetryableError
from label_export.core.ports import Buffer


class Spool:
    """Bounds for bodies: bytes of one body in memory, bytes of all bodies in files. Thread-safe."""

    def __init__(self, memory_limit: int, spool_limit: int, directory: str | None = None) -> None:
        self._memory_limit = memory_limit
        self._spool_limit = spool_limit
        self._directory = directory
        self._lock = threading.RLock()  # the garbage collector may release space in the thread that is reserving
        self._spooled = 0

    def collect(self, chunks: Iterator[bytes]) -> Buffer:
        """Return the whole body as one buffer.

        A buffer on a file releases its space with the last reference to it. The file has no name.
        Raises PermanentError("row_too_large") beyond the bounds, RetryableError("spool_busy") if others use the space.
        """
        whole = bytearray()
        for chunk in chunks:
            if len(whole) + len(chunk) > self._memory_limit:
                return self._to_file(whole, chunk, chunks)
            whole += chunk
        return memoryview(whole)

    def _to_file(self, begun: bytearray, chunk: bytes, chunks: Iterator[bytes]) -> Buffer:
        size = 0
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                for piece in (begun, chunk):
                    size = self._take(size, len(piece))
                    file.write(piece)
                begun.clear()
                for piece in chunks:
                    size = self._take(size, len(piece))
                    file.write(piece)
                file.flush()
                mapped = mmap.mmap(
                    file.fileno(), 0, access=mmap.ACCESS_COPY
                )  # the reader may write to it (envelope.py)
        except BaseException as error:
            self._give_back(size)
            if isinstance(error, OSError) and error.errno is not None:
                problem = f"the label row cannot be kept in /tmp: {error.strerror}"
                raise PermanentError(
                    "spool_failed", f"{problem}; if it is full, raise export_function_ephemeral_storage"
                ) from None
            raise
        weakref.finalize(mapped, self._give_back, size)
        return memoryview(mapped)

    def _take(self, size: int, more: int) -> int:
        if size + more > self._spool_limit:
            raise PermanentError(
                "row_too_large",
                f"the label row is larger than {self._spool_limit} bytes (LABEL_EXPORT_SPOOL_LIMIT_BYTES)",
            )
        with self._lock:
            if self._spooled + more > self._spool_limit:
                raise RetryableError(
                    "spool_busy", "other giant label rows fill /tmp (export_function_spool_limit_bytes)"
                )
            self._spooled += more
        return size + more

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._spooled -= size
