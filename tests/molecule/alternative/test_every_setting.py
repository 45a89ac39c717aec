"""Every setting differs from its default (tests/molecule/alternative): announced, read back, and a label exported."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from deployed_environment import eventually, statuses, webhook_to
from local_stack import ROOT, LocalStack

NAME = "label-export-alternative"
FUNCTION = {"FunctionName": f"{NAME}-exports"}
TAGS = {
    "application": "label-export-other",
    "environment": "alternative",
    "managed-by": "ansible",
    "team": "vision",
}
DAY = 24 * 3600


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return json.loads((ROOT / ".local/state/alternative.json").read_text())


def has_tags(tags: Any, key: str = "Key", value: str = "Value") -> bool:
    found = tags if isinstance(tags, dict) else {tag[key]: tag[value] for tag in tags}
    return TAGS.items() <= found.items() and set(found) == {*TAGS, "version"}


def queue(stack: LocalStack, name: str) -> tuple[dict[str, str], dict[str, str]]:
    sqs = stack.aws("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return attributes, sqs.list_queue_tags(QueueUrl=url)["Tags"]


def waiting(stack: LocalStack) -> int:
    """Return the number of messages in the queue, including those in flight."""
    attributes, _tags = queue(stack, f"{NAME}-work")
    return sum(int(value) for key, value in attributes.items() if key.startswith("ApproximateNumberOfMessages"))


def api(stack: LocalStack) -> dict[str, Any]:
    (found,) = [item for item in stack.aws("apigatewayv2").get_apis()["Items"] if item["Name"] == f"{NAME}-webhooks"]
    return dict(found)


# ---------------------------------------------------------------------------------------------------------------------
# Settings that are read back


def test_the_bucket(stack: LocalStack, given: dict[str, Any]) -> None:
    s3, bucket = stack.aws("s3"), {"Bucket": f"{NAME}-labels"}
    (rule,) = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": given["kms_key_arn"],
    }
    assert rule["BucketKeyEnabled"] is True
    (tidy,) = s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]
    assert tidy["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert tidy["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
    lock = s3.get_object_lock_configuration(**bucket)["ObjectLockConfiguration"]
    assert lock == {"ObjectLockEnabled": "Enabled"}, "without a retention of the bucket's own"
    logging = s3.get_bucket_logging(**bucket)["LoggingEnabled"]
    assert (logging["TargetBucket"], logging["TargetPrefix"]) == (given["access_log_bucket"], "labels/")
    assert has_tags(s3.get_bucket_tagging(**bucket)["TagSet"])


def test_readers_of_a_project(stack: LocalStack) -> None:
    project = "00000000-1111-2222-3333-444444444444"
    iam = stack.aws("iam")
    found = [policy for policy in iam.list_policies(Scope="Local")["Policies"] if project in policy["PolicyName"]]
    (policy,) = [one for one in found if "alternative" in one["PolicyName"]]
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    by_sid = {statement["Sid"]: statement for statement in version["Document"]["Statement"]}
    assert f"arn:aws:s3:::{NAME}-labels/encord/{project}/index/*" in by_sid["ReadDataSets"]["Resource"]
    assert has_tags(iam.list_policy_tags(PolicyArn=policy["Arn"])["Tags"])
    statements = json.loads(stack.aws("s3").get_bucket_policy(Bucket=f"{NAME}-labels")["Policy"])["Statement"]
    readers = {one["Sid"]: one["Principal"] for one in statements if one["Sid"].startswith("LabelReaders")}
    digits = project.replace("-", "")
    principal = {"AWS": "arn:aws:iam::210987654321:root"}
    assert readers == {f"LabelReadersGet{digits}": principal, f"LabelReadersList{digits}": principal}


def test_the_tables_of_the_index(stack: LocalStack) -> None:
    glue, account = stack.aws("glue"), stack.aws("sts").get_caller_identity()["Account"]
    database = "labels_of_the_alternative"
    arn = f"arn:aws:glue:{glue.meta.region_name}:{account}:database/{database}"
    assert has_tags(glue.get_tags(ResourceArn=arn)["Tags"])
    found = {table["Name"]: table for table in glue.get_tables(DatabaseName=database)["TableList"]}
    assert set(found) == {"labels", "annotations"}
    for name, table in found.items():
        template = table["Parameters"]["storage.location.template"]
        assert template == f"s3://{NAME}-labels/encord/${{project}}/index/{name}-table/"
        assert {key: table["Parameters"][key] for key in ("application", "environment", "managed-by")} == {
            key: TAGS[key] for key in ("application", "environment", "managed-by")
        }
    environment = stack.aws("lambda").get_function_configuration(FunctionName=f"{NAME}-counter", Qualifier="current")
    assert environment["Environment"]["Variables"]["LABEL_CATALOG_TABLE"] == "true"
    iam = stack.aws("iam")
    found = [one for one in iam.list_policies(Scope="Local")["Policies"] if "-readers-" in one["PolicyName"]]
    (policy,) = [one for one in found if "alternative" in one["PolicyName"]]
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    (query,) = [one for one in version["Document"]["Statement"] if one["Sid"] == "Query"]
    assert query["Resource"].endswith(":workgroup/training")


def test_the_queues(stack: LocalStack, given: dict[str, Any]) -> None:
    (work, work_tags), (failures, failure_tags) = queue(stack, f"{NAME}-work"), queue(stack, f"{NAME}-failures")
    assert work["VisibilityTimeout"] == "400"
    assert work["MessageRetentionPeriod"] == str(2 * DAY)
    assert failures["MessageRetentionPeriod"] == str(10 * DAY)
    redrive = json.loads(work["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])) == (failures["QueueArn"], 6)
    assert {work["KmsMasterKeyId"], failures["KmsMasterKeyId"]} == {given["kms_key_arn"]}
    assert has_tags(work_tags)
    assert has_tags(failure_tags)


def test_the_catalogs_queues(stack: LocalStack, given: dict[str, Any]) -> None:
    work, work_tags = queue(stack, f"{NAME}-catalog-work")
    failures, _ = queue(stack, f"{NAME}-catalog-failures")
    lane, lane_tags = queue(stack, f"{NAME}-second-lane")
    assert (work["VisibilityTimeout"], work["MessageRetentionPeriod"]) == ("4000", str(2 * DAY))
    assert failures["MessageRetentionPeriod"] == str(10 * DAY)
    redrive = json.loads(work["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])) == (failures["QueueArn"], 6)
    assert json.loads(lane["RedrivePolicy"])["deadLetterTargetArn"].endswith(f":{NAME}-failures")
    assert {item["KmsMasterKeyId"] for item in (work, failures, lane)} == {given["kms_key_arn"]}
    assert has_tags(work_tags)
    assert has_tags(lane_tags)


def test_the_catalog(stack: LocalStack) -> None:
    functions, name = stack.aws("lambda"), f"{NAME}-counter"
    found = functions.get_function_configuration(FunctionName=name, Qualifier="current")
    assert (found["MemorySize"], found["Timeout"], found["EphemeralStorage"]) == (768, 600, {"Size": 2048})
    assert found["Role"].endswith(f":role/label-export-alternative/{NAME}-counts")
    concurrency = functions.get_function_concurrency(FunctionName=name)
    assert concurrency["ReservedConcurrentExecutions"] == 4
    environment = found["Environment"]["Variables"]
    wanted = {
        "OVERLAP_SECONDS": "3600",
        "LOOKBACK_SECONDS": "172800",
        "GRACE_SECONDS": "1200",
        "LISTING_SECONDS": "60",
        "LISTING_BYTES": "134217728",
        "SNAPSHOT_LOCK_MODE": "GOVERNANCE",
        "SNAPSHOT_LOCK_DAYS": "30",
        "DELETED_LABELS": "delete",
        "SAMPLE_PERCENT": "5",
    }
    assert {key: environment[f"LABEL_CATALOG_{key}"] for key in wanted} == wanted
    mappings = {
        mapping["EventSourceArn"].rpartition(":")[2]: mapping["ScalingConfig"]["MaximumConcurrency"]
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]
        if mapping["EventSourceArn"].rpartition(":")[2].startswith(NAME)
    }
    assert mappings[f"{NAME}-second-lane"] == 4
    assert f"{NAME}-catalog-work" in mappings
    log_group = {"logGroupNamePrefix": f"/aws/lambda/{name}"}
    (group,) = stack.aws("logs").describe_log_groups(**log_group)["logGroups"]
    assert group["retentionInDays"] == 14


def test_the_catalogs_schedules(stack: LocalStack) -> None:
    scheduler = stack.aws("scheduler")
    found = {item["Name"] for item in scheduler.list_schedules(NamePrefix=f"{NAME}-counter")["Schedules"]}
    wanted = {f"{NAME}-counter-{name}" for name in ("reconcile", "census", "compare")}
    assert found == wanted, "an empty expression means no schedule"
    compare = scheduler.get_schedule(Name=f"{NAME}-counter-compare")
    assert compare["ScheduleExpression"] == "cron(0 4 ? * SUN *)"
    census = scheduler.get_schedule(Name=f"{NAME}-counter-census")
    assert census["ScheduleExpression"] == "cron(0 3 * * ? *)"
    assert census["Target"]["RoleArn"].endswith(f":role/label-export-alternative/{NAME}-clock")
    assert census["Target"]["DeadLetterConfig"]["Arn"].endswith(f":{NAME}-catalog-failures")
    assert json.loads(census["Target"]["Input"]) == {"action": "census"}


def test_the_schedule_that_keeps_the_function_active(stack: LocalStack) -> None:
    schedule = stack.aws("scheduler").get_schedule(Name="label-export-other-alternative-keep-active")
    assert schedule["ScheduleExpression"] == "cron(0 4 ? * MON,THU *)"
    assert schedule["Target"]["Arn"].split(":function:")[1].startswith(f"{NAME}-")
    assert json.loads(schedule["Target"]["Input"]) == {"action": "self_check"}


def test_the_catalogs_repository(stack: LocalStack) -> None:
    (found,) = stack.aws("ecr").describe_repositories(repositoryNames=[f"{NAME}/catalog"])["repositories"]
    assert found["imageTagMutability"] == "IMMUTABLE"


def test_the_secrets(stack: LocalStack, given: dict[str, Any]) -> None:
    manager = stack.aws("secretsmanager")
    secret = manager.describe_secret(SecretId=f"{NAME}/webhooks")
    assert secret["KmsKeyId"] == given["kms_key_arn"]
    tags = {tag["Key"]: tag["Value"] for tag in secret["Tags"]}
    assert tags.pop("written-version") in secret["VersionIdsToStages"]
    assert has_tags(tags)
    value = json.loads(manager.get_secret_value(SecretId=f"{NAME}/webhooks")["SecretString"])
    assert value["url_tokens"] == [given["url_token"]]
    policy = json.loads(manager.get_resource_policy(SecretId=f"{NAME}/webhooks")["ResourcePolicy"])
    (statement,) = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    names = [arn.rpartition("/")[2] for arn in statement["Condition"]["ArnNotLike"]["aws:PrincipalArn"]]
    assert statement["Effect"] == "Deny"
    assert {f"{NAME}-does-it", "deployer-of-label-export-other-alternative"} < set(names)
    names = [secret["Name"] for secret in manager.list_secrets()["SecretList"]]
    assert f"{NAME}/key" not in names, "the key is in the function's environment instead"


def test_the_role(stack: LocalStack, given: dict[str, Any]) -> None:
    iam, name = stack.aws("iam"), f"{NAME}-does-it"
    role = iam.get_role(RoleName=name)["Role"]
    assert role["Path"] == "/label-export-alternative/"
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == given["boundary"]
    assert has_tags(iam.list_role_tags(RoleName=name)["Tags"])
    (attached,) = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    policy = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]
    assert policy["Path"] == "/label-export-alternative/"
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    statements = {statement["Sid"]: statement for statement in version["Document"]["Statement"]}
    assert statements["AskWhoIsAsking"]["Action"] == "sts:GetCallerIdentity"
    assert statements["UseKeys"]["Resource"] == [given["kms_key_arn"]]
    assert statements["WriteLabels"]["Resource"] == f"arn:aws:s3:::{NAME}-labels/labels/*"
    assert given["passphrase_secret_arn"] in statements["ReadSecrets"]["Resource"]
    assert "JoinTheVpc" in statements


def test_the_repository(stack: LocalStack, given: dict[str, Any]) -> None:
    ecr, name = stack.aws("ecr"), f"{NAME}/handler"
    (repository,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert repository["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": given["kms_key_arn"]}
    (rule,) = json.loads(ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"])["rules"]
    # ECR cannot decide how many others to keep: it does not know which are in use (scenario drift).
    assert rule["selection"]["tagStatus"] == "untagged"
    assert has_tags(ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"])


def test_the_function(stack: LocalStack, given: dict[str, Any]) -> None:
    functions = stack.aws("lambda")
    alias = functions.get_alias(**FUNCTION, Name="current")
    function = functions.get_function(**FUNCTION, Qualifier="current")
    configuration = function["Configuration"]
    assert configuration["Version"] == alias["FunctionVersion"] == "1"
    assert f"/{NAME}/handler@sha256:" in function["Code"]["ImageUri"]
    assert (configuration["MemorySize"], configuration["Timeout"]) == (512, 60)
    assert configuration["EphemeralStorage"] == {"Size": 1024}
    assert configuration["TracingConfig"] == {"Mode": "PassThrough"}
    assert configuration["KMSKeyArn"] == given["kms_key_arn"]
    assert configuration["VpcConfig"]["SubnetIds"] == [given["subnet"]]
    assert configuration["VpcConfig"]["SecurityGroupIds"] == [given["security_group"]]
    assert configuration["Role"].endswith(f":role/label-export-alternative/{NAME}-does-it")
    assert functions.get_function_concurrency(**FUNCTION)["ReservedConcurrentExecutions"] == 20
    tags = functions.get_function(**FUNCTION)["Tags"]
    assert tags.pop("execution-role-id")
    assert has_tags(tags)
    variables = configuration["Environment"]["Variables"]
    assert variables["LABEL_EXPORT_PRIVATE_KEY"].split() == given["private_key"].split()
    assert "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN" not in variables
    assert variables["LABEL_EXPORT_LOG_LEVEL"] == "DEBUG"
    assert variables["LABEL_EXPORT_MEMORY_LIMIT_BYTES"] == "33554432"
    assert variables["LABEL_EXPORT_SPOOL_LIMIT_BYTES"] == "536870912"
    assert variables["LABEL_EXPORT_CONCURRENCY"] == "2"


def test_what_the_environment_has_no_room_for_is_in_an_object_that_both_functions_name(stack: LocalStack) -> None:
    functions = stack.aws("lambda")
    found = [
        functions.get_function_configuration(FunctionName=name, Qualifier="current")["Environment"]["Variables"]
        for name in (FUNCTION["FunctionName"], f"{NAME}-counter")
    ]
    (key,) = {variables["LABEL_EXPORT_SETTINGS_OBJECT"] for variables in found}
    assert not [variables for variables in found if "LABEL_EXPORT_WORKFLOW_STAGES" in variables]
    s3, bucket = stack.aws("s3"), found[0]["LABEL_EXPORT_BUCKET"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="encord/settings/")["Contents"]
    assert [each["Key"] for each in listed] == [key]
    content = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert len(json.loads(content["LABEL_EXPORT_WORKFLOW_STAGES"])) > 100


def test_the_mapping(stack: LocalStack) -> None:
    found = stack.aws("lambda").list_event_source_mappings(**FUNCTION)["EventSourceMappings"]
    (mapping,) = [item for item in found if item["EventSourceArn"].endswith(f":{NAME}-work")]
    assert mapping["FunctionArn"].endswith(":current")
    assert (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]) == (5, 1)
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 3}


def test_the_log_groups(stack: LocalStack, given: dict[str, Any]) -> None:
    groups = {group["logGroupName"]: group for group in stack.aws("logs").describe_log_groups()["logGroups"]}
    exports, webhooks = groups[f"/aws/lambda/{NAME}-exports"], groups[f"/aws/vendedlogs/apigateway/{NAME}-webhooks"]
    assert (exports["retentionInDays"], webhooks["retentionInDays"]) == (14, 7)
    assert {exports["kmsKeyId"], webhooks["kmsKeyId"]} == {given["kms_key_arn"]}


def test_the_alarms_and_where_they_go(stack: LocalStack, given: dict[str, Any]) -> None:
    cloudwatch, sns = stack.aws("cloudwatch"), stack.aws("sns")
    prefix = "label-export-other-alternative/"
    topic = f"arn:aws:sns:{stack.facts['region']}:{stack.facts['account_id']}:{NAME}-pages"
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
    found = {alarm["AlarmName"].removeprefix(prefix): (alarm["Threshold"], alarm["Period"]) for alarm in alarms}
    assert found == {
        "all-filtered": (1, 43200),
        "dead-letters": (2, 60),
        "endpoint": (9, 600),
        "errors": (3, 600),
        "failed": (6, 600),
        "no-access": (8, 600),
        "catalog-dead-letters": (2, 60),
        "catalog-errors": (3, 600),
        "catalog-failed": (1, 600),
        "census-late": (1, 86400),
        "index-differs": (1, 600),
        "index-late": (3600, 60),
        "index-not-compared": (777600, 86400),
        "labels-gone": (1, 600),
        "labels-missing": (1, 600),
        "missed-webhooks": (12, 3600),
        "oldest-message": (900, 60),
        "odd-elements": (12, 600),
        "reconcile-failed": (1, 3600),
        "reconcile-late": (1, 3600),
        "refused": (7, 7200),
        "refused-authenticated": (10, 600),
        "rejected": (11, 7200),
        "api-throttled": (13, 600),
        "snapshot-not-whole": (1, 600),
        "unavailable": (5, 600),
        "unknown-event": (11, 600),
        "went-back": (9, 600),
    }, "all except the one that is turned off"
    for alarm in alarms:
        assert set(alarm["AlarmActions"]) == {topic, given["other_topic"]}
        assert alarm["OKActions"] == [given["other_topic"]]
        assert has_tags(cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["KmsMasterKeyId"] == given["kms_key_arn"]
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [(s["Protocol"], s["Endpoint"]) for s in subscriptions] == [("email", "somebody@example.org")]
    assert has_tags(sns.list_tags_for_resource(ResourceArn=topic)["Tags"])


def test_the_dashboard(stack: LocalStack) -> None:
    cloudwatch = stack.aws("cloudwatch")
    names = [entry["DashboardName"] for entry in cloudwatch.list_dashboards()["DashboardEntries"]]
    assert [name for name in names if "alternative" in name] == [f"{NAME}-numbers"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=f"{NAME}-numbers")["DashboardBody"])
    (shown,) = [widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm"]
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="label-export-other-alternative/")["MetricAlarms"]
    assert sorted(shown) == sorted(alarm["AlarmArn"] for alarm in alarms)


def test_the_front_door(stack: LocalStack) -> None:
    gateway, found = stack.aws("apigatewayv2"), api(stack)
    (stage,) = gateway.get_stages(ApiId=found["ApiId"])["Items"]
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 20
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 40
    (route,) = gateway.get_routes(ApiId=found["ApiId"])["Items"]
    assert route["RouteKey"] == "POST /hooks/encord/webhook"
    assert has_tags(found["Tags"])


# ---------------------------------------------------------------------------------------------------------------------
# A label


@pytest.fixture(scope="module")
def small_project(stack: LocalStack) -> dict[str, Any]:
    """The project that this environment exports; no other scenario completes its tasks."""
    (project,) = [item for item in stack.encord_json("GET", "projects")["projects"] if item["title"] == "Small"]
    return dict(project)


@pytest.fixture(scope="module")
def webhook(stack: LocalStack, given: dict[str, Any], small_project: dict[str, Any]) -> Iterator[str]:
    """The webhook's URL with its token, registered for the one project."""
    base = f"{stack.facts['aws_endpoint_url']}/_aws/execute-api/{api(stack)['ApiId']}/$default/hooks/encord/webhook"
    url = f"{base}?token={given['url_token']}"
    with webhook_to(stack, url, small_project["project_hash"]):
        yield url


def complete(stack: LocalStack, url: str, label_hash: str, **form: Any) -> dict[str, Any]:
    """Complete a task; return it with the ``status`` of the webhook to this environment."""
    task = stack.encord_json("POST", "complete-task", {"label_hash": label_hash, **form})
    (status,) = statuses(task, url)
    return {**task, "status": status}


def test_a_label_is_exported_with_these_settings(
    stack: LocalStack, small_project: dict[str, Any], webhook: str
) -> None:
    """An unsigned webhook with the URL's token; gzip; another template; the encrypted key from the environment."""
    row = next(row for row in small_project["label_rows"] if row["data_type"] == "IMAGE")
    task = complete(stack, webhook, row["label_hash"], signature="missing")
    assert task["status"] == 202
    key, found = stack.saved_label(f"{NAME}-labels", row["label_hash"], task["last_edited_at"], prefix="labels/")
    assert key.startswith(f"labels/{small_project['project_hash']}/main/")
    assert found["ContentEncoding"] == "gzip"
    assert gzip.decompress(found["Body"].read()) == stack.encord("GET", f"label-rows/{row['label_hash']}")


def test_an_event_that_is_not_chosen_is_acknowledged_and_causes_nothing(
    stack: LocalStack, small_project: dict[str, Any], webhook: str
) -> None:
    row = next(row for row in small_project["label_rows"] if row["data_type"] == "VIDEO")
    task = complete(stack, webhook, row["label_hash"], event_type="task_submitted_event")
    assert 200 <= task["status"] < 300
    eventually(lambda: waiting(stack) == 0, "an empty queue")
    listing = stack.aws("s3").list_objects_v2(Bucket=f"{NAME}-labels").get("Contents", [])
    assert [item["Key"] for item in listing if row["label_hash"] in item["Key"]] == []
