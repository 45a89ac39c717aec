"""Retries: which errors, how often, and within which time."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_export.core.errors import PermanentError, RetryableError, ThrottledError
from label_export.retry import ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE, RESERVE, Pace, Retry


class Clock:
    """A clock that only moves by sleeping."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.left -= seconds


def failing(error: Exception, times: int, clock: Clock, takes: float = 0.0) -> tuple[Retry, list[float]]:
    budgets: list[float] = []

    def operation(budget: float) -> str:
        budgets.append(budget)
        clock.left -= min(takes, budget)
        if len(budgets) <= times:
            raise error
        return "done"

    retry = Retry(lambda: clock.left, sleep=clock.sleep, jitter=lambda: 1.0)
    try:
        assert retry(operation) == "done"
    except type(error):
        budgets.append(-1)
    return retry, budgets


def test_pauses_grow_and_end() -> None:
    clock = Clock(100)
    _, budgets = failing(RetryableError("r", "m"), 99, clock)
    assert len(budgets) == ATTEMPTS + 1
    assert clock.slept == [0.2, 0.4, 0.8]


def test_success_after_failures_and_permanent_at_once() -> None:
    assert failing(RetryableError("r", "m"), 2, Clock(100))[1] == pytest.approx([99.0, 98.8, 98.4])
    assert len(failing(PermanentError("r", "m"), 1, Clock(100))[1]) == 2


def test_tries_end_before_the_time_does() -> None:
    clock = Clock(10)
    failing(RetryableError("r", "m"), 99, clock, takes=4.0)
    assert clock.left >= RESERVE
    clock = Clock(0.5)
    assert failing(RetryableError("no_time", "m"), 0, clock)[1] == [-1]


def test_retry_after_is_slept_when_there_is_time() -> None:
    clock = Clock(100)
    failing(RetryableError("r", "m", retry_after=7.0), 1, clock)
    assert clock.slept == [7.2], "and jitter on top"
    clock = Clock(7.5)
    failing(RetryableError("r", "m", retry_after=7.0), 1, clock)
    assert clock.slept == []
    clock = Clock(8.1)
    failing(RetryableError("r", "m", retry_after=7.0), 1, clock)
    assert clock.slept == [], "with the jitter it would end too late"


@given(st.floats(0, 1), st.integers(0, 10))
def test_jitter_stays_within_the_ceiling(jitter: float, times: int) -> None:
    clock = Clock(100)
    seen = 0

    def operation(_: float) -> None:
        nonlocal seen
        seen += 1
        if seen <= times:
            raise RetryableError("r", "m")

    retry = Retry(lambda: clock.left, sleep=clock.sleep, jitter=lambda: jitter)
    try:
        retry(operation)
    except RetryableError:
        assert times >= ATTEMPTS
    assert all(0 <= pause <= ceiling for pause, ceiling in zip(clock.slept, [0.2, 0.4, 0.8], strict=False))


class Limited:
    """A service with a rate limit: it refuses the first calls, and records the time of each call."""

    def __init__(self, clock: Clock, refusals: int, retry_after: float | None = None) -> None:
        self.clock = clock
        self.refusals = refusals
        self.retry_after = retry_after
        self.came: list[float] = []
        self.pace = Pace(self.now)

    def now(self) -> float:
        return 1000 - self.clock.left

    def __call__(self, _: float) -> str:
        self.came.append(self.now())
        if len(self.came) <= self.refusals:
            raise ThrottledError("r", "m", self.retry_after)
        return "done"

    def call(self, attempts: int = 1) -> None:
        retry = Retry(lambda: self.clock.left, attempts=attempts, sleep=self.clock.sleep, jitter=lambda: 0.0)
        with suppress(ThrottledError):
            retry.at_pace(self.pace)(self)


def test_after_a_refusal_every_other_call_waits_too() -> None:
    limited = Limited(Clock(1000), refusals=1, retry_after=7.0)
    limited.call()
    limited.call()  # for another label
    limited.call()
    assert limited.came == [0, 7, 7]


def test_calls_slow_down_with_each_refusal_and_recover_with_a_success() -> None:
    limited = Limited(Clock(1000), refusals=8)
    for _ in range(10):
        limited.call()
    pauses = [after - before for before, after in pairwise(limited.came)]
    doubling = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**number) for number in range(1, 9)]
    assert pauses == pytest.approx([*doubling, 0])
    limited.refusals = 11
    limited.call()
    limited.call()
    assert limited.came[-1] - limited.came[-2] == pytest.approx(2 * FIRST_PAUSE)


def test_calls_that_were_refused_together_count_once() -> None:
    clock = Clock(1000)
    pace = Pace(lambda: 1000 - clock.left)
    together = [pace.began() for _ in range(5)]
    clock.sleep(0.1)
    for began in together:
        pace.refused(began, None)
    assert pace.seconds() == pytest.approx(2 * FIRST_PAUSE)
    pace.refused(pace.began(), 9.0)
    assert pace.seconds() == 9.0, "a requested pause counts in any case"


def test_no_call_waits_longer_than_there_is_time() -> None:
    limited = Limited(Clock(10), refusals=1, retry_after=9.5)
    limited.call()
    with pytest.raises(RetryableError) as caught:
        limited.call()
    assert caught.value.reason == "no_time"
    assert limited.clock.left == 10


def test_the_pace_applies_with_fewer_tries_too() -> None:
    limited = Limited(Clock(1000), refusals=1, retry_after=7.0)
    limited.call()
    Retry(lambda: limited.clock.left, sleep=limited.clock.sleep, jitter=lambda: 0.0).at_pace(limited.pace).at_most(1)(
        limited
    )
    assert limited.came == [0, 7]
