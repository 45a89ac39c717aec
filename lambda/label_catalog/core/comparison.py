"""Compares a label row with its object by edit times only. The exporter compares contents."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from label_catalog.core.model import ListedRow, StoredObject

_SECOND = 1_000_000
_MILLISECOND = 1_000


class Verdict(Enum):
    """The state of the bucket for one label."""

    CURRENT = "current"
    MISSING = "missing"
    STALE = "stale"


def same_edit_time(listed: datetime, stored: datetime) -> bool:
    """Return whether two times can be the same edit: equal at the coarser of their resolutions.

    The listing and the row may write a time in different forms, and some forms have no sub-seconds.
    """
    for unit in (_SECOND, _MILLISECOND):
        if listed.microsecond % unit == 0 or stored.microsecond % unit == 0:
            return _rounded(listed, unit) == _rounded(stored, unit)
    return listed == stored


def _rounded(moment: datetime, unit: int) -> datetime:
    return moment.replace(microsecond=moment.microsecond // unit * unit)


def judge(row: ListedRow, stored: StoredObject | None) -> Verdict:
    """Return the state of `stored` in relation to `row`."""
    if stored is None:
        return Verdict.MISSING
    return Verdict.CURRENT if is_current(row.edited_at, stored.edited_at, stored.modified_at) else Verdict.STALE


def is_current(listed: datetime | None, stored: datetime | None, modified: datetime) -> bool:
    """Return whether an object has the listed edit, as far as times show.

    An object whose row was served without an edit time has every edit from before S3 stored it. A row without an edit
    time in the listing is treated as current: a deep comparison decides.
    """
    if listed is None:
        return True
    if stored is None:
        return listed <= modified
    return same_edit_time(listed, stored)
