"""Every way in which a webhook or a message can end without an object in S3: its metric, and its alarm.

Each has an alarm (its name in roles/monitoring) or a written reason why none is due. A test collects all outcomes and
all reasons from the code and demands a row here for each; another finds each alarm, with the row's metric, in the role.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class _Row:
    """One ending.

    `metric` is counted; `reason` is its dimension if the row is for that reason only. Either `alarm` or
    `no_alarm_because` is set. `alarm_metric` is the metric that the alarm watches, if it is not `metric`.
    """

    metric: str
    reason: str | None = None
    alarm: str | None = None
    no_alarm_because: str | None = None
    alarm_metric: str | None = None

    @property
    def watched(self) -> str:
        """The metric that the alarm watches."""
        return self.alarm_metric or self.metric


_DELETED = "an everyday event, confirmed at a late receive in a project that can be read; what was stored stays"


class Ending(Enum):
    """The table."""

    # Webhooks
    REFUSED_UNSIGNED = _Row(
        "RefusedUnsigned",
        no_alarm_because="it has no signature and no token, and Encord signs every webhook: it is not from Encord; "
        "or playbooks/verify.yml sent it as a test that must be refused",
    )
    REFUSED = _Row("Refused", alarm="refused")
    REFUSED_AUTHENTICATED = _Row("RefusedAuthenticated", alarm="refused-authenticated")
    UNAVAILABLE = _Row("WebhookFailed", alarm="unavailable")
    UNKNOWN_EVENT = _Row("Ignored", "unknown_event", alarm="unknown-event", alarm_metric="UnknownEventType")
    NOT_SELECTED = _Row(
        "Ignored",
        "not_selected",
        no_alarm_because="export_function_event_types, which is checked at deploy, does not list this known event type",
    )
    NO_LABELS = _Row(
        "Ignored", "no_labels", no_alarm_because="an event type that is known to report no change of a label"
    )
    ODD_ELEMENTS = _Row("OddElements", alarm="odd-elements")

    # Webhooks that the HTTP API refuses without invoking the function. Filters of its access log count them (role
    # front_door).
    REJECTED_BY_API = _Row("ApiRejected", alarm="rejected")
    THROTTLED_BY_API = _Row("ApiThrottled", alarm="api-throttled")

    # Messages
    FAILED = _Row("Failed", alarm="failed")  # redelivered, then a dead letter, which has an alarm too
    NO_ACCESS = _Row("Failed", "no_access", alarm="no-access")
    ROW_DELETED = _Row("Terminal", "row_deleted", no_alarm_because=_DELETED)
    DATA_DELETED = _Row("Terminal", "data_deleted", no_alarm_because=_DELETED)
    NEVER_INITIALISED = _Row(
        "Terminal",
        "never_initialised",
        no_alarm_because="the data unit has no labels yet, confirmed at a late receive in a project that can be read",
    )
    # A single one is what export_function_workflow_stages configures.
    FILTERED = _Row("Filtered", alarm="all-filtered", alarm_metric="FilteredShare")
    WENT_BACK = _Row("WentBack", alarm="went-back")  # it leaves an object, but an operator should know
    PROBE = _Row("", no_alarm_because="sent by playbooks/verify.yml, which reads its end in the log and reports it")

    # Invocations
    UNKNOWN_INVOCATION = _Row(
        "UnknownEvent", alarm="errors", alarm_metric="Errors"
    )  # it raises, which Lambda counts as an error

    @property
    def metric(self) -> str:
        """The name of the metric that counts it."""
        return self.value.metric

    @property
    def reason(self) -> str | None:
        """The value of the metric's dimension Reason, if the row is for that reason only."""
        return self.value.reason
