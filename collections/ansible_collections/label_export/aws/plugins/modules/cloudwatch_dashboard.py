#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloudwatch_dashboard
short_description: Ensure a CloudWatch dashboard
description:
  - Creates, changes or deletes a dashboard. No module of amazon.aws or community.aws does.
author: The label-export contributors
options:
  arn:
    description: The dashboard's ARN, such as V(arn:aws:cloudwatch::123456789012:dashboard/label-export-dev).
    type: str
    required: true
  state:
    description: Whether the dashboard exists.
    type: str
    choices: [present, absent]
    default: present
  body:
    description:
      - The dashboard's widgets, in CloudWatch's own structure.
      - Required when O(state=present).
    type: json
  tags:
    description: The dashboard's tags. Others are removed. Not managed when left out.
    type: dict
attributes:
  check_mode:
    description: Nothing is changed; the dashboard is returned as it would be.
    support: full
  diff_mode:
    description: Shows each changed part of the body, and the tags.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the numbers are on one page
  label_export.aws.cloudwatch_dashboard:
    arn: arn:aws:cloudwatch::123456789012:dashboard/label-export-dev
    body: "{{ lookup('ansible.builtin.template', 'dashboard.json.j2') }}"
"""

RETURN = r"""
body:
  description: The dashboard's body after the run; in check mode as it would be.
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
    difference,
    json_document,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

NOT_FOUND = ["ResourceNotFound", "DashboardNotFoundError", "ResourceNotFoundException"]


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings."""
    return {"body": json_document(params["body"]) or {}, "tags": params["tags"]}


def find(client: Any, arn: str, with_tags: bool) -> dict[str, Any] | None:
    """Return the dashboard in the form of wanted_settings, or None."""
    try:
        body = client.get_dashboard(aws_retry=True, DashboardName=name_in(arn))["DashboardBody"]
        tags = client.list_tags_for_resource(aws_retry=True, ResourceARN=arn)["Tags"] if with_tags else []
    except is_boto3_error_code(NOT_FOUND):
        return None
    return {"body": json_document(body) or {}, "tags": own_tags(boto3_tag_list_to_ansible_dict(tags))}


def name_in(arn: str) -> str:
    return arn.partition(":dashboard/")[2]


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    arn = module.params["arn"]
    wanted = wanted_settings(module.params)
    current = find(client, arn, wanted["tags"] is not None)
    changes = changed_values(current, wanted)
    if changes and not module.check_mode:
        # As for an alarm, the tags in this request count only if it creates the dashboard.
        tags = {"Tags": ansible_dict_to_boto3_tag_list(wanted["tags"])} if current is None and wanted["tags"] else {}
        if "body" in changes:
            client.put_dashboard(
                aws_retry=True, DashboardName=name_in(arn), DashboardBody=json.dumps(wanted["body"]), **tags
            )
        if current is not None:
            to_set, to_remove = compare_aws_tags(current["tags"], changes.get("tags", current["tags"]))
            if to_remove:
                client.untag_resource(aws_retry=True, ResourceARN=arn, TagKeys=to_remove)
            if to_set:
                client.tag_resource(aws_retry=True, ResourceARN=arn, Tags=ansible_dict_to_boto3_tag_list(to_set))
    module.exit_json(changed=bool(changes), diff=difference(current, wanted), body=wanted["body"])


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    arn = module.params["arn"]
    current = find(client, arn, with_tags=False)
    if current is not None and not module.check_mode:
        client.delete_dashboards(aws_retry=True, DashboardNames=[name_in(arn)])
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "arn": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "body": {"type": "json"},
            "tags": {"type": "dict"},
        },
        required_if=[("state", "present", ["body"])],
        supports_check_mode=True,
    )
    if not name_in(module.params["arn"]):
        module.fail_json(msg=f"'{module.params['arn']}' is not the ARN of a dashboard")
    client = module.client("cloudwatch", retry_decorator=AWSRetry.jittered_backoff())
    ensure_state(module, f"The dashboard {name_in(module.params['arn'])}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
