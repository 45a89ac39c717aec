"""Tries again what may succeed, with jitter, inside the time that this invocation has left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from label_export.core.errors import RetryableError

T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE = 0.2  # seconds; doubles with each try
LONGEST_PAUSE = 5.0
LEAST = 0.05  # seconds that a try is worth beginning for
RESERVE = 1.0  # seconds kept for handing back what is left and answering


class Retry:
    """Bounded tries for one invocation; safe to share between threads."""

    def __init__(
        self,
        remaining: Callable[[], float],
        *,
        attempts: int | None = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`remaining` returns the seconds that are left, `jitter` a number from 0 to 1.

        `attempts` is the most tries, None for as many as there is time for.
        """
        self._attempts = attempts
        self._remaining = remaining
        self._sleep = sleep
        self._jitter = jitter

    def at_most(self, attempts: int) -> Retry:
        """Return the same with fewer tries."""
        return Retry(self._remaining, attempts=attempts, sleep=self._sleep, jitter=self._jitter)

    def budget(self) -> float:
        """Return the seconds that work may still take; raises RetryableError("no_time") when there are none."""
        seconds = self._remaining() - RESERVE
        if seconds <= 0:
            raise RetryableError("no_time", "too little time is left in this invocation")
        return seconds

    def __call__(self, operation: Callable[[float], T]) -> T:
        """Call `operation` with the seconds it may take until it succeeds.

        Only RetryableError is tried again; the last one is raised when the tries are used up, or when the pause that is
        due (the other side's Retry-After included) would not leave time for another.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return operation(self.budget())
            except RetryableError as error:
                ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
                # On top of what is asked for, or all who were told the same would come back at the same moment.
                pause = (error.retry_after or 0.0) + ceiling * self._jitter()
                time_for_another = self._remaining() - RESERVE - LEAST > pause
                if attempt == self._attempts or error.reason == "no_time" or not time_for_another:
                    raise
            self._sleep(pause)
