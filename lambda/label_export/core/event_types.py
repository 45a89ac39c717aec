"""The event types that Encord's webhooks name, their spelling, and which of them report changed labels."""

from __future__ import annotations

from enum import Enum

EXPORTING = ("task_submitted_event", "task_completed_event")

# Known to report no change of a label: Encord's other types, and the type that playbooks/verify.yml sends.
_WITHOUT_LABELS = {"digest_event", "agent_stage_work_available_event", "label_export_probe_event"}
_MISSPELT = {"task_sumbitted_event": "task_submitted_event"}  # as some copies of Encord's documentation have it
_TASK_PREFIX = "task_"


class Kind(Enum):
    """What is known of an event type."""

    EXPORTING = "exporting"
    WITHOUT_LABELS = "without_labels"
    UNKNOWN_TASK = "unknown_task"  # by its name about a task: a renamed or new type that may report changed labels
    UNKNOWN = "unknown"


def normalised_event_type(name: str) -> str:
    """Return the event type's right spelling."""
    return _MISSPELT.get(name, name)


def kind_of(event_type: str) -> Kind:
    """Return what is known of a normalised event type, whether or not the deployment asks for it."""
    if event_type in EXPORTING:
        return Kind.EXPORTING
    if event_type in _WITHOUT_LABELS:
        return Kind.WITHOUT_LABELS
    return Kind.UNKNOWN_TASK if event_type.startswith(_TASK_PREFIX) else Kind.UNKNOWN
