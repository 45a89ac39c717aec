"""Structured logs and metrics, one JSON object per line, which Lambda forwards to CloudWatch.

Metrics are in the embedded metric format:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
Powertools for AWS Lambda would do the same with more to load; why not: docs/decisions/0006-a-lean-handler.md.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TextIO

NAMESPACE = "LabelExport"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_UNITS = {"Milliseconds": "Milliseconds", "Seconds": "Seconds", "Bytes": "Bytes", "Share": "None"}


class LogWriter:
    """Writes the lines of one invocation; safe to share between threads.

    Callers pass hashes, sizes, counts, times and reasons: never payloads, label content, tokens, signatures or keys.
    """

    def __init__(
        self,
        dimensions: Mapping[str, str],
        *,
        level: str,
        request_id: str,
        stream: TextIO,
        now: Callable[[], float],
    ) -> None:
        """`dimensions` are the metrics' (and in the logs): the deployment's name and environment.

        `now` returns Unix seconds.
        """
        self._dimensions = dict(dimensions)
        self._threshold = LEVELS.index(level)
        self._request_id = request_id
        self._stream = stream
        self._now = now
        self._lock = threading.Lock()

    def log(self, level: Level, event: str, **fields: object) -> None:
        """Write one line; fields that are None are left out.

        `event` is a constant snake_case name. Programs search for it (playbooks/verify.yml and status.yml do).
        """
        if LEVELS.index(level) >= self._threshold:
            self.record(level, event, **fields)

    def record(self, level: Level, event: str, **fields: object) -> None:
        """Write one line as `log` does, whatever the log level: for what must be found later, such as a lost hash."""
        given = {name: value for name, value in fields.items() if value is not None}
        about = {"level": level, "event": event, "message": event.replace("_", " "), "request_id": self._request_id}
        self._write({**about, **{name.lower(): value for name, value in self._dimensions.items()}, **given})

    def _write_metrics(
        self,
        values: Mapping[str, float | list[float]],
        more: Mapping[str, str],
        dimension_sets: Sequence[Sequence[str]],
    ) -> None:
        """Write one line of metrics: `more` are further dimensions, `dimension_sets` name the sets of them."""
        definitions = [{"Name": name, "Unit": unit(name)} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": dimension_sets, "Metrics": definitions}
        about = {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [directive]}
        self._write({"_aws": about, **self._dimensions, **more, **values})

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, default=str)
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()


def unit(name: str) -> str:
    """Return a metric's unit in CloudWatch, from the end of its name (_UNITS); otherwise a count."""
    return next((found for suffix, found in _UNITS.items() if name.endswith(suffix)), "Count")
