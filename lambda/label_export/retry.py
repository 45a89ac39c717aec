"""Retries with jitter, within the time that this invocation has left."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from label_export.core.errors import RetryableError, ThrottledError

T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE = 0.2  # seconds; doubles with each attempt
LONGEST_PAUSE = 5.0
LEAST = 0.05  # seconds that must be left to start an attempt
RESERVE = 1.0  # seconds reserved for returning the rest and the answer


class Pace:
    """What a process knows of the other side's rate limit: when its next call may begin. Safe to share between threads.

    A pause is at least what the other side requests, and doubles with each refusal until a call succeeds. So a backfill
    gets slower until it is within the limit, instead of using up its messages' receives.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` returns seconds of a clock that never goes back."""
        self.pause = 0.0
        """The last pause in seconds, without the pause that the other side requested."""
        self._now = now
        self._lock = threading.Lock()
        self._until = 0.0
        self._refusals = 0
        self._pauses = 0  # so far: the pause that a call has waited for

    def seconds(self) -> float:
        """Return the seconds until the next call may begin."""
        with self._lock:
            return max(0.0, self._until - self._now())

    def began(self) -> int:
        """Return what `refused` needs to know of a call that begins now."""
        return self._pauses

    def refused(self, began: int, retry_after: float | None) -> None:
        """Record that a call was refused. Calls that were in flight together count as one refusal."""
        with self._lock:
            now = self._now()
            if began == self._pauses:
                self._pauses += 1
                self._refusals += 1
                self.pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._refusals)
                self._until = now + self.pause
            self._until = max(self._until, now + (retry_after or 0.0))

    def succeeded(self) -> None:
        """Record that a call was answered."""
        with self._lock:
            self._refusals = 0


class Retry:
    """Bounded attempts for one invocation; safe to share between threads."""

    def __init__(
        self,
        remaining: Callable[[], float],
        *,
        attempts: int | None = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        pace: Pace | None = None,
    ) -> None:
        """`remaining` returns the seconds that are left, `jitter` a number from 0 to 1.

        `attempts` is the maximum number of attempts, None for no limit. With `pace` each attempt waits for its turn.
        """
        self._attempts = attempts
        self._remaining = remaining
        self._sleep = sleep
        self._jitter = jitter
        self._pace = pace

    def at_most(self, attempts: int) -> Retry:
        """Return the same with at most `attempts` attempts."""
        return Retry(self._remaining, attempts=attempts, sleep=self._sleep, jitter=self._jitter, pace=self._pace)

    def at_pace(self, pace: Pace) -> Retry:
        """Return the same for calls that wait for the pauses of `pace`."""
        return Retry(self._remaining, attempts=self._attempts, sleep=self._sleep, jitter=self._jitter, pace=pace)

    def budget(self) -> float:
        """Return the seconds that work may still take; raises RetryableError("no_time") when there are none."""
        seconds = self._remaining() - RESERVE
        if seconds <= 0:
            raise RetryableError("no_time", "too little time is left in this invocation")
        return seconds

    def __call__(self, operation: Callable[[float], T]) -> T:
        """Call `operation` with the seconds it may take until it succeeds.

        Only RetryableError is retried. The last one is raised if the attempts are used up, or if the next pause
        (including the other side's Retry-After) would not leave time for another attempt.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(operation)
            except RetryableError as error:
                ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
                # Added to the requested pause: otherwise all clients with one Retry-After would retry at once.
                pause = (error.retry_after or 0.0) + ceiling * self._jitter()
                time_for_another = self._remaining() - RESERVE - LEAST > pause
                if attempt == self._attempts or error.reason == "no_time" or not time_for_another:
                    raise
            self._sleep(pause)

    def _once(self, operation: Callable[[float], T]) -> T:
        if self._pace is None:
            return operation(self.budget())
        pause = self._pace.seconds()
        if pause:
            pause += FIRST_PAUSE * self._jitter()  # or all who wait would begin at the same moment
            if self._remaining() - RESERVE - LEAST <= pause:
                raise RetryableError("no_time", "too little time is left in this invocation to wait for the rate limit")
            self._sleep(pause)
        began = self._pace.began()
        try:
            result = operation(self.budget())
        except ThrottledError as error:
            self._pace.refused(began, error.retry_after)
            raise
        self._pace.succeeded()
        return result
