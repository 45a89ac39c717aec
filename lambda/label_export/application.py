"""Routes each event by its shape, and keeps what is shared between invocations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from label_export.adapters.aws.client import AwsClient
from label_export.adapters.aws.secretsmanager import Secret
from label_export.adapters.aws.sqs import SqsQueue
from label_export.adapters.transport import Transport
from label_export.core.errors import ExportError, UnknownEventError
from label_export.entrypoints.queue_batch import BatchProcessor, is_queue_batch
from label_export.entrypoints.webhook import WebhookEndpoint
from label_export.entrypoints.webhook_authentication import WebhookSecrets
from label_export.entrypoints.webhook_request import is_http
from label_export.retry import Retry
from label_export.settings import Settings
from label_export.telemetry import Telemetry

if TYPE_CHECKING:
    from label_export.wiring import Exports

WEBHOOK_SECONDS = 20.0  # an HTTP API stops waiting after 30, and Encord's time-out is not known
SELF_CHECK = "self_check"  # the event is {"action": "self_check"}
_WEAKER_KEY_SOURCES = {
    "environment": "everyone who may read the function's configuration can read the key",
    "file": "everyone who may pull the image can read the key, and it stays in old images after a rotation",
}


class LambdaContext(Protocol):
    """The parts of Lambda's context object that are used."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left of this invocation."""


class Application:
    """The function: created once per process, called once per event."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        """`environment` has the region, the role's credentials and the trusted certificates."""
        self._settings = settings
        self._transport = Transport(connections_per_host=2 * settings.concurrency, environment=environment)
        self._aws = AwsClient(self._transport, environment)
        self._signing_secrets = Secret(
            self._aws, settings.signing_secrets_arn, WebhookSecrets.from_json, self._note_stale
        )
        arn = settings.private_key_secret_arn
        self._private_key = Secret(self._aws, arn, str, self._note_stale) if arn else None
        self._kept_exports: Exports | None = None
        if settings.private_key_source in _WEAKER_KEY_SOURCES:
            detail = _WEAKER_KEY_SOURCES[settings.private_key_source]
            self._telemetry("").log("WARNING", "weaker_key_source", source=settings.private_key_source, detail=detail)

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Answer one event: an HTTP request, a batch of the queue, or the self check of a deploy.

        Raises UnknownEventError for anything else.
        """
        telemetry = self._telemetry(context.aws_request_id)

        def remaining() -> float:
            return context.get_remaining_time_in_millis() / 1000

        try:
            if isinstance(event, dict) and is_http(event):
                return self._endpoint(_webhook_retry(remaining), telemetry).answer(event)
            if isinstance(event, dict) and is_queue_batch(event):
                return self._processor(remaining, telemetry).process(event["Records"])
            if isinstance(event, dict) and event.get("action") == SELF_CHECK:
                return self._self_check(remaining, telemetry)
            telemetry.count("UnknownEvent")
            raise UnknownEventError(_unknown(event))
        finally:
            telemetry.flush()

    def _endpoint(self, retry: Retry, telemetry: Telemetry) -> WebhookEndpoint:
        return WebhookEndpoint(
            self._settings,
            secrets=partial(self._signing_secrets.value, retry),
            refreshed_secrets=partial(self._signing_secrets.refresh, retry),
            queue=SqsQueue(self._aws, self._settings.queue_url, retry),
            telemetry=telemetry,
        )

    def _processor(self, remaining: Callable[[], float], telemetry: Telemetry) -> BatchProcessor:
        retry = Retry(remaining)
        exports = self._exports(retry)
        return BatchProcessor(
            exporter=exports.exporter(retry, telemetry),
            concurrently=exports.concurrently,
            remaining=remaining,
            telemetry=telemetry,
        )

    def _self_check(self, remaining: Callable[[], float], telemetry: Telemetry) -> dict[str, Any]:
        from label_export.entrypoints.self_check import SECONDS, SelfCheck  # noqa: PLC0415  (as in _exports)
        from label_export.wiring import Uncached  # noqa: PLC0415  (as in _exports)

        left_over = max(0.0, remaining() - SECONDS)
        retry = Retry(lambda: remaining() - left_over)
        outside = Uncached(self._settings, self._transport, self._aws, retry, telemetry)
        return SelfCheck(self._settings, outside, telemetry).answer()

    def _exports(self, retry: Retry) -> Exports:
        if self._kept_exports is None:
            if self._private_key:
                self._private_key.read_ahead(retry)  # the request runs while Python imports
            from label_export.wiring import Exports  # noqa: PLC0415  (a webhook's cold start does without it)

            self._kept_exports = Exports(
                self._settings, self._transport, self._aws, self._private_key, self._note_stale
            )
        return self._kept_exports

    def _note_stale(self, error: ExportError) -> None:
        telemetry = self._telemetry("")
        telemetry.count("StaleSecret", error.reason)
        telemetry.log("WARNING", "secret_stale", reason=error.reason, detail=str(error))
        telemetry.flush()

    def _telemetry(self, request_id: str) -> Telemetry:
        settings = self._settings
        dimensions = {"Name": settings.name, "Environment": settings.environment}
        return Telemetry(dimensions, level=settings.log_level, request_id=request_id)


def _webhook_retry(remaining: Callable[[], float]) -> Retry:
    """Return retries that only time limits: Encord may not send a webhook again that was not queued."""
    ends = time.monotonic() + WEBHOOK_SECONDS
    return Retry(lambda: min(remaining(), ends - time.monotonic()), attempts=None)


def _unknown(event: object) -> str:
    found = ", ".join(sorted(str(key)[:40] for key in event)[:10]) if isinstance(event, dict) else type(event).__name__
    return f"the event is neither an HTTP request nor a batch of SQS messages nor a self check; it has: {found}"
