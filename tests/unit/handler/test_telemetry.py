"""Logs and metrics on standard output."""

from __future__ import annotations

import io
import json
from typing import Any

from label_export.telemetry import Telemetry


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
    telemetry.log("INFO", "too_quiet")
    telemetry.log("ERROR", "is_loud", key="k", nothing=None)
    assert written(stream) == [
        {
            "level": "ERROR",
            "event": "is_loud",
            "message": "is loud",
            "request_id": "r",
            "name": "n",
            "environment": "e",
            "key": "k",
        }
    ]
