"""Structured logs and metrics on standard output, which Lambda takes to CloudWatch.

One JSON object a line. Metrics are in the embedded metric format:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
Powertools for AWS Lambda would do the same with more to load; why not: docs/decisions/0006-a-lean-handler.md.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TextIO

NAMESPACE = "LabelExport"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_MOST_VALUES = 100  # of one metric in one line: EMF's limit

_UNITS = {"Milliseconds": "Milliseconds", "Seconds": "Seconds", "Bytes": "Bytes", "Share": "None"}


class Telemetry:
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
        self._dimensions = dict(dimensions)
        self._threshold = LEVELS.index(level)
        self._request_id = request_id
        self._stream = stream or sys.stdout
        self._now = now
        self._lock = threading.Lock()
        self._values: dict[str | None, dict[str, list[float]]] = {}

    def log(self, level: Level, event: str, **fields: object) -> None:
        """Write one line; fields that are None are left out.

        `event` is a constant snake_case name. Programs search for it (playbooks/verify.yml and status.yml do).
        """
        if LEVELS.index(level) >= self._threshold:
            self.record(level, event, **fields)

    def record(self, level: Level, event: str, **fields: object) -> None:
        """Write one line as `log` does, whatever the log level: for what must be found again, such as a lost hash."""
        given = {name: value for name, value in fields.items() if value is not None}
        about = {"level": level, "event": event, "message": event.replace("_", " "), "request_id": self._request_id}
        self._write({**about, **{name.lower(): value for name, value in self._dimensions.items()}, **given})

    def measure(self, name: str, value: float) -> None:
        """Note one value of a metric. The end of its name is its unit (_UNITS); any other name is a count."""
        self._note(None, name, value)

    def count(self, name: str, reason: str | None = None) -> None:
        """Add one to a metric, and to the one with `reason` as a dimension if there is one."""
        self._note(None, name, 1)
        if reason is not None:
            self._note(reason, name, 1)

    def flush(self) -> None:
        """Write what was measured, one line for each reason, more where a metric has more than a hundred values."""
        with self._lock:
            values, self._values = self._values, {}
        for reason, metrics in values.items():
            dimensions = self._dimensions if reason is None else {**self._dimensions, "Reason": reason}
            for found in _lines(metrics):
                definitions = [{"Name": name, "Unit": _unit(name)} for name in found]
                directive = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": definitions}
                about = {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [directive]}
                self._write({"_aws": about, **dimensions, **found})

    def _note(self, reason: str | None, name: str, value: float) -> None:
        with self._lock:
            self._values.setdefault(reason, {}).setdefault(name, []).append(value)

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, default=str)
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()


def _unit(name: str) -> str:
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "Count")


def _lines(metrics: Mapping[str, list[float]]) -> Iterator[dict[str, float | list[float]]]:
    """Give the values line by line: counts as sums, measured values apart, so that percentiles mean something."""
    counts = {name: sum(seen) for name, seen in metrics.items() if _unit(name) == "Count"}
    measured = {name: [round(value, 1) for value in seen] for name, seen in metrics.items() if name not in counts}
    longest = max(map(len, measured.values()), default=1)
    for begin in range(0, longest, _MOST_VALUES):
        part = {name: seen[begin : begin + _MOST_VALUES] for name, seen in measured.items() if len(seen) > begin}
        yield {**(counts if begin == 0 else {}), **part}
