"""Retries: which errors, how often, and within which time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_export.core.errors import PermanentError, RetryableError
from label_export.retry import ATTEMPTS, RESERVE, Retry


class Clock:
    """A clock that only sleeping moves."""

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
