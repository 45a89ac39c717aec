"""Alarms are raised and delivered, drift of them is corrected, and every resource that supports tags has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from alarm_names import ALARMS
from deployed_environment import NAME, Deployment, eventually
from local_stack import LocalStack
from playbook_runs import only, run_playbook

# With the region of all deployments in these tests.
DASHBOARD = f"{NAME}-eu-west-1"

# How an alarm treats missing data: an unused queue has none, and only a census finds missing labels.
# The last two are raised by missing data, after longer than a test can wait.
WITHOUT_DATA = {
    "catalog-dead-letters": "ignore",
    "dead-letters": "ignore",
    "index-differs": "ignore",
    "index-not-compared": "ignore",
    "labels-missing": "ignore",
    "snapshot-not-whole": "ignore",
    "census-late": "breaching",
    "reconcile-late": "breaching",
}


@pytest.fixture(scope="module")
def cloudwatch(stack: LocalStack) -> Any:
    return stack.aws("cloudwatch")


@pytest.fixture(scope="module")
def topic_arn(stack: LocalStack) -> str:
    return f"arn:aws:sns:{stack.facts['region']}:{stack.facts['account_id']}:{NAME}-alarms"


@pytest.fixture(scope="module")
def inbox(stack: LocalStack, deployment: Deployment, topic_arn: str) -> Iterator[str]:
    """Yield the URL of a queue that receives the topic's messages."""
    url = deployment.sqs.create_queue(QueueName="what-alarms-say")["QueueUrl"]
    arn = f"arn:aws:sqs:{stack.facts['region']}:{stack.facts['account_id']}:what-alarms-say"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    deployment.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns = stack.aws("sns")
    subscription = sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    yield url
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    deployment.sqs.delete_queue(QueueUrl=url)


def alarm_of(cloudwatch: Any, name: str) -> dict[str, Any]:
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[f"{NAME}/{name}"])["MetricAlarms"]
    return dict(alarm)


def publish(cloudwatch: Any, alarm: dict[str, Any], dimensions: list[dict[str, str]], value: float) -> None:
    datum = {"MetricName": alarm["MetricName"], "Dimensions": dimensions, "Value": value}
    cloudwatch.put_metric_data(Namespace=alarm["Namespace"], MetricData=[datum])


def arrived(deployment: Deployment, inbox: str) -> list[dict[str, Any]]:
    """Return the messages of the topic since the last call, in CloudWatch's words."""
    found = []
    while messages := deployment.sqs.receive_message(QueueUrl=inbox, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(json.loads(message["Body"])["Message"]))
            deployment.sqs.delete_message(QueueUrl=inbox, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_all_alarms_exist_and_each_says_what_to_do(cloudwatch: Any, topic_arn: str) -> None:
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=NAME)["MetricAlarms"]
    assert [alarm["AlarmName"] for alarm in alarms] == [f"{NAME}/{name}" for name in ALARMS]
    for alarm in alarms:
        assert " Next: " in alarm["AlarmDescription"]
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic_arn]
        assert alarm["ActionsEnabled"]
        name = alarm["AlarmName"].partition("/")[2]
        assert alarm["TreatMissingData"] == WITHOUT_DATA.get(name, "notBreaching")


@pytest.mark.parametrize("name", [name for name in ALARMS if WITHOUT_DATA.get(name) != "breaching"])
def test_an_alarm_is_raised_at_its_threshold_and_arrives(
    name: str, cloudwatch: Any, deployment: Deployment, inbox: str
) -> None:
    alarm = alarm_of(cloudwatch, name)
    cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="a test begins")
    arrived(deployment, inbox)
    elsewhere = [{**dimension, "Value": "another"} for dimension in alarm["Dimensions"]]
    publish(cloudwatch, alarm, elsewhere, alarm["Threshold"])
    assert alarm_of(cloudwatch, name)["StateValue"] == "OK", "another environment's numbers do not count"
    publish(cloudwatch, alarm, alarm["Dimensions"], alarm["Threshold"])
    (notification,) = eventually(lambda: arrived(deployment, inbox), f"a message of the alarm {name}")
    assert (notification["AlarmName"], notification["NewStateValue"]) == (alarm["AlarmName"], "ALARM")
    assert " Next: " in notification["AlarmDescription"]


def dimensions_written(deployment: Deployment, metric: str) -> list[list[str]]:
    """Return the dimensions, as ``name=value``, of each log line in which the handler counts a metric."""
    found = []
    for text in deployment.log_text().splitlines():
        line = json.loads(text) if f'"{metric}"' in text and '"_aws"' in text else {}
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            if metric in [definition["Name"] for definition in directive["Metrics"]]:
                found.append([f"{name}={line[name]}" for name in sorted(directive["Dimensions"][0])])
    return found


def watched(alarm: dict[str, Any]) -> list[str]:
    return sorted(f"{part['Name']}={part['Value']}" for part in alarm["Dimensions"])


def test_the_alarm_watches_lost_access_to_a_project(
    cloudwatch: Any, deployment: Deployment, stack: LocalStack, project: dict[str, Any]
) -> None:
    row = next(row for row in project["label_rows"] if row["label_hash"])
    change = {"version": 1, "project_hash": project["project_hash"], "label_hash": row["label_hash"]}
    access = {"project_hash": project["project_hash"]}
    stack.encord_json("POST", "access", {**access, "accessible": False})
    try:
        url = deployment.sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
        deployment.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(change))
        sets = eventually(
            lambda: [names for names in dimensions_written(deployment, "Failed") if "Reason=no_access" in names],
            "a log line that counts a label without access",
        )
    finally:
        stack.encord_json("POST", "access", {**access, "accessible": True})
    assert watched(alarm_of(cloudwatch, "no-access")) in sets


def test_the_handlers_alarms_watch_what_the_handler_writes(
    cloudwatch: Any, deployment: Deployment, stack: LocalStack
) -> None:
    """The dimensions are part of a metric's name: with one more or fewer an alarm never gets data."""
    forged = {"Content-Type": "application/json", "X-Encord-Signature": "0" * 64, "X-Encord-Timestamp": "0"}
    assert stack.request(deployment.webhook_url, "POST", b"{}", **forged)[0] == 401

    sets = eventually(lambda: dimensions_written(deployment, "Refused"), "a log line that counts a refused webhook")
    for name in ("refused", "refused-authenticated", "unknown-event", "odd-elements", "failed", "unavailable"):
        assert watched(alarm_of(cloudwatch, name)) in sets


def test_the_endpoints_alarm_watches_the_api_that_takes_the_webhooks(cloudwatch: Any, deployment: Deployment) -> None:
    alarm = alarm_of(cloudwatch, "endpoint")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ApiGateway", "5xx")
    (dimension,) = alarm["Dimensions"]
    assert dimension["Name"] == "ApiId"
    assert f"/{dimension['Value']}/" in deployment.webhook_url


def test_requests_that_the_api_itself_refuses_are_counted_from_its_access_log(
    cloudwatch: Any, deployment: Deployment, stack: LocalStack
) -> None:
    group = f"/aws/vendedlogs/apigateway/{NAME}"
    filters = stack.aws("logs").describe_metric_filters(logGroupName=group)["metricFilters"]
    made = {each["filterName"]: each["metricTransformations"] for each in filters}
    stages = stack.aws("apigatewayv2").get_stages(ApiId=deployment.webhook_url.split("/execute-api/")[1].split("/")[0])
    fields = json.loads(stages["Items"][0]["AccessLogSettings"]["Format"])
    for name in ("rejected", "api-throttled"):
        alarm = alarm_of(cloudwatch, name)
        (metric,) = made.pop(alarm["MetricName"])
        assert (alarm["Namespace"], alarm["MetricName"]) == (metric["metricNamespace"], metric["metricName"])
        # The value of a dimension is a field of the log that never changes.
        counted = {key: fields[field.removeprefix("$.")] for key, field in metric["dimensions"].items()}
        assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == counted
    assert made == {}


def test_only_alarms_of_this_environment_may_publish_and_only_over_tls(stack: LocalStack, topic_arn: str) -> None:
    account, region = stack.facts["account_id"], stack.facts["region"]
    attributes = stack.aws("sns").get_topic_attributes(TopicArn=topic_arn)["Attributes"]
    allow, deny = json.loads(attributes["Policy"])["Statement"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"] == {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{region}:{account}:alarm:{NAME}/*"},
    }
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert attributes.get("KmsMasterKeyId", "") == "", "with no key, and not with AWS's own, an alarm can publish"


def test_the_dashboard_shows_metrics_that_exist(cloudwatch: Any) -> None:
    widgets = json.loads(cloudwatch.get_dashboard(DashboardName=DASHBOARD)["DashboardBody"])["widgets"]
    (alarms,) = [widget for widget in widgets if widget["type"] == "alarm"]
    assert sorted(arn.rpartition("/")[2] for arn in alarms["properties"]["alarms"]) == ALARMS
    places = [(widget["x"], widget["y"]) for widget in widgets]
    assert len(set(places)) == len(places)
    shown = {tuple(metric[:2]) for widget in widgets for metric in widget["properties"].get("metrics", [])}
    assert {
        ("LabelExport", "Exported"),
        ("LabelExport", "EditToObjectSeconds"),
        ("LabelExport", "EncordMilliseconds"),
        ("LabelExport", "S3Milliseconds"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/Lambda", "ConcurrentExecutions"),
    } <= shown


def test_external_changes_are_named_and_corrected(cloudwatch: Any, stack: LocalStack, topic_arn: str) -> None:
    sns = stack.aws("sns")
    before = cloudwatch.describe_alarms(AlarmNamePrefix=NAME)["MetricAlarms"]
    cloudwatch.disable_alarm_actions(AlarmNames=[f"{NAME}/errors"])
    kept = ("Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold", "ComparisonOperator")
    leftover = {name: before[0][name] for name in kept}
    cloudwatch.put_metric_alarm(AlarmName=f"{NAME}/of-yesterday", **leftover)
    cloudwatch.put_metric_alarm(AlarmName=f"{NAME}-2/of-another", **leftover)
    cloudwatch.put_dashboard(DashboardName=DASHBOARD, DashboardBody='{"widgets": []}')
    sns.set_topic_attributes(TopicArn=topic_arn, AttributeName="KmsMasterKeyId", AttributeValue="alias/aws/sns")
    healed = run_playbook("deploy", "--diff", *only("monitoring"))
    assert healed.returncode == 0, healed.output
    assert {task.partition(" : ")[0] for task in healed.changed} == {"monitoring"}
    assert len(healed.changed) == 3
    for named in ("ActionsEnabled", f"{NAME}/of-yesterday", "KmsMasterKeyId", "body"):
        assert named in healed.output
    after = cloudwatch.describe_alarms(AlarmNamePrefix=f"{NAME}/")["MetricAlarms"]
    assert [alarm["AlarmName"] for alarm in after] == [alarm["AlarmName"] for alarm in before]
    assert all(alarm["ActionsEnabled"] for alarm in after)
    assert json.loads(cloudwatch.get_dashboard(DashboardName=DASHBOARD)["DashboardBody"])["widgets"]
    others = cloudwatch.describe_alarms(AlarmNamePrefix=f"{NAME}-2/")["MetricAlarms"]
    assert len(others) == 1, "another environment's alarms are left alone"
    cloudwatch.delete_alarms(AlarmNames=[others[0]["AlarmName"]])


def tags_of_everything(stack: LocalStack, deployment: Deployment, topic_arn: str) -> dict[str, dict[str, str]]:
    """Return the tags of each resource of the environment that supports tags."""

    def pairs(tags: list[dict[str, str]]) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in tags}

    found: dict[str, dict[str, str]] = {}
    found["bucket"] = pairs(deployment.s3.get_bucket_tagging(Bucket=deployment.bucket)["TagSet"])
    for name in (NAME, f"{NAME}-dead-letters"):
        url = deployment.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found[f"queue {name}"] = deployment.sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
    for secret in stack.aws("secretsmanager").list_secrets()["SecretList"]:
        found[f"secret {secret['Name']}"] = pairs(secret.get("Tags", []))
    iam = stack.aws("iam")
    found["role"] = pairs(iam.list_role_tags(RoleName=f"{NAME}-{stack.facts['region']}")["Tags"])
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        if policy["PolicyName"].startswith(f"{NAME}-eu"):
            found["policy"] = pairs(iam.list_policy_tags(PolicyArn=policy["Arn"])["Tags"])
    ecr = stack.aws("ecr")
    (repository,) = ecr.describe_repositories(repositoryNames=[NAME])["repositories"]
    found["repository"] = pairs(ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"])
    functions = deployment.functions
    function = functions.get_function_configuration(FunctionName=NAME)["FunctionArn"]
    found["function"] = functions.list_tags(Resource=function)["Tags"]
    mapping = deployment.mapping()
    found["mapping"] = functions.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"]
    for group in deployment.logs.describe_log_groups()["logGroups"]:
        arn = group["arn"].removesuffix(":*")
        found[f"log group {group['logGroupName']}"] = deployment.logs.list_tags_for_resource(resourceArn=arn)["tags"]
    for api in stack.aws("apigatewayv2").get_apis()["Items"]:
        found[f"API {api['Name']}"] = api.get("Tags", {})
        stage = f"arn:aws:apigateway:{stack.facts['region']}::/apis/{api['ApiId']}/stages/$default"
        found[f"stage of {api['Name']}"] = stack.aws("apigatewayv2").get_tags(ResourceArn=stage)["Tags"]
    found["topic"] = pairs(stack.aws("sns").list_tags_for_resource(ResourceArn=topic_arn)["Tags"])
    cloudwatch = stack.aws("cloudwatch")
    arns = [alarm["AlarmArn"] for alarm in cloudwatch.describe_alarms(AlarmNamePrefix=f"{NAME}/")["MetricAlarms"]]
    for arn in [*arns, cloudwatch.get_dashboard(DashboardName=DASHBOARD)["DashboardArn"]]:
        found[arn.split(":", 5)[5]] = pairs(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"])
    return found


def test_every_resource_is_tagged_with_its_environment(
    stack: LocalStack, deployment: Deployment, topic_arn: str
) -> None:
    found = tags_of_everything(stack, deployment, topic_arn)
    assert len(found) >= 20
    wanted = {"application": "label-export", "environment": "local", "managed-by": "ansible"}
    for resource, tags in found.items():
        assert {**tags, **wanted} == tags, resource
        assert tags.get("version"), resource
    assert len({tags["version"] for tags in found.values()}) == 1
