"""Settings of every role, with a way to change each outside the repository.

A row has: the role, the change through AWS's API, and the tasks of the next run that report a change.
``shown`` is what the diff of a check must name; our own modules return one, some of amazon.aws do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Client = Callable[[str], Any]

BUCKET = "label_bucket : Present | Ensure the bucket is private, versioned, encrypted and TLS-only"
QUEUE = "export_queue : Present | Ensure the queue moves failed messages to the dead-letter queue"
DEAD_LETTERS = "export_queue : Present | Ensure the dead-letter queue"
PRIVATE_KEY = "encord_secrets : Present | Store the Encord private key as a secret"
SIGNING_SECRETS = "encord_secrets : Present | Store the webhook signing secrets as a secret"
POLICY = "execution_role : Present | Ensure the policy allows exactly what the function needs"
ROLE = "execution_role : Present | Ensure only Lambda can assume the role"
POLICY_INSIDE = "execution_role : Present | Ensure the role has no inline policy"
REPOSITORY = "image_repository : Present | Ensure the repository scans images and has immutable tags"
LOG_GROUP = "export_function : Present | Ensure the log group has a retention"
FUNCTION = "export_function : Present | Ensure the function runs the image"
ALIAS = "export_function : Present | Ensure the alias points to the newest version"
MAPPING = "export_function : Present | Ensure the queue delivers to the function"
CATALOG_QUEUE = "catalog_queue : Present | Ensure the catalog's queue moves failed messages to its dead-letter queue"
EVENTS_RULE = "catalog_queue : Present | Ensure the events queue gets an event for each saved or deleted label"
LANE = "catalog_queue : Present | Ensure the backfill queue moves failed messages to the exporter's dead-letter queue"
CATALOG_POLICIES = "catalog_execution_role : Present | Ensure each policy allows what its role needs and nothing else"
CATALOG_ROLES = "catalog_execution_role : Present | Ensure only its own service can assume each role"
CATALOG_LOG_GROUP = "catalog_function : Present | Ensure the catalog's log group has a retention"
CATALOG = "catalog_function : Present | Ensure the catalog function runs the image"
CATALOG_ALIAS = "catalog_function : Present | Ensure the alias points to the catalog's newest version"
CATALOG_MAPPINGS = "catalog_function : Present | Ensure each queue delivers to its function"
KEEP_ACTIVE = "keep_active : Present | Ensure the version in use runs its self check every few days"
INDEX_TABLES = "label_catalog_table : Present | Ensure a database with the tables labels and annotations"
READERS = "label_readers : Present | Ensure each policy allows reading one project's data sets and nothing else"
# As in the scenario's inventory.
READERS_PROJECT = "00000000-1111-2222-3333-444444444444"
SCHEDULES = "catalog_function : Present | Ensure the catalog runs on its schedules"
ACCESS_LOG = "front_door : HTTP API | Ensure the access log has a retention"
API = "front_door : HTTP API | Ensure the API routes webhooks to the function"
TOPIC = "monitoring : Present | Ensure the topic for alarms"
ALARMS = "monitoring : Present | Ensure each way to fail raises an alarm"
DASHBOARD = "monitoring : Present | Ensure the dashboard"
PERMISSION = "front_door : HTTP API | Ensure only the API may invoke the function"


@dataclass
class Target:
    """The deployed environment that is changed, with the names that AWS's calls need."""

    aws: Client
    name: str
    account: str
    region: str

    @property
    def bucket(self) -> str:
        return f"{self.name}-{self.account}-{self.region}"

    @property
    def role(self) -> str:
        return f"{self.name}-{self.region}"

    @property
    def policy_arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy/{self.role}"

    @cached_property
    def queue_url(self) -> str:
        return str(self.aws("sqs").get_queue_url(QueueName=self.name)["QueueUrl"])

    @cached_property
    def dead_letter_url(self) -> str:
        return str(self.aws("sqs").get_queue_url(QueueName=f"{self.name}-dead-letters")["QueueUrl"])

    @cached_property
    def function_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    @cached_property
    def repository_arn(self) -> str:
        return f"arn:aws:ecr:{self.region}:{self.account}:repository/{self.name}"

    @cached_property
    def api(self) -> str:
        (api,) = [api for api in self.aws("apigatewayv2").get_apis()["Items"] if api["Name"] == self.name]
        return str(api["ApiId"])

    @property
    def stage_arn(self) -> str:
        return f"arn:aws:apigateway:{self.region}::/apis/{self.api}/stages/$default"

    @property
    def log_group_arn(self) -> str:
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:/aws/lambda/{self.name}"

    @property
    def topic_arn(self) -> str:
        return f"arn:aws:sns:{self.region}:{self.account}:{self.name}-alarms"

    def alarm_arn(self, name: str) -> str:
        return f"arn:aws:cloudwatch:{self.region}:{self.account}:alarm:{self.name}/{name}"

    @property
    def mapping(self) -> str:
        return self.mapping_of(self.name)

    def mapping_of(self, queue: str) -> str:
        """Return the identifier of the mapping that a queue has."""
        found = self.aws("lambda").list_event_source_mappings()["EventSourceMappings"]
        (mapping,) = [item for item in found if item["EventSourceArn"].endswith(f":{queue}")]
        return str(mapping["UUID"])

    @property
    def catalog(self) -> str:
        return f"{self.name}-catalog"

    def schedule(self, kind: str, **settings: Any) -> None:
        """Change a schedule; every setting that is not named is kept."""
        scheduler, name = self.aws("scheduler"), f"{self.name}-{kind}"
        wanted = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target", "State", "Description")
        found = scheduler.get_schedule(Name=name)
        scheduler.update_schedule(**{key: found[key] for key in wanted if key in found} | settings)

    @property
    def database(self) -> str:
        return self.name.replace("-", "_")

    def table(self, **storage: Any) -> None:
        """Change where or how the table of the labels is read; every setting that is not named stays."""
        glue, wanted = self.aws("glue"), ("Name", "Description", "TableType", "Parameters", "PartitionKeys")
        found = glue.get_table(DatabaseName=self.database, Name="labels")["Table"]
        table = {key: found[key] for key in wanted} | {"StorageDescriptor": found["StorageDescriptor"] | storage}
        glue.update_table(DatabaseName=self.database, TableInput=table)

    def s3(self, call: str, **arguments: Any) -> None:
        getattr(self.aws("s3"), call)(Bucket=self.bucket, **arguments)

    def bucket_without_tag(self, key: str) -> None:
        tags = self.aws("s3").get_bucket_tagging(Bucket=self.bucket)["TagSet"]
        self.s3("put_bucket_tagging", Tagging={"TagSet": [tag for tag in tags if tag["Key"] != key]})

    def queue(self, **attributes: str) -> None:
        self.aws("sqs").set_queue_attributes(QueueUrl=self.queue_url, Attributes=attributes)

    def dead_letters(self, **attributes: str) -> None:
        self.aws("sqs").set_queue_attributes(QueueUrl=self.dead_letter_url, Attributes=attributes)

    def secret(self, which: str, call: str, **arguments: Any) -> None:
        getattr(self.aws("secretsmanager"), call)(SecretId=f"{self.name}/{which}", **arguments)

    def iam(self, call: str, **arguments: Any) -> None:
        getattr(self.aws("iam"), call)(RoleName=self.role, **arguments)

    def function(self, **settings: Any) -> None:
        functions = self.aws("lambda")
        functions.update_function_configuration(FunctionName=self.name, **settings)
        functions.get_waiter("function_updated_v2").wait(FunctionName=self.name, WaiterConfig={"Delay": 1})

    def share(self) -> None:
        """Route a tenth of the alias's calls to another version, which is published here if there is none."""
        functions = self.aws("lambda")
        in_use = functions.get_alias(FunctionName=self.name, Name="live")["FunctionVersion"]
        found = functions.list_versions_by_function(FunctionName=self.name)["Versions"]
        others = {version["Version"] for version in found} - {in_use, "$LATEST"}
        other = min(others) if others else functions.publish_version(FunctionName=self.name)["Version"]
        assert other != in_use, "nothing was changed that a version could be published of"
        functions.update_alias(
            FunctionName=self.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {other: 0.1}}
        )

    def variables(self) -> dict[str, str]:
        configuration = self.aws("lambda").get_function_configuration(FunctionName=self.name)
        return dict(configuration["Environment"]["Variables"])

    def route(self) -> str:
        return str(self.aws("apigatewayv2").get_routes(ApiId=self.api)["Items"][0]["RouteId"])

    def integration(self) -> str:
        return str(self.aws("apigatewayv2").get_integrations(ApiId=self.api)["Items"][0]["IntegrationId"])

    def stage(self, **settings: Any) -> None:
        self.aws("apigatewayv2").update_stage(ApiId=self.api, StageName="$default", **settings)


@dataclass(frozen=True)
class Disturbance:
    role: str
    what: str
    disturb: Callable[[Target], Any]
    tasks: tuple[str, ...]
    shown: str | None = None


def row(what: str, disturb: Callable[[Target], Any], *tasks: str, shown: str | None = None) -> Disturbance:
    return Disturbance(tasks[0].partition(" : ")[0], what, disturb, tasks, shown)


SOMEBODY = {"Key": "owner", "Value": "somebody"}
EVERYTHING_ALLOWED = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
ANYBODY_OF_EC2 = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)

TABLE = (
    row("public access is no longer blocked", lambda t: t.s3("delete_public_access_block"), BUCKET,
        shown="public_access_block"),
    row("versioning is suspended",
        lambda t: t.s3("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}), BUCKET,
        shown="versioning"),
    row("objects belong to their writer",
        lambda t: t.s3("put_bucket_ownership_controls",
                       OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}), BUCKET,
        shown="object_ownership"),
    row("the policy that refuses plain HTTP is gone", lambda t: t.s3("delete_bucket_policy"), BUCKET, shown="policy"),
    row("old versions are never removed", lambda t: t.s3("delete_bucket_lifecycle"), BUCKET, shown="lifecycle"),
    row("another key encrypts the bucket",
        lambda t: t.s3("put_bucket_encryption", ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}), BUCKET,
        shown="encryption"),
    row("access is logged to another bucket",
        lambda t: t.s3("put_bucket_logging", BucketLoggingStatus={
            "LoggingEnabled": {"TargetBucket": t.bucket, "TargetPrefix": "log/"}}), BUCKET, shown="access_log"),
    row("the bucket has lost a tag", lambda t: t.bucket_without_tag("version"), BUCKET, shown="tags"),

    row("messages are hidden for 30 s", lambda t: t.queue(VisibilityTimeout="30"), QUEUE, shown="VisibilityTimeout"),
    row("messages are kept for a minute", lambda t: t.queue(MessageRetentionPeriod="60"), QUEUE,
        shown="MessageRetentionPeriod"),
    row("failures are retried without end", lambda t: t.queue(RedrivePolicy=""), QUEUE, shown="RedrivePolicy"),
    row("the queue accepts plain HTTP", lambda t: t.queue(Policy=""), QUEUE, shown="Policy"),
    row("the queue has an additional tag",
        lambda t: t.aws("sqs").tag_queue(QueueUrl=t.queue_url, Tags={"owner": "somebody"}), QUEUE, shown="Tags"),
    row("the queue has lost a tag",
        lambda t: t.aws("sqs").untag_queue(QueueUrl=t.queue_url, TagKeys=["version"]), QUEUE, shown="Tags"),
    row("dead letters are kept for a day", lambda t: t.dead_letters(MessageRetentionPeriod="86400"), DEAD_LETTERS,
        shown="MessageRetentionPeriod"),
    row("any queue may send its failures",
        lambda t: t.dead_letters(RedriveAllowPolicy='{"redrivePermission": "allowAll"}'), DEAD_LETTERS,
        shown="RedriveAllowPolicy"),
    row("dead letters are not encrypted", lambda t: t.dead_letters(SqsManagedSseEnabled="false"), DEAD_LETTERS,
        shown="SqsManagedSseEnabled"),

    row("the private key's secret has lost a tag",
        lambda t: t.secret("encord-private-key", "untag_resource", TagKeys=["managed-by"]), PRIVATE_KEY),
    row("the signing secrets have another description",
        lambda t: t.secret("webhook-signing-secrets", "update_secret", Description="somebody's"), SIGNING_SECRETS),
    row("the signing secrets have an additional tag",
        lambda t: t.secret("webhook-signing-secrets", "tag_resource", Tags=[SOMEBODY]), SIGNING_SECRETS),

    row("the function may do everything with S3",
        lambda t: t.aws("iam").create_policy_version(
            PolicyArn=t.policy_arn, PolicyDocument=EVERYTHING_ALLOWED, SetAsDefault=True), POLICY),
    row("the policy has an additional tag",
        lambda t: t.aws("iam").tag_policy(PolicyArn=t.policy_arn, Tags=[SOMEBODY]), POLICY),
    row("the policy has lost a tag",
        lambda t: t.aws("iam").untag_policy(PolicyArn=t.policy_arn, TagKeys=["version"]), POLICY),
    row("another service can assume the role",
        lambda t: t.iam("update_assume_role_policy", PolicyDocument=ANYBODY_OF_EC2), ROLE),
    row("the role has lost its policy", lambda t: t.iam("detach_role_policy", PolicyArn=t.policy_arn), ROLE),
    row("the role has an additional AWS managed policy",
        lambda t: t.iam("attach_role_policy", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess"), ROLE),
    row("the role has an inline policy that allows everything with S3",
        lambda t: t.iam("put_role_policy", PolicyName="somebodys", PolicyDocument=EVERYTHING_ALLOWED), POLICY_INSIDE,
        shown="somebodys"),
    row("the role has another description", lambda t: t.iam("update_role", Description="somebody's"), ROLE),
    row("the role has an additional tag", lambda t: t.iam("tag_role", Tags=[SOMEBODY]), ROLE),
    row("the role has lost a tag", lambda t: t.iam("untag_role", TagKeys=["version"]), ROLE),

    row("image tags are mutable",
        lambda t: t.aws("ecr").put_image_tag_mutability(repositoryName=t.name, imageTagMutability="MUTABLE"),
        REPOSITORY, shown="image_tag_mutability"),
    row("images are not scanned",
        lambda t: t.aws("ecr").put_image_scanning_configuration(
            repositoryName=t.name, imageScanningConfiguration={"scanOnPush": False}), REPOSITORY, shown="scan_on_push"),
    row("images never expire", lambda t: t.aws("ecr").delete_lifecycle_policy(repositoryName=t.name), REPOSITORY,
        shown="lifecycle_policy"),
    row("anyone can pull images",
        lambda t: t.aws("ecr").set_repository_policy(repositoryName=t.name, policyText=json.dumps(
            {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]})), REPOSITORY, shown="policy"),
    row("the repository has lost a tag",
        lambda t: t.aws("ecr").untag_resource(resourceArn=t.repository_arn, tagKeys=["version"]), REPOSITORY,
        shown="tags"),
    row("the repository has an additional tag",
        lambda t: t.aws("ecr").tag_resource(resourceArn=t.repository_arn, tags=[SOMEBODY]), REPOSITORY,
        shown="somebody"),

    row("the function's memory is 512 MiB", lambda t: t.function(MemorySize=512), FUNCTION, ALIAS, shown="MemorySize"),
    row("the function may take 30 s", lambda t: t.function(Timeout=30), FUNCTION, ALIAS, shown="Timeout"),
    row("calls are not traced", lambda t: t.function(TracingConfig={"Mode": "PassThrough"}), FUNCTION, ALIAS,
        shown="TracingConfig"),
    row("an environment variable of the function has another value",
        lambda t: t.function(Environment={"Variables": {**t.variables(), "LABEL_EXPORT_BUCKET": "somebody-elses"}}),
        FUNCTION, ALIAS, shown="somebody-elses"),
    row("the function has no room for large labels", lambda t: t.function(EphemeralStorage={"Size": 1024}), FUNCTION,
        ALIAS, shown="EphemeralStorage"),
    row("the function has another description", lambda t: t.function(Description="somebody's"), FUNCTION, ALIAS,
        shown="Description"),
    row("the function runs another command of its image",
        lambda t: t.function(ImageConfig={"Command": ["somebodys.handler"]}), FUNCTION, ALIAS, shown="ImageConfig"),
    row("the function runs one call at a time",
        lambda t: t.aws("lambda").put_function_concurrency(FunctionName=t.name, ReservedConcurrentExecutions=1),
        FUNCTION, shown="ReservedConcurrentExecutions"),
    row("the function has an additional tag",
        lambda t: t.aws("lambda").tag_resource(Resource=t.function_arn, Tags={"owner": "somebody"}), FUNCTION,
        shown="Tags"),
    row("the function has lost a tag",
        lambda t: t.aws("lambda").untag_resource(Resource=t.function_arn, TagKeys=["version"]), FUNCTION,
        shown="Tags"),
    row("the alias has another description",
        lambda t: t.aws("lambda").update_alias(FunctionName=t.name, Name="live", Description="somebody's"), ALIAS,
        shown="Description"),
    # After the rows that change the function, so that there is something to publish.
    row("a part of the calls goes to another version", lambda t: t.share(), ALIAS, shown="AdditionalVersionWeights"),
    row("logs are kept for a day",
        lambda t: t.aws("logs").put_retention_policy(logGroupName=f"/aws/lambda/{t.name}", retentionInDays=1),
        LOG_GROUP, shown="retention"),
    row("the log group has an additional tag",
        lambda t: t.aws("logs").tag_resource(resourceArn=t.log_group_arn, tags={"owner": "somebody"}), LOG_GROUP,
        shown="owner"),
    row("the log group has lost a tag",
        lambda t: t.aws("logs").untag_resource(resourceArn=t.log_group_arn, tagKeys=["version"]), LOG_GROUP,
        shown="version"),
    row("the queue's mapping is disabled",
        lambda t: t.aws("lambda").update_event_source_mapping(UUID=t.mapping, Enabled=False), MAPPING,
        shown="Enabled"),
    row("the batch size is one",
        lambda t: t.aws("lambda").update_event_source_mapping(UUID=t.mapping, BatchSize=1), MAPPING,
        shown="BatchSize"),
    row("nothing limits the concurrent calls",
        lambda t: t.aws("lambda").update_event_source_mapping(UUID=t.mapping, ScalingConfig={}), MAPPING,
        shown="ScalingConfig"),
    row("messages about most labels are deleted unread",
        lambda t: t.aws("lambda").update_event_source_mapping(
            UUID=t.mapping, FilterCriteria={"Filters": [{"Pattern": '{"body": {"version": [2]}}'}]}), MAPPING,
        shown="FilterCriteria"),
    row("one bad label fails its whole batch",
        lambda t: t.aws("lambda").update_event_source_mapping(UUID=t.mapping, FunctionResponseTypes=[]), MAPPING,
        shown="FunctionResponseTypes"),

    row("the catalog's work is hidden for 30 s",
        lambda t: t.aws("sqs").set_queue_attributes(
            QueueUrl=t.aws("sqs").get_queue_url(QueueName=t.catalog)["QueueUrl"],
            Attributes={"VisibilityTimeout": "30"}), CATALOG_QUEUE, shown="VisibilityTimeout"),
    row("failures of a backfill are retried without end",
        lambda t: t.aws("sqs").set_queue_attributes(
            QueueUrl=t.aws("sqs").get_queue_url(QueueName=f"{t.name}-backfill")["QueueUrl"],
            Attributes={"RedrivePolicy": ""}), LANE, shown="RedrivePolicy"),
    row("no label's event reaches the index",
        lambda t: t.aws("events").disable_rule(Name=f"{t.name}-labels"), EVENTS_RULE, shown="enabled"),
    row("the rule of the labels' events has lost a tag",
        lambda t: t.aws("events").untag_resource(
            ResourceARN=f"arn:aws:events:{t.region}:{t.account}:rule/{t.name}-labels", TagKeys=["version"]),
        EVENTS_RULE, shown="version"),
    row("the catalog may do everything with S3",
        lambda t: t.aws("iam").create_policy_version(
            PolicyArn=f"arn:aws:iam::{t.account}:policy/{t.catalog}-{t.region}", PolicyDocument=EVERYTHING_ALLOWED,
            SetAsDefault=True), CATALOG_POLICIES),
    row("a reader may do everything with S3",
        lambda t: t.aws("iam").create_policy_version(
            PolicyArn=f"arn:aws:iam::{t.account}:policy/{t.name}-readers-{READERS_PROJECT}-{t.region}",
            PolicyDocument=EVERYTHING_ALLOWED, SetAsDefault=True), READERS),
    row("Athena reads the list of files as rows",
        lambda t: t.table(InputFormat="org.apache.hadoop.mapred.TextInputFormat"), INDEX_TABLES,
        shown="mapred.TextInputFormat"),
    row("the database of the index's tables has lost a tag",
        lambda t: t.aws("glue").untag_resource(
            ResourceArn=f"arn:aws:glue:{t.region}:{t.account}:database/{t.database}", TagsToRemove=["version"]),
        INDEX_TABLES, shown="version"),
    row("another service can assume the schedules' role",
        lambda t: t.aws("iam").update_assume_role_policy(
            RoleName=f"{t.name}-schedules-{t.region}", PolicyDocument=ANYBODY_OF_EC2), CATALOG_ROLES),
    # Its tasks are those of role image_repository.
    Disturbance("catalog_image", "tags of the catalog's images are mutable",
        lambda t: t.aws("ecr").put_image_tag_mutability(repositoryName=t.catalog, imageTagMutability="MUTABLE"),
        (REPOSITORY,)),
    row("the catalog's logs are kept for a day",
        lambda t: t.aws("logs").put_retention_policy(logGroupName=f"/aws/lambda/{t.catalog}", retentionInDays=1),
        CATALOG_LOG_GROUP, shown="retention"),
    row("the catalog may take 30 s",
        lambda t: t.aws("lambda").update_function_configuration(FunctionName=t.catalog, Timeout=30), CATALOG,
        CATALOG_ALIAS, shown="Timeout"),
    row("nothing limits a backfill",
        lambda t: t.aws("lambda").update_event_source_mapping(
            UUID=t.mapping_of(f"{t.name}-backfill"), ScalingConfig={}), CATALOG_MAPPINGS, shown="ScalingConfig"),
    row("no census is due", lambda t: t.schedule("catalog-census", State="DISABLED"), SCHEDULES, shown="enabled"),
    row("a reconcile is due once a year",
        lambda t: t.schedule("catalog-reconcile", ScheduleExpression="rate(365 days)"), SCHEDULES, shown="365 days"),
    row("nothing keeps the function active", lambda t: t.schedule("keep-active", State="DISABLED"), KEEP_ACTIVE,
        shown="enabled"),

    row("access logs never expire",
        lambda t: t.aws("logs").delete_retention_policy(logGroupName=f"/aws/vendedlogs/apigateway/{t.name}"),
        ACCESS_LOG, shown="retention"),
    row("a filter of the access log counts everything",
        lambda t: t.aws("logs").put_metric_filter(
            logGroupName=f"/aws/vendedlogs/apigateway/{t.name}", filterName="ApiThrottled", filterPattern="",
            metricTransformations=[{"metricName": "Mine", "metricNamespace": "LabelExport", "metricValue": "1"}]),
        ACCESS_LOG, shown="metric_filters"),
    row("the access log has a filter of an earlier version",
        lambda t: t.aws("logs").put_metric_filter(
            logGroupName=f"/aws/vendedlogs/apigateway/{t.name}", filterName="Former", filterPattern="",
            metricTransformations=[{"metricName": "Former", "metricNamespace": "LabelExport", "metricValue": "1"}]),
        ACCESS_LOG, shown="metric_filters"),
    row("webhooks lead nowhere",
        lambda t: t.aws("apigatewayv2").delete_route(ApiId=t.api, RouteId=t.route()), API, shown="routes"),
    row("webhooks may take 5 s",
        lambda t: t.aws("apigatewayv2").update_integration(
            ApiId=t.api, IntegrationId=t.integration(), TimeoutInMillis=5000), API, shown="timeout_ms"),
    row("nothing throttles",
        lambda t: t.stage(DefaultRouteSettings={"ThrottlingRateLimit": 10000.0, "ThrottlingBurstLimit": 5000}), API,
        shown="rate_limit"),
    row("the API has another description",
        lambda t: t.aws("apigatewayv2").update_api(ApiId=t.api, Description="somebody's"), API, shown="description"),
    row("the API's stage has an additional tag",
        lambda t: t.aws("apigatewayv2").tag_resource(ResourceArn=t.stage_arn, Tags={"owner": "somebody"}), API,
        shown="owner"),
    row("the API's stage has lost a tag",
        lambda t: t.aws("apigatewayv2").untag_resource(ResourceArn=t.stage_arn, TagKeys=["version"]), API,
        shown="version"),
    row("the API may no longer invoke the function",
        lambda t: t.aws("lambda").remove_permission(FunctionName=t.name, Qualifier="live", StatementId="http-api"),
        PERMISSION, shown="source_arn"),

    row("the alarm for dead letters notifies nobody",
        lambda t: t.aws("cloudwatch").disable_alarm_actions(AlarmNames=[f"{t.name}/dead-letters"]), ALARMS,
        shown="dead-letters"),
    row("no alarm for errors", lambda t: t.aws("cloudwatch").delete_alarms(AlarmNames=[f"{t.name}/errors"]), ALARMS,
        shown="errors"),
    row("an alarm has an additional tag",
        lambda t: t.aws("cloudwatch").tag_resource(ResourceARN=t.alarm_arn("throttles"), Tags=[SOMEBODY]), ALARMS,
        shown="owner"),
    row("an alarm has lost a tag",
        lambda t: t.aws("cloudwatch").untag_resource(ResourceARN=t.alarm_arn("throttles"), TagKeys=["version"]),
        ALARMS, shown="version"),
    row("the topic has another display name",
        lambda t: t.aws("sns").set_topic_attributes(
            TopicArn=t.topic_arn, AttributeName="DisplayName", AttributeValue="somebody's"), TOPIC,
        shown="somebody's"),
    row("the topic has an additional tag",
        lambda t: t.aws("sns").tag_resource(ResourceArn=t.topic_arn, Tags=[SOMEBODY]), TOPIC, shown="owner"),
    row("the topic has lost a tag",
        lambda t: t.aws("sns").untag_resource(ResourceArn=t.topic_arn, TagKeys=["version"]), TOPIC, shown="version"),
    row("the dashboard is empty",
        lambda t: t.aws("cloudwatch").put_dashboard(
            DashboardName=f"{t.name}-{t.region}", DashboardBody='{"widgets": []}'), DASHBOARD, shown="widgets"),
)  # fmt: skip
