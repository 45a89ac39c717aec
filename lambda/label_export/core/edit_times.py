"""Encord's edit times, parsed as Encord's SDK parses them (encord/common/time_parser.py).

Two formats are served (encord/common/constants.py): `2023-02-09 14:12:03` and `Thu, 09 Feb 2023 14:12:03 GMT` (or UTC).
The SDK reads ISO 8601 as well, and then any text that dateutil can parse. A time without a zone is UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONG_FORMAT = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (UTC|GMT|[+-]\d{4})")
_LONGEST = 200  # characters; no time is longer
# dateutil fills in missing parts from a default, in the SDK today's date. A text without a date names no moment.
_DEFAULTS = (datetime(2000, 1, 1), datetime(2011, 11, 11))


def parse_edit_time(text: object) -> datetime | None:
    """Return the moment that `text` names, in UTC; None if there is none or it cannot be parsed.

    None is not an error: ordering then falls back to what was served later (see export.py).
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        moment = parsedate_to_datetime(text) if _LONG_FORMAT.fullmatch(text) else datetime.fromisoformat(text)
        return in_utc(moment)
    except OverflowError:
        return None
    except ValueError:
        return _parsed_by_dateutil(text)


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC; a time without a zone counts as UTC. Raises OverflowError at the ends of time."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parsed_by_dateutil(text: str) -> datetime | None:
    # Imported only for formats that are rarely served: it takes 50 ms. No stubs: its two functions return datetime.
    from dateutil import parser  # type: ignore[import-untyped]  # noqa: PLC0415  (both: see above)

    ways: tuple[Callable[[], list[datetime]], ...] = (
        lambda: [parser.isoparse(text)],
        lambda: [parser.parse(text, default=default) for default in _DEFAULTS],
        lambda: [parser.parse(text, default=default, fuzzy=True) for default in _DEFAULTS],
    )
    for way in ways:
        try:
            moments = {in_utc(moment) for moment in way()}
        # As in the SDK: dateutil raises many kinds of errors, and the next format is tried.
        except Exception:  # noqa: BLE001, S112  (see above)  # nosec B112
            continue
        return moments.pop() if len(moments) == 1 else None
    return None
