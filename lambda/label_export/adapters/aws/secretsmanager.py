"""Secrets by ARN: cached for minutes, refreshed after a refusal, and cached for longer if they cannot be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from label_export.adapters.aws.client import AwsClient
from label_export.core.errors import ExportError, PermanentError, RetryableError
from label_export.retry import ATTEMPTS, Retry

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

KEPT_FOR = 300.0  # seconds
STALE_FOR = 3600.0  # maximum seconds for which a value is used if it cannot be read again
REFRESH_AFTER = 10.0  # seconds: refusals cannot make the function read a secret more often than this

OnStale = Callable[[ExportError], None]


class Secret(Generic[T]):
    """One secret of Secrets Manager; safe to share between threads and invocations."""

    def __init__(  # noqa: PLR0913  (two clocks, for tests)
        self,
        aws: AwsClient,
        arn: str,
        parse: Callable[[str], T],
        on_stale: OnStale,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`parse` returns the value of a text, and raises ExportError for a text without a value.

        `on_stale` is called with the reason each time a value that should be read again cannot be, and stays in use.
        """
        self._aws = aws
        self._arn = arn
        self._parse = parse
        self._on_stale = on_stale
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._value: T | None = None
        self._text = ""
        self._read_at = self._read_at_wall = 0.0
        self._asked_at = 0.0
        self._ahead: Future[T] | None = None

    def value(self, retry: Retry) -> T:
        """Return the secret's value, at most five minutes old, or an hour if it cannot be read.

        Raises RetryableError or PermanentError, without the text.
        """
        with self._lock:
            ahead, self._ahead = self._ahead, None
            if ahead:
                return ahead.result()
            if self._value is None or self._age() > STALE_FOR:
                return self._read(retry)
            if self._age() > KEPT_FOR and self._clock() - self._asked_at >= REFRESH_AFTER:
                try:
                    return self._read(retry.at_most(1))  # more attempts would take the time from the work
                except ExportError as error:
                    self._on_stale(error)
            return self._value

    def read_ahead(self, retry: Retry) -> None:
        """Start to read the value in a thread; the next `value` waits for it, and returns or raises its result."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (a webhook's cold start does without it)

        thread = ThreadPoolExecutor(1, thread_name_prefix="secret")
        self._ahead = thread.submit(self._read, retry)
        thread.shutdown(wait=False)

    def refresh(self, retry: Retry) -> T | None:
        """Read the value again and return it if it changed; None if not, or if it was read seconds ago."""
        with self._lock:
            if self._value is None or self._clock() - self._asked_at < REFRESH_AFTER:
                return None
            before = self._text
            value = self._read(retry.at_most(ATTEMPTS))  # an unauthenticated request may cause this wait
            return value if self._text != before else None

    def _age(self) -> float:
        """Return the seconds since the value was read. The monotonic clock may stop while the process is frozen."""
        return max(self._clock() - self._read_at, self._wall_clock() - self._read_at_wall)

    def _read(self, retry: Retry) -> T:
        self._asked_at = self._clock()  # a read that fails counts too
        text = retry(self._ask)
        value = self._parse(text)  # a text without a value does not replace a value
        self._value, self._text = value, text
        self._read_at, self._read_at_wall = self._clock(), self._wall_clock()
        return value

    def _ask(self, timeout: float) -> str:
        answer = self._aws.call("secretsmanager", "get_secret_value", {"SecretId": self._arn}, timeout)
        if answer.get("ARN") is None:  # the SDK returns an empty answer for a text that is not JSON
            raise RetryableError("malformed_answer", "Secrets Manager's response has no secret")
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise PermanentError("secret_not_text", f"the secret {self._arn} has no text value")
        return text
