"""The event types that Encord's webhooks name, and their spelling."""

from __future__ import annotations

_EXPORTING = {"task_submitted_event", "task_completed_event"}
_MISSPELT = {"task_sumbitted_event": "task_submitted_event"}  # as some copies of Encord's documentation have it


def normalised_event_type(name: str) -> str:
    """Return the event type's right spelling."""
    return _MISSPELT.get(name, name)


def is_known(event_type: str) -> bool:
    """Return whether this event reports changed labels, whether or not the deployment asks for it."""
    return event_type in _EXPORTING
