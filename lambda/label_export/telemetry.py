"""Structured logs and metrics of the exporter on standard output, with reasons as dimensions of metrics."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

from label_export.core.log_writer import LogWriter, unit

_MOST_VALUES = 100  # of one metric in one line: EMF's limit


class Telemetry(LogWriter):
    """Logs and metrics of one invocation; safe to share between threads.

    Callers pass hashes, sizes, times and reasons: never payloads, label content, tokens, signatures or keys.
    """

    def __init__(
        self,
        dimensions: Mapping[str, str],
        *,
        level: str = "INFO",
        request_id: str = "",
        stream: TextIO | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`dimensions` are the metrics' (and in the logs): the deployment's name and environment."""
        super().__init__(dimensions, level=level, request_id=request_id, stream=stream or sys.stdout, now=now)
        self._values: dict[str | None, dict[str, list[float]]] = {}

    def measure(self, name: str, value: float) -> None:
        """Record one value of a metric. The end of its name is its unit (log_writer.py), otherwise a count."""
        self._note(None, name, value)

    def count(self, name: str, reason: str | None = None) -> None:
        """Add one to a metric, and to the one with `reason` as a dimension if there is one."""
        self._note(None, name, 1)
        if reason is not None:
            self._note(reason, name, 1)

    def flush(self) -> None:
        """Write the metrics, one line for each reason, more if a metric has more than a hundred values."""
        with self._lock:
            values, self._values = self._values, {}
        for reason, metrics in values.items():
            more = {} if reason is None else {"Reason": reason}
            for found in _lines(metrics):
                self._write_metrics(found, more, [[*self._dimensions, *more]])

    def _note(self, reason: str | None, name: str, value: float) -> None:
        with self._lock:
            self._values.setdefault(reason, {}).setdefault(name, []).append(value)


def _lines(metrics: Mapping[str, list[float]]) -> Iterator[dict[str, float | list[float]]]:
    """Yield the values line by line: counts as sums, measured values individually, so that percentiles are right."""
    counts = {name: sum(seen) for name, seen in metrics.items() if unit(name) == "Count"}
    measured = {name: [round(value, 1) for value in seen] for name, seen in metrics.items() if name not in counts}
    longest = max(map(len, measured.values()), default=1)
    for begin in range(0, longest, _MOST_VALUES):
        part = {name: seen[begin : begin + _MOST_VALUES] for name, seen in measured.items() if len(seen) > begin}
        yield {**(counts if begin == 0 else {}), **part}
