"""Reads the settings object at a cold start, where there is one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from label_export.adapters.aws.client import AwsClient
from label_export.adapters.transport import Transport
from label_export.core.errors import ExportError, SettingsError
from label_export.core.settings_object import BUCKET_VARIABLE, OWNER_VARIABLE
from label_export.retry import Retry

SECONDS = 8.0  # Lambda allows ten for an initialisation


def read_settings_object(environment: Mapping[str, str], key: str) -> bytes:
    """Return the object's content.

    Raises SettingsError if it cannot be read: the cold start fails, and the next one reads it again.
    """
    ends = time.monotonic() + SECONDS
    aws = AwsClient(Transport(connections_per_host=1, environment=environment), environment)
    parameters = {"Bucket": environment.get(BUCKET_VARIABLE, ""), "Key": key}
    if owner := environment.get(OWNER_VARIABLE):
        parameters["ExpectedBucketOwner"] = owner

    def once(timeout: float) -> bytes:
        answer: dict[str, Any] = aws.call("s3", "get_object", parameters, timeout)
        content: bytes = answer["Body"].read()
        return content

    try:
        return Retry(lambda: ends - time.monotonic(), attempts=None)(once)
    except ExportError as error:
        raise SettingsError(f"The settings object {key} cannot be read: {error} ({error.reason})") from None
