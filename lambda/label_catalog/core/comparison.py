"""How a label row stands to its object, judged by edit times alone. Contents are compared by the exporter."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from label_catalog.core.model import ListedRow, StoredObject

_SECOND = 1_000_000
_MILLISECOND = 1_000


class Verdict(Enum):
    """How the bucket stands for one label."""

    CURRENT = "current"
    MISSING = "missing"
    STALE = "stale"


def same_edit_time(listed: datetime, stored: datetime) -> bool:
    """Say whether two texts can name the same edit: equal at the coarser of their resolutions.

    The listing and the row need not write a time in the same form, and some forms have no sub-seconds.
    """
    for unit in (_SECOND, _MILLISECOND):
        if listed.microsecond % unit == 0 or stored.microsecond % unit == 0:
            return _rounded(listed, unit) == _rounded(stored, unit)
    return listed == stored


def _rounded(moment: datetime, unit: int) -> datetime:
    return moment.replace(microsecond=moment.microsecond // unit * unit)


def judge(row: ListedRow, stored: StoredObject | None) -> Verdict:
    """Return how `stored` stands to `row`."""
    if stored is None:
        return Verdict.MISSING
    return Verdict.CURRENT if is_current(row.edited_at, stored.edited_at, stored.modified_at) else Verdict.STALE


def is_current(listed: datetime | None, stored: datetime | None, modified: datetime) -> bool:
    """Say whether an object holds the edit that is listed, as far as times can say.

    An object whose row was served without an edit time holds every edit from before S3 took it. One without an edit
    time in the listing is taken as current: a deep comparison decides.
    """
    if listed is None:
        return True
    if stored is None:
        return listed <= modified
    return same_edit_time(listed, stored)
