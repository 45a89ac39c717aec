"""Tombstones: labels whose object stays although Encord no longer has them, or has them in an earlier stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Reason = Literal["deleted", "data_unit_deleted", "moved_back", "other_key"]

# With `delete`: more than this share of a bucket at once looks like lost access, not like work. A person must check.
MOST_DELETED_SHARE = 0.1
ALWAYS_DELETED = 20


def buried(  # noqa: PLR0913 - a tombstone has these fields
    *,
    label_hash: str,
    key: str,
    reason: Reason,
    version_id: str | None,
    work: str,
    now: str,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return a label's tombstone after this census; `before` is that of an earlier census.

    It is confirmed when a later census finds the same: one negative response is no proof.
    """
    same = before is not None and before.get("reason") == reason and before.get("key") == key
    first = before if same and before is not None else {"seen_at": now, "seen_by": work}
    confirmed = first.get("confirmed_at") or (now if first["seen_by"] != work else None)
    return {
        "version": 1,
        "label_hash": label_hash,
        "key": key,
        "reason": reason,
        "version_id": version_id or first.get("version_id"),
        "seen_at": first["seen_at"],
        "seen_by": first["seen_by"],
        "confirmed_at": confirmed,
        "deleted_at": first.get("deleted_at"),
    }


def may_delete(count: int, objects: int) -> bool:
    """Return whether this many labels may get a delete marker in one census."""
    return count <= max(ALWAYS_DELETED, int(objects * MOST_DELETED_SHARE))
