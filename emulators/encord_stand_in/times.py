"""Edit times in the forms in which Encord writes them.

Source: ``encord.common.time_parser`` (0.1.211) tries, in this order, ``2023-02-09 14:12:03``,
``Thu, 01 May 2025 13:53:59 GMT`` (or ``UTC``, which the SDK itself writes) and ISO 8601 with an offset, because labels
contain all of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal, get_args

TimeForm = Literal["iso", "iso_offset", "long", "long_utc", "plain"]
TIME_FORMS: tuple[TimeForm, ...] = get_args(TimeForm)

_TO_THE_SECOND: dict[TimeForm, str] = {
    "plain": "%Y-%m-%d %H:%M:%S",
    "long": "%a, %d %b %Y %H:%M:%S GMT",
    "long_utc": "%a, %d %b %Y %H:%M:%S UTC",
}
_SOME_OFFSET = timezone(timedelta(hours=2))


def render(instant: datetime, form: TimeForm) -> str:
    """Return the instant as text; the long forms and ``plain`` have no sub-seconds and are in UTC."""
    utc = instant.astimezone(UTC)
    if form == "iso":
        return utc.isoformat(timespec="microseconds")
    if form == "iso_offset":
        return utc.astimezone(_SOME_OFFSET).isoformat(timespec="milliseconds")
    return utc.strftime(_TO_THE_SECOND[form])


def listing_form(form: TimeForm) -> TimeForm:
    """Return the form of the same time in the listing. It may differ from the row's, as it may in Encord."""
    return "plain" if form in {"long", "long_utc"} else form


def parse(text: str) -> datetime:
    """Parse any of the forms; a time without an offset is UTC, as in the SDK. Raises ValueError."""
    for form in _TO_THE_SECOND.values():
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def settled(instant: datetime, form: TimeForm) -> datetime:
    """Return the instant as it is after being written in the form."""
    return parse(render(instant, form))


def resolution(form: TimeForm) -> timedelta:
    """Return the smallest difference between two times that this form can represent."""
    if form == "iso":
        return timedelta(microseconds=1)
    return timedelta(milliseconds=1) if form == "iso_offset" else timedelta(seconds=1)
