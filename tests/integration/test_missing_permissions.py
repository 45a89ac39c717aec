"""A deployer who lacks one permission is told which, and where it is written down.

Takes one action at a time out of the deployer's policies on a deployed local stack, and puts it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import run_playbook
from local_stack import LocalStack

USER = "deployer-of-label-export"
DOCUMENTS = "docs/deployer-policy.json or docs/monitoring-policy.json"
# An action, and the role that is to miss it. Modules that are not ours give AWS's own message, which names the action.
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


@contextmanager
def without(action: str, iam: Any) -> Iterator[None]:
    """Take an action out of each of the deployer's policies that has it, for a while."""
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
def test_a_permission_that_is_missing_is_named(action: str, stack: LocalStack) -> None:
    with without(action, stack.aws("iam")):
        run = run_playbook("deploy", "--check", "--tags", {**OURS, **UPSTREAM}[action])
    said = " ".join(run.output.split())
    assert run.returncode != 0, said
    assert f"not authorized to perform: {action} " in said, said[-1500:]
    assert action in UPSTREAM or DOCUMENTS in said
