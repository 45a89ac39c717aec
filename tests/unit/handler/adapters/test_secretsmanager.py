"""Secrets are read ahead, refreshed after a refusal, and used for a while when they cannot be read."""

from __future__ import annotations

from typing import Any, cast

import pytest
from label_export.adapters.aws.client import AwsClient
from label_export.adapters.aws.secretsmanager import KEPT_FOR, REFRESH_AFTER, STALE_FOR, Secret
from label_export.core.errors import ExportError, PermanentError, RetryableError
from label_export.retry import ATTEMPTS, Retry

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf"


class SecretsManager:
    """Answers each call with the next text, or fails if that is an error."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def call(self, service: str, operation: str, request: dict[str, str], timeout: float) -> dict[str, str]:
        assert (service, operation, request) == ("secretsmanager", "get_secret_value", {"SecretId": ARN})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"ARN": ARN, "SecretString": answer}


RETRY = Retry(lambda: 60.0, sleep=lambda seconds: None)
DOWN = RetryableError("secretsmanager_unavailable", "HTTP 503")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def parsed(text: str) -> str:
    if text == "malformed":
        raise PermanentError("signing_secrets", "it is no JSON")
    return text.upper()


class Kept:
    """A secret with its service, its clocks, and the reasons why it was stale."""

    def __init__(self, *answers: str | Exception) -> None:
        self.service = SecretsManager(*answers)
        self.clock, self.wall = Clock(), Clock()
        self.stale: list[str] = []
        aws = cast("AwsClient", self.service)
        self.secret = Secret(aws, ARN, parsed, self._note, clock=self.clock, wall_clock=self.wall)

    def _note(self, error: ExportError) -> None:
        self.stale.append(error.reason)

    def value(self) -> str:
        return self.secret.value(RETRY)

    def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds


def test_a_secret_that_was_read_ahead_is_not_read_again() -> None:
    kept = Kept("first", "second")
    kept.secret.read_ahead(RETRY)
    assert [kept.value(), kept.value()] == ["FIRST", "FIRST"]
    assert kept.service.answers == ["second"]


def test_a_failure_ahead_is_raised_once_and_then_read_again() -> None:
    kept = Kept(PermanentError("denied", "no"), "now")
    kept.secret.read_ahead(RETRY)
    with pytest.raises(PermanentError):
        kept.value()
    assert kept.value() == "NOW"
    assert kept.service.answers == []


def test_refusals_refresh_only_after_a_while_whatever_the_result() -> None:
    kept = Kept("old", PermanentError("denied", "no"), "new", "newer")
    assert kept.value() == "OLD"
    assert kept.secret.refresh(RETRY) is None
    kept.later(REFRESH_AFTER)
    with pytest.raises(PermanentError):
        kept.secret.refresh(RETRY)
    assert kept.secret.refresh(RETRY) is None, "a read that failed counts too"
    assert kept.value() == "OLD"
    kept.later(REFRESH_AFTER)
    assert kept.secret.refresh(RETRY) == "NEW"
    assert kept.service.answers == ["newer"]


def test_a_refresh_has_few_tries_even_where_time_is_the_only_bound() -> None:
    kept = Kept("old", *[DOWN] * ATTEMPTS, "new")
    kept.value()
    kept.later(REFRESH_AFTER)
    with pytest.raises(RetryableError):
        kept.secret.refresh(Retry(lambda: 60.0, attempts=None, sleep=lambda seconds: None))
    assert kept.service.answers == ["new"]


@pytest.mark.parametrize("problem", [DOWN, PermanentError("secretsmanager_access_denied", "no"), "malformed"])
def test_a_value_stays_in_use_for_an_hour_while_it_cannot_be_read(problem: Any) -> None:
    kept = Kept("good", *[problem] * 3, "better")
    assert kept.value() == "GOOD"
    kept.later(KEPT_FOR + 1)
    assert [kept.value(), kept.value()] == ["GOOD", "GOOD"]
    assert len(kept.service.answers) == 3, "one try, not one for each use"
    kept.later(REFRESH_AFTER)
    assert kept.value() == "GOOD"
    reason = "signing_secrets" if problem == "malformed" else problem.reason
    assert kept.stale == [reason] * 2
    kept.later(STALE_FOR)
    with pytest.raises(ExportError):
        kept.secret.value(RETRY.at_most(1))
    kept.later(REFRESH_AFTER)
    assert kept.value() == "BETTER"


def test_a_refresh_without_a_value_keeps_the_current_one() -> None:
    kept = Kept("good", "malformed")
    kept.value()
    kept.later(REFRESH_AFTER)
    with pytest.raises(PermanentError):
        kept.secret.refresh(RETRY)
    assert kept.value() == "GOOD"


def test_a_value_ages_while_the_process_is_frozen() -> None:
    kept = Kept("old", "new")
    kept.value()
    kept.wall.now += KEPT_FOR + 1  # the monotonic clock did not move
    kept.clock.now += REFRESH_AFTER
    assert kept.value() == "NEW"


def test_a_first_read_that_fails_has_no_value_to_fall_back_on() -> None:
    kept = Kept("malformed", "good")
    with pytest.raises(PermanentError):
        kept.value()
    assert (kept.value(), kept.stale) == ("GOOD", [])


def test_an_answer_that_is_no_secret_is_retried() -> None:
    kept = Kept()
    answers: list[dict[str, str]] = [{}, {"ARN": ARN, "SecretString": "good"}]
    kept.service.call = lambda *_: answers.pop(0)  # type: ignore[method-assign, assignment]
    assert kept.value() == "GOOD"
    kept = Kept()
    kept.service.call = lambda *_: {"ARN": ARN, "SecretBinary": "x"}  # type: ignore[method-assign, assignment]
    with pytest.raises(PermanentError) as caught:
        kept.value()
    assert caught.value.reason == "secret_not_text"
