"""boto3's clients, with bounded time-outs and enough connections for the threads."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

THREADS = 16


def client(service: str) -> Any:
    """Return a client of an AWS service; region, credentials and endpoint come from the environment."""
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=2 * THREADS,
        s3={"addressing_style": "auto"},
        parameter_validation=False,
    )
    return boto3.client(service, config=config)
