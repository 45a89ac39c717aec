"""Pure comparison of a resource's current settings with the wanted ones.

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
    """Return ``{"before": ..., "after": ...}`` for Ansible's diff mode, with only what changes.

    A resource that does not exist shows an empty "before"; one to be deleted is described by ``wanted`` being empty.
    """
    if current is not None and not wanted:
        return {"before": dict(current), "after": {}}
    changes = changed_values(current, wanted)
    before = {key: current[key] for key in changes if key in current} if current else {}
    return {"before": before, "after": changes}


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags without the tags that AWS owns (``aws:``), which users cannot set or remove."""
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


def canonical_statement(value: Any) -> Any:
    """Return a statement of a policy, or a part of one, in the one form that all its spellings share.

    AWS returns a list of one as its item, lists in another order, booleans and numbers as text, and ``"*"`` for
    everyone in the longer form ``{"AWS": "*"}``. The result is itself a valid statement of the same meaning.
    """
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        parts = {key: canonical_statement(part) for key, part in value.items()}
        return {key: "*" if key.endswith("Principal") and part == {"AWS": "*"} else part for key, part in parts.items()}
    if isinstance(value, list):
        items = sorted((canonical_statement(item) for item in value), key=str)
        return items[0] if len(items) == 1 else items
    return value


def statements(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a policy's statements in canonical form; a policy may have a single statement instead of a list."""
    found = policy.get("Statement", [])
    return [canonical_statement(statement) for statement in (found if isinstance(found, list) else [found])]


def json_document(text: str | Mapping[str, Any] | None) -> Any:
    """Parse a JSON document that an API stores as text, so that spacing and key order are no difference."""
    if not text:
        return None
    return json.loads(text) if isinstance(text, str) else dict(text)


def comparable_policy(policy: str | dict[str, Any] | None) -> dict[str, Any]:
    """Return a policy document with its statements in canonical form; {} for none."""
    document = json_document(policy)
    return {**document, "Statement": statements(document)} if document else {}
