#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: s3_bucket
short_description: Ensure a private S3 bucket and its settings
description:
  - Creates a bucket that is private, owner-enforced, versioned and encrypted, or brings an existing bucket to that
    state.
  - Unlike M(amazon.aws.s3_bucket) and M(community.aws.s3_lifecycle) it has a check mode, and it keeps other
    statements of the bucket's policy and other rules of its lifecycle.
  - S3 replaces policy, lifecycle, encryption and access log as whole documents. The module keeps the other values of
    such a document with every change.
  - With O(managed_by_tag) and O(identity_tags) it distinguishes a bucket that it created from one of another owner. It
    refuses a bucket of another environment, and one whose owner would lose an access log or a KMS key.
  - It also refuses a bucket for which S3 would accept only some of the changes, because its policy makes it public or
    its ACL grants access to others. Public access to a bucket that it created is blocked first.
  - It refuses a bucket before it changes anything.
  - With O(object_lock) a new bucket has Object Lock. An existing bucket without it is refused, because nobody can take
    Object Lock back.
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
  expected_owner:
    description:
      - The account that owns the bucket. S3 then refuses every call on a bucket of another account, whatever its policy
        allows. All accounts share the names of buckets, so another one can have created a bucket of this name first.
    type: str
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
  purged_sid_prefix:
    description: Statements whose Sids begin with this text are removed, unless they are among O(policy_statements).
    type: str
  lifecycle_rules:
    description: Rules of the lifecycle in the API's form, each with an ID. Rules with other IDs stay.
    type: list
    elements: dict
    default: []
  event_bridge:
    description:
      - Whether the bucket sends its events to EventBridge. Other notifications stay.
      - With V(false) it is left as it is, since an owner may need the events.
    type: bool
    default: false
  object_lock:
    description:
      - Whether the bucket must have Object Lock, without a default retention. It is enabled when the bucket is created.
      - With V(false) it is left as it is.
    type: bool
    default: false
  access_log_bucket:
    description: The bucket for the access log. Without it there is none.
    type: str
    default: ""
  access_log_prefix:
    description: The prefix of the access log's keys.
    type: str
    default: ""
  tags:
    description: Tags to set. Others stay.
    type: dict
    default: {}
  managed_by_tag:
    description:
      - Key of the tag in O(tags) that shows who manages the bucket. A bucket with this tag and O(identity_tags) is
        brought to the wanted state, whatever was changed on it.
      - A bucket with this tag, but another value of one of O(identity_tags), belongs to another environment and is
        refused.
      - Any other existing bucket belongs to another owner. It is refused while it has an access log, or a KMS key for
        new objects, other than the wanted one.
      - Without this option every bucket is brought to the wanted state.
    type: str
  identity_tags:
    description: Keys of the tags in O(tags) whose values together identify the environment.
    type: list
    elements: str
    default: []
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
refused:
  description:
    - Why an existing bucket is refused, when the module fails for it. One of C(another environment),
      C(the owner's settings), C(a public policy), C(an ACL) and C(no Object Lock).
  returned: when an existing bucket is refused
  type: str
keeping:
  description: The options, with the values that keep the bucket as it is.
  returned: when RV(refused) is C(the owner's settings) or C(no Object Lock)
  type: dict
settings:
  description: The bucket's settings after the run; in check mode as they would be.
  returned: when state is present
  type: dict
"""

import json
import time
from functools import partial
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
)
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    canonical_statement,
    changed_values,
    difference,
)
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError
from ansible_collections.label_export.aws.plugins.module_utils.s3_bucket import (
    BucketReader,
    with_filter,
    without,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

ALL_BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}

# As long as a running invocation of a deleted function may last.
STILL_WRITTEN_SECONDS = 120
LOOK_AGAIN_SECONDS = 2


def merged(current: list[dict[str, Any]], wanted: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the items of ``current`` with those of ``wanted`` in place of the ones that share their ``key``."""
    replaced = {item[key] for item in wanted}
    kept = [item for item in current if item.get(key) not in replaced]
    return sorted(kept + wanted, key=lambda item: str(item.get(key, "")))


def wanted_settings(params: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings, with what others have set on the bucket."""
    key = params["kms_key_arn"]
    log_bucket = params["access_log_bucket"]
    policy, lifecycle = current.get("policy", {}), current.get("lifecycle", {})
    purged = params["purged_sid_prefix"]
    kept = [item for item in policy.get("Statement", []) if not (purged and item.get("Sid", "").startswith(purged))]
    found = merged(kept, [canonical_statement(item) for item in params["policy_statements"]], "Sid")
    rules = merged(lifecycle.get("Rules", []), [with_filter(rule) for rule in params["lifecycle_rules"]], "ID")
    return {
        "object_ownership": "BucketOwnerEnforced",
        "public_access_block": ALL_BLOCKED,
        "versioning": "Enabled",
        "encryption": {
            **current.get("encryption", {}),
            "algorithm": "aws:kms" if key else "AES256",
            "kms_key_arn": key,
            "bucket_key": bool(key),
        },
        # The version of an existing policy stays: with another one, variables in its statements mean something else.
        "policy": {"Version": "2012-10-17", **policy, "Statement": found} if found else {},
        "lifecycle": {**lifecycle, "Rules": rules} if rules else {},
        "access_log": (
            {**current.get("access_log", {}), "bucket": log_bucket, "prefix": params["access_log_prefix"]}
            if log_bucket
            else {}
        ),
        "notifications": {
            **current.get("notifications", {}),
            **({"EventBridgeConfiguration": {}} if params["event_bridge"] else {}),
        },
        "tags": {**current.get("tags", {}), **params["tags"]},
        # Read only where it is wanted, so that nobody else needs the permission.
        **({"object_lock": True} if params["object_lock"] else {}),
    }


def is_key(current: str, wanted: str) -> bool:
    """Return whether the key that a bucket names may be the one with the ARN ``wanted``.

    S3 keeps the name that was set: an ARN, an identifier, an alias, or none for AWS's own key. The last two do not show
    the ARN, so they count as the wanted key.
    """
    return bool(wanted) and (
        not current or "alias/" in current or current == wanted or wanted.endswith(f":key/{current}")
    )


def owners_settings(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    """Return the owner's settings that would be replaced: the module's options with the values that keep them."""
    kept: dict[str, str] = {}
    log = current["access_log"]
    if log and log != wanted["access_log"]:
        kept |= {"access_log_bucket": log["bucket"], "access_log_prefix": log["prefix"]}
    algorithm, key = current["encryption"]["algorithm"], current["encryption"]["kms_key_arn"]
    if algorithm == "aws:kms" and not is_key(key, wanted["encryption"]["kms_key_arn"]):
        kept["kms_key_arn"] = key if key.startswith("arn:") and ":key/" in key else f"ARN of {key or 'alias/aws/s3'}"
    elif algorithm == "aws:kms:dsse":
        kept["name"] = "another bucket, since this one encrypts twice (DSSE-KMS), which is not supported here"
    return kept


def is_managed(params: dict[str, Any], current: dict[str, Any]) -> bool:
    """Return whether the bucket's tags show that it belongs to this environment."""
    keys = [params["managed_by_tag"], *params["identity_tags"]]
    return bool(params["managed_by_tag"]) and all(current["tags"].get(key) == params["tags"][key] for key in keys)


def refuse_the_wrong_owner(params: dict[str, Any], current: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ExplainedError for a bucket of another environment, and for one whose owner would lose a setting."""
    manager = params["managed_by_tag"]
    if not manager or is_managed(params, current):
        return
    name, tags, ours = params["name"], current["tags"], params["tags"]
    identity = {key: ours[key] for key in params["identity_tags"]}
    others = {key: tags[key] for key in identity if tags.get(key, identity[key]) != identity[key]}
    if tags.get(manager) == ours[manager] and others:
        raise ExplainedError(
            f"The bucket {name} belongs to another environment: its tags are {as_line(others)}, expected are "
            f"{as_line({key: identity[key] for key in others})}. Nothing was changed. Name another bucket, or remove "
            "these tags from this one to use it.",
            refused="another environment",
        )
    if kept := owners_settings(current, wanted):
        raise ExplainedError(
            f"The bucket {name} belongs to its owner: it lacks the tags {', '.join([manager, *identity])} of this "
            "environment. It has an access log or an encryption that would be replaced. Nothing was changed. To keep "
            f"them, set {as_line(kept)}. Otherwise remove them from the bucket.",
            refused="the owner's settings",
            keeping=kept,
        )


def refuse_what_s3_refuses(bucket: Bucket, current: dict[str, Any], changes: dict[str, Any], so_far: str) -> None:
    """Raise ExplainedError for a bucket for which S3 would accept only some of the changes.

    S3 takes neither a policy with a public statement while public policies are blocked, nor the bucket owner's
    ownership of all objects while the bucket's ACL grants something to others. ``so_far``: what was changed.
    """
    if current["policy"] and {"policy", "public_access_block"} & changes.keys() and bucket.is_public_by_policy():
        public = [item.get("Sid", "one without a Sid") for item in current["policy"]["Statement"] if is_open(item)]
        raise ExplainedError(
            f"The policy of the bucket {bucket.name} makes it public, and S3 refuses such a policy while public access "
            f"is blocked. {so_far} Remove the public statements ({', '.join(public) or 'S3 does not name them'}) from "
            "its policy, or name another bucket.",
            refused="a public policy",
        )
    if "object_ownership" in changes and (others := bucket.acl_grants_to_others()):
        raise ExplainedError(
            f"The ACL of the bucket {bucket.name} grants {', '.join(others)}. S3 makes the bucket's owner the owner of "
            f"all objects only if the ACL grants nothing to others. {so_far} Move these grants to the bucket's policy "
            "and remove them from the ACL, or name another bucket.",
            refused="an ACL",
        )


def refuse_without_object_lock(bucket: Bucket, changes: dict[str, Any], so_far: str) -> None:
    """Raise ExplainedError for an existing bucket without Object Lock, if the option requires it."""
    if "object_lock" not in changes:
        return
    raise ExplainedError(
        f"The bucket {bucket.name} was created without Object Lock, and object_lock is true. {so_far} Object Lock "
        "applies to the whole bucket, and nobody can disable it. To enable it in any case, run this as the "
        f"bucket's owner, and deploy again: aws s3api put-object-lock-configuration --bucket {bucket.name} "
        "--object-lock-configuration ObjectLockEnabled=Enabled (the bucket must be versioned). Otherwise name another "
        "bucket, or set object_lock to false.",
        refused="no Object Lock",
        keeping={"object_lock": False},
    )


def is_open(statement: dict[str, Any]) -> bool:
    """Return whether a statement in canonical form allows something to everyone, whatever its conditions."""
    return statement.get("Effect") == "Allow" and statement.get("Principal") == "*"


def as_line(values: dict[str, str]) -> str:
    """Return values as YAML in one line."""
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in values.items())


def add_expected_owner(owner: str, params: dict[str, Any], model: Any, **_event: Any) -> None:
    """Name the account that must own the bucket in a request, if the operation has that parameter."""
    if model.input_shape is not None and "ExpectedBucketOwner" in model.input_shape.members:
        params["ExpectedBucketOwner"] = owner


class Bucket(BucketReader):
    """The thin layer over the API for one bucket: a reader and a writer for each setting."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        super().__init__(self.patient_client(module), module.params["name"])
        self.module = module
        self.region: str = module.region

    @staticmethod
    def patient_client(module: AnsibleAWSModule, *codes: str) -> Any:
        """Return a client that also retries while S3 processes the bucket's last change, such as its deletion."""
        retry = AWSRetry.jittered_backoff(catch_extra_error_codes=["OperationAborted", *codes])
        client = module.client("s3", retry_decorator=retry)
        if owner := module.params["expected_owner"]:
            client.meta.events.register("provide-client-params.s3", partial(add_expected_owner, owner))
        return client

    def exists(self) -> bool:
        """Return whether the bucket exists. Raises ExplainedError if it is in another region or account."""
        try:
            answer = self.client.head_bucket(aws_retry=True, Bucket=self.name)
        except is_boto3_error_code(["404", "NoSuchBucket"]):
            return False
        except is_boto3_error_code("403"):
            raise ExplainedError(
                f"There is a bucket {self.name}, but these credentials cannot use it: it belongs to another account "
                f"than {self.module.params['expected_owner'] or 'theirs'}, or they lack s3:ListBucket. Choose another "
                "name, or add the permission."
            ) from None
        # The SDK follows a bucket to its region, so that it answers from there.
        region = answer.get("BucketRegion") or self.region
        if region != self.region:
            raise ExplainedError(
                f"The bucket {self.name} is in {region}, but the deploy is for {self.region}. Choose another name, or "
                "that region."
            )
        return True

    def create(self) -> None:
        # us-east-1 is the one region that must not be named.
        location = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        configuration: dict[str, Any] = {"CreateBucketConfiguration": location} if location else {}
        if self.module.params["object_lock"]:
            configuration["ObjectLockEnabledForBucket"] = True
        # AWS answers a repeated request, whose first answer was lost, with this code.
        try:
            self.client.create_bucket(aws_retry=True, Bucket=self.name, **configuration)
        except is_boto3_error_code("BucketAlreadyOwnedByYou"):
            pass
        self.client.get_waiter("bucket_exists").wait(Bucket=self.name)
        # Not every part of S3 knows a new bucket at once, even after the waiter has ended.
        self.client = self.patient_client(self.module, "NoSuchBucket")

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        return {**found, "object_lock": self.object_lock()} if self.module.params["object_lock"] else found

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
        rule = {
            **without(value, "algorithm", "kms_key_arn", "bucket_key"),
            "ApplyServerSideEncryptionByDefault": default,
            "BucketKeyEnabled": value["bucket_key"],
        }
        self.write("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def set_policy(self, value: dict[str, Any]) -> None:
        self.write("put_bucket_policy", Policy=json.dumps(value))

    def set_lifecycle(self, value: dict[str, Any]) -> None:
        rules, rest = {"Rules": value["Rules"]}, without(value, "Rules")
        self.write("put_bucket_lifecycle_configuration", LifecycleConfiguration=rules, **rest)

    def set_access_log(self, value: dict[str, Any]) -> None:
        target = {"TargetBucket": value["bucket"], "TargetPrefix": value["prefix"]} if value else {}
        target |= without(value, "bucket", "prefix")
        self.write("put_bucket_logging", BucketLoggingStatus={"LoggingEnabled": target} if target else {})

    def set_notifications(self, value: dict[str, Any]) -> None:
        # Destinations that others have set are put back as they were, so S3 need not send them test messages.
        self.write(
            "put_bucket_notification_configuration",
            NotificationConfiguration=value,
            SkipDestinationValidation=True,
        )

    def set_tags(self, value: dict[str, str]) -> None:
        self.write("put_bucket_tagging", Tagging={"TagSet": ansible_dict_to_boto3_tag_list(value)})

    def is_public_by_policy(self) -> bool:
        """Return whether S3 itself counts the bucket's policy as public."""
        status = self.read("get_bucket_policy_status").get("PolicyStatus", {})
        return bool(status.get("IsPublic", False))

    def acl_grants_to_others(self) -> list[str]:
        """Return what the bucket's ACL grants to anyone but its owner, such as ``READ to .../AllUsers``."""
        acl = self.read("get_bucket_acl")
        owner = acl.get("Owner", {}).get("ID")
        grants = [(grant.get("Permission"), grant.get("Grantee", {})) for grant in acl.get("Grants", [])]
        return [
            f"{permission} to {grantee.get('URI') or grantee.get('DisplayName') or grantee.get('ID')}"
            for permission, grantee in grants
            if "ID" not in grantee or grantee["ID"] != owner
        ]

    def empty(self) -> None:
        """Delete every version of every object, and every unfinished upload.

        Raises ExplainedError where versions cannot be deleted, after everything else was.
        """
        kept: list[dict[str, Any]] = []
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name)
        for page in pages:
            items = page.get("Versions", []) + page.get("DeleteMarkers", [])
            objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
            if objects:
                # The request succeeds even if single objects failed.
                answer = self.client.delete_objects(
                    aws_retry=True, Bucket=self.name, Delete={"Objects": objects, "Quiet": True}
                )
                kept += answer.get("Errors", [])
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
            for upload in page.get("Uploads", []):
                self.write("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
        if kept:
            first = kept[0]
            raise ExplainedError(
                f"{len(kept)} versions of objects in {self.name} were not deleted, so the bucket stays. All others "
                f"were deleted. The first one is {first.get('Key')} ({first.get('VersionId')}): {first.get('Code')}: "
                f"{first.get('Message')} Versions with Object Lock can be deleted after their retention has ended: "
                "run destroy again then."
            )

    def delete(self) -> None:
        self.write("delete_bucket")

    def empty_and_delete(self) -> None:
        """Empty and delete the bucket. Raises ExplainedError.

        An invocation of a deleted function continues for a while and may write one more object. So a bucket that
        is not empty is emptied again, for at most STILL_WRITTEN_SECONDS.
        """
        end = time.monotonic() + STILL_WRITTEN_SECONDS
        while True:
            self.empty()
            try:
                return self.delete()
            except is_boto3_error_code("BucketNotEmpty"):
                if time.monotonic() >= end:
                    raise
            time.sleep(LOOK_AGAIN_SECONDS)


def ensure_present(module: AnsibleAWSModule, bucket: Bucket) -> None:
    existed = bucket.exists()
    current = bucket.settings() if existed else None
    wanted = wanted_settings(module.params, current or {})
    changes = changed_values(current, wanted)
    changed = not existed or bool(changes)
    if current:
        refuse_the_wrong_owner(module.params, current, wanted)
        so_far = "Nothing was changed."
        if is_managed(module.params, current) and "public_access_block" in changes and not module.check_mode:
            # This environment's own bucket is made private before anything else is checked.
            bucket.set_public_access_block(changes.pop("public_access_block"))
            so_far = "Public access is blocked again; nothing else was changed."
        refuse_what_s3_refuses(bucket, current, changes, so_far)
        refuse_without_object_lock(bucket, changes, so_far)
    if changed and not module.check_mode:
        if not existed:
            bucket.create()
            # A new bucket has safe defaults; only settings that differ from them are written.
            created = bucket.settings()
            wanted = wanted_settings(module.params, created)
            changes = changed_values(created, wanted)
        for setting, value in changes.items():
            getattr(bucket, f"set_{setting}")(value)
    module.exit_json(changed=changed, diff=difference(current, wanted), settings=wanted)


def ensure_absent(module: AnsibleAWSModule, bucket: Bucket) -> None:
    existed = bucket.exists()
    current = bucket.settings() if existed else None
    if existed and not module.check_mode:
        if module.params["force"]:
            bucket.empty_and_delete()
        else:
            bucket.delete()
    module.exit_json(changed=existed, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "expected_owner": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "kms_key_arn": {"type": "str", "default": "", "no_log": False},
            "policy_statements": {"type": "list", "elements": "dict", "default": []},
            "purged_sid_prefix": {"type": "str"},
            "lifecycle_rules": {"type": "list", "elements": "dict", "default": []},
            "event_bridge": {"type": "bool", "default": False},
            "object_lock": {"type": "bool", "default": False},
            "access_log_bucket": {"type": "str", "default": ""},
            "access_log_prefix": {"type": "str", "default": ""},
            "tags": {"type": "dict", "default": {}},
            "managed_by_tag": {"type": "str"},
            "identity_tags": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    bucket = Bucket(module)
    named = {*module.params["identity_tags"], *filter(None, [module.params["managed_by_tag"]])}
    if missing := sorted(named - module.params["tags"].keys()):
        module.fail_json(msg=f"managed_by_tag and identity_tags name {', '.join(missing)}, which tags lacks.")
    ensure_state(module, f"The bucket {bucket.name}", bucket, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
