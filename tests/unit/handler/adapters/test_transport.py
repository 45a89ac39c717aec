"""The pause that a server asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_export.adapters.transport import Response

ANSWERED = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Tue, 04 Mar 2025 05:06:37 GMT", 30.0),
        ("Tuesday, 04-Mar-25 05:06:37 GMT", 30.0),
        ("Tue Mar  4 05:06:37 2025", 30.0),
        ("Tue, 04 Mar 2025 05:06:07 GMT", 0.0),
        ("Mon, 03 Mar 2025 05:06:07 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Tue, 99 Mar 2025 05:06:37 GMT", None),
        ("\u0663", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_on_the_servers_clock(text: str, seconds: float | None) -> None:
    headers = {"Retry-After": text, "Date": format_datetime(ANSWERED, usegmt=True)}
    assert Response(429, headers, b"").retry_after == seconds


def test_retry_after_without_the_servers_clock_uses_ours() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    pause = Response(503, {"Retry-After": later}, b"").retry_after
    assert pause is not None
    assert 0 < pause <= 3600
    assert Response(503, {}, b"").retry_after is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_retry_after_raises(text: str, date: str) -> None:
    pause = Response(503, {"Retry-After": text, "Date": date}, b"").retry_after
    assert pause is None or pause >= 0


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)), st.integers(-(10**6), 10**6))
def test_a_retry_after_date_is_its_distance_from_the_answer(moment: datetime, seconds: int) -> None:
    answered = moment.replace(tzinfo=UTC, microsecond=0)
    due = format_datetime(answered + timedelta(seconds=seconds), usegmt=True)
    headers = {"Retry-After": due, "Date": format_datetime(answered, usegmt=True)}
    assert Response(503, headers, b"").retry_after == max(0, seconds)
