"""A secret that is read while Python imports: one request, its outcome told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from label_export.adapters.aws.client import AwsClient
from label_export.adapters.aws.secretsmanager import REFRESH_AFTER, Secret
from label_export.core.errors import PermanentError, RetryableError
from label_export.retry import Retry

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf"


class SecretsManager:
    """Answers each call with the next of the texts, or fails where that is an error."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def call(self, operation: str, request: dict[str, str], timeout: float) -> dict[str, str]:
        assert (operation, request) == ("secretsmanager.GetSecretValue", {"SecretId": ARN})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"SecretString": answer}


class Once:
    """A Retry that tries once."""

    def __call__(self, attempt: Callable[[float], Any]) -> Any:
        return attempt(1.0)


ONCE = cast("Retry", Once())


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def secret(*answers: str | Exception) -> tuple[Secret, SecretsManager]:
    service = SecretsManager(*answers)
    return Secret(cast("AwsClient", service), ARN), service


def test_what_was_read_ahead_is_not_read_again() -> None:
    ahead, service = secret("first", "second")
    ahead.read_ahead(ONCE)
    assert [ahead.text(ONCE), ahead.text(ONCE)] == ["first", "first"]
    assert service.answers == ["second"]


def test_a_failure_ahead_is_told_once_and_then_read_anew() -> None:
    ahead, service = secret(RetryableError("throttled", "later"), "now")
    ahead.read_ahead(ONCE)
    with pytest.raises(RetryableError):
        ahead.text(ONCE)
    assert ahead.text(ONCE) == "now"
    assert service.answers == []


def test_refusals_ask_again_after_a_while_and_no_sooner_whatever_came_of_it() -> None:
    clock = Clock()
    service = SecretsManager("old", PermanentError("denied", "no"), "new", "newer")
    kept = Secret(cast("AwsClient", service), ARN, clock)
    assert kept.text(ONCE) == "old"
    assert kept.refresh(ONCE) is None
    clock.now += REFRESH_AFTER
    with pytest.raises(PermanentError):
        kept.refresh(ONCE)
    assert kept.refresh(ONCE) is None, "a read that failed counts too"
    assert kept.text(ONCE) == "old"
    clock.now += REFRESH_AFTER
    assert kept.refresh(ONCE) == "new"
    assert service.answers == ["newer"]
