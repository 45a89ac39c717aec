"""Everything that one environment has in an account and region, read through AWS's API as the root user.

Two readings are equal exactly if nothing that the API returns was changed between them. Values that change by
themselves (counts, times, last use) are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Client = Callable[[str], Any]

VOLATILE = {
    "ResponseMetadata", "LastModified", "RevisionId", "StateTransitionReason", "LastProcessingResult",
    "LastChangedDate", "LastAccessedDate", "CreatedDate", "UpdateDate", "LastUpdatedDate", "DefaultVersionId",
    "RoleLastUsed", "storedBytes", "LastModifiedTimestamp", "VersionIdsToStages", "DeploymentId",
    "DeploymentStatus", "DeploymentStatusMessage", "StateValue", "StateReason", "StateReasonData",
    "StateUpdatedTimestamp", "AlarmConfigurationUpdatedTimestamp", "StateTransitionedTimestamp",
    "RepositoryUrl", "Location", "NextToken", "Marker", "IsTruncated", "AttachmentCount", "VersionId",
    "LastUpdateStatusReason", "CreateDate", "AliasArn", "SigningJobArn", "logStreamName", "RouteId",
}  # fmt: skip

# What an API may return as empty after it was emptied, instead of leaving it out.
EMPTIED = {"ImageConfig", "ImageConfigResponse", "FilterCriteria"}
# The tag of a secret in which its module records the version that it wrote; AWS chooses the identifier.
WRITTEN_VERSION = "written-version"
SCHEDULE_TIMES = {"CreationDate", "LastModificationDate"}
BUCKET_ASPECTS = (
    "get_public_access_block",
    "get_bucket_ownership_controls",
    "get_bucket_versioning",
    "get_bucket_encryption",
    "get_bucket_policy",
    "get_bucket_lifecycle_configuration",
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_tagging",
)


def settled(value: Any) -> Any:
    """Return an API's response without values that change by themselves, with sorted names and parsed JSON."""
    if isinstance(value, dict):
        parts = {
            key: settled(part)
            for key, part in value.items()
            if key not in VOLATILE and not key.startswith("ApproximateNumber")
        }
        return {key: part for key, part in parts.items() if part or key not in EMPTIED}
    if isinstance(value, list):
        kept = [part for part in value if not (isinstance(part, dict) and part.get("Key") == WRITTEN_VERSION)]
        return sorted((settled(part) for part in kept), key=lambda part: json.dumps(part, default=str, sort_keys=True))
    if isinstance(value, str) and value.startswith("{"):
        try:
            return settled(json.loads(value))
        except ValueError:
            return value
    return value


def names(name: str) -> set[str]:
    """Return the names of an environment's two functions, which their log groups and repositories share."""
    return {name, f"{name}-catalog"}


def schedules(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    scheduler = client("scheduler")
    for item in scheduler.list_schedules(NamePrefix=f"{name}-")["Schedules"]:
        found = scheduler.get_schedule(Name=item["Name"])
        yield f"schedule {item['Name']}", {key: value for key, value in found.items() if key not in SCHEDULE_TIMES}


def buckets(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    s3 = client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        if not bucket["Name"].startswith(name + "-"):
            continue
        found: dict[str, Any] = {}
        for aspect in BUCKET_ASPECTS:
            try:
                found[aspect] = getattr(s3, aspect)(Bucket=bucket["Name"])
            except s3.exceptions.ClientError as error:
                found[aspect] = error.response["Error"]["Code"]
        # The catalog writes its state, reports and index on its schedules and on events of labels.
        found["objects"] = [
            (item["Key"], item["ETag"])
            for item in s3.list_object_versions(Bucket=bucket["Name"]).get("Versions", [])
            if not re.search(r"/(state|reports|index)/", item["Key"])
        ]
        yield f"bucket {bucket['Name']}", found


def rules(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    events = client("events")
    for rule in events.list_rules(NamePrefix=f"{name}-")["Rules"]:
        targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        tags = events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
        yield f"rule {rule['Name']}", {**rule, "targets": targets, "tags": tags}


def queues(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    sqs = client("sqs")
    for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        yield (
            f"queue {url.rpartition('/')[2]}",
            {**attributes, "tags": sqs.list_queue_tags(QueueUrl=url).get("Tags", {})},
        )


def secrets(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    manager = client("secretsmanager")
    for secret in manager.list_secrets()["SecretList"]:
        if secret["Name"].startswith(name + "/"):
            value = manager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
            yield f"secret {secret['Name']}", {**manager.describe_secret(SecretId=secret["ARN"]), "value": value}


def identities(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    iam = client("iam")
    for role in iam.list_roles()["Roles"]:
        if role["RoleName"].startswith(name):
            one = {"RoleName": role["RoleName"]}
            yield (
                f"role {role['RoleName']}",
                {
                    **iam.get_role(**one)["Role"],
                    "attached": iam.list_attached_role_policies(**one)["AttachedPolicies"],
                    "inline": iam.list_role_policies(**one)["PolicyNames"],
                    "tags": iam.list_role_tags(**one)["Tags"],
                },
            )
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        if policy["PolicyName"].startswith(name):
            arn, version = policy["Arn"], policy["DefaultVersionId"]
            document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
            yield f"policy {policy['PolicyName']}", {
                **iam.get_policy(PolicyArn=arn)["Policy"],
                "document": document,
                "tags": iam.list_policy_tags(PolicyArn=arn)["Tags"],
            }  # fmt: skip


def repositories(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    ecr = client("ecr")
    for repository in ecr.describe_repositories()["repositories"]:
        repository_name = repository["repositoryName"]
        if repository_name in names(name):
            try:
                lifecycle = ecr.get_lifecycle_policy(repositoryName=repository_name)["lifecyclePolicyText"]
            except ecr.exceptions.LifecyclePolicyNotFoundException:
                lifecycle = ""
            tags = ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
            policy = json.loads(ecr.get_repository_policy(repositoryName=repository_name)["policyText"])
            images = ecr.list_images(repositoryName=repository_name)["imageIds"]
            yield (
                f"repository {repository_name}",
                {**repository, "lifecycle": lifecycle, "policy": policy, "tags": tags, "images": images},
            )


def functions(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    functions = client("lambda")
    for function in functions.list_functions()["Functions"]:
        if function["FunctionName"] not in names(name):
            continue
        one = {"FunctionName": function["FunctionName"]}
        aliases = functions.list_aliases(**one)["Aliases"]
        policies = {}
        for alias in aliases:
            try:
                policies[alias["Name"]] = functions.get_policy(**one, Qualifier=alias["Name"])["Policy"]
            except functions.exceptions.ResourceNotFoundException:
                policies[alias["Name"]] = "{}"
        yield (
            f"function {function['FunctionName']}",
            {
                **functions.get_function(**one),
                "concurrency": functions.get_function_concurrency(**one).get("ReservedConcurrentExecutions"),
                "versions": [version["Version"] for version in functions.list_versions_by_function(**one)["Versions"]],
                "aliases": aliases,
                "policies": policies,
                "mappings": functions.list_event_source_mappings(**one)["EventSourceMappings"],
            },
        )


def apis(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    gateway = client("apigatewayv2")
    for api in gateway.get_apis()["Items"]:
        if api["Name"] == name:
            one = {"ApiId": api["ApiId"]}
            region = gateway.meta.region_name
            stage = f"arn:aws:apigateway:{region}::/apis/{api['ApiId']}/stages/$default"
            yield (
                f"api {name}",
                {
                    **api,
                    "integrations": gateway.get_integrations(**one)["Items"],
                    "routes": gateway.get_routes(**one)["Items"],
                    "stages": gateway.get_stages(**one)["Items"],
                    "stage tags": gateway.get_tags(ResourceArn=stage)["Tags"],
                },
            )


def log_groups(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    logs = client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        if group["logGroupName"].rpartition("/")[2] in names(name):
            arn = group["arn"].removesuffix(":*")
            tags = logs.list_tags_for_resource(resourceArn=arn).get("tags", {})
            filters = logs.describe_metric_filters(logGroupName=group["logGroupName"])["metricFilters"]
            filters = [{key: value for key, value in one.items() if key != "creationTime"} for one in filters]
            yield f"log group {group['logGroupName']}", {**group, "tags": tags, "filters": filters}


def notices(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    cloudwatch, sns = client("cloudwatch"), client("sns")
    for alarm in cloudwatch.describe_alarms(AlarmNamePrefix=f"{name}/")["MetricAlarms"]:
        tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
        yield f"alarm {alarm['AlarmName']}", {**alarm, "tags": tags}
    for topic in sns.list_topics()["Topics"]:
        if topic["TopicArn"].endswith(f":{name}-alarms"):
            attributes = sns.get_topic_attributes(TopicArn=topic["TopicArn"])["Attributes"]
            tags = sns.list_tags_for_resource(ResourceArn=topic["TopicArn"])["Tags"]
            yield f"topic {topic['TopicArn'].rpartition(':')[2]}", {**attributes, "tags": tags}
    for entry in cloudwatch.list_dashboards()["DashboardEntries"]:
        if entry["DashboardName"].startswith(f"{name}-"):
            yield f"dashboard {entry['DashboardName']}", cloudwatch.get_dashboard(DashboardName=entry["DashboardName"])


def tables(client: Client, name: str) -> Iterator[tuple[str, Any]]:
    glue, sts = client("glue"), client("sts")
    account, region = sts.get_caller_identity()["Account"], glue.meta.region_name
    for database in glue.get_databases()["DatabaseList"]:
        if database["Name"] == name.replace("-", "_"):
            arn = f"arn:aws:glue:{region}:{account}:database/{database['Name']}"
            found = {table["Name"]: table for table in glue.get_tables(DatabaseName=database["Name"])["TableList"]}
            for table in found.values():
                for time in ("CreateTime", "LastAccessTime", "UpdateTime"):
                    table.pop(time, None)
            yield f"database {database['Name']}", {**found, "tags": glue.get_tags(ResourceArn=arn)["Tags"]}


# What each role creates.
KINDS = {
    "label_bucket": (buckets,),
    "export_queue": (queues,),
    "encord_secrets": (secrets,),
    "execution_role": (identities,),
    "image_repository": (repositories,),
    "export_function": (functions, log_groups),
    "catalog_queue": (queues, rules),
    "catalog_execution_role": (identities,),
    "label_catalog_table": (tables,),
    "label_readers": (identities,),
    "catalog_image": (repositories,),
    "catalog_function": (functions, log_groups, schedules),
    "keep_active": (schedules,),
    "front_door": (apis, functions, log_groups),
    "monitoring": (notices,),
}


def everything(client: Client, name: str, roles: Iterable[str] = KINDS) -> dict[str, Any]:
    """Return every resource of the environment with this name (``<application>-<environment>``), by kind and name.

    With ``roles``, only what these roles make.
    """
    kinds = {kind for role in roles for kind in KINDS[role]}
    return {title: settled(found) for kind in kinds for title, found in kind(client, name)}


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the differences of two readings, before and after, by resource and aspect."""
    found = {}
    for title in sorted(before.keys() | after.keys()):
        one, other = before.get(title, {}), after.get(title, {})
        aspects = {
            key: (one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)
        }
        if aspects:
            found[title] = aspects
    return found
