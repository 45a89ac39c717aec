"""The messages of the events queue: one for each object in the bucket that was written or deleted.

EventBridge sends them (role catalog_queue): `{"version": 1, "action": "label", "key": KEY, "at": TIME}`. They are
hints: the index gets the object's state at the time when it is read.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from string import Formatter

from label_export.core.edit_times import parse_edit_time

ACTION = "label"
_BEGINNING = '{"version": 1, "action": "label", '
_VALUE = r"[0-9A-Za-z_.-]{1,128}"  # the values of a field in the key template


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """An object changed. `at` is the time, or None if the message does not have it."""

    key: str
    at: datetime | None


def read_event(body: object) -> LabelEvent | None:
    """Return a message's event, or None if it is not such a message. EventBridge's original form is accepted too.

    EventBridge inserts a key without escaping. A key with a quotation mark breaks the message: it is not a label's key,
    and the event's key is then empty.
    """
    try:
        message = json.loads(body) if isinstance(body, str) else None
    except (ValueError, RecursionError):
        return LabelEvent("", None) if str(body).startswith(_BEGINNING) else None
    if not isinstance(message, dict):
        return None
    if message.get("version") == 1 and message.get("action") == ACTION:
        key, at = message.get("key"), message.get("at")
    elif message.get("source") == "aws.s3" and isinstance(message.get("detail"), dict):
        found = message["detail"].get("object")
        key, at = found.get("key") if isinstance(found, dict) else None, message.get("time")
    else:
        return None
    return LabelEvent(key, parse_edit_time(at)) if isinstance(key, str) and key else None


class ProjectOfKey:
    """Extracts the project's hash from a label's key."""

    def __init__(self, template: str) -> None:
        """`template` is the exporter's key template, already validated."""
        pattern = ""
        self.named = False
        for literal, name, _, _ in Formatter().parse(template):
            pattern += re.escape(literal)
            if name == "project_hash" and not self.named:
                self.named = True
                pattern += f"(?P<project>{_VALUE})"
            elif name is not None:
                pattern += _VALUE
        self._pattern = re.compile(pattern)

    def __call__(self, key: str) -> str | None:
        """Return the project's hash; None for a key of another form, and if the template does not contain it."""
        found = self._pattern.fullmatch(key)
        return found["project"] if found is not None and self.named else None

    def matches(self, key: str) -> bool:
        """Return whether a key has the template's form."""
        return self._pattern.fullmatch(key) is not None
