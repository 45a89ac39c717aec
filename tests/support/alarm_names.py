"""The alarms that a deploy with its defaults makes, in the order of their names."""

from __future__ import annotations

ALARMS = [
    "all-filtered",
    "api-throttled",
    "catalog-dead-letters",
    "catalog-errors",
    "catalog-failed",
    "census-late",
    "dead-letters",
    "endpoint",
    "errors",
    "failed",
    "index-differs",
    "index-late",
    "index-not-compared",
    "labels-gone",
    "labels-missing",
    "missed-webhooks",
    "no-access",
    "odd-elements",
    "oldest-message",
    "reconcile-failed",
    "reconcile-late",
    "refused",
    "refused-authenticated",
    "rejected",
    "throttles",
    "unavailable",
    "unknown-event",
    "went-back",
]
