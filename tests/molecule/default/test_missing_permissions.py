"""If the deployer lacks a permission, the message names it and its policy.

Removes one action at a time from the deployer's policies on a deployed local stack, and restores it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from deployed_environment import NAME, Deployment
from local_stack import LocalStack
from playbook_runs import only, run_playbook

USER = f"deployer-of-{NAME}"
WHERE_TO_ALLOW = "playbooks/policies.yml"
# An action, and the role that needs it. Modules of amazon.aws return AWS's own message, which names the action.
OURS = {
    "s3:GetBucketPolicy": "label_bucket",
    "sqs:GetQueueAttributes": "export_queue",
    "secretsmanager:DescribeSecret": "encord_secrets",
    "ecr:DescribeRepositories": "image_repository",
    "logs:DescribeLogGroups": "export_function",
    "cloudwatch:DescribeAlarms": "monitoring",
    "sns:GetTopicAttributes": "monitoring",
}
UPSTREAM = {"iam:GetRole": "execution_role"}
# An action that writes, the role that needs it, and a setting of that role that only this action could change.
WRITES = {
    "s3:PutLifecycleConfiguration": ("label_bucket", "label_bucket_noncurrent_version_days=99"),
    "logs:PutRetentionPolicy": ("export_function", "export_function_log_retention_days=60"),
    "sns:SetTopicAttributes": ("monitoring", "monitoring_topic_kms_key_arn={key}"),
}
# What the role monitoring requires of a topic's key.
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
        },
    ],
}


@contextmanager
def without(action: str, iam: Any) -> Iterator[None]:
    """Remove an action temporarily from each of the deployer's policies that has it."""
    made = []
    try:
        for policy in iam.list_attached_user_policies(UserName=USER)["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            before = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            document = iam.get_policy_version(PolicyArn=arn, VersionId=before)["PolicyVersion"]["Document"]
            statements = [{**s, "Action": [a for a in s["Action"] if a != action]} for s in document["Statement"]]
            if statements != document["Statement"]:
                less = json.dumps({**document, "Statement": statements})
                version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=less, SetAsDefault=True)
                made.append((arn, before, version["PolicyVersion"]["VersionId"]))
        assert made, f"{action} is in no policy of {USER}"
        yield
    finally:
        for arn, before, version in made:
            iam.set_default_policy_version(PolicyArn=arn, VersionId=before)
            iam.delete_policy_version(PolicyArn=arn, VersionId=version)


@pytest.mark.parametrize("action", [*OURS, *UPSTREAM])
def test_a_missing_permission_is_named(action: str, stack: LocalStack) -> None:
    with without(action, stack.aws("iam")):
        run = run_playbook("deploy", "--check", *only({**OURS, **UPSTREAM}[action]))
    said = " ".join(run.output.split())
    assert run.returncode != 0, said
    assert f"not authorized to perform: {action} " in said, said[-1500:]
    assert action in UPSTREAM or WHERE_TO_ALLOW in said


@pytest.fixture(scope="module")
def key(stack: LocalStack) -> Iterator[str]:
    """A KMS key that alarms may use; yields its ARN."""
    kms = stack.aws("kms")
    found = kms.create_key(Policy=json.dumps(KEY_POLICY))["KeyMetadata"]
    yield str(found["Arn"])
    kms.schedule_key_deletion(KeyId=found["KeyId"], PendingWindowInDays=7)


@pytest.fixture
def settings(stack: LocalStack, deployment: Deployment) -> Callable[[], dict[str, Any]]:
    """Return a function that reads the settings that WRITES would change."""
    topic = f"arn:aws:sns:{stack.facts['region']}:{stack.facts['account_id']}:{NAME}-alarms"

    def read() -> dict[str, Any]:
        rules = deployment.s3.get_bucket_lifecycle_configuration(Bucket=deployment.bucket)["Rules"]
        groups = deployment.logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}")["logGroups"]
        retention = {group["logGroupName"]: group.get("retentionInDays") for group in groups}
        return {
            "label_bucket": rules,
            "export_function": retention,
            "monitoring": stack.aws("sns").get_topic_attributes(TopicArn=topic)["Attributes"],
        }

    return read


@pytest.mark.parametrize("action", WRITES)
def test_a_missing_write_permission_is_named_and_nothing_is_written(
    action: str, stack: LocalStack, key: str, settings: Callable[[], dict[str, Any]]
) -> None:
    role, setting = WRITES[action]
    before = settings()
    with without(action, stack.aws("iam")):
        run = run_playbook("deploy", *only(role), "-e", setting.format(key=key))
    said = " ".join(run.output.split())
    assert run.returncode != 0, said
    assert f"not authorized to perform: {action} " in said, said[-1500:]
    assert WHERE_TO_ALLOW in said
    assert run.changed == []
    assert settings() == before
