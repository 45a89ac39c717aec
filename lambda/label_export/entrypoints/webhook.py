"""The webhook's way: authenticate, parse, queue, answer. Answered 2xx only when the queue has every message."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from label_export.core.errors import ExportError, RefusedRequestError, where
from label_export.core.event_types import is_known
from label_export.core.ports import WorkQueue
from label_export.entrypoints.webhook_authentication import WebhookSecrets, authenticate
from label_export.entrypoints.webhook_request import Webhook, WebhookRequest, parse_webhook, read_request
from label_export.telemetry import Telemetry

ReadSecrets = Callable[[], WebhookSecrets]
RefreshSecrets = Callable[[], WebhookSecrets | None]

# One text for every failure to authenticate: whoever cannot sign learns nothing from it.
_UNAUTHORIZED = {"error": "unauthorized"}


class Filters(Protocol):
    """Which events are exported (no project named means all), and the path that webhooks come to."""

    @property
    def event_types(self) -> frozenset[str]: ...

    @property
    def projects(self) -> frozenset[str]: ...

    @property
    def webhook_path(self) -> str: ...


class WebhookEndpoint:
    """Answers HTTP events."""

    def __init__(
        self,
        filters: Filters,
        *,
        secrets: ReadSecrets,
        refreshed_secrets: RefreshSecrets,
        queue: WorkQueue,
        telemetry: Telemetry,
    ) -> None:
        """`secrets()` returns the current secrets. `refreshed_secrets()` reads them again: None if unchanged."""
        self._secrets = secrets
        self._refreshed_secrets = refreshed_secrets
        self._queue = queue
        self._event_types = filters.event_types
        self._projects = filters.projects
        self._path = filters.webhook_path
        self._telemetry = telemetry

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the HTTP response to an event: 202, a 4xx that names the field, or 503 if work was not queued."""
        self._telemetry.count("Received")
        try:
            return self._answer(event)
        except Exception as error:  # noqa: BLE001  (its text could hold anything, and the sender must get an answer)
            return self._unavailable("unexpected", where(error))

    def _answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        try:
            request = read_request(event, self._path)
            self._authenticate(request)
            webhook = parse_webhook(request.body, self._event_types)
            self._check_project(webhook)
        except RefusedRequestError as refusal:
            return self._refuse(refusal)
        except ExportError as error:
            return self._unavailable(error.reason, str(error))
        return self._accept(webhook)

    def _authenticate(self, request: WebhookRequest) -> None:
        try:
            authenticate(request.headers, request.token, request.body, self._secrets(), time.time())
        except RefusedRequestError:
            changed = self._refresh()  # a secret set a minute ago must work now
            if changed is None:
                raise
            authenticate(request.headers, request.token, request.body, changed, time.time())

    def _refresh(self) -> WebhookSecrets | None:
        """Return the secrets read again if they changed. If that fails, the refusal by the known ones stands."""
        try:
            return self._refreshed_secrets()
        except ExportError as error:
            self._telemetry.log("WARNING", "secrets_not_refreshed", reason=error.reason, detail=str(error))
            return None

    def _check_project(self, webhook: Webhook) -> None:
        if self._projects and any(change.project_hash not in self._projects for change in webhook.changes):
            message = "the project is not one that is exported"
            raise RefusedRequestError(403, "project", message, "payload.project_hash")

    def _accept(self, webhook: Webhook) -> dict[str, Any]:
        telemetry = self._telemetry
        if not webhook.changes:
            reason = "not_selected" if is_known(webhook.event_type) else "unknown_event"
            telemetry.count("Ignored", reason)
            telemetry.log("INFO", "webhook_ignored", reason=reason, event_type=webhook.event_type)
            return _response(202, {"accepted": 0})
        first = webhook.changes[0]
        try:
            self._queue.send(webhook.changes)
        except ExportError as error:
            return self._unavailable(
                error.reason, str(error), project_hash=first.project_hash, event_uid=first.event_uid
            )
        telemetry.measure("Enqueued", len(webhook.changes))
        telemetry.log(
            "INFO",
            "webhook_accepted",
            event_uid=first.event_uid,
            event_type=webhook.event_type,
            project_hash=first.project_hash,
            labels=len(webhook.changes),
        )
        return _response(202, {"accepted": len(webhook.changes)})

    def _refuse(self, refusal: RefusedRequestError) -> dict[str, Any]:
        self._telemetry.count("Refused", refusal.reason)
        self._telemetry.log(
            "WARNING",
            "webhook_refused",
            reason=refusal.reason,
            detail=str(refusal),
            status=refusal.status,
            field=refusal.field,
        )
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            return _response(401, _UNAUTHORIZED)
        body = {"error": refusal.reason, "field": refusal.field, "message": str(refusal)}
        return _response(
            refusal.status, body, {"Allow": "POST"} if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        )

    def _unavailable(self, reason: str, detail: str, **fields: str) -> dict[str, Any]:
        self._telemetry.count("WebhookFailed", reason)
        self._telemetry.log("ERROR", "webhook_not_queued", reason=reason, detail=detail, **fields)
        return _response(503, {"error": "unavailable"}, {"Retry-After": "30"})


def _response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    all_headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})}
    return {"statusCode": status, "headers": all_headers, "body": json.dumps(body), "isBase64Encoded": False}
