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


def s3_client(owner: str | None) -> Any:
    """Return an S3 client. S3 refuses each of its calls if another account than `owner` owns the bucket.

    With None the owner is not checked.
    """
    s3 = client("s3")
    if owner:
        # Added to every call, so that no call can forget it: all calls on a bucket or an object have this parameter.
        s3.meta.events.register(
            "provide-client-params.s3", lambda params, **_: {**params, "ExpectedBucketOwner": owner}
        )
    return s3
