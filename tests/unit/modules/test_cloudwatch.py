"""Alarms and the dashboard: created, kept, corrected, and completely removed."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

PREFIX = "label-export-dev/"
TOPIC = f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"
ALARM: Values = {
    "name": "errors",
    "description": "It crashed. Next: read the log.",
    "namespace": "AWS/Lambda",
    "metric_name": "Errors",
    "dimensions": {"FunctionName": "f", "Resource": "f:live"},
    "threshold": 1,
}
EVERYTHING: Values = {
    "name_prefix": PREFIX,
    "alarms": [
        ALARM,
        {
            **ALARM,
            "name": "age",
            "statistic": "Maximum",
            "period": 60,
            "evaluation_periods": 3,
            "datapoints_to_alarm": 2,
            "threshold": 2.5,
            "comparison_operator": "LessThanThreshold",
            "treat_missing_data": "ignore",
        },
    ],
    "alarm_actions": [TOPIC],
    "ok_actions": [TOPIC],
    "tags": {"owner": "us"},
}
DASHBOARD = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/label-export-dev"
BODY = {"widgets": [{"type": "text", "properties": {"markdown": "a"}}]}


class FakeCloudWatch(Fake):
    """CloudWatch: alarms on a page each, and dashboards. Tags in a request count only if it creates something."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"alarms": {}, "dashboards": {}, "tags": {}}

    def describe_alarms(self, p: Values) -> Values:
        found = [alarm for name, alarm in self.state["alarms"].items() if name.startswith(p["AlarmNamePrefix"])]
        page = int(p.get("NextToken", "0"))
        token = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
        return {"MetricAlarms": found[page : page + 1], **token}

    def put_metric_alarm(self, p: Values) -> None:
        name = p["AlarmName"]
        arn = f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:{name}"
        tags = p.pop("Tags", [])
        if name not in self.state["alarms"]:
            self.state["tags"][arn] = tags
        self.state["alarms"][name] = {**p, "AlarmArn": arn, "Dimensions": p["Dimensions"][::-1]}

    def delete_alarms(self, p: Values) -> None:
        for name in p["AlarmNames"]:
            del self.state["alarms"][name]

    def list_tags_for_resource(self, p: Values) -> Values:
        return {"Tags": self.state["tags"][p["ResourceARN"]]}

    def tag_resource(self, p: Values) -> None:
        keys = {tag["Key"] for tag in p["Tags"]}
        kept = [tag for tag in self.state["tags"][p["ResourceARN"]] if tag["Key"] not in keys]
        self.state["tags"][p["ResourceARN"]] = kept + p["Tags"]

    def untag_resource(self, p: Values) -> None:
        tags = self.state["tags"]
        tags[p["ResourceARN"]] = [tag for tag in tags[p["ResourceARN"]] if tag["Key"] not in p["TagKeys"]]

    def get_dashboard(self, p: Values) -> Values:
        if p["DashboardName"] not in self.state["dashboards"]:
            raise RefusedError("ResourceNotFound")
        return {"DashboardBody": self.state["dashboards"][p["DashboardName"]]}

    def put_dashboard(self, p: Values) -> None:
        if p["DashboardName"] not in self.state["dashboards"]:
            self.state["tags"][DASHBOARD] = p.get("Tags", [])
        self.state["dashboards"][p["DashboardName"]] = p["DashboardBody"]

    def delete_dashboards(self, p: Values) -> None:
        for name in p["DashboardNames"]:
            del self.state["dashboards"][name]


@pytest.mark.parametrize("given", [EVERYTHING, {"name_prefix": PREFIX, "alarms": [ALARM]}])
def test_alarms_are_created_kept_and_deleted(given: Values) -> None:
    fake = FakeCloudWatch()
    result = assert_converges("cloudwatch_alarms", fake, **given)
    assert sorted(result["diff"]["after"]) == sorted(PREFIX + alarm["name"] for alarm in given["alarms"])
    assert sorted(fake.state["alarms"]) == sorted(result["alarms"])
    assert_converges("cloudwatch_alarms", fake, name_prefix=PREFIX, alarms=[])
    assert fake.state["alarms"] == {}


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"AlarmDescription": ""}, "AlarmDescription"),
        ({"Namespace": "Other"}, "Namespace"),
        ({"MetricName": "Other"}, "MetricName"),
        ({"Dimensions": []}, "Dimensions"),
        ({"Statistic": "Average"}, "Statistic"),
        ({"ExtendedStatistic": "p99"}, "ExtendedStatistic"),
        ({"Unit": "Seconds"}, "Unit"),
        ({"Period": 60}, "Period"),
        ({"EvaluationPeriods": 9}, "EvaluationPeriods"),
        ({"DatapointsToAlarm": 9}, "DatapointsToAlarm"),
        ({"Threshold": 1000.0}, "Threshold"),
        ({"ComparisonOperator": "LessThanThreshold"}, "ComparisonOperator"),
        ({"TreatMissingData": "missing"}, "TreatMissingData"),
        ({"ActionsEnabled": False}, "ActionsEnabled"),
        ({"AlarmActions": []}, "AlarmActions"),
        ({"OKActions": []}, "OKActions"),
        ({"InsufficientDataActions": [TOPIC]}, "InsufficientDataActions"),
    ],
)
def test_drift_of_an_alarm_is_corrected_and_named(drift: Values, setting: str) -> None:
    fake = FakeCloudWatch()
    done("cloudwatch_alarms", fake, **EVERYTHING)
    before = deepcopy(fake.state)
    fake.state["alarms"][PREFIX + "errors"].update(drift)
    result = assert_converges("cloudwatch_alarms", fake, **EVERYTHING)
    assert {name: list(changes) for name, changes in result["diff"]["after"].items()} == {PREFIX + "errors": [setting]}
    assert fake.state == before


def test_tags_of_an_alarm_are_corrected_without_writing_the_alarm() -> None:
    fake = FakeCloudWatch()
    done("cloudwatch_alarms", fake, **EVERYTHING)
    before = deepcopy(fake.state)
    arn = fake.state["alarms"][PREFIX + "age"]["AlarmArn"]
    fake.state["tags"][arn] = [{"Key": "owner", "Value": "them"}, {"Key": "extra", "Value": "1"}]
    fake.writes()
    done("cloudwatch_alarms", fake, **EVERYTHING)
    assert fake.writes() == ["untag_resource", "tag_resource"]
    assert fake.state == before


def test_an_alarm_that_is_no_longer_listed_is_removed_and_others_stay() -> None:
    fake = FakeCloudWatch()
    done("cloudwatch_alarms", fake, **EVERYTHING)
    done("cloudwatch_alarms", fake, name_prefix="label-export-dev-2/", alarms=[ALARM])
    result = assert_converges("cloudwatch_alarms", fake, **{**EVERYTHING, "alarms": [ALARM]})
    assert (list(result["diff"]["before"]), result["diff"]["after"]) == ([PREFIX + "age"], {})
    assert sorted(fake.state["alarms"]) == ["label-export-dev-2/errors", PREFIX + "errors"]


def test_an_empty_prefix_is_refused() -> None:
    fake = FakeCloudWatch()
    assert "name_prefix is empty" in run("cloudwatch_alarms", fake, name_prefix="", alarms=[])["msg"]
    assert fake.calls == []


def test_a_dashboard_is_created_kept_and_deleted() -> None:
    fake = FakeCloudWatch()
    assert_converges("cloudwatch_dashboard", fake, arn=DASHBOARD, body=json.dumps(BODY), tags={"owner": "us"})
    assert fake.state["tags"][DASHBOARD] == [{"Key": "owner", "Value": "us"}]
    # Whitespace is no difference.
    fake.state["dashboards"]["label-export-dev"] = json.dumps(BODY, indent=4)
    assert not done("cloudwatch_dashboard", fake, arn=DASHBOARD, body=json.dumps(BODY))["changed"]
    assert_gone("cloudwatch_dashboard", fake, arn=DASHBOARD)


def test_drift_of_a_dashboard_is_corrected() -> None:
    fake = FakeCloudWatch()
    wanted: Values = {"arn": DASHBOARD, "body": json.dumps(BODY), "tags": {"owner": "us"}}
    done("cloudwatch_dashboard", fake, **wanted)
    before = deepcopy(fake.state)
    fake.state["dashboards"]["label-export-dev"] = '{"widgets": []}'
    fake.state["tags"][DASHBOARD] = [{"Key": "extra", "Value": "1"}]
    result = assert_converges("cloudwatch_dashboard", fake, **wanted)
    assert set(result["diff"]["after"]) == {"body", "tags"}
    assert fake.state == before


def test_an_invalid_dashboard_is_refused() -> None:
    assert "not the ARN of a dashboard" in run("cloudwatch_dashboard", FakeCloudWatch(), arn=TOPIC, body="{}")["msg"]
