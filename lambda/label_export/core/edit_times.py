"""Encord's edit times.

Two formats are served (encord/common/constants.py and time_parser.py in the SDK): `2023-02-09 14:12:03` and
`Thu, 09 Feb 2023 14:12:03 GMT` (or UTC); ISO 8601 appears as well. A time without a zone is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONG_FORMAT = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (UTC|GMT|[+-]\d{4})")


def parse_edit_time(text: object) -> datetime | None:
    """Return the moment that `text` names, in UTC; None where there is none or it cannot be read.

    None is not an error: ordering then falls back to what was served later (see export.py).
    """
    if not isinstance(text, str):
        return None
    try:
        moment = parsedate_to_datetime(text) if _LONG_FORMAT.fullmatch(text) else datetime.fromisoformat(text)
        return in_utc(moment)
    except (ValueError, OverflowError):
        return None


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC; one without a zone is taken as UTC. Raises OverflowError at the ends of time."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
