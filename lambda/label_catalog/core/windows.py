"""Windows of edit time: a listing has no pages, so what is too large is asked for in halves."""

from __future__ import annotations

from datetime import datetime, timedelta

from label_catalog.core.model import Window

# Whether a window includes its own ends is not documented: each one begins a little before the end of its neighbour.
OVERLAP = timedelta(seconds=1)
SMALLEST = timedelta(seconds=4)


def halves(window: Window, *, earliest: datetime, latest: datetime) -> tuple[Window, Window] | None:
    """Return two windows that cover `window`, or None where it is too small: then it is read whole, whatever its size.

    Many rows may share one edit time (an import), and no halving separates them. `earliest` and `latest` stand for an
    open end.
    """
    after, before = window.after or earliest, window.before or latest
    if before - after < SMALLEST:
        return None
    middle = after + (before - after) / 2
    return Window(after, middle + OVERLAP), Window(middle - OVERLAP, before)


def filters(window: Window) -> dict[str, str]:
    """Return the listing's filters for a window."""
    named = {"edited_after": window.after, "edited_before": window.before}
    return {name: moment.isoformat() for name, moment in named.items() if moment is not None}
