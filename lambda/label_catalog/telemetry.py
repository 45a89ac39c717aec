"""Structured logs and metrics on standard output, as the exporter writes them, with projects and stages as dimensions.

Metrics are in the embedded metric format:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

NAMESPACE = "LabelExport"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Telemetry:
    """Logs and metrics of one invocation. Callers pass hashes, counts, times and reasons: no label content, no keys."""

    def __init__(
        self,
        dimensions: Mapping[str, str],
        *,
        level: str = "INFO",
        request_id: str = "",
        stream: TextIO | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`dimensions` are the deployment's name and environment."""
        self._dimensions = dict(dimensions)
        self._threshold = LEVELS.index(level)
        self._request_id = request_id
        self._stream = stream or sys.stdout
        self._now = now

    def log(self, level: Level, event: str, **fields: object) -> None:
        """Write one line; fields that are None are left out. `event` is a constant snake_case name."""
        if LEVELS.index(level) >= self._threshold:
            given = {name: value for name, value in fields.items() if value is not None}
            about = {"level": level, "event": event, "message": event.replace("_", " "), "request_id": self._request_id}
            self._write({**about, **{name.lower(): value for name, value in self._dimensions.items()}, **given})

    def metrics(self, values: Mapping[str, float], *, project: str | None = None, **more: str) -> None:
        """Write metrics for the deployment, for `project`, and for the project with `more` dimensions."""
        sets = [list(self._dimensions)]
        named = dict(self._dimensions)
        if project is not None:
            named["Project"] = project
            sets.append([*self._dimensions, "Project"])
        if more:
            named.update(more)
            sets.append(list(named))
        definitions = [{"Name": name, "Unit": "Seconds" if name.endswith("Seconds") else "Count"} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": definitions}
        about = {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [directive]}
        self._write({"_aws": about, **named, **values})

    def _write(self, line: dict[str, Any]) -> None:
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()
