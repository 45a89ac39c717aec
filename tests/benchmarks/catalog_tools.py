"""The catalog's settings and ports, for benchmarks with the bucket and the queues in their process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from label_catalog.settings import Settings
from label_catalog.telemetry import Telemetry
from label_catalog.toolbox import Toolbox

QUEUE = "https://sqs.eu-west-1.amazonaws.com/000000000000/labels"
QUEUES = ("LABEL_EXPORT_QUEUE_URL", "LABEL_CATALOG_QUEUE_URL", "LABEL_CATALOG_BACKFILL_QUEUE_URL")
PORTS = ("encord", "bucket", "documents", "snapshots", "live_lane", "backfill_lane", "queue", "selection")


def settings_with(private_key: str) -> Settings:
    """Return the default settings with a private key."""
    return Settings.from_environment(
        {
            **dict.fromkeys(QUEUES, QUEUE),
            "LABEL_EXPORT_BUCKET": "benchmark",
            "LABEL_EXPORT_PRIVATE_KEY_SOURCE": "environment",
            "LABEL_EXPORT_PRIVATE_KEY": private_key,
        }
    )


@contextmanager
def toolbox(settings: Settings, parts: Any, **others: Any) -> Iterator[Toolbox]:
    """Yield a toolbox whose ports are all `parts`, except those that `others` names. It has an hour."""
    with open(os.devnull, "w") as nowhere, ThreadPoolExecutor(16) as threads:
        yield Toolbox(
            settings=settings,
            **{**dict.fromkeys(PORTS, parts), **others},
            telemetry=Telemetry({}, stream=nowhere),
            threads=threads,
            now=lambda: datetime.now(UTC),
            remaining=lambda: 3600.0,
        )
