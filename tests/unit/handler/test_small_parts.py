"""Times, tries, logs and metrics by themselves."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_export.adapters.transport import Response
from label_export.edit_times import parse_edit_time
from label_export.errors import PermanentError, RetryableError
from label_export.observability import Telemetry
from label_export.retry import ATTEMPTS, RESERVE, Retry

# Edit times


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


# Tries


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.left -= seconds


def failing(error: Exception, times: int, clock: Clock, takes: float = 0.0) -> tuple[Retry, list[float]]:
    budgets: list[float] = []

    def operation(budget: float) -> str:
        budgets.append(budget)
        clock.left -= min(takes, budget)
        if len(budgets) <= times:
            raise error
        return "done"

    retry = Retry(lambda: clock.left, sleep=clock.sleep, jitter=lambda: 1.0)
    try:
        assert retry(operation) == "done"
    except type(error):
        budgets.append(-1)
    return retry, budgets


def test_pauses_grow_and_end() -> None:
    clock = Clock(100)
    _, budgets = failing(RetryableError("r", "m"), 99, clock)
    assert len(budgets) == ATTEMPTS + 1
    assert clock.slept == [0.2, 0.4, 0.8]


def test_success_after_failures_and_permanent_at_once() -> None:
    assert failing(RetryableError("r", "m"), 2, Clock(100))[1] == pytest.approx([99.0, 98.8, 98.4])
    assert len(failing(PermanentError("r", "m"), 1, Clock(100))[1]) == 2


def test_tries_end_before_the_time_does() -> None:
    clock = Clock(10)
    failing(RetryableError("r", "m"), 99, clock, takes=4.0)
    assert clock.left >= RESERVE
    clock = Clock(0.5)
    assert failing(RetryableError("no_time", "m"), 0, clock)[1] == [-1]


def test_retry_after_is_slept_when_there_is_time() -> None:
    clock = Clock(100)
    failing(RetryableError("r", "m", retry_after=7.0), 1, clock)
    assert clock.slept == [7.2], "and jitter on top"
    clock = Clock(7.5)
    failing(RetryableError("r", "m", retry_after=7.0), 1, clock)
    assert clock.slept == []
    clock = Clock(8.1)
    failing(RetryableError("r", "m", retry_after=7.0), 1, clock)
    assert clock.slept == [], "with the jitter it would end too late"


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


def test_retry_after_without_the_servers_clock_goes_by_ours() -> None:
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


@given(st.floats(0, 1), st.integers(0, 10))
def test_jitter_stays_within_the_ceiling(jitter: float, times: int) -> None:
    clock = Clock(100)
    seen = 0

    def operation(_: float) -> None:
        nonlocal seen
        seen += 1
        if seen <= times:
            raise RetryableError("r", "m")

    retry = Retry(lambda: clock.left, sleep=clock.sleep, jitter=lambda: jitter)
    try:
        retry(operation)
    except RetryableError:
        assert times >= ATTEMPTS
    assert all(0 <= pause <= ceiling for pause, ceiling in zip(clock.slept, [0.2, 0.4, 0.8], strict=False))


# Logs and metrics


def written(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_metrics_are_in_the_embedded_format() -> None:
    stream = io.StringIO()
    telemetry = Telemetry({"Name": "n", "Environment": "e"}, stream=stream, now=lambda: 1.5)
    telemetry.count("Failed", "timeout")
    telemetry.count("Failed", "tls")
    telemetry.measure("S3Milliseconds", 1.26)
    telemetry.measure("S3Milliseconds", 2)
    telemetry.flush()
    telemetry.flush()
    total, timeout, tls = written(stream)
    assert (total["Failed"], total["S3Milliseconds"], total["Name"]) == (2, [1.3, 2], "n")
    assert (timeout["Failed"], timeout["Reason"], tls["Reason"]) == (1, "timeout", "tls")
    assert timeout["_aws"] == {
        "Timestamp": 1500,
        "CloudWatchMetrics": [
            {
                "Namespace": "LabelExport",
                "Dimensions": [["Name", "Environment", "Reason"]],
                "Metrics": [{"Name": "Failed", "Unit": "Count"}],
            }
        ],
    }
    assert {"Name": "S3Milliseconds", "Unit": "Milliseconds"} in total["_aws"]["CloudWatchMetrics"][0]["Metrics"]  # type: ignore[index]


def test_a_metric_holds_at_most_a_hundred_values_a_line_and_loses_none() -> None:
    stream = io.StringIO()
    telemetry = Telemetry({"Name": "n"}, stream=stream)
    for number in range(250):
        telemetry.measure("ExportedBytes", number)
        telemetry.count("Exported")
    telemetry.measure("S3Milliseconds", 1)
    telemetry.flush()
    lines: list[Any] = written(stream)
    assert [len(line["ExportedBytes"]) for line in lines] == [100, 100, 50]
    assert sum(sum(line["ExportedBytes"]) for line in lines) == sum(range(250))
    assert [line.get("Exported") for line in lines] == [250, None, None]
    named = [[metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]] for line in lines]
    assert named == [["Exported", "ExportedBytes", "S3Milliseconds"], ["ExportedBytes"], ["ExportedBytes"]]


def test_logs_have_a_level_and_leave_out_nothing_else() -> None:
    stream = io.StringIO()
    telemetry = Telemetry({"Name": "n", "Environment": "e"}, level="WARNING", request_id="r", stream=stream)
    telemetry.log("INFO", "quiet")
    telemetry.log("ERROR", "loud", key="k", nothing=None)
    assert written(stream) == [
        {"level": "ERROR", "message": "loud", "request_id": "r", "name": "n", "environment": "e", "key": "k"}
    ]
