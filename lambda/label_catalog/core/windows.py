"""Windows of edit time: a listing has no pages, so one that is too large is requested in halves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from label_catalog.core.model import Window

# It is not documented whether a window includes its own ends, so each one begins a little before the end of the last.
OVERLAP = timedelta(seconds=1)
SMALLEST = timedelta(seconds=4)


def halves(
    window: Window, *, earliest: datetime, latest: datetime, seen: Sequence[datetime] = ()
) -> tuple[Window, Window] | None:
    """Return two windows that cover `window`, or None if it is too small: then it is read whole, whatever its size.

    Many rows may have the same edit time (an import), and no division separates them. `earliest` and `latest` replace
    an open end. `seen` are edit times from the part of the response that was read: their median divides the rows better
    than the middle of the time, since rows come in bursts.
    """
    after, before = window.after or earliest, window.before or latest
    if before - after < SMALLEST:
        return None
    middle = after + (before - after) / 2
    median = sorted(seen)[len(seen) // 2] if seen else middle
    if after + SMALLEST / 2 <= median <= before - SMALLEST / 2:
        middle = median
    return Window(after, middle + OVERLAP), Window(middle - OVERLAP, before)


def filters(window: Window) -> dict[str, str]:
    """Return the listing's filters for a window."""
    named = {"edited_after": window.after, "edited_before": window.before}
    return {name: moment.isoformat() for name, moment in named.items() if moment is not None}
