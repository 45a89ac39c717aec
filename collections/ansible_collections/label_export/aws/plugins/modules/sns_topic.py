#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sns_topic
short_description: Ensure an SNS topic, its key, policy, e-mail subscriptions and tags
description:
  - Creates, changes or deletes a standard SNS topic.
  - Unlike M(community.aws.sns_topic) it manages encryption, works in check mode before the topic exists, shows
    what changes, and reads only its own topic.
  - Subscriptions of other protocols than e-mail are left as they are.
author: The label-export contributors
options:
  arn:
    description: The topic's ARN.
    type: str
    required: true
  state:
    description: Whether the topic exists.
    type: str
    choices: [present, absent]
    default: present
  display_name:
    description: The name that e-mails show as their sender. Not managed when left out.
    type: str
  kms_master_key_id:
    description: The KMS key that encrypts messages at rest. Empty for none.
    type: str
    default: ""
  policy:
    description: The topic's resource policy. Not managed when left out.
    type: json
  emails:
    description:
      - The addresses that get each message. Each gets one e-mail and must confirm.
      - An address that is confirmed and no longer listed is unsubscribed. SNS itself removes an address that never
        confirmed. Not managed when left out.
    type: list
    elements: str
  tags:
    description: The topic's tags. Others are removed. Not managed when left out.
    type: dict
attributes:
  check_mode:
    description: Nothing is changed; the topic is returned as it would be.
    support: full
  diff_mode:
    description: Shows each changed setting.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure alarms have somewhere to go
  label_export.aws.sns_topic:
    arn: arn:aws:sns:eu-west-1:123456789012:label-export-dev-alarms
    emails:
      - on-call@example.com
"""

RETURN = r"""
arn:
  description: The topic's ARN.
  returned: always
  type: str
unconfirmed_emails:
  description: The listed addresses that have not confirmed yet; in check mode the addresses that would have to confirm.
  returned: when state is present
  type: list
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
    difference,
    json_document,
    own_tags,
    statements,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

NOT_FOUND = ["NotFound", "NotFoundException"]
# Settings that are attributes of the topic, in the API's names.
ATTRIBUTES = ("DisplayName", "KmsMasterKeyId", "Policy")

Subscriptions = dict[str, str]


def comparable_policy(policy: str | dict[str, Any] | None) -> dict[str, Any]:
    """Return a policy document with its statements in canonical form; {} for none. Its Id has no meaning."""
    document = json_document(policy)
    return {"Version": document.get("Version"), "Statement": statements(document)} if document else {}


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings."""
    return {
        "DisplayName": params["display_name"],
        "KmsMasterKeyId": params["kms_master_key_id"],
        "Policy": None if params["policy"] is None else comparable_policy(params["policy"]),
        "Emails": None if params["emails"] is None else sorted(set(params["emails"])),
        "Tags": params["tags"],
    }


def is_confirmed(subscription_arn: str) -> bool:
    """Return whether a subscription is confirmed: before that, SNS returns a word instead of its ARN."""
    return subscription_arn.startswith("arn:")


def find(client: Any, arn: str, with_tags: bool) -> tuple[dict[str, Any] | None, Subscriptions]:
    """Return the topic's settings in the form of wanted_settings, and its e-mail subscriptions' ARNs by address.

    Without such a topic the settings are None.
    """
    try:
        attributes = client.get_topic_attributes(aws_retry=True, TopicArn=arn)["Attributes"]
        tags = client.list_tags_for_resource(aws_retry=True, ResourceArn=arn)["Tags"] if with_tags else []
        pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
        found = [subscription for page in pages for subscription in page["Subscriptions"]]
    except is_boto3_error_code(NOT_FOUND):
        return None, {}
    # SNS lists a removed subscription for a while.
    emails = {
        subscription["Endpoint"]: subscription["SubscriptionArn"]
        for subscription in found
        if subscription["Protocol"] == "email" and subscription["SubscriptionArn"] != "Deleted"
    }
    settings = {
        "DisplayName": attributes.get("DisplayName", ""),
        "KmsMasterKeyId": attributes.get("KmsMasterKeyId", ""),
        "Policy": comparable_policy(attributes.get("Policy")),
        "Emails": sorted(emails),
        "Tags": own_tags(boto3_tag_list_to_ansible_dict(tags)),
    }
    return settings, emails


def settle_emails(current: dict[str, Any] | None, wanted: dict[str, Any], emails: Subscriptions) -> None:
    """Leave out of the comparison what cannot be changed: an address that never confirmed cannot be unsubscribed."""
    if current is not None and wanted["Emails"] is not None:
        current["Emails"] = [
            email for email in current["Emails"] if email in wanted["Emails"] or is_confirmed(emails[email])
        ]


def as_text(name: str, value: Any) -> str:
    return json.dumps(value) if name == "Policy" else value


def create(client: Any, arn: str, wanted: dict[str, Any]) -> None:
    attributes = {name: as_text(name, wanted[name]) for name in ATTRIBUTES if wanted[name]}
    client.create_topic(
        aws_retry=True,
        Name=arn.rpartition(":")[2],
        Attributes=attributes,
        Tags=ansible_dict_to_boto3_tag_list(wanted["Tags"] or {}),
    )


def update(client: Any, arn: str, current: dict[str, Any], changes: dict[str, Any]) -> None:
    for name in ATTRIBUTES:
        if name in changes:
            client.set_topic_attributes(
                aws_retry=True, TopicArn=arn, AttributeName=name, AttributeValue=as_text(name, changes[name])
            )
    to_set, to_remove = compare_aws_tags(current["Tags"], changes.get("Tags", current["Tags"]))
    if to_remove:
        client.untag_resource(aws_retry=True, ResourceArn=arn, TagKeys=to_remove)
    if to_set:
        client.tag_resource(aws_retry=True, ResourceArn=arn, Tags=ansible_dict_to_boto3_tag_list(to_set))


def subscribe(client: Any, arn: str, current: list[str], wanted: list[str], emails: Subscriptions) -> None:
    for email in sorted(set(wanted) - set(current)):
        client.subscribe(aws_retry=True, TopicArn=arn, Protocol="email", Endpoint=email)
    for email in sorted(set(current) - set(wanted)):
        client.unsubscribe(aws_retry=True, SubscriptionArn=emails[email])


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    arn = module.params["arn"]
    wanted = wanted_settings(module.params)
    current, emails = find(client, arn, wanted["Tags"] is not None)
    settle_emails(current, wanted, emails)
    changes = changed_values(current, wanted)
    changed = current is None or bool(changes)
    if changed and not module.check_mode:
        if current is None:
            create(client, arn, wanted)
        else:
            update(client, arn, current, changes)
        if "Emails" in changes:
            subscribe(client, arn, current["Emails"] if current else [], changes["Emails"], emails)
    unconfirmed = [email for email in wanted["Emails"] or [] if not is_confirmed(emails.get(email, ""))]
    module.exit_json(changed=changed, diff=difference(current, wanted), arn=arn, unconfirmed_emails=unconfirmed)


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    arn = module.params["arn"]
    current, _emails = find(client, arn, with_tags=False)
    if current is not None and not module.check_mode:
        client.delete_topic(aws_retry=True, TopicArn=arn)
    module.exit_json(changed=current is not None, diff=difference(current, {}), arn=arn)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "arn": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "display_name": {"type": "str"},
            "kms_master_key_id": {"type": "str", "default": "", "no_log": False},
            "policy": {"type": "json"},
            "emails": {"type": "list", "elements": "str"},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    client = module.client("sns", retry_decorator=AWSRetry.jittered_backoff())
    ensure_state(module, f"The topic {module.params['arn']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
