"""The log group: created, kept and corrected, and never changed in check mode."""

from __future__ import annotations

from fake_aws import ACCOUNT, Fake, Values, assert_converges, assert_gone, done, run

NAME = "/aws/lambda/label-export-dev"
ARN = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:{NAME}"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
EVERYTHING: Values = {"name": NAME, "retention": 30, "kms_key_arn": KEY, "tags": {"owner": "us"}}


class FakeLogs(Fake):
    """CloudWatch Logs, which stores groups in the API's form."""

    def describe_log_groups(self, p: Values) -> Values:
        groups = [{k: v for k, v in group.items() if k not in ("tags", "filters")} for group in self.state.values()]
        return {"logGroups": [group for group in groups if group["logGroupName"].startswith(p["logGroupNamePrefix"])]}

    def create_log_group(self, p: Values) -> None:
        group = {"logGroupName": p["logGroupName"], "arn": f"{ARN}:*", "tags": p.get("tags", {})}
        self.state[p["logGroupName"]] = {**group, **({"kmsKeyId": p["kmsKeyId"]} if "kmsKeyId" in p else {})}

    def put_retention_policy(self, p: Values) -> None:
        self.state[p["logGroupName"]]["retentionInDays"] = p["retentionInDays"]

    def associate_kms_key(self, p: Values) -> None:
        self.state[p["logGroupName"]]["kmsKeyId"] = p["kmsKeyId"]

    def disassociate_kms_key(self, p: Values) -> None:
        del self.state[p["logGroupName"]]["kmsKeyId"]

    def list_tags_for_resource(self, p: Values) -> Values:
        assert p["resourceArn"] == ARN
        return {"tags": self.state[NAME]["tags"]}

    def tag_resource(self, p: Values) -> None:
        self.state[NAME]["tags"] = {**self.state[NAME]["tags"], **p["tags"]}

    def untag_resource(self, p: Values) -> None:
        self.state[NAME]["tags"] = {k: v for k, v in self.state[NAME]["tags"].items() if k not in p["tagKeys"]}

    def describe_metric_filters(self, p: Values) -> Values:
        filters = list(self.state[p["logGroupName"]].get("filters", {}).values())
        start = int(p.get("nextToken", "0"))
        rest = {"nextToken": str(start + 1)} if filters[start + 1 :] else {}
        return {"metricFilters": filters[start : start + 1], **rest}

    def put_metric_filter(self, p: Values) -> None:
        self.state[p["logGroupName"]].setdefault("filters", {})[p["filterName"]] = p

    def delete_metric_filter(self, p: Values) -> None:
        del self.state[p["logGroupName"]]["filters"][p["filterName"]]

    def delete_log_group(self, p: Values) -> None:
        del self.state[p["logGroupName"]]


def test_it_is_created_and_kept() -> None:
    fake = FakeLogs()
    assert_converges("log_group", fake, **EVERYTHING)
    assert fake.state[NAME]["retentionInDays"] == 30
    assert fake.state[NAME]["kmsKeyId"] == KEY
    assert fake.state[NAME]["tags"] == {"owner": "us"}


def test_every_drift_is_corrected() -> None:
    fake = FakeLogs()
    done("log_group", fake, **EVERYTHING)
    fake.state[NAME].update(retentionInDays=7, kmsKeyId="another", tags={"owner": "them", "extra": "1"})
    assert_converges("log_group", fake, **EVERYTHING)
    assert fake.state[NAME]["retentionInDays"] == 30
    assert fake.state[NAME]["kmsKeyId"] == KEY
    assert fake.state[NAME]["tags"] == {"owner": "us"}


def test_the_key_is_removed_again() -> None:
    fake = FakeLogs()
    done("log_group", fake, **EVERYTHING)
    assert_converges("log_group", fake, **{**EVERYTHING, "kms_key_arn": ""})
    assert "kmsKeyId" not in fake.state[NAME]


def test_a_check_changes_no_retention() -> None:
    """Unlike the upstream module."""
    fake = FakeLogs()
    done("log_group", fake, **EVERYTHING)
    fake.state[NAME]["retentionInDays"] = 7
    result = run("log_group", fake, check=True, **EVERYTHING)
    assert result["changed"]
    assert result["diff"] == {"before": {"retention": 7}, "after": {"retention": 30}}
    assert fake.state[NAME]["retentionInDays"] == 7


def test_a_group_with_the_same_prefix_is_another_group() -> None:
    fake = FakeLogs()
    fake.state[f"{NAME}-2"] = {"logGroupName": f"{NAME}-2", "arn": f"{ARN}-2:*", "tags": {}}
    assert done("log_group", fake, name=NAME)["changed"]


def test_it_is_removed() -> None:
    fake = FakeLogs()
    done("log_group", fake, **EVERYTHING)
    assert_gone("log_group", fake, name=NAME)


FILTERS: Values = {
    "metric_filters": {"Throttled": '{ $.status = "429" }', "Rejected": '{ $.status = "404" }'},
    "metric_dimensions": {"Name": "$.name"},
}


def test_metric_filters_are_created_kept_and_corrected() -> None:
    fake = FakeLogs()
    assert_converges("log_group", fake, **EVERYTHING, **FILTERS)
    made = fake.state[NAME]["filters"]["Throttled"]
    assert made["filterPattern"] == '{ $.status = "429" }'
    assert made["metricTransformations"] == [
        {
            "metricName": "Throttled",
            "metricNamespace": "LabelExport",
            "metricValue": "1",
            "dimensions": {"Name": "$.name"},
        }
    ]
    made["filterPattern"] = "{ $.status = 4* }"
    result = assert_converges("log_group", fake, **EVERYTHING, **FILTERS)
    assert list(result["diff"]["after"]) == ["metric_filters"]
    assert fake.state[NAME]["filters"]["Throttled"]["filterPattern"] == '{ $.status = "429" }'


def test_a_filter_of_another_namespace_stays_and_one_of_ours_goes() -> None:
    fake = FakeLogs()
    done("log_group", fake, **EVERYTHING, **FILTERS)
    other = {"metricName": "a", "metricNamespace": "Theirs", "metricValue": "1"}
    for name, namespace in (("theirs", "Theirs"), ("old", "LabelExport")):
        fake.put_metric_filter(
            {
                "logGroupName": NAME,
                "filterName": name,
                "filterPattern": "",
                "metricTransformations": [{**other, "metricNamespace": namespace}],
            }
        )
    assert_converges("log_group", fake, **EVERYTHING, **FILTERS)
    assert set(fake.state[NAME]["filters"]) == {"Throttled", "Rejected", "theirs"}
    assert not done("log_group", fake, **EVERYTHING)["changed"], "they are not managed when left out"
