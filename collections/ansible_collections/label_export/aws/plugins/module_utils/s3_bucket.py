"""An S3 bucket's settings in comparable form.

S3 takes most settings as one document, and a document that is put replaces all of the old one. So each setting here
keeps what the bucket's owner has set in the same document, under the API's own names. It is put back with every change.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_list_to_ansible_dict
from ansible_collections.label_export.aws.plugins.module_utils.comparison import statements

# S3's error codes if a bucket has no such setting.
NOTHING_SET = [
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "ObjectLockConfigurationNotFoundError",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
]


def without(document: dict[str, Any], *known: str) -> dict[str, Any]:
    """Return a document's values except those with known names and the response's metadata."""
    return {key: value for key, value in document.items() if key not in (*known, "ResponseMetadata")}


def with_filter(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a lifecycle rule with its prefix in its filter.

    A rule of the older form names its prefix outside the filter, or names none. S3 refuses a lifecycle in which
    some rules do and others do not.
    """
    rule = {"Filter": {"Prefix": rule.get("Prefix", "")}, **rule}
    rule.pop("Prefix", None)
    return {**rule, "Filter": rule["Filter"] or {"Prefix": ""}}


class BucketReader:
    """Reads each setting of one bucket."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def read(self, operation: str) -> dict[str, Any]:
        """Call a reading operation; return its answer, {} where nothing is set."""
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(aws_retry=True, Bucket=self.name)
        except is_boto3_error_code(NOTHING_SET):
            return {}
        return answer

    def object_ownership(self) -> str | None:
        rules = self.read("get_bucket_ownership_controls").get("OwnershipControls", {}).get("Rules", [{}])
        found: str | None = rules[0].get("ObjectOwnership")
        return found

    def public_access_block(self) -> dict[str, bool] | None:
        return self.read("get_public_access_block").get("PublicAccessBlockConfiguration")

    def versioning(self) -> str | None:
        return self.read("get_bucket_versioning").get("Status")

    def encryption(self) -> dict[str, Any]:
        """Return ``algorithm``, ``kms_key_arn``, ``bucket_key`` and the rule's other values."""
        encryption = self.read("get_bucket_encryption").get("ServerSideEncryptionConfiguration", {})
        rule = encryption.get("Rules", [{}])[0]
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        return {
            "algorithm": default.get("SSEAlgorithm"),
            "kms_key_arn": default.get("KMSMasterKeyID", ""),
            "bucket_key": rule.get("BucketKeyEnabled", False),
            **without(rule, "ApplyServerSideEncryptionByDefault", "BucketKeyEnabled"),
        }

    def policy(self) -> dict[str, Any]:
        """Return the policy with its statements in canonical form, by their Sids; {} for none."""
        document: dict[str, Any] = json.loads(self.read("get_bucket_policy").get("Policy", "{}"))
        if not document:
            return {}
        found = sorted(statements(document), key=lambda statement: str(statement.get("Sid", "")))
        return {**document, "Statement": found}

    def lifecycle(self) -> dict[str, Any]:
        """Return ``Rules``, by their IDs, and the lifecycle's other values; {} for none."""
        answer = without(self.read("get_bucket_lifecycle_configuration"))
        if not answer.get("Rules"):
            return {}
        rules = sorted(map(with_filter, answer["Rules"]), key=lambda rule: str(rule.get("ID", "")))
        return {**answer, "Rules": rules}

    def access_log(self) -> dict[str, Any]:
        """Return ``bucket``, ``prefix`` and the access log's other values; {} for none."""
        logging = self.read("get_bucket_logging").get("LoggingEnabled")
        if not logging:
            return {}
        target = {"bucket": logging["TargetBucket"], "prefix": logging["TargetPrefix"]}
        return target | without(logging, "TargetBucket", "TargetPrefix")

    def notifications(self) -> dict[str, Any]:
        """Return the whole notification configuration, under the API's own names; {} for none."""
        return without(self.read("get_bucket_notification_configuration"))

    def object_lock(self) -> bool:
        """Return whether objects of the bucket can be locked."""
        found = self.read("get_object_lock_configuration").get("ObjectLockConfiguration", {})
        return bool(found.get("ObjectLockEnabled") == "Enabled")

    def tags(self) -> dict[str, str]:
        found: dict[str, str] = boto3_tag_list_to_ansible_dict(self.read("get_bucket_tagging").get("TagSet", []))
        return found

    def settings(self) -> dict[str, Any]:
        """Return every setting by its name, but for Object Lock, which is read where it is wanted."""
        return {
            "object_ownership": self.object_ownership(),
            "public_access_block": self.public_access_block(),
            "versioning": self.versioning(),
            "encryption": self.encryption(),
            "policy": self.policy(),
            "lifecycle": self.lifecycle(),
            "access_log": self.access_log(),
            "notifications": self.notifications(),
            "tags": self.tags(),
        }
