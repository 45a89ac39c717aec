#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ecr_repository
short_description: Ensure a private ECR repository and all its settings
description:
  - Creates, changes or deletes a private ECR repository.
  - Unlike M(community.aws.ecs_ecr) it manages tags, works in check mode before the repository exists,
    and compares policies by meaning.
author: The label-export contributors
options:
  name:
    description: The repository's name.
    type: str
    required: true
  state:
    description: Whether the repository exists.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Whether state O(state=absent) also deletes the images in the repository.
    type: bool
    default: false
  image_tag_mutability:
    description: Whether a tag may be pushed again.
    type: str
    choices: [IMMUTABLE, MUTABLE]
    default: IMMUTABLE
  scan_on_push:
    description: Whether each pushed image is scanned.
    type: bool
    default: true
  kms_key_arn:
    description:
      - The KMS key that encrypts the images; without it ECR encrypts with AES-256.
      - AWS cannot change it later. A repository with another key is refused, never replaced.
    type: str
  policy:
    description:
      - The repository's whole resource policy. Not managed when left out.
      - It must allow Lambda to pull images. Otherwise Lambda adds a statement itself if it may.
    type: json
  lifecycle_policy:
    description: The lifecycle policy. An empty document removes it. Not managed when left out.
    type: json
  tags:
    description: The repository's tags. Others are removed. Not managed when left out.
    type: dict
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the repository keeps tags as they were pushed
  label_export.aws.ecr_repository:
    name: label-export-dev
    image_tag_mutability: IMMUTABLE
"""

RETURN = r"""
settings:
  description: The repository's settings after the run; in check mode as they would be.
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
    compare_aws_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    comparable_policy,
    difference,
    json_document,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings."""
    return {
        "image_tag_mutability": params["image_tag_mutability"],
        "scan_on_push": params["scan_on_push"],
        "kms_key_arn": params["kms_key_arn"] or "",
        "lifecycle_policy": (
            None if params["lifecycle_policy"] is None else json_document(params["lifecycle_policy"]) or {}
        ),
        "policy": None if params["policy"] is None else comparable_policy(params["policy"]),
        "tags": params["tags"],
    }


def read_policy(client: Any, operation: str, member: str, not_found: str, name: str) -> str | None:
    """Return the text of one of the repository's policies, or None."""
    try:
        answer = getattr(client, operation)(aws_retry=True, repositoryName=name)
    except is_boto3_error_code(not_found):
        return None
    return str(answer[member])


def find(client: Any, name: str, with_policy: bool) -> tuple[str | None, dict[str, Any] | None]:
    """Return the repository's ARN and its settings in the form of wanted_settings, or None, None."""
    try:
        repository = client.describe_repositories(aws_retry=True, repositoryNames=[name])["repositories"][0]
    except is_boto3_error_code("RepositoryNotFoundException"):
        return None, None
    lifecycle = read_policy(
        client, "get_lifecycle_policy", "lifecyclePolicyText", "LifecyclePolicyNotFoundException", name
    )
    policy = with_policy and read_policy(
        client, "get_repository_policy", "policyText", "RepositoryPolicyNotFoundException", name
    )
    arn = repository["repositoryArn"]
    encryption = repository.get("encryptionConfiguration", {})
    return arn, {
        "image_tag_mutability": repository["imageTagMutability"],
        "scan_on_push": repository.get("imageScanningConfiguration", {}).get("scanOnPush", False),
        "kms_key_arn": encryption.get("kmsKey", "") if encryption.get("encryptionType", "AES256") != "AES256" else "",
        "lifecycle_policy": json_document(lifecycle) or {},
        **({"policy": comparable_policy(policy or None)} if with_policy else {}),
        "tags": own_tags(
            boto3_tag_list_to_ansible_dict(client.list_tags_for_resource(aws_retry=True, resourceArn=arn)["tags"])
        ),
    }


def create(client: Any, name: str, wanted: dict[str, Any]) -> str:
    """Create the repository with everything that CreateRepository accepts; return its ARN."""
    request = {
        "repositoryName": name,
        "imageTagMutability": wanted["image_tag_mutability"],
        "imageScanningConfiguration": {"scanOnPush": wanted["scan_on_push"]},
        "tags": ansible_dict_to_boto3_tag_list(wanted["tags"] or {}),
    }
    if wanted["kms_key_arn"]:
        request["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": wanted["kms_key_arn"]}
    return str(client.create_repository(aws_retry=True, **request)["repository"]["repositoryArn"])


def apply_changes(client: Any, name: str, arn: str | None, current: dict[str, Any], changes: dict[str, Any]) -> None:
    """Bring an existing repository to the wanted settings."""
    if "image_tag_mutability" in changes:
        client.put_image_tag_mutability(
            aws_retry=True, repositoryName=name, imageTagMutability=changes["image_tag_mutability"]
        )
    if "scan_on_push" in changes:
        client.put_image_scanning_configuration(
            aws_retry=True, repositoryName=name, imageScanningConfiguration={"scanOnPush": changes["scan_on_push"]}
        )
    if "lifecycle_policy" in changes:
        if changes["lifecycle_policy"]:
            client.put_lifecycle_policy(
                aws_retry=True, repositoryName=name, lifecyclePolicyText=json.dumps(changes["lifecycle_policy"])
            )
        else:
            client.delete_lifecycle_policy(aws_retry=True, repositoryName=name)
    if "policy" in changes:
        client.set_repository_policy(aws_retry=True, repositoryName=name, policyText=json.dumps(changes["policy"]))
    to_set, to_remove = compare_aws_tags(current["tags"], changes.get("tags", current["tags"]))
    if to_set:
        client.tag_resource(aws_retry=True, resourceArn=arn, tags=ansible_dict_to_boto3_tag_list(to_set))
    if to_remove:
        client.untag_resource(aws_retry=True, resourceArn=arn, tagKeys=to_remove)


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    name = module.params["name"]
    wanted = wanted_settings(module.params)
    arn, current = find(client, name, wanted["policy"] is not None)
    if current and current["kms_key_arn"] != wanted["kms_key_arn"]:
        module.fail_json(
            msg=f"The repository {name} is encrypted with {current['kms_key_arn'] or 'AES-256'}, but it should "
            f"be {wanted['kms_key_arn'] or 'AES-256'}. AWS cannot change this: set the key that it has or another name."
        )
    changed = current is None or bool(changed_values(current, wanted))
    diff = difference(current, wanted)
    if changed and not module.check_mode:
        if current is None:
            arn = create(client, name, wanted)
            managed = {key: value for key, value in wanted.items() if value is not None}
            unset: dict[str, Any] = {key: {} for key in ("lifecycle_policy", "policy") if key in managed}
            current = {"lifecycle_policy": {}, **managed, **unset, "tags": wanted["tags"] or {}}
        apply_changes(client, name, arn, current, changed_values(current, wanted))
    settings = {**(current or {}), **{key: value for key, value in wanted.items() if value is not None}}
    module.exit_json(changed=changed, diff=diff, settings=settings)


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    name = module.params["name"]
    _arn, current = find(client, name, with_policy=False)
    if current is not None and not module.check_mode:
        client.delete_repository(aws_retry=True, repositoryName=name, force=module.params["force"])
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
            "image_tag_mutability": {"type": "str", "choices": ["IMMUTABLE", "MUTABLE"], "default": "IMMUTABLE"},
            "scan_on_push": {"type": "bool", "default": True},
            "kms_key_arn": {"type": "str", "no_log": False},
            "policy": {"type": "json"},
            "lifecycle_policy": {"type": "json"},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    client = module.client("ecr", retry_decorator=AWSRetry.jittered_backoff())
    ensure_state(module, f"The repository {module.params['name']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
