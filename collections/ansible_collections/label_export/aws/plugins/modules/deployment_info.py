#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: deployment_info
short_description: Read what is deployed from AWS
description:
  - Reads the important settings of function, alias, versions, mapping, queues, bucket, secrets, logs, API and alarms,
    by their names, at once. A missing resource is returned as empty. Nothing is changed.
  - The modules of M(amazon.aws) and M(community.aws) need about twenty tasks for it, and read neither a version's
    image nor an HTTP API.
author: The label-export contributors
options:
  function:
    description: The function's name.
    type: str
    required: true
  alias:
    description: The alias that points to the version in use.
    type: str
    required: true
  queue:
    description: The queue's name.
    type: str
    required: true
  dead_letter_queue:
    description: The dead-letter queue's name.
    type: str
    required: true
  bucket:
    description: The bucket's name.
    type: str
    required: true
  repository:
    description: The image repository's name.
    type: str
    required: true
  secrets:
    description: Names or ARNs of secrets.
    type: list
    elements: str
    default: []
  log_groups:
    description: Names of log groups.
    type: list
    elements: str
    default: []
  api:
    description: The HTTP API's name. Empty for none.
    type: str
    default: ""
  function_url:
    description: Whether to read the alias's Function URL.
    type: bool
    default: false
  alarm_prefix:
    description: The prefix of the alarms' names.
    type: str
    required: true
  metric_dimensions:
    description: The dimensions of the function's own metrics.
    type: dict
    default: {}
  versions:
    description: Number of newest versions whose image is looked up. The version in use and the one before always are.
    type: int
    default: 10
  named_versions:
    description: Numbers of further versions whose image is looked up.
    type: list
    elements: str
    default: []
  scanned_functions:
    description: Further functions, each with its alias (C(function:alias)), whose image's scan is read.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: It only reads.
    support: full
  diff_mode:
    description: It only reads.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Know what is deployed
  label_export.aws.deployment_info:
    function: label-export-dev
    alias: live
    queue: label-export-dev
    dead_letter_queue: label-export-dev-dead-letters
    bucket: label-export-dev-123456789012-eu-west-1
    repository: label-export-dev
    alarm_prefix: label-export-dev
  register: deployment
"""

RETURN = r"""
deployed:
  description: Whether there is a function and an alias that names a version of it.
  returned: always
  type: bool
version:
  description: The number of the version in use, empty for none.
  returned: always
  type: str
other_versions:
  description: The share of the calls, 0 to 1, that the alias routes to each other version. Empty for none.
  returned: always
  type: dict
image:
  description: The image of the version in use, empty for none.
  returned: always
  type: str
image_scan:
  description:
    - When the image of the version in use was pushed (C(pushed), ISO 8601 with an offset), how many findings ECR's scan
      has by severity (C(findings)), and C(scanned), which is false while there is no result. Empty where ECR has no
      such image.
  returned: always
  type: dict
other_scans:
  description:
    - The same as RV(image_scan) for each of O(scanned_functions) that there is, with the function's name (C(function))
      and the image in use (C(image)).
  returned: always
  type: list
  elements: dict
versions:
  description: The published versions, newest first, each with C(version), C(modified), C(image) and C(image_found).
    The last two are null for versions that were not looked up.
  returned: always
  type: list
  elements: dict
function:
  description: The configuration of the version in use, without its environment.
  returned: always
  type: dict
mapping:
  description: >-
    The event source mapping between queue and alias: C(state), C(batch_size), C(response_types), C(maximum_concurrency)
    and C(filter_criteria). A mapping that is being deleted does not count.
  returned: always
  type: dict
queue:
  description: The queue's attributes, and C(messages) and C(oldest_seconds), null if CloudWatch has no value.
  returned: always
  type: dict
dead_letter_queue:
  description: The same for the dead-letter queue.
  returned: always
  type: dict
bucket:
  description: C(public_access_block), C(ownership), C(versioning), C(encryption) and C(tls_only).
  returned: always
  type: dict
secrets:
  description: Whether each secret exists.
  returned: always
  type: dict
log_groups:
  description: The retention of each log group in days, null for unlimited. Log groups that do not exist are left out.
  returned: always
  type: dict
api:
  description: >-
    C(api_id), C(routes), C(rate_limit), C(burst_limit), C(integration) and C(log_group) of the HTTP API. A route that
    does not lead to the integration, or not for everyone, ends with C((elsewhere)).
  returned: always
  type: dict
function_url:
  description: C(url) and C(auth_type) of the alias's Function URL. Empty if it has none, or if O(function_url=false).
  returned: always
  type: dict
permissions:
  description:
    - The statements of the alias's resource policy, each with C(statement_id), C(action), C(principal) and its
      conditions, named as the options of M(label_export.aws.lambda_permission).
  returned: always
  type: list
  elements: dict
alarms:
  description: The alarms with the prefix, each with C(name), C(state) and C(reason).
  returned: always
  type: list
  elements: dict
last_export:
  description: When a label was last exported, from metric or log. Empty if neither has it.
  returned: always
  type: str
last_webhook:
  description:
    - When a webhook was last accepted, by metric or log; those of C(playbooks/verify.yml) do not count. Empty when
      neither knows.
  returned: always
  type: str
"""

import time
from datetime import UTC, datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported
from ansible_collections.label_export.aws.plugins.module_utils.http_api import HttpApiReader
from ansible_collections.label_export.aws.plugins.module_utils.lambda_alias import find_alias
from ansible_collections.label_export.aws.plugins.module_utils.lambda_function_url import find_url
from ansible_collections.label_export.aws.plugins.module_utils.lambda_mapping import filter_criteria, list_mappings
from ansible_collections.label_export.aws.plugins.module_utils.lambda_statement import list_statements
from ansible_collections.label_export.aws.plugins.module_utils.log_events import filtered_events
from ansible_collections.label_export.aws.plugins.module_utils.log_group import find_group
from ansible_collections.label_export.aws.plugins.module_utils.s3_bucket import BucketReader
from ansible_collections.label_export.aws.plugins.module_utils.sqs_queue import find_queue

NO_BUCKET = ["NoSuchBucket", "404"]
NOT_FOUND = ["ResourceNotFoundException"]
METRICS = "LabelExport"
METRIC_DAYS = 14  # CloudWatch keeps one datapoint a minute for 15 days
# Seconds back from now: each search covers the time between two of them.
LOG_WINDOWS = [600, 3600, 6 * 3600, 24 * 3600]
LOG_PAGES = 50  # in one search
VERIFY = '"verify-'  # what the event uids of playbooks/verify.yml begin with, in a line of the log
SHOWN = (
    "Version", "CodeSha256", "MemorySize", "Timeout", "Role", "State", "LastModified", "Architectures", "TracingConfig",
    "LoggingConfig",
)  # fmt: skip


class Account:
    """The account, read through clients that are created when they are needed."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.module.client(service, retry_decorator=AWSRetry.jittered_backoff())
        return self.clients[service]

    def function(self, qualifier: str, name: str = "") -> dict[str, Any]:
        """Return GetFunction's answer for a version or alias, {} for none."""
        try:
            answer: dict[str, Any] = self.client("lambda").get_function(
                aws_retry=True, FunctionName=name or self.params["function"], Qualifier=qualifier
            )
        except is_boto3_error_code(NOT_FOUND):
            return {}
        return answer

    def alias(self) -> dict[str, Any]:
        """Return the alias's settings, {} for none."""
        named = {"FunctionName": self.params["function"], "Name": self.params["alias"]}
        return find_alias(self.client("lambda"), named) or {}

    def versions(self, in_use: str) -> list[dict[str, Any]]:
        """Return the published versions, newest first; versions that a rollback could use have their images."""
        try:
            pages = self.client("lambda").get_paginator("list_versions_by_function")
            listed = [
                item for page in pages.paginate(FunctionName=self.params["function"]) for item in page["Versions"]
            ]
        except is_boto3_error_code(NOT_FOUND):
            return []
        published = [item for item in listed if item["Version"] != "$LATEST"]
        published.sort(key=lambda item: int(item["Version"]), reverse=True)
        numbers = [item["Version"] for item in published]
        looked_up = {*numbers[: self.params["versions"]], *self.params["named_versions"]}
        if in_use in numbers:
            place = numbers.index(in_use)
            looked_up.update(numbers[place : place + 2])
        versions = []
        for number, item in zip(numbers, published, strict=True):
            image = self.image_of(number) if number in looked_up else None
            versions.append({"version": number, "modified": item.get("LastModified", ""), "image": image})
        found = self.images_found([item["image"] for item in versions if item["image"]])
        return [{**item, "image_found": item["image"] and item["image"] in found} for item in versions]

    def image_of(self, version: str) -> str:
        """Return the image of a version by its digest, if Lambda returns it."""
        return self.image_in(self.function(version))

    @staticmethod
    def image_in(answer: dict[str, Any]) -> str:
        """Return the image in GetFunction's answer by its digest, if Lambda returns it."""
        code = answer.get("Code", {})
        named, resolved = code.get("ImageUri", ""), code.get("ResolvedImageUri", "")
        return str(resolved if "@" in resolved and "@" not in named else named)

    def images_found(self, images: list[str]) -> set[str]:
        """Return which of the images the repository still has."""
        wanted = {image.rpartition("@")[2]: image for image in images if "@sha256:" in image}
        if not wanted:
            return set()
        try:
            answer = self.client("ecr").batch_get_image(
                aws_retry=True,
                repositoryName=self.params["repository"],
                imageIds=[{"imageDigest": digest} for digest in list(wanted)[:100]],
            )
        except is_boto3_error_code("RepositoryNotFoundException"):
            return set()
        digests = {item["imageId"].get("imageDigest") for item in answer.get("images", [])}
        return {image for image in images if image.rpartition("@")[2] in digests}

    def other_scans(self) -> list[dict[str, Any]]:
        """Return what ECR's scan found in the images of the further functions."""
        scans = []
        for qualified in self.params["scanned_functions"]:
            name, _, alias = qualified.rpartition(":")
            if answer := self.function(alias, name):
                image = self.image_in(answer)
                repository = image.partition("@")[0].partition("/")[2]
                scans.append({"function": name, "image": image, **self.image_scan(image, repository)})
        return scans

    def image_scan(self, image: str, repository: str) -> dict[str, Any]:
        """Return when an image was pushed, and the findings of ECR's scan; empty if ECR has no such image."""
        digest = image.rpartition("@")[2]
        if not digest.startswith("sha256:"):
            return {}
        try:
            answer = self.client("ecr").describe_images(
                aws_retry=True, repositoryName=repository, imageIds=[{"imageDigest": digest}]
            )
        except is_boto3_error_code(["RepositoryNotFoundException", "ImageNotFoundException"]):
            return {}
        details: dict[str, Any] = next(iter(answer.get("imageDetails", [])), {})
        summary, pushed = details.get("imageScanFindingsSummary"), details.get("imagePushedAt")
        return {
            "pushed": pushed.astimezone(UTC).isoformat(timespec="seconds") if pushed else "",
            "scanned": summary is not None,
            "findings": (summary or {}).get("findingSeverityCounts", {}),
        }

    def mapping(self) -> dict[str, Any]:
        found = list_mappings(self.client("lambda"), f"{self.params['function']}:{self.params['alias']}")
        ours = [item for item in found if item["EventSourceArn"].endswith(f":{self.params['queue']}")]
        if not ours:
            return {}
        item = ours[0]
        return {
            "state": item["State"],
            "batch_size": item.get("BatchSize"),
            "response_types": item.get("FunctionResponseTypes") or [],
            "maximum_concurrency": (item.get("ScalingConfig") or {}).get("MaximumConcurrency", 0),
            "filter_criteria": filter_criteria(item),
        }

    def permissions(self) -> list[dict[str, Any]]:
        named = {"FunctionName": self.params["function"], "Qualifier": self.params["alias"]}
        found = list_statements(self.client("lambda"), named)
        return [{"statement_id": statement_id, **statement} for statement_id, statement in found.items()]

    def queue(self, name: str) -> dict[str, Any]:
        _url, attributes = find_queue(self.client("sqs"), name)
        if attributes is None:
            return {}
        waiting = sum(int(value) for key, value in attributes.items() if key.startswith("ApproximateNumberOfMessages"))
        return {
            **attributes,
            "tls_only": refuses_plain_http(attributes["Policy"].get("Statement", [])),
            "messages": waiting,
            "oldest_seconds": self.oldest(name),
        }

    def newest(self, namespace: str, metric: str, dimensions: dict[str, str], statistic: str, seconds: int) -> Any:
        """Return time and value of a metric's newest datapoint, None if there is none."""
        now = time.time()
        query = {
            "Id": "newest",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                },
                "Period": 60,
                "Stat": statistic,
            },
        }
        answer = self.client("cloudwatch").get_metric_data(
            aws_retry=True,
            MetricDataQueries=[query],
            StartTime=datetime.fromtimestamp(now - seconds, UTC),
            EndTime=datetime.fromtimestamp(now + 60, UTC),
            ScanBy="TimestampDescending",
        )
        (result,) = answer["MetricDataResults"]
        points = [(when, value) for when, value in zip(result["Timestamps"], result["Values"], strict=True) if value]
        return max(points) if points else None

    def oldest(self, queue: str) -> int | None:
        dimensions = {"QueueName": queue}
        found = self.newest("AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, "Maximum", 600)
        return int(found[1]) if found else None

    def last(self, metric: str, event: str, without: str = "") -> str:
        """Return when a metric of the function last had a value, else when its log last had an event."""
        dimensions = self.params["metric_dimensions"]
        found = self.newest(METRICS, metric, dimensions, "Sum", METRIC_DAYS * 24 * 3600)
        return when_text(found[0].timestamp()) if found else self.last_logged(event, without)

    def last_logged(self, event: str, without: str) -> str:
        """Search the log of the last day, back from now; the metric goes back further, but is some minutes late.

        Lines that hold ``without`` do not count.
        """
        end = now = time.time()
        for seconds in LOG_WINDOWS:
            request = {
                "logGroupName": f"/aws/lambda/{self.params['function']}",
                "startTime": int((now - seconds) * 1000),
                "endTime": int(end * 1000),
                "filterPattern": f'"{event}"',
            }
            try:
                lines = list(filtered_events(self.client("logs"), LOG_PAGES, **request))
            except is_boto3_error_code(NOT_FOUND):
                return ""
            found = [line["timestamp"] for line in lines if not without or without not in line.get("message", "")]
            if found:
                return when_text(max(found) / 1000)
            end = now - seconds
        return ""

    def bucket(self) -> dict[str, Any]:
        bucket = BucketReader(self.client("s3"), self.params["bucket"])
        try:
            versioning = bucket.versioning()
        except is_boto3_error_code(NO_BUCKET):
            return {}
        blocks = bucket.public_access_block() or {}
        return {
            "public_access_blocked": len(blocks) > 0 and all(blocks.values()),
            "ownership": bucket.object_ownership() or "",
            "versioning": versioning or "",
            "encryption": bucket.encryption()["algorithm"] or "",
            "tls_only": refuses_plain_http(bucket.policy().get("Statement", [])),
        }

    def secrets(self) -> dict[str, bool]:
        return {name: self.has_secret(name) for name in self.params["secrets"]}

    def has_secret(self, name: str) -> bool:
        try:
            answer = self.client("secretsmanager").describe_secret(aws_retry=True, SecretId=name)
        except is_boto3_error_code(NOT_FOUND):
            return False
        return "DeletedDate" not in answer

    def log_groups(self) -> dict[str, int | None]:
        found = {name: find_group(self.client("logs"), name) for name in self.params["log_groups"]}
        return {name: group.get("retentionInDays") for name, group in found.items() if group is not None}

    def api(self) -> dict[str, Any]:
        if not self.params["api"]:
            return {}
        api = HttpApiReader(self.client("apigatewayv2"), self.params["api"], arn_start="")
        api.load()
        settings = api.settings()
        if settings is None:
            return {}
        stage = settings["stage"] or {}
        return {
            "api_id": api.id,
            "routes": settings["routes"],
            "rate_limit": stage.get("rate_limit") or 0,
            "burst_limit": stage.get("burst_limit") or 0,
            "log_group": stage.get("access_log_group_arn", ""),
            "integration": settings["integration"].get("uri") or "",
        }

    def function_url(self) -> dict[str, str]:
        if not self.params["function_url"]:
            return {}
        named = {"FunctionName": self.params["function"], "Qualifier": self.params["alias"]}
        url, settings = find_url(self.client("lambda"), named)
        return {"url": url, "auth_type": settings["auth_type"]} if settings else {}

    def alarms(self) -> list[dict[str, str]]:
        pages = self.client("cloudwatch").get_paginator("describe_alarms")
        found = [
            {"name": alarm["AlarmName"], "state": alarm["StateValue"], "reason": alarm.get("StateReason", "")}
            for page in pages.paginate(AlarmNamePrefix=self.params["alarm_prefix"])
            for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]
        ]
        return sorted(found, key=lambda alarm: alarm["name"])


def when_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refuses_plain_http(found: list[dict[str, Any]]) -> bool:
    """Return whether statements of a resource policy, in canonical form, refuse every request without TLS."""
    return any(
        (statement.get("Effect"), statement.get("Principal")) == ("Deny", "*")
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in found
    )


def gather(account: Account) -> dict[str, Any]:
    params = account.params
    alias = account.alias()
    version = alias.get("FunctionVersion", "")
    versions = account.versions(version)
    configuration = account.function(version).get("Configuration", {}) if version else {}
    image = next((item["image"] for item in versions if item["version"] == version), "")
    return {
        "deployed": bool(version),
        "version": version,
        "other_versions": alias["RoutingConfig"]["AdditionalVersionWeights"] if alias else {},
        "image": image,
        "image_scan": account.image_scan(image, params["repository"]),
        "other_scans": account.other_scans(),
        "versions": versions,
        "function": {name: configuration[name] for name in SHOWN if name in configuration},
        "mapping": account.mapping(),
        "permissions": account.permissions(),
        "queue": account.queue(params["queue"]),
        "dead_letter_queue": account.queue(params["dead_letter_queue"]),
        "bucket": account.bucket(),
        "secrets": account.secrets(),
        "log_groups": account.log_groups(),
        "api": account.api(),
        "function_url": account.function_url(),
        "alarms": account.alarms(),
        "last_export": account.last("Exported", "label_exported"),
        "last_webhook": account.last("WebhooksAccepted", "webhook_accepted", without=VERIFY),
    }


def main() -> None:
    name = {"type": "str", "required": True}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleAWSModule(
        argument_spec={
            "function": name,
            "alias": name,
            "queue": name,
            "dead_letter_queue": name,
            "bucket": name,
            "repository": name,
            "secrets": {**names, "no_log": False},
            "log_groups": names,
            "api": {"type": "str", "default": ""},
            "function_url": {"type": "bool", "default": False},
            "alarm_prefix": name,
            "metric_dimensions": {"type": "dict", "default": {}},
            "versions": {"type": "int", "default": 10},
            "named_versions": names,
            "scanned_functions": names,
        },
        supports_check_mode=True,
    )
    with reported(module, f"What is deployed as {module.params['function']} could not be read"):
        found = gather(Account(module))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
