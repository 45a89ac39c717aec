"""Every failure the function knows, and the one place that sorts them into retryable and permanent.

Each error carries a `reason`: a short, stable name for metrics and logs. Messages never hold secrets, tokens,
signatures or label content; causes that could (a library's text about a key) are not chained.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import PurePath


class ExportError(Exception):
    """Base of all errors that the function raises on purpose.

    `reason` is a stable snake_case name, `str(error)` one safe sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RetryableError(ExportError):
    """May succeed in a retry: inside the function while time is left, then by redelivery.

    `retry_after` is the pause in seconds that the other side requested, or None.
    """

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class ThrottledError(RetryableError):
    """The other side's rate limit: every other call to it would meet the same, so all of them wait (retry.Pace)."""


class PermanentError(ExportError):
    """An operator must fix the cause: an immediate retry is useless, and the message becomes a dead letter."""


class KeyRefusedError(PermanentError):
    """Encord refuses the key. The secret is read once more, and there are no calls until it changed."""


class TerminalError(ExportError):
    """Encord's response that there is nothing to export: the row or its data unit is deleted, or was not initialised.

    One such response proves nothing. core/export.py ends a message only if a late receive confirms it. The object of an
    earlier export stays.
    """


class UnconfirmedError(ExportError):
    """A response that could end the message without an object, at a receive that is too early for it to count.

    The message is redelivered. `reason` is that of the response.
    """


class RefusedRequestError(ExportError):
    """An HTTP request that is not accepted.

    `status` is the HTTP status of the response, `field` names the part of the request that is wrong. If the sender
    could not be authenticated, the response contains nothing else. `reason` and the message are only logged.
    """

    def __init__(self, status: int, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(reason, message)
        self.status = status
        self.field = field


class SettingsError(ExportError):
    """A setting of the function is missing or malformed; names the variable and where it is set, never a secret."""

    def __init__(self, message: str) -> None:
        super().__init__("settings", message)


class UnknownEventError(ExportError):
    """The function was invoked with an event that it does not understand."""

    def __init__(self, message: str) -> None:
        super().__init__("unknown_event", message)


def where(error: BaseException) -> str:
    """Return an unexpected error's type and place, without its text, which could contain anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"


# Codes in Encord's envelope, as the SDK's encord/http/error_utils.py lists them.
_ENCORD_RATE_LIMIT = "RATE_LIMIT_ERROR"
_ENCORD_RETRYABLE = {"UNKNOWN_ERROR"}
_ENCORD_KEY_REFUSED = {"AUTHENTICATION_ERROR", "SSH_KEY_NOT_FOUND_ERROR"}
_RETRYABLE_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
_AWS_RETRYABLE = {
    "BadDigest",
    "InternalError",
    "InternalFailure",
    "InternalServiceError",
    "OperationAborted",
    "OverLimit",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "TooManyRequestsException",
    "XAmzContentSHA256Mismatch",
}


def encord_failure(status: int, code: str | None, retry_after: float | None = None) -> ExportError:
    """Return the error for a failed response of Encord.

    `status` is the HTTP status, or the envelope's if HTTP's is 200; `code` the envelope's error name, if it has one.
    Only errors that Encord names are terminal: a 403 or 404 without a name can also come from a proxy.
    """
    if code == "RESOURCE_NOT_FOUND_ERROR":
        return TerminalError("row_deleted", "Encord has no such label row, or no longer has it")
    if code in _ENCORD_KEY_REFUSED or (code is None and status == HTTPStatus.UNAUTHORIZED):
        return KeyRefusedError(
            "key_refused",
            f"Encord refuses the private key ({code or 'HTTP 401'}): wrong key, or a key of another region",
        )
    if code == "AUTHORISATION_ERROR":
        return no_access("Encord accepts the key, but does not let it read this project's labels (AUTHORISATION_ERROR)")
    named = code or f"HTTP {status}"
    if code == _ENCORD_RATE_LIMIT or (code is None and status == HTTPStatus.TOO_MANY_REQUESTS):
        return ThrottledError("encord_unavailable", f"Encord answered {named}", retry_after)
    if code in _ENCORD_RETRYABLE or _may_pass(status):
        return RetryableError("encord_unavailable", f"Encord answered {named}", retry_after)
    return PermanentError("encord_refused", f"Encord answered {named}")


def no_access(message: str) -> PermanentError:
    """Return the error for a project that the key cannot read.

    It is permanent and never terminal: the message ends in the dead-letter queue. A redrive exports the label after
    the service account has access to the project again.
    """
    return PermanentError("no_access", message)


def aws_failure(service: str, status: int, code: str | None, retry_after: float | None = None) -> ExportError:
    """Return the error for a failed response of an AWS service; `code` is the error's name, None without a body."""
    named = f"{service} answered {code or f'HTTP {status}'}"
    if code in _AWS_RETRYABLE or "Throttl" in (code or "") or _may_pass(status):
        return RetryableError(f"{service}_unavailable", named, retry_after)
    if status == HTTPStatus.FORBIDDEN or code == "AccessDeniedException":
        return PermanentError(f"{service}_access_denied", f"{named}: check the policies of the function's role")
    return PermanentError(f"{service}_refused", named)


def _may_pass(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE_STATUSES
