#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: settings_object
short_description: Ensure an object with settings that do not fit into a function's environment
description:
  - Stores a text under a key with its SHA-256, in a bucket. Such an object never changes, so each version of a function
    has the settings that it was deployed with.
  - With O(purge), removes the objects that no version of the given functions names in its environment.
  - M(amazon.aws.s3_object) does not know which objects are in use, and does not check who owns the bucket.
author: The label-export contributors
options:
  bucket:
    description: The bucket's name.
    type: str
    required: true
  expected_owner:
    description: The account that must own the bucket.
    type: str
    required: true
  prefix:
    description: The prefix of the objects' keys. All objects under it count as settings objects.
    type: str
    required: true
  content:
    description: The text to store. Without it none is stored.
    type: str
  kms_key_arn:
    description: The KMS key that encrypts the object. Empty for the bucket's own default.
    type: str
    default: ""
  purge:
    description: Whether objects are removed that no version names. The one with O(content) stays.
    type: bool
    default: false
  functions:
    description: Names of the functions whose versions count for O(purge). One that does not exist has no versions.
    type: list
    elements: str
    default: []
  variable:
    description: The variable of a function's environment that names its object.
    type: str
    default: LABEL_EXPORT_SETTINGS_OBJECT
attributes:
  check_mode:
    description: Nothing is stored or removed.
    support: full
  diff_mode:
    description: Shows the keys of objects that are stored or removed.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Store the projects
  label_export.aws.settings_object:
    bucket: example-labels
    expected_owner: "123456789012"
    prefix: encord/settings/
    content: '{"LABEL_EXPORT_PROJECTS": "[...]"}'

- name: Remove settings that no version has
  label_export.aws.settings_object:
    bucket: example-labels
    expected_owner: "123456789012"
    prefix: encord/settings/
    purge: true
    functions: [label-export-dev]
"""

RETURN = r"""
key:
  description: The key of the object with O(content). Empty without it.
  returned: always
  type: str
removed:
  description: The keys of the objects that were removed; in check mode of the objects that would be removed.
  returned: always
  type: list
  elements: str
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError, reported


class Objects:
    """The thin layer over S3's API, for the objects under a prefix."""

    def __init__(self, client: Any, bucket: str, owner: str, prefix: str) -> None:
        self.client = client
        self.named = {"Bucket": bucket, "ExpectedBucketOwner": owner}
        self.prefix = prefix

    def keys(self) -> set[str]:
        """Return the keys of all objects; none without the bucket."""
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(**self.named, Prefix=self.prefix)
            return {found["Key"] for page in pages for found in page.get("Contents", [])}
        except is_boto3_error_code("NoSuchBucket"):
            return set()

    def store(self, key: str, content: bytes, kms_key_arn: str) -> None:
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_arn} if kms_key_arn else {}
        self.client.put_object(
            aws_retry=True, **self.named, Key=key, Body=content, ContentType="application/json", **encryption
        )

    def remove(self, key: str) -> None:
        self.client.delete_object(aws_retry=True, **self.named, Key=key)


def used_keys(client: Any, functions: Iterable[str], variable: str) -> set[str]:
    """Return the keys that versions of the functions name; raises ExplainedError where one cannot be read."""
    used = set()
    for name in functions:
        try:
            pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
            versions = [version for page in pages for version in page["Versions"]]
        except is_boto3_error_code("ResourceNotFoundException"):
            continue
        for version in versions:
            environment = version.get("Environment", {})
            if problem := environment.get("Error"):
                raise ExplainedError(
                    f"Which settings objects are in use is not known: the environment of version {version['Version']} "
                    f"of {name} cannot be read ({problem.get('Message', problem.get('ErrorCode'))}). Let the deployer "
                    "use the function's KMS key (export_function_kms_key_arn)."
                )
            if key := environment.get("Variables", {}).get(variable):
                used.add(key)
    return used


def ensure(module: AnsibleAWSModule, objects: Objects, functions: Any) -> None:
    params, key = module.params, ""
    present = objects.keys()
    if params["content"]:
        content = params["content"].encode()
        key = f"{params['prefix']}{hashlib.sha256(content).hexdigest()}.json"
        if key not in present and not module.check_mode:
            objects.store(key, content, params["kms_key_arn"])
    surplus: set[str] = set()
    if params["purge"] and present - {key}:  # without surplus objects no function is read
        surplus = present - {key} - used_keys(functions, params["functions"], params["variable"])
    if not module.check_mode:
        for each in sorted(surplus):
            objects.remove(each)
    stored = {key} - present if key else set()
    diff = {"before": {"removed": sorted(surplus)}, "after": {"stored": sorted(stored)}}
    changed = bool(stored or surplus)
    module.exit_json(changed=changed, diff=diff if changed else {}, key=key, removed=sorted(surplus))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "bucket": {"type": "str", "required": True},
            "expected_owner": {"type": "str", "required": True},
            "prefix": {"type": "str", "required": True},
            "content": {"type": "str"},
            "kms_key_arn": {"type": "str", "default": ""},
            "purge": {"type": "bool", "default": False},
            "functions": {"type": "list", "elements": "str", "default": []},
            "variable": {"type": "str", "default": "LABEL_EXPORT_SETTINGS_OBJECT"},
        },
        supports_check_mode=True,
    )
    retry = AWSRetry.jittered_backoff()
    objects = Objects(
        module.client("s3", retry_decorator=retry),
        module.params["bucket"],
        module.params["expected_owner"],
        module.params["prefix"],
    )
    with reported(module, f"The settings objects in {module.params['bucket']} could not be brought up to date"):
        ensure(module, objects, module.client("lambda", retry_decorator=retry))


if __name__ == "__main__":
    main()
