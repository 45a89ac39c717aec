"""Handles a webhook: authenticate, parse, queue, answer. The answer is 2xx only if the queue has every message."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from label_export.core.endings import Ending
from label_export.core.errors import ExportError, RefusedRequestError, where
from label_export.core.event_types import Kind, kind_of
from label_export.core.ports import WorkQueue
from label_export.entrypoints.webhook_authentication import PROBE_REASON, WebhookSecrets, authenticate
from label_export.entrypoints.webhook_request import (
    Webhook,
    WebhookRequest,
    parse_webhook,
    read_request,
    readable_parts,
    require_json,
    require_labels,
    shows_identity,
)
from label_export.telemetry import Telemetry

ReadSecrets = Callable[[], WebhookSecrets]
RefreshSecrets = Callable[[], WebhookSecrets | None]

# One text for every failure to authenticate, so that an unauthenticated sender learns nothing from it.
_UNAUTHORIZED = {"error": "unauthorized"}


HASHES_IN_A_LINE = 500  # about 20 KB of text

NOT_QUEUED = "labels_not_queued"  # the log's event; playbooks/requeue.yml searches for it


class Filters(Protocol):
    """Which events are exported (no project means all), and the path for webhooks."""

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
        """Return the HTTP response to an event: 202, a 4xx that names the field, or 503 if work was not queued.

        From the moment a webhook is authenticated, the log has its project and hashes unless the queue has them.
        """
        self._telemetry.count("Received")
        authentic: WebhookRequest | None = None
        try:
            request = read_request(event, self._path)
            self._authenticate(request)
            authentic = request
            return self._accept(request)
        except RefusedRequestError as refusal:
            ours = shows_identity(event) and refusal.reason != PROBE_REASON
            ending = Ending.REFUSED if ours else Ending.REFUSED_UNSIGNED
            return self._refuse(refusal, Ending.REFUSED_AUTHENTICATED if authentic else ending, authentic)
        except ExportError as error:
            return self._unavailable(error.reason, str(error), authentic)
        except Exception as error:  # noqa: BLE001  (its text could contain anything, and the sender must get an answer)
            return self._unavailable("unexpected", where(error), authentic)

    def _authenticate(self, request: WebhookRequest) -> None:
        try:
            authenticate(request.headers, request.token, request.body, self._secrets(), time.time())
        except RefusedRequestError:
            changed = self._refresh()  # a secret that was set a minute ago must already work
            if changed is None:
                raise
            authenticate(request.headers, request.token, request.body, changed, time.time())

    def _refresh(self) -> WebhookSecrets | None:
        """Read the secrets again and return them if they changed. If that fails, the refusal stands."""
        try:
            return self._refreshed_secrets()
        except ExportError as error:
            self._telemetry.log("WARNING", "secrets_not_refreshed", reason=error.reason, detail=str(error))
            return None

    def _accept(self, request: WebhookRequest) -> dict[str, Any]:
        """Queue what an authentic webhook names; raises ExportError if that cannot be done."""
        require_json(request)
        webhook = parse_webhook(request.body)
        ignored = self._ignored(webhook)
        if ignored is not None:
            return self._ignore(ignored, webhook)
        require_labels(webhook)
        if self._projects and webhook.project_hash not in self._projects:
            message = "the project is not one that is exported"
            raise RefusedRequestError(403, "project", message, "payload.project_hash")
        self._note_odd_elements(webhook)
        changes = webhook.changes
        self._queue.send(changes)
        self._telemetry.measure("Enqueued", len(changes))
        if not all(change.is_probe for change in changes):  # status.yml shows whether Encord has sent any
            self._telemetry.count("WebhooksAccepted")
        self._telemetry.log(
            "INFO",
            "webhook_accepted",
            event_uid=webhook.event_uid,
            event_type=webhook.event_type,
            project_hash=webhook.project_hash,
            labels=len(changes),
        )
        return _response(202, {"accepted": len(changes)})

    def _ignored(self, webhook: Webhook) -> Ending | None:
        """Return why a webhook leads to no export, None if it leads to one."""
        kind = kind_of(webhook.event_type)
        if kind in (Kind.UNKNOWN_TASK, Kind.UNKNOWN):
            self._telemetry.count("UnknownEventType")
            return None if kind is Kind.UNKNOWN_TASK and webhook.changes else Ending.UNKNOWN_EVENT
        if kind is Kind.WITHOUT_LABELS:
            return Ending.NO_LABELS
        return None if webhook.event_type in self._event_types else Ending.NOT_SELECTED

    def _ignore(self, ending: Ending, webhook: Webhook) -> dict[str, Any]:
        self._telemetry.count(ending.metric, ending.reason)
        self._telemetry.log("INFO", "webhook_ignored", reason=ending.reason, event_type=webhook.event_type)
        self._record_not_queued("ignored", str(ending.reason), webhook)
        return _response(202, {"accepted": 0})

    def _note_odd_elements(self, webhook: Webhook) -> None:
        if webhook.odd:
            self._telemetry.measure(Ending.ODD_ELEMENTS.metric, len(webhook.odd))
            self._telemetry.record(
                "ERROR",
                "webhook_odd_elements",
                detail="the webhook has elements that are not hashes; its other labels are queued",
                elements=webhook.odd[:HASHES_IN_A_LINE],
                event_uid=webhook.event_uid,
                event_type=webhook.event_type,
                project_hash=webhook.project_hash,
            )

    def _refuse(self, refusal: RefusedRequestError, ending: Ending, authentic: WebhookRequest | None) -> dict[str, Any]:
        self._telemetry.count(ending.metric, refusal.reason)
        self._telemetry.log(
            "WARNING",
            "webhook_refused",
            reason=refusal.reason,
            detail=str(refusal),
            status=refusal.status,
            field=refusal.field,
        )
        if authentic is not None:
            self._record_not_queued("refused", refusal.reason, readable_parts(authentic.body))
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            return _response(401, _UNAUTHORIZED)
        body = {"error": refusal.reason, "field": refusal.field, "message": str(refusal)}
        return _response(
            refusal.status, body, {"Allow": "POST"} if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        )

    def _unavailable(self, reason: str, detail: str, authentic: WebhookRequest | None) -> dict[str, Any]:
        self._telemetry.count(Ending.UNAVAILABLE.metric, reason)
        self._telemetry.log("ERROR", "webhook_not_queued", reason=reason, detail=detail)
        if authentic is not None:
            self._record_not_queued("unavailable", reason, readable_parts(authentic.body))
        return _response(503, {"error": "unavailable"}, {"Retry-After": "30"})

    def _record_not_queued(self, outcome: str, reason: str, webhook: Webhook) -> None:
        """Log what an authentic webhook named, at any log level, in lines of a bounded length.

        All hashes, although some may be queued: an additional message is harmless.
        """
        named = [("label_hashes", item) for item in webhook.label_hashes]
        named += [("data_hashes", item) for item in webhook.data_hashes]
        if not named and webhook.project_hash is None and not webhook.odd:
            return
        for begin in range(0, max(1, len(named)), HASHES_IN_A_LINE):
            part = named[begin : begin + HASHES_IN_A_LINE]
            self._telemetry.record(
                "WARNING",
                NOT_QUEUED,
                outcome=outcome,
                reason=reason,
                project_hash=webhook.project_hash,
                event_uid=webhook.event_uid,
                event_type=webhook.event_type,
                label_hashes=[item for name, item in part if name == "label_hashes"],
                data_hashes=[item for name, item in part if name == "data_hashes"],
                odd_elements=list(webhook.odd[:HASHES_IN_A_LINE]) or None,
            )


def _response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    all_headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})}
    return {"statusCode": status, "headers": all_headers, "body": json.dumps(body), "isBase64Encoded": False}
