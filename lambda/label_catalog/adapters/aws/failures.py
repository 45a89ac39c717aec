"""Converts boto3's errors to the project's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from label_export.core.errors import RetryableError, aws_failure


def code_of(error: ClientError) -> tuple[int, str]:
    """Return the HTTP status and the error's name."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Raise RetryableError or PermanentError in place of boto3's errors."""
    try:
        yield
    except ClientError as error:
        raise aws_failure(service, *code_of(error)) from None
    except BotoCoreError as error:
        raise RetryableError(f"{service}_unavailable", f"{service} did not answer: {type(error).__name__}") from None
