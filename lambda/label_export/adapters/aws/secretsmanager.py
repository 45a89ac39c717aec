"""Secrets by ARN, kept for minutes, refreshed when they were refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from label_export.adapters.aws.client import AwsClient
from label_export.core.errors import PermanentError
from label_export.retry import Retry

if TYPE_CHECKING:
    from concurrent.futures import Future

KEPT_FOR = 300.0  # seconds
REFRESH_AFTER = 10.0  # seconds: refusals cannot make the function read a secret more often than this


class Secret:
    """One secret of Secrets Manager; safe to share between threads and invocations."""

    def __init__(self, aws: AwsClient, arn: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._aws = aws
        self._arn = arn
        self._clock = clock
        self._lock = threading.Lock()
        self._text: str | None = None
        self._read_at = 0.0
        self._asked_at = 0.0
        self._ahead: Future[str] | None = None

    def text(self, retry: Retry) -> str:
        """Return the secret's text, at most five minutes old. Raises RetryableError or PermanentError, without it."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
            if ahead:
                return ahead.result()
            text = self._text
            if text is None or self._clock() - self._read_at > KEPT_FOR:
                text = self._read(retry)
            return text

    def read_ahead(self, retry: Retry) -> None:
        """Begin to read the text in a thread; the next `text` waits for it, and returns or raises what it came to."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (a webhook's cold start does without it)

        thread = ThreadPoolExecutor(1, thread_name_prefix="secret")
        self._ahead = thread.submit(self._read, retry)
        thread.shutdown(wait=False)

    def refresh(self, retry: Retry) -> str | None:
        """Return the text as it is now, if it changed since it was kept; None if not, or if asked for just now."""
        with self._lock:
            before = self._text
            if before is None or self._clock() - self._asked_at < REFRESH_AFTER:
                return None
            now = self._read(retry)
            return now if now != before else None

    def _read(self, retry: Retry) -> str:
        self._asked_at = self._clock()  # a read that fails counts too
        request = {"SecretId": self._arn}
        answer = retry(lambda timeout: self._aws.call("secretsmanager.GetSecretValue", request, timeout))
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise PermanentError("secret_not_text", f"the secret {self._arn} has no text value")
        self._text, self._read_at = text, self._clock()
        return text
