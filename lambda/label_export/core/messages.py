"""The queue's messages: one changed label each. Written by the webhook, read by the queue path."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any, TypeGuard

from label_export.core.errors import PermanentError

MESSAGE_VERSION = 1
PROBE_PREFIX = "verify-"  # event uids of playbooks/verify.yml, whose label does not exist

# Encord's hashes are UUIDs. The pattern is wider, so that a new form of hash is not lost, but allows no
# character with a meaning in a key, a URL or a log line.
_HASH = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A hint that a label changed. At least one of `label_hash` and `data_hash` is given."""

    project_hash: str
    label_hash: str | None
    data_hash: str | None = None
    event_uid: str = ""
    event_type: str = ""

    @property
    def target(self) -> tuple[str, str | None, str | None]:
        """What to export, whatever event caused it."""
        return (self.project_hash, self.label_hash, self.data_hash if self.label_hash is None else None)

    @property
    def is_probe(self) -> bool:
        """Whether playbooks/verify.yml sent it: by its uid, and by a label hash that no label of Encord's can have."""
        return self.event_uid.startswith(PROBE_PREFIX) and self.label_hash == probe_label(self.event_uid)


def probe_label(event_uid: str) -> str:
    """Return the hash of the label that a probe asks for: a UUID made from the probe's uid."""
    return str(uuid.UUID(bytes=hashlib.sha256(event_uid.encode("utf-8", "replace")).digest()[:16], version=4))


def is_hash(value: object) -> TypeGuard[str]:
    """Return whether `value` can be one of Encord's hashes: 1 to 64 letters, digits, hyphens and underscores."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def encode(change: LabelChange) -> str:
    """Return the message's text for `change`."""
    message: dict[str, Any] = {"version": MESSAGE_VERSION, "project_hash": change.project_hash}
    if change.label_hash is not None:
        message["label_hash"] = change.label_hash
    else:
        message["data_hash"] = change.data_hash
    return json.dumps(message | {"event_uid": change.event_uid, "event_type": change.event_type})


def decode(body: object) -> LabelChange:
    """Return the change that a message's text describes.

    Raises PermanentError("poison_message") naming the field that is wrong: such a message needs an operator, so
    it must reach the dead-letter queue.
    """
    if not isinstance(body, str):
        raise _poison("its body is not text")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _poison("its body is not a JSON object")
    version = message.get("version")
    if version != MESSAGE_VERSION or isinstance(version, bool):
        raise _poison("version is not one that this function reads")
    project_hash, label_hash, data_hash = (message.get(name) for name in ("project_hash", "label_hash", "data_hash"))
    if not is_hash(project_hash):
        raise _poison("project_hash is missing or not a hash")
    if label_hash is None and data_hash is None:
        raise _poison("it has neither label_hash nor data_hash")
    if label_hash is not None and not is_hash(label_hash):
        raise _poison("label_hash is not a hash")
    if data_hash is not None and not is_hash(data_hash):
        raise _poison("data_hash is not a hash")
    event_uid, event_type = message.get("event_uid", ""), message.get("event_type", "")
    if not isinstance(event_uid, str) or not isinstance(event_type, str):
        raise _poison("event_uid and event_type must be text")
    return LabelChange(project_hash, label_hash, data_hash, event_uid, event_type)


def _poison(problem: str) -> PermanentError:
    return PermanentError("poison_message", f"the queue message cannot be read: {problem}")
