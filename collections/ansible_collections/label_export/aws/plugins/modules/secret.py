#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: secret
short_description: Ensure a secret, without undoing what was changed elsewhere
description:
  - Creates, changes or deletes a secret of AWS Secrets Manager.
  - The module records in the tag C(written-version) which version of the value it wrote. If the current version is
    another one, the value was changed elsewhere (by a rotation, or in the console), and it stays as it is
    unless O(overwrite=true). The identifier of a version is random, and reveals nothing about the value.
  - M(community.aws.secretsmanager_secret) either restores its own value on every run or never changes one.
author: The label-export contributors
options:
  name:
    description: The secret's name.
    type: str
    required: true
  state:
    description: Whether the secret exists.
    type: str
    choices: [present, absent]
    default: present
  value:
    description: The secret's text. JSON documents are compared by meaning. Required when O(state=present).
    type: str
  overwrite:
    description: Whether a value that was changed elsewhere is replaced too.
    type: bool
    default: false
  description:
    description: What the secret is for.
    type: str
    default: ""
  kms_key_arn:
    description: The KMS key that encrypts the secret. Without it AWS's own key.
    type: str
    default: ""
  recovery_window_days:
    description: Days for which a deleted secret can be restored, 7 to 30. 0 deletes it at once.
    type: int
    default: 7
  tags:
    description: The secret's tags. Others are removed, except the module's own. Not managed when left out.
    type: dict
  policy_statements:
    description:
      - Statements of the secret's resource policy, by their Sids. An empty statement is removed. Statements with other
        Sids stay, and a policy without statements is deleted. Not managed when left out.
    type: dict
attributes:
  check_mode:
    description: Nothing is changed. For a deleted secret that would be restored, the result shows only that.
    support: full
  diff_mode:
    description: Shows each changed setting, never the value.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the key is kept as a secret
  label_export.aws.secret:
    name: label-export-dev/encord-private-key
    value: "{{ private_key }}"
  register: private_key_secret
  no_log: true

- name: Ensure only one role can read it
  label_export.aws.secret:
    name: label-export-dev/encord-private-key
    value: "{{ private_key }}"
    policy_statements:
      OnlyReaders:
        Effect: Deny
        Principal: "*"
        Action: secretsmanager:GetSecretValue
        Resource: "*"
        Condition:
          ArnNotLike:
            aws:PrincipalArn: arn:aws:iam::123456789012:role/label-export-dev
  no_log: true
"""

RETURN = r"""
changed_elsewhere:
  description: Whether the value differs from the wanted one, and stays because it was changed elsewhere.
  returned: when state is present
  type: bool
"""

import json
import uuid
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
    canonical_statement,
    changed_values,
    comparable_policy,
    difference,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

RECORD = "written-version"
AWS_KEY = "alias/aws/secretsmanager"
HIDDEN = "(hidden)"
HIDDEN_OTHER = "(hidden, another one)"
DELETED = "to be deleted"
PRESENT = "present"


def same_text(one: str | None, other: str) -> bool:
    """Return whether two texts are the same secret: the same characters, or the same JSON document."""
    if one is None:
        return False
    try:
        return one == other or bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


class Secret:
    """The thin layer over the API for one secret."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.found: dict[str, Any] | None = None
        self.tags: dict[str, str] = {}
        self.value: str | None = None
        self.version = ""
        self.policy: dict[str, Any] = {}

    @property
    def record(self) -> str:
        """The version of the value that the module wrote last; empty for none."""
        return self.tags.get(RECORD, "")

    @property
    def deleted(self) -> bool:
        return bool(self.found and self.found.get("DeletedDate"))

    def load(self) -> None:
        try:
            self.found = self.client.describe_secret(aws_retry=True, SecretId=self.name)
        except is_boto3_error_code("ResourceNotFoundException"):
            return
        self.tags = own_tags(boto3_tag_list_to_ansible_dict(self.found.get("Tags", [])))

    def load_policy(self) -> None:
        answer = self.client.get_resource_policy(aws_retry=True, SecretId=self.name)
        self.policy = comparable_policy(answer.get("ResourcePolicy"))

    def load_value(self) -> None:
        """Read the value and its version. Raises ExplainedError when the secret's own policy denies it."""
        try:
            answer = self.client.get_secret_value(aws_retry=True, SecretId=self.name)
        except is_boto3_error_code("ResourceNotFoundException"):
            return  # It was created without a value.
        except is_boto3_error_code("AccessDeniedException"):
            if not self.policy:
                raise
            raise ExplainedError(
                f"The secret {self.name} cannot be read: either its resource policy does not name these credentials "
                "among the readers, or their own policies lack secretsmanager:GetSecretValue. An administrator can "
                f"delete the resource policy: aws secretsmanager delete-resource-policy --secret-id {self.name}"
            ) from None
        self.value, self.version = answer.get("SecretString", ""), answer["VersionId"]

    def settings(self, value: str) -> dict[str, Any] | None:
        """Return the settings in the form of wanted_settings; ``value`` is the wanted one."""
        if self.found is None:
            return None
        key = self.found.get("KmsKeyId", "")
        return {
            "state": DELETED if self.deleted else PRESENT,
            "description": self.found.get("Description", ""),
            "kms_key_arn": "" if key == AWS_KEY else key,
            "tags": {key: value for key, value in self.tags.items() if key != RECORD},
            "policy": self.policy,
            "value": HIDDEN if self.deleted or same_text(self.value, value) else HIDDEN_OTHER,
        }

    def create(self, wanted: dict[str, Any], value: str) -> None:
        version = str(uuid.uuid4())
        key = {"KmsKeyId": wanted["kms_key_arn"]} if wanted["kms_key_arn"] else {}
        self.client.create_secret(
            aws_retry=True,
            Name=self.name,
            Description=wanted["description"],
            SecretString=value,
            ClientRequestToken=version,
            Tags=ansible_dict_to_boto3_tag_list({**(wanted["tags"] or {}), RECORD: version}),
            **key,
        )
        if wanted["policy"]:
            self.set_policy(wanted["policy"])

    def set_policy(self, policy: dict[str, Any]) -> None:
        """Put the policy in place of the secret's; delete it where it has no statement."""
        if policy:
            # Secrets Manager itself refuses a policy that grants access to everyone.
            self.client.put_resource_policy(
                aws_retry=True, SecretId=self.name, ResourcePolicy=json.dumps(policy), BlockPublicPolicy=True
            )
        else:
            self.client.delete_resource_policy(aws_retry=True, SecretId=self.name)

    def update(self, changes: dict[str, Any], value: str) -> None:
        request: dict[str, Any] = {}
        version = self.version
        if "description" in changes:
            request["Description"] = changes["description"]
        if "kms_key_arn" in changes:
            request["KmsKeyId"] = changes["kms_key_arn"] or AWS_KEY
        if "value" in changes:
            request["SecretString"] = value
        if request:
            answer = self.client.update_secret(aws_retry=True, SecretId=self.name, **request)
            version = answer.get("VersionId") or version
        tags = {key: value for key, value in self.tags.items() if key != RECORD}
        to_set, to_remove = compare_aws_tags(tags, changes.get("tags", tags))
        if "value" in changes or "written_version" in changes:
            to_set[RECORD] = version
        if to_set:
            self.client.tag_resource(aws_retry=True, SecretId=self.name, Tags=ansible_dict_to_boto3_tag_list(to_set))
        if to_remove:
            self.client.untag_resource(aws_retry=True, SecretId=self.name, TagKeys=to_remove)


def wanted_policy(current: dict[str, Any], statements: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the policy with the wanted statements beside those of other Sids; {} for none, None for not managed."""
    if statements is None:
        return None
    others = [item for item in current.get("Statement", []) if item.get("Sid") not in statements]
    ours = [canonical_statement({"Sid": sid, **item}) for sid, item in statements.items() if item]
    # The version of a policy that exists stays: with another one, variables in its statements mean something else.
    return {"Version": "2012-10-17", **current, "Statement": [*others, *ours]} if others or ours else {}


def ensure_policy(secret: Secret, statements: dict[str, Any] | None, *, check_mode: bool) -> dict[str, Any] | None:
    """Ensure the policy has the statements; return it as wanted, None for not managed.

    Before the value is read: the present policy may deny that, and a new value is for the wanted readers alone.
    """
    secret.load_policy()
    wanted = wanted_policy(secret.policy, statements)
    if wanted is not None and wanted != secret.policy and not check_mode:
        secret.set_policy(wanted)
    return wanted


def read_value(secret: Secret, value: str, *, denied_is_known: bool) -> None:
    """Load the secret's value. Raises ExplainedError when that is denied.

    In check mode, a value that the policy denies before the policy is changed counts as the wanted ``value``.
    """
    try:
        secret.load_value()
    except ExplainedError:
        if not denied_is_known:
            raise
        secret.value = value


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings; the policy is that of a new secret."""
    return {
        "state": PRESENT,
        "description": params["description"],
        "kms_key_arn": params["kms_key_arn"],
        "tags": params["tags"],
        "policy": wanted_policy({}, params["policy_statements"]),
        "value": HIDDEN,
    }


def ensure_present(module: AnsibleAWSModule, secret: Secret) -> None:
    params = module.params
    value = params["value"]
    secret.load()
    restored = secret.deleted
    if restored and not module.check_mode:
        secret.client.restore_secret(aws_retry=True, SecretId=secret.name)
        secret.load()
    wanted = wanted_settings(params)
    if secret.found and not secret.deleted:
        wanted["policy"] = ensure_policy(secret, params["policy_statements"], check_mode=module.check_mode)
        read_value(secret, value, denied_is_known=module.check_mode and wanted["policy"] not in (None, secret.policy))
    elif secret.deleted:
        wanted["policy"] = None  # AWS does not show the policy of a deleted secret
    current = secret.settings(value)
    changed_elsewhere = False
    if current and current["value"] != HIDDEN and secret.version:
        changed_elsewhere = secret.record != secret.version and not params["overwrite"]
    if current and not secret.deleted:
        if changed_elsewhere:
            wanted["value"] = current["value"]
        elif current["value"] == HIDDEN and secret.version and secret.record != secret.version:
            # The value is the wanted one, even if another user wrote it. From now on the module may replace it.
            current["written_version"], wanted["written_version"] = secret.record, secret.version
    changes = changed_values(current, wanted)
    diff = difference(current, wanted)
    if current is None:
        diff["after"].pop("state")
    if restored and not secret.deleted:
        diff["before"]["state"], diff["after"]["state"] = DELETED, PRESENT
    if not module.check_mode:
        if current is None:
            secret.create(wanted, value)
        elif changes:
            secret.update(changes, value)
    changed = bool(changes) or restored
    module.exit_json(changed=changed, diff=diff, changed_elsewhere=changed_elsewhere)


def ensure_absent(module: AnsibleAWSModule, secret: Secret) -> None:
    secret.load()
    current = secret.settings("") if secret.found and not secret.deleted else None
    if current and not module.check_mode:
        days = module.params["recovery_window_days"]
        how = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        secret.client.delete_secret(aws_retry=True, SecretId=secret.name, **how)
    shown = {**current, "value": HIDDEN} if current else None
    module.exit_json(changed=current is not None, diff=difference(shown, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "value": {"type": "str", "no_log": True},
            "overwrite": {"type": "bool", "default": False},
            "description": {"type": "str", "default": ""},
            "kms_key_arn": {"type": "str", "default": "", "no_log": False},
            "recovery_window_days": {"type": "int", "default": 7},
            "tags": {"type": "dict"},
            "policy_statements": {"type": "dict"},
        },
        required_if=[("state", "present", ("value",))],
        supports_check_mode=True,
    )
    secret = Secret(module.client("secretsmanager", retry_decorator=AWSRetry.jittered_backoff()), module.params["name"])
    ensure_state(module, f"The secret {secret.name}", secret, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
