"""Reading a deployment in one call: complete, missing, and incomplete."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.module_utils.comparison import statements
from ansible_collections.label_export.aws.plugins.modules.deployment_info import refuses_plain_http
from fake_aws import ACCOUNT, Fake, RefusedError, Values, done

ARN = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:function"
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/images"
QUEUE_ARN = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:queue"
TLS_ONLY = json.dumps(
    {
        "Statement": {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": ["s3:*"],
            "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": False}},
        }
    }
)
NAMES: Values = {
    "function": "function",
    "alias": "live",
    "queue": "queue",
    "dead_letter_queue": "dead",
    "bucket": "labels",
    "repository": "images",
    "secrets": ["key", "gone"],
    "log_groups": ["/aws/lambda/function", "/other"],
    "api": "api",
    "alarm_prefix": "function",
    "metric_dimensions": {"Name": "n"},
}
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def digest(version: str) -> str:
    return f"sha256:{version * 64}"[:71]


class FakeAccount(Fake):
    """An account with all resources, or with none."""

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__()
        self.empty = empty
        self.in_use = "1"
        self.shares: dict[str, float] = {}
        self.mapping: Values = {}
        self.scan: Values | None = {"imageScanFindingsSummary": {"findingSeverityCounts": {"CRITICAL": 1, "LOW": 7}}}
        self.logged = 0
        self.message = '{"event_uid": "uid"}'
        self.empty_pages = 3
        self.metrics: dict[str, float] = {"Exported": 3, "WebhooksAccepted": 2, "ApproximateAgeOfOldestMessage": 90}

    def there(self, code: str = "ResourceNotFoundException") -> None:
        if self.empty:
            raise RefusedError(code)

    def get_alias(self, _p: Values) -> Values:
        self.there()
        routing = {"RoutingConfig": {"AdditionalVersionWeights": self.shares}} if self.shares else {}
        return {"FunctionVersion": self.in_use, **routing}

    def list_versions_by_function(self, _p: Values) -> Values:
        self.there()
        numbers = ["$LATEST", *(str(number) for number in range(1, 13))]
        return {"Versions": [{"Version": number, "LastModified": f"day {number}"} for number in numbers]}

    def get_function(self, p: Values) -> Values:
        if p["FunctionName"] == "gone":
            raise RefusedError("ResourceNotFoundException")
        if p["FunctionName"] == "other":
            assert p["Qualifier"] == "live"
            return {"Configuration": {}, "Code": {"ImageUri": f"{REGISTRY.rpartition('/')[0]}/other@{digest('7')}"}}
        version = "1" if p["Qualifier"] == "live" else p["Qualifier"]
        configuration = {"Version": version, "Timeout": 120, "Environment": {"Variables": {"SECRET": "seen"}}}
        return {"Configuration": configuration, "Code": {"ImageUri": f"{REGISTRY}@{digest(version)}"}}

    def batch_get_image(self, p: Values) -> Values:
        assert p["repositoryName"] == "images"
        return {"images": [{"imageId": image} for image in p["imageIds"] if image["imageDigest"] != digest("12")]}

    def describe_images(self, p: Values) -> Values:
        assert p["repositoryName"] in ("images", "other")
        if self.scan is None:
            raise RefusedError("ImageNotFoundException")
        pushed = datetime(2026, 11, 1, 12, tzinfo=UTC)
        return {
            "imageDetails": [{"imageDigest": p["imageIds"][0]["imageDigest"], "imagePushedAt": pushed, **self.scan}]
        }

    def list_event_source_mappings(self, _p: Values) -> Values:
        self.there()
        other = {"FunctionArn": f"{ARN}:other", "EventSourceArn": QUEUE_ARN, "State": "Disabled"}
        ours = {"FunctionArn": f"{ARN}:live", "EventSourceArn": QUEUE_ARN, "State": "Enabled", "BatchSize": 10}
        gone = {**ours, "State": "Deleting"}
        ours = {**ours, "ScalingConfig": {"MaximumConcurrency": 5}, **self.mapping}
        return {"EventSourceMappings": [other, gone, ours]}

    def get_function_url_config(self, p: Values) -> Values:
        self.there()
        assert p == {"FunctionName": "function", "Qualifier": "live"}
        return {"FunctionUrl": "https://abc.lambda-url.eu-west-1.on.aws/", "AuthType": "NONE"}

    def get_policy(self, _p: Values) -> Values:
        self.there()
        statement = {
            "Sid": "http-api",
            "Effect": "Allow",
            "Principal": {"Service": "apigateway.amazonaws.com"},
            "Action": "lambda:InvokeFunction",
            "Condition": {"ArnLike": {"AWS:SourceArn": "arn:api"}, "StringEquals": {"AWS:SourceAccount": "1"}},
        }
        return {"Policy": json.dumps({"Statement": [statement]})}

    def get_queue_url(self, p: Values) -> Values:
        self.there("AWS.SimpleQueueService.NonExistentQueue")
        return {"QueueUrl": f"https://sqs/{p['QueueName']}"}

    def get_queue_attributes(self, _p: Values) -> Values:
        counts = {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"}
        redrive = json.dumps({"deadLetterTargetArn": "d", "maxReceiveCount": 5})
        return {"Attributes": {**counts, "RedrivePolicy": redrive, "Policy": TLS_ONLY}}

    def get_metric_data(self, p: Values) -> Values:
        (query,) = p["MetricDataQueries"]
        value = self.metrics.get(query["MetricStat"]["Metric"]["MetricName"])
        found: Values = {"Timestamps": [], "Values": []} if value is None else {"Timestamps": [THEN], "Values": [value]}
        return {"MetricDataResults": [{"Id": "newest", **found}]}

    def filter_log_events(self, p: Values) -> Values:
        self.there()
        if not p["startTime"] <= self.logged < p["endTime"]:
            return {"events": []}
        # Pages without an event come first: each covers a part of the log.
        page = int(p.get("nextToken", "0"))
        if page < self.empty_pages:
            return {"events": [], "nextToken": str(page + 1)}
        before = {"timestamp": self.logged - 1000, "message": '{"event_uid": "uid"}'}
        return {"events": [before, {"timestamp": self.logged, "message": self.message}]}

    def get_bucket_versioning(self, _p: Values) -> Values:
        self.there("NoSuchBucket")
        return {"Status": "Enabled"}

    def get_public_access_block(self, _p: Values) -> Values:
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        return {"PublicAccessBlockConfiguration": dict.fromkeys(names, True)}

    def get_bucket_ownership_controls(self, _p: Values) -> Values:
        raise RefusedError("OwnershipControlsNotFoundError")

    def get_bucket_encryption(self, _p: Values) -> Values:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}

    def get_bucket_policy(self, _p: Values) -> Values:
        return {"Policy": TLS_ONLY}

    def describe_secret(self, p: Values) -> Values:
        self.there()
        return {"Name": p["SecretId"], **({"DeletedDate": THEN} if p["SecretId"] == "gone" else {})}

    def describe_log_groups(self, p: Values) -> Values:
        prefix = p["logGroupNamePrefix"]
        return {
            "logGroups": []
            if self.empty or prefix == "/other"
            else [{"logGroupName": f"{prefix}-2"}, {"logGroupName": prefix, "retentionInDays": 30}]
        }

    def get_apis(self, _p: Values) -> Values:
        return {
            "Items": []
            if self.empty
            else [{"Name": "api", "ApiId": "abc", "ProtocolType": "HTTP", "RouteSelectionExpression": "x"}]
        }

    def get_stages(self, _p: Values) -> Values:
        limits = {"ThrottlingRateLimit": 50.0, "ThrottlingBurstLimit": 100}
        return {"Items": [{"StageName": "$default", "DefaultRouteSettings": limits}]}

    def get_integrations(self, _p: Values) -> Values:
        return {"Items": [{"IntegrationId": "def", "IntegrationUri": f"{ARN}:live"}]}

    def get_routes(self, _p: Values) -> Values:
        elsewhere = {"RouteKey": "POST /other", "RouteId": "2", "Target": "integrations/xyz"}
        return {"Items": [{"RouteKey": "POST /webhook", "RouteId": "1", "Target": "integrations/def"}, elsewhere]}

    def describe_alarms(self, p: Values) -> Values:
        assert p["AlarmNamePrefix"] == "function"
        alarms = [{"AlarmName": name, "StateValue": state} for name, state in (("b", "OK"), ("a", "ALARM"))]
        return {"MetricAlarms": [] if self.empty else alarms}


def test_everything_is_reported_and_nothing_is_changed() -> None:
    fake = FakeAccount()
    for check in (True, False):
        found = done("deployment_info", fake, check=check, **NAMES)
        assert not found["changed"]
        assert fake.writes() == []
    assert (found["deployed"], found["version"], found["image"]) == (True, "1", f"{REGISTRY}@{digest('1')}")
    assert found["function"] == {"Version": "1", "Timeout": 120}
    assert found["other_versions"] == {}
    assert found["mapping"] == {
        "state": "Enabled",
        "batch_size": 10,
        "response_types": [],
        "maximum_concurrency": 5,
        "filter_criteria": {},
    }
    assert found["queue"]["messages"] == 3
    assert (found["queue"]["oldest_seconds"], found["queue"]["tls_only"]) == (90, True)
    assert found["dead_letter_queue"]["RedrivePolicy"]["maxReceiveCount"] == 5
    assert found["bucket"] == {
        "public_access_blocked": True,
        "ownership": "",
        "versioning": "Enabled",
        "encryption": "AES256",
        "tls_only": True,
    }
    assert found["secrets"] == {"key": True, "gone": False}, "one that waits for its end does not count"
    assert found["log_groups"] == {"/aws/lambda/function": 30}
    assert (found["api"]["api_id"], found["api"]["routes"], found["api"]["rate_limit"]) == (
        "abc",
        ["POST /other (elsewhere)", "POST /webhook"],
        50,
    )
    assert found["permissions"] == [
        {
            "statement_id": "http-api",
            "action": "lambda:InvokeFunction",
            "principal": "apigateway.amazonaws.com",
            "source_arn": "arn:api",
            "source_account": "1",
            "function_url_auth_type": "",
            "invoked_via_function_url": False,
            "other_conditions": {},
        }
    ]
    assert [alarm["state"] for alarm in found["alarms"]] == ["ALARM", "OK"]
    assert found["last_export"] == "2026-01-02T03:04:05Z"
    assert "seen" not in json.dumps(found), "the function's environment is not returned"


def test_the_scans_of_further_functions_are_reported() -> None:
    found = done("deployment_info", FakeAccount(), **NAMES, scanned_functions=["other:live", "gone:live"])
    (scan,) = found["other_scans"]
    assert (scan["function"], scan["image"].rpartition("/")[2]) == ("other", f"other@{digest('7')}")
    assert (scan["scanned"], scan["findings"]) == (True, {"CRITICAL": 1, "LOW": 7})
    assert done("deployment_info", FakeAccount(), **NAMES)["other_scans"] == []


def test_a_function_url_is_read_if_there_should_be_one() -> None:
    there, missing = FakeAccount(), FakeAccount(empty=True)
    wanted = {**NAMES, "function_url": True}
    assert done("deployment_info", there, **wanted)["function_url"] == {
        "url": "https://abc.lambda-url.eu-west-1.on.aws/",
        "auth_type": "NONE",
    }
    assert done("deployment_info", missing, **wanted)["function_url"] == {}
    assert done("deployment_info", there, **NAMES)["function_url"] == {}


def test_the_shares_of_other_versions_are_reported() -> None:
    fake = FakeAccount()
    fake.shares = {"2": 0.1}
    found = done("deployment_info", fake, **NAMES)
    assert (found["version"], found["other_versions"]) == ("1", {"2": 0.1})


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, {"Filters": [{"Pattern": "{}"}]}),
        ({"KMSKeyArn": "arn:key"}, {"Filters": "encrypted"}),
    ],
)
def test_filters_are_reported(mapping: Values, expected: Values) -> None:
    fake = FakeAccount()
    fake.mapping = mapping
    assert done("deployment_info", fake, **NAMES)["mapping"]["filter_criteria"] == expected


def test_a_mapping_that_is_being_deleted_counts_as_missing() -> None:
    fake = FakeAccount()
    fake.mapping = {"State": "Deleting"}
    assert done("deployment_info", fake, **NAMES)["mapping"] == {}


def test_versions_come_newest_first_with_their_images() -> None:
    found = done("deployment_info", FakeAccount(), versions=2, **NAMES)["versions"]
    assert [item["version"] for item in found] == [str(number) for number in range(12, 0, -1)]
    looked_up = {item["version"]: item["image_found"] for item in found if item["image"]}
    assert looked_up == {"12": False, "11": True, "1": True}, "the newest two, and that in use"


def test_the_image_of_a_much_older_version_is_looked_up_too() -> None:
    fake = FakeAccount()
    fake.in_use = "6"
    found = done("deployment_info", fake, versions=1, named_versions=["2", "40"], **NAMES)["versions"]
    looked_up = {item["version"]: item["image_found"] for item in found if item["image"]}
    assert looked_up == {"12": False, "6": True, "5": True, "2": True}, "in use, the one before, the one that is named"


def test_missing_resources_are_reported_as_missing() -> None:
    found = done("deployment_info", FakeAccount(empty=True), **NAMES)
    assert (found["deployed"], found["version"], found["image"], found["versions"]) == (False, "", "", [])
    for name in ("function", "mapping", "queue", "dead_letter_queue", "bucket", "api", "log_groups"):
        assert found[name] == {}, name
    assert found["permissions"] == found["alarms"] == []
    assert found["other_versions"] == {}
    assert found["secrets"] == {"key": False, "gone": False}


def test_without_the_metric_the_last_export_is_read_from_the_log() -> None:
    fake = FakeAccount()
    fake.metrics = {}
    # Ages on both sides of the bound of each window, and one that is too old.
    for age in (60, 660, 3000, 4000, 20_000, 80_000):
        seconds = int(time.time()) - age
        fake.logged = seconds * 1000
        found = done("deployment_info", fake, **NAMES)
        expected = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert (found["last_export"], found["queue"]["oldest_seconds"]) == (expected, None)
    fake.logged = int(time.time() - 90_000) * 1000
    assert done("deployment_info", fake, **NAMES)["last_export"] == ""
    fake.empty = True
    assert done("deployment_info", fake, **NAMES)["last_export"] == ""


def test_the_log_is_searched_back_from_now_and_no_further_than_the_newest_export() -> None:
    fake = FakeAccount()
    fake.metrics = {}
    fake.logged = int(time.time() - 60) * 1000
    done("deployment_info", fake, **NAMES)
    looks = [params for name, params in fake.calls if name == "filter_log_events"]
    looks = [look for look in looks if look["filterPattern"] == '"label_exported"']
    assert len(looks) == fake.empty_pages + 1
    assert all(look["endTime"] - look["startTime"] <= 600_000 for look in looks)


def test_the_last_webhook_is_known_by_its_metric_or_log_and_is_not_one_of_verify() -> None:
    fake = FakeAccount()
    fake.metrics = {"WebhooksAccepted": 2}
    assert done("deployment_info", fake, **NAMES)["last_webhook"] == "2026-01-02T03:04:05Z"
    fake.metrics = {}
    seconds = int(time.time()) - 60
    fake.logged = seconds * 1000
    fake.message = json.dumps({"event": "webhook_accepted", "event_uid": "verify-1"})
    expected = datetime.fromtimestamp(seconds - 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert done("deployment_info", fake, **NAMES)["last_webhook"] == expected


def test_a_log_without_end_is_searched_for_a_while() -> None:
    fake = FakeAccount()
    fake.metrics = {}
    fake.logged, fake.empty_pages = int(time.time() - 60) * 1000, 10**9
    assert done("deployment_info", fake, **NAMES)["last_export"] == ""


@pytest.mark.parametrize(
    ("change", "refused"),
    [({}, True), ({"Effect": "Allow"}, False), ({"Principal": "arn:one"}, False), ({"Condition": {}}, False)],
)
def test_refuses_plain_http(change: Any, refused: bool) -> None:
    policy = json.loads(TLS_ONLY)
    policy["Statement"].update(change)
    assert refuses_plain_http(statements(policy)) is refused
    assert not refuses_plain_http([])


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (
            {"imageScanFindingsSummary": {"findingSeverityCounts": {"CRITICAL": 1, "LOW": 7}}},
            {"pushed": "2026-11-01T12:00:00+00:00", "scanned": True, "findings": {"CRITICAL": 1, "LOW": 7}},
        ),
        (
            {"imageScanFindingsSummary": {}},
            {"pushed": "2026-11-01T12:00:00+00:00", "scanned": True, "findings": {}},
        ),
        ({}, {"pushed": "2026-11-01T12:00:00+00:00", "scanned": False, "findings": {}}),
        (None, {}),
    ],
    ids=["findings", "no findings", "not scanned", "no such image"],
)
def test_the_scan_of_the_image_in_use_is_reported(scan: Values | None, expected: Values) -> None:
    fake = FakeAccount()
    fake.scan = scan
    assert done("deployment_info", fake, **NAMES)["image_scan"] == expected
