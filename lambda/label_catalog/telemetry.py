"""Structured logs and metrics on standard output, with projects and stages as dimensions of metrics."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from label_export.core.log_writer import LogWriter


class Telemetry(LogWriter):
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
        super().__init__(dimensions, level=level, request_id=request_id, stream=stream or sys.stdout, now=now)

    def metrics(self, values: Mapping[str, float], *, project: str | None = None, **more: str) -> None:
        """Write metrics for the deployment, for `project`, and for the project with `more` dimensions."""
        sets = [list(self._dimensions)]
        named = {"Project": project} if project is not None else {}
        if named:
            sets.append([*self._dimensions, *named])
        if more:
            named.update(more)
            sets.append([*self._dimensions, *named])
        self._write_metrics(dict(values), named, sets)
