"""Pure comparison of a resource as it is with the resource as it is wanted.

No API is called here, so that the rules can be tested by table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def changed_values(current: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted settings that the resource does not have yet.

    ``current`` is the resource's settings, or None when it does not exist. A wanted value of None means "not managed
    here": it never counts as a change.
    """
    have = current or {}
    return {key: value for key, value in wanted.items() if value is not None and have.get(key) != value}


def difference(current: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``{"before": ..., "after": ...}`` for Ansible's diff mode, holding only what changes.

    A resource that does not exist shows an empty "before"; one to be deleted is described by ``wanted`` being empty.
    """
    if current is not None and not wanted:
        return {"before": dict(current), "after": {}}
    changes = changed_values(current, wanted)
    before = {key: current[key] for key in changes if key in current} if current else {}
    return {"before": before, "after": changes}


def tag_changes(current: Mapping[str, str], wanted: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    """Return the tags to set and the tag keys to remove; tags that AWS owns (``aws:``) are left alone.

    ``wanted`` of None means that tags are not managed.
    """
    if wanted is None:
        return {}, []
    to_set = {key: value for key, value in wanted.items() if current.get(key) != value}
    to_remove = sorted(key for key in current if key not in wanted and not key.startswith("aws:"))
    return to_set, to_remove


def json_document(text: str | Mapping[str, Any] | None) -> Any:
    """Parse a JSON document that an API keeps as text, so that spacing and key order do not count as a difference."""
    if not text:
        return None
    return json.loads(text) if isinstance(text, str) else dict(text)
