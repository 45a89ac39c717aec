#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: s3_bucket
short_description: Ensure a private S3 bucket and its settings
description:
  - Makes a bucket that is private, owner-enforced, versioned and encrypted, or brings one that exists to that state.
  - Unlike M(amazon.aws.s3_bucket) and M(community.aws.s3_lifecycle) it has a check mode, and it leaves statements
    of the bucket's policy and rules of its lifecycle alone that are not among the wanted ones.
  - With O(managed_by_tag) and O(identity_tags) it tells a bucket that it has made or taken from one that is its owner's
    still. It takes no access log and no KMS key away from such a one, and no bucket from another environment; it fails
    before it changes anything.
author: The label-export contributors
options:
  name:
    description: The bucket's name.
    type: str
    required: true
  state:
    description: Whether the bucket exists.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether O(state=absent) also deletes every version of every object in the bucket.
    type: bool
    default: false
  kms_key_arn:
    description: The KMS key for new objects, used with a bucket key; without it S3 encrypts with AES-256.
    type: str
    default: ""
  policy_statements:
    description: Statements of the bucket's policy, each with a Sid. Statements with other Sids stay.
    type: list
    elements: dict
    default: []
  lifecycle_rules:
    description: Rules of the lifecycle as the API takes them, each with an ID. Rules with other IDs stay.
    type: list
    elements: dict
    default: []
  access_log_bucket:
    description: The bucket that gets the access log; none without it.
    type: str
    default: ""
  access_log_prefix:
    description: What the keys of the access log begin with.
    type: str
    default: ""
  tags:
    description: Tags to set. Others stay.
    type: dict
    default: {}
  managed_by_tag:
    description:
      - Key of the one of O(tags) that says who manages the bucket. A bucket that has it and O(identity_tags) as wanted
        is brought to the wanted state, whatever was changed on it.
      - One that has it, but another value of one of O(identity_tags), is another environment's, and refused.
      - Any other that exists is its owner's still. It is refused while it has an access log, or a KMS key for new
        objects, other than the wanted one.
      - Without this option every bucket is brought to the wanted state.
    type: str
  identity_tags:
    description: Keys of those of O(tags) whose values together say which environment has the bucket.
    type: list
    elements: str
    default: []
  input_prefix:
    description: What a message puts before an option's name, so that it is the name of what a person sets.
    type: str
    default: ""
  input_file:
    description: Where a person sets it, for messages.
    type: str
    default: the task's options
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the bucket is private, versioned and encrypted
  label_export.aws.s3_bucket:
    name: label-export-dev-123456789012-eu-west-1
    lifecycle_rules:
      - ID: tidy
        Status: Enabled
        Filter: {Prefix: ""}
        AbortIncompleteMultipartUpload: {DaysAfterInitiation: 7}

- name: Ensure a bucket is as wanted, unless it is another environment's or has a log that its owner wants
  label_export.aws.s3_bucket:
    name: labels-of-vision
    tags: {managed-by: ansible, application: label-export, environment: dev}
    managed_by_tag: managed-by
    identity_tags: [application, environment]
"""

RETURN = r"""
settings:
  description: The bucket's settings after the run; in check mode as they would be.
  returned: when state is present
  type: dict
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
)
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    canonical_statement,
    changed_values,
    difference,
    statements,
)
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

NOTHING_SET = [
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
]
ALL_BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def merged(current: list[dict[str, Any]], wanted: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the items of ``current`` with those of ``wanted`` in place of the ones that share their ``key``."""
    replaced = {item[key] for item in wanted}
    kept = [item for item in current if item.get(key) not in replaced]
    return sorted(kept + wanted, key=lambda item: str(item.get(key, "")))


def with_filter(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a lifecycle rule with its prefix in its filter.

    A rule may still name its prefix outside the filter, as all did once, or name none. S3 refuses a lifecycle in which
    some rules do and others do not.
    """
    rule = {"Filter": {"Prefix": rule.get("Prefix", "")}, **rule}
    rule.pop("Prefix", None)
    return {**rule, "Filter": rule["Filter"] or {"Prefix": ""}}


def wanted_settings(params: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings, keeping what others have set on the bucket."""
    key = params["kms_key_arn"]
    log_bucket = params["access_log_bucket"]
    return {
        "object_ownership": "BucketOwnerEnforced",
        "public_access_block": ALL_BLOCKED,
        "versioning": "Enabled",
        "encryption": {"algorithm": "aws:kms" if key else "AES256", "kms_key_arn": key, "bucket_key": bool(key)},
        "policy": merged(
            current.get("policy", []), [canonical_statement(s) for s in params["policy_statements"]], "Sid"
        ),
        "lifecycle": merged(
            current.get("lifecycle", []), [with_filter(rule) for rule in params["lifecycle_rules"]], "ID"
        ),
        "access_log": {"bucket": log_bucket, "prefix": params["access_log_prefix"]} if log_bucket else {},
        "tags": {**current.get("tags", {}), **params["tags"]},
    }


def is_key(current: str, wanted: str) -> bool:
    """Tell whether a key as a bucket names it may be the one of the ARN ``wanted``.

    S3 keeps the name that it was given: an ARN, an identifier, an alias, or none for AWS's own key. The last two say
    nothing about the ARN, so whoever gives one has seen to it.
    """
    return bool(wanted) and (
        not current or "alias/" in current or current == wanted or wanted.endswith(f":key/{current}")
    )


def owners_settings(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    """Return what would be taken away from a bucket's owner: the module's options with the values that keep it."""
    kept: dict[str, str] = {}
    log = current["access_log"]
    if log and log != wanted["access_log"]:
        kept |= {"access_log_bucket": log["bucket"], "access_log_prefix": log["prefix"]}
    algorithm, key = current["encryption"]["algorithm"], current["encryption"]["kms_key_arn"]
    if algorithm == "aws:kms" and not is_key(key, wanted["encryption"]["kms_key_arn"]):
        kept["kms_key_arn"] = key if key.startswith("arn:") and ":key/" in key else f"ARN of {key or 'alias/aws/s3'}"
    elif algorithm == "aws:kms:dsse":
        kept["name"] = "another bucket, since this one encrypts twice, which cannot be wanted here"
    return kept


def refusal(params: dict[str, Any], current: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return why a bucket that exists is not to be touched, and what to do about it; "" for one that may be."""
    manager = params["managed_by_tag"]
    if not manager:
        return ""
    tags, ours = current["tags"], params["tags"]
    identity = {key: ours[key] for key in params["identity_tags"]}
    managed = tags.get(manager) == ours[manager]
    name, prefix, file = params["name"], params["input_prefix"], params["input_file"]
    others = {key: tags[key] for key in identity if tags.get(key, identity[key]) != identity[key]}
    if managed and others:
        return (
            f"The bucket {name} is another environment's: its tags say {said(others)}, wanted is "
            f"{said({key: identity[key] for key in others})}. Nothing was changed. Give this environment a bucket of "
            f"its own with {prefix}name in {file}; or, where the bucket is to change hands, take these tags off it."
        )
    if managed and identity.items() <= tags.items():
        return ""
    if kept := owners_settings(current, wanted):
        return (
            f"The bucket {name} is its owner's: it lacks the tags {', '.join([manager, *identity])} of this "
            "environment. It has an access log or an encryption that would be replaced. Nothing was changed. To keep "
            f"what it has, set in {file} {said({prefix + option: value for option, value in kept.items()})}. What "
            "nobody wants, take off it."
        )
    return ""


def said(values: dict[str, str]) -> str:
    """Return values as YAML in one line."""
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in values.items())


class Bucket:
    """The thin layer over the API for one bucket: a reader and a writer for each setting."""

    def __init__(self, client: Any, name: str, region: str) -> None:
        self.client = client
        self.name = name
        self.region = region

    def exists(self) -> bool:
        """Tell whether there is such a bucket. Raises ExplainedError for one elsewhere or of somebody else."""
        try:
            answer = self.client.head_bucket(aws_retry=True, Bucket=self.name)
        except is_boto3_error_code(["404", "NoSuchBucket"]):
            return False
        except is_boto3_error_code("403"):
            raise ExplainedError(
                f"There is a bucket {self.name}, but not for these credentials: it belongs to another account, or they "
                "lack s3:ListBucket. Choose another name, or give them the permission."
            ) from None
        # The SDK follows a bucket to its region, so that it answers from there.
        region = answer.get("BucketRegion") or self.region
        if region != self.region:
            raise ExplainedError(
                f"The bucket {self.name} is in {region}, wanted is {self.region}. Choose another name, or that region."
            )
        return True

    def create(self) -> None:
        # us-east-1 is the one region that must not be named.
        location = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        configuration = {"CreateBucketConfiguration": location} if location else {}
        self.client.create_bucket(aws_retry=True, Bucket=self.name, **configuration)
        self.client.get_waiter("bucket_exists").wait(Bucket=self.name)

    def read(self, operation: str) -> dict[str, Any]:
        """Call a reading operation; return its answer, {} where nothing is set."""
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(aws_retry=True, Bucket=self.name)
        except is_boto3_error_code(NOTHING_SET):
            return {}
        return answer

    def settings(self) -> dict[str, Any]:
        """Return the bucket's settings in the form of wanted_settings."""
        ownership = self.read("get_bucket_ownership_controls").get("OwnershipControls", {}).get("Rules", [{}])
        encryption = self.read("get_bucket_encryption").get("ServerSideEncryptionConfiguration", {})
        rule = encryption.get("Rules", [{}])[0]
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        logging = self.read("get_bucket_logging").get("LoggingEnabled")
        return {
            "object_ownership": ownership[0].get("ObjectOwnership"),
            "public_access_block": self.read("get_public_access_block").get("PublicAccessBlockConfiguration"),
            "versioning": self.read("get_bucket_versioning").get("Status"),
            "encryption": {
                "algorithm": default.get("SSEAlgorithm"),
                "kms_key_arn": default.get("KMSMasterKeyID", ""),
                "bucket_key": rule.get("BucketKeyEnabled", False),
            },
            "policy": sorted(
                statements(json.loads(self.read("get_bucket_policy").get("Policy", "{}"))),
                key=lambda statement: str(statement.get("Sid", "")),
            ),
            "lifecycle": sorted(
                (with_filter(rule) for rule in self.read("get_bucket_lifecycle_configuration").get("Rules", [])),
                key=lambda rule: str(rule.get("ID", "")),
            ),
            "access_log": {"bucket": logging["TargetBucket"], "prefix": logging["TargetPrefix"]} if logging else {},
            "tags": boto3_tag_list_to_ansible_dict(self.read("get_bucket_tagging").get("TagSet", [])),
        }

    def write(self, operation: str, **arguments: Any) -> None:
        getattr(self.client, operation)(aws_retry=True, Bucket=self.name, **arguments)

    def set_object_ownership(self, value: str) -> None:
        self.write("put_bucket_ownership_controls", OwnershipControls={"Rules": [{"ObjectOwnership": value}]})

    def set_public_access_block(self, value: dict[str, bool]) -> None:
        self.write("put_public_access_block", PublicAccessBlockConfiguration=value)

    def set_versioning(self, value: str) -> None:
        self.write("put_bucket_versioning", VersioningConfiguration={"Status": value})

    def set_encryption(self, value: dict[str, Any]) -> None:
        default = {"SSEAlgorithm": value["algorithm"]}
        if value["kms_key_arn"]:
            default["KMSMasterKeyID"] = value["kms_key_arn"]
        rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": value["bucket_key"]}
        self.write("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def set_policy(self, value: list[dict[str, Any]]) -> None:
        self.write("put_bucket_policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": value}))

    def set_lifecycle(self, value: list[dict[str, Any]]) -> None:
        self.write("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": value})

    def set_access_log(self, value: dict[str, str]) -> None:
        target = {"TargetBucket": value["bucket"], "TargetPrefix": value["prefix"]} if value else None
        self.write("put_bucket_logging", BucketLoggingStatus={"LoggingEnabled": target} if target else {})

    def set_tags(self, value: dict[str, str]) -> None:
        self.write("put_bucket_tagging", Tagging={"TagSet": ansible_dict_to_boto3_tag_list(value)})

    def empty(self) -> None:
        """Delete every version of every object, and every upload that was begun. Raises ExplainedError."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name)
        for page in pages:
            items = page.get("Versions", []) + page.get("DeleteMarkers", [])
            objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
            if objects:
                # The answer is no error, whatever became of each single object.
                answer = self.client.delete_objects(
                    aws_retry=True, Bucket=self.name, Delete={"Objects": objects, "Quiet": True}
                )
                if errors := answer.get("Errors"):
                    first = errors[0]
                    raise ExplainedError(
                        f"{len(errors)} of {len(objects)} versions of objects in {self.name} were not deleted, first "
                        f"{first.get('Key')} ({first.get('VersionId')}): {first.get('Code')}: {first.get('Message')}"
                    )
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
            for upload in page.get("Uploads", []):
                self.write("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])

    def delete(self) -> None:
        self.write("delete_bucket")


def ensure_present(module: AnsibleAWSModule, bucket: Bucket) -> None:
    existed = bucket.exists()
    current = bucket.settings() if existed else None
    wanted = wanted_settings(module.params, current or {})
    if current and (reason := refusal(module.params, current, wanted)):
        raise ExplainedError(reason)
    changes = changed_values(current, wanted)
    changed = not existed or bool(changes)
    if changed and not module.check_mode:
        if not existed:
            bucket.create()
            # S3 gives a new bucket safe defaults; only what differs from them is set.
            changes = changed_values(bucket.settings(), wanted)
        for setting, value in changes.items():
            getattr(bucket, f"set_{setting}")(value)
    module.exit_json(changed=changed, diff=difference(current, wanted), settings=wanted)


def ensure_absent(module: AnsibleAWSModule, bucket: Bucket) -> None:
    existed = bucket.exists()
    current = bucket.settings() if existed else None
    if existed and not module.check_mode:
        if module.params["force"]:
            bucket.empty()
        bucket.delete()
    module.exit_json(changed=existed, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
            "kms_key_arn": {"type": "str", "default": "", "no_log": False},
            "policy_statements": {"type": "list", "elements": "dict", "default": []},
            "lifecycle_rules": {"type": "list", "elements": "dict", "default": []},
            "access_log_bucket": {"type": "str", "default": ""},
            "access_log_prefix": {"type": "str", "default": ""},
            "tags": {"type": "dict", "default": {}},
            "managed_by_tag": {"type": "str"},
            "identity_tags": {"type": "list", "elements": "str", "default": []},
            "input_prefix": {"type": "str", "default": ""},
            "input_file": {"type": "str", "default": "the task's options"},
        },
        supports_check_mode=True,
    )
    # S3 is still at work on the last change of this bucket, such as its deletion.
    retry = AWSRetry.jittered_backoff(catch_extra_error_codes=["OperationAborted"])
    client = module.client("s3", retry_decorator=retry)
    bucket = Bucket(client, module.params["name"], module.region)
    named = {*module.params["identity_tags"], *filter(None, [module.params["managed_by_tag"]])}
    if missing := sorted(named - module.params["tags"].keys()):
        module.fail_json(msg=f"managed_by_tag and identity_tags name {', '.join(missing)}, which tags lacks.")
    ensure_state(module, f"The bucket {bucket.name}", bucket, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
