"""Encord's edit times, in all of their formats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_export.core.edit_times import parse_edit_time


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-02-09 14:12:03", "2023-02-09T14:12:03+00:00"),
        ("Thu, 09 Feb 2023 14:12:03 GMT", "2023-02-09T14:12:03+00:00"),
        ("Thu, 09 Feb 2023 14:12:03 UTC", "2023-02-09T14:12:03+00:00"),
        ("Thu, 09 Feb 2023 14:12:03 +0200", "2023-02-09T12:12:03+00:00"),
        ("2023-02-09T14:12:03Z", "2023-02-09T14:12:03+00:00"),
        ("2023-02-09T14:12:03.123456+02:00", "2023-02-09T12:12:03.123456+00:00"),
    ],
)
def test_formats(text: str, moment: str) -> None:
    parsed = parse_edit_time(text)
    assert parsed is not None
    assert parsed.isoformat() == moment


@pytest.mark.parametrize(
    "text",
    [None, "", 5, [], "yesterday", "2023-13-45 99:99:99", "Thu, 99 Feb 2023 14:12:03 GMT", "0001-01-01T00:00:00+23:59"],
)
def test_what_cannot_be_read_is_none(text: object) -> None:
    assert parse_edit_time(text) is None


@given(st.text(max_size=40))
def test_no_text_raises(text: str) -> None:
    parse_edit_time(text)


@given(
    st.datetimes(
        timezones=st.timezones() | st.just(UTC), min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)
    )
)
def test_the_formats_agree(moment: datetime) -> None:
    moment = moment.astimezone(UTC).replace(microsecond=0)
    short = moment.strftime("%Y-%m-%d %H:%M:%S")
    long = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    zoned = moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    assert parse_edit_time(short) == parse_edit_time(long) == parse_edit_time(zoned) == moment
