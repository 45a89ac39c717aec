"""Encord's edit times in all of their formats."""

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
        ("2023-2-9 4:12:03", "2023-02-09T04:12:03+00:00"),
        ("20230209T141203Z", "2023-02-09T14:12:03+00:00"),
        ("2023-02", "2023-02-01T00:00:00+00:00"),
        ("2023-02-09 14:12:03 UTC", "2023-02-09T14:12:03+00:00"),
        ("2023-02-09 14:12:03 +02:00", "2023-02-09T12:12:03+00:00"),
        ("Thu Feb  9 14:12:03 2023", "2023-02-09T14:12:03+00:00"),
        ("February 9, 2023 2:12:03 PM", "2023-02-09T14:12:03+00:00"),
        ("Thu, 09 Feb 2023 14:12:03 EST", "2023-02-09T14:12:03+00:00"),
        ("edited on 2023-02-09 at 14:12:03", "2023-02-09T14:12:03+00:00"),
    ],
)
def test_formats(text: str, moment: str) -> None:
    parsed = parse_edit_time(text)
    assert parsed is not None
    assert parsed.isoformat() == moment


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", 5, [], "yesterday", "2023-13-45 99:99:99", "Thu, 99 Feb 2023 14:12:03 GMT"),
        *("0001-01-01T00:00:00+23:59", "14:12:03", "9 Feb", "Thursday", "2023-02-09 14:12:03" + " " * 200),
    ],
)
def test_an_unreadable_time_is_none(text: object) -> None:
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


FORMATS = """\
%Y-%m-%d %H:%M:%S
%a, %d %b %Y %H:%M:%S GMT
%a, %d %b %Y %H:%M:%S UTC
%Y-%m-%dT%H:%M:%SZ
%Y%m%dT%H%M%S
%Y-%m-%dT%H:%M:%S+10:00
%Y-%m-%d %H:%M:%S -0330
%d %B %Y %H:%M
%m/%d/%Y %I:%M:%S %p
%a %b %d %H:%M:%S %Y
%A %d %b %Y, %H:%M:%S.123456
%Y/%m/%d
saved at %Y-%m-%d %H:%M:%S""".splitlines()


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)), st.sampled_from(FORMATS))
def test_every_format_is_read_as_the_sdk_reads_it(moment: datetime, form: str) -> None:
    from encord.common.time_parser import parse_datetime  # noqa: PLC0415  (takes seconds)

    text = moment.strftime(form)
    assert parse_edit_time(text) == parse_datetime(text)
