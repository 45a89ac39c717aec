"""A bucket that existed before the first deploy is used with its owner's settings, or refused.

Needs a deployed system, and restores it. Three runs of the playbook, only for the role label_bucket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from account_resources import BUCKET_ASPECTS, difference, everything
from deployed_environment import ENVIRONMENT, NAME, Deployment
from local_stack import LocalStack
from playbook_runs import OWNER, Playbook, only, run_playbook

THEIRS, THEIR_LOG = f"{NAME}-theirs", f"{NAME}-their-log"
LOGGING = {"LoggingEnabled": {"TargetBucket": THEIR_LOG, "TargetPrefix": "theirs/"}}
STATEMENT = {
    "Sid": "Theirs",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:DeleteObject",
    "Resource": f"arn:aws:s3:::{THEIRS}/raw/*",
}
RULE = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "raw/"}, "Expiration": {"Days": 400}}
TAG = {"Key": "cost-centre", "Value": "7"}


def encryption(key: str) -> dict[str, Any]:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]}


@pytest.fixture(scope="module")
def key(stack: LocalStack, deployment: Deployment) -> Iterator[str]:
    """Create the owner's bucket; yields the ARN of the key that encrypts it."""
    s3 = deployment.s3
    arn: str = stack.aws("kms").create_key()["KeyMetadata"]["Arn"]
    region = {"LocationConstraint": stack.facts["region"]}
    for bucket in (THEIR_LOG, THEIRS):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
    s3.put_bucket_logging(Bucket=THEIRS, BucketLoggingStatus=LOGGING)
    s3.put_bucket_encryption(Bucket=THEIRS, ServerSideEncryptionConfiguration=encryption(arn))
    policy = {"Version": "2012-10-17", "Statement": [STATEMENT]}
    s3.put_bucket_policy(Bucket=THEIRS, Policy=json.dumps(policy))
    s3.put_bucket_lifecycle_configuration(Bucket=THEIRS, LifecycleConfiguration={"Rules": [RULE]})
    s3.put_bucket_tagging(Bucket=THEIRS, Tagging={"TagSet": [TAG]})
    yield arn
    for bucket in (THEIRS, THEIR_LOG):
        s3.delete_bucket(Bucket=bucket)


def everything_of(stack: LocalStack, bucket: str) -> Any:
    return everything(stack.aws, NAME, ["label_bucket"])[f"bucket {bucket}"]


def deploy(bucket: str, *arguments: str, **settings: str) -> Playbook:
    given = json.dumps({"label_bucket_name": bucket, **settings})
    return run_playbook("deploy", *only("label_bucket"), "-e", given, *OWNER, *arguments)


def test_the_owners_losses_are_named_and_nothing_is_changed(stack: LocalStack, key: str) -> None:
    before = everything_of(stack, THEIRS)
    run = deploy(THEIRS)
    assert run.returncode != 0
    said = " ".join(run.output.split())
    assert f"The bucket {THEIRS} belongs to its owner" in said
    for setting in (
        f'label_bucket_access_log_bucket: "{THEIR_LOG}"',
        'label_bucket_access_log_prefix: "theirs/"',
        f'label_bucket_kms_key_arn: "{key}"',
    ):
        assert setting in said.replace("\\", "")
    assert run.changed == []
    assert everything_of(stack, THEIRS) == before


def test_with_the_named_settings_the_bucket_is_used_and_keeps_its_owners_settings(
    stack: LocalStack, deployment: Deployment, key: str
) -> None:
    before = everything_of(stack, THEIRS)
    run = deploy(
        THEIRS,
        label_bucket_access_log_bucket=THEIR_LOG,
        label_bucket_access_log_prefix="theirs/",
        label_bucket_kms_key_arn=key,
    )
    assert run.returncode == 0, run.output
    changed = difference({THEIRS: before}, {THEIRS: everything_of(stack, THEIRS)})[THEIRS].keys()
    assert changed & {"get_bucket_logging", "get_bucket_encryption"} == set()
    assert changed <= set(BUCKET_ASPECTS)
    s3 = deployment.s3
    statements = json.loads(s3.get_bucket_policy(Bucket=THEIRS)["Policy"])["Statement"]
    assert STATEMENT in statements
    assert {statement["Sid"] for statement in statements} == {"Theirs", "RefusePlainHttp"}
    rules = s3.get_bucket_lifecycle_configuration(Bucket=THEIRS)["Rules"]
    assert RULE in rules
    assert {rule["ID"] for rule in rules} == {"theirs", "label-export-tidy"}
    tags = s3.get_bucket_tagging(Bucket=THEIRS)["TagSet"]
    assert TAG in tags
    assert {"Key": "environment", "Value": ENVIRONMENT} in tags
    assert s3.get_bucket_versioning(Bucket=THEIRS)["Status"] == "Enabled"


def test_the_bucket_of_another_environment_is_refused(stack: LocalStack, deployment: Deployment) -> None:
    before = everything_of(stack, deployment.bucket)
    run = deploy(deployment.bucket, label_export_environment="another")
    assert run.returncode != 0
    said = " ".join(run.output.split()).replace("\\", "")
    assert f"The bucket {deployment.bucket} belongs to another environment" in said
    assert f'environment: "{ENVIRONMENT}", expected are environment: "another"' in said
    assert "The bucket is named by label_bucket_name in" in said
    assert run.changed == []
    assert everything_of(stack, deployment.bucket) == before
