#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iam_inline_policies
short_description: Ensure that IAM roles have no inline policies
description:
  - Removes every inline policy from roles. M(amazon.aws.iam_role) manages attached policies only, and an inline policy
    that was added elsewhere gives a role more permissions in the same way.
  - A role that does not exist has none.
author: The label-export contributors
options:
  roles:
    description: The names of the roles.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Nothing is removed. RV(removed) names what would be.
    support: full
  diff_mode:
    description: Shows the names of each role's inline policies.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Remove inline policies from the roles
  label_export.aws.iam_inline_policies:
    roles: [label-export-dev-eu-west-1]
"""

RETURN = r"""
removed:
  description: The names of the inline policies that this run removed, by role. Roles without one are left out.
  returned: success
  type: dict
  sample: {"label-export-dev-eu-west-1": ["added-in-the-console"]}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import difference
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported


def inline_policies(client: Any, role: str) -> list[str]:
    """Return the names of a role's inline policies; none for a role that does not exist."""
    names: list[str] = []
    request = {"RoleName": role}
    try:
        while True:
            page = client.list_role_policies(aws_retry=True, **request)
            names += page["PolicyNames"]
            if not page.get("IsTruncated"):
                return sorted(names)
            request["Marker"] = page["Marker"]
    except is_boto3_error_code("NoSuchEntity"):
        return []


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"roles": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    client = module.client("iam", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, "The roles' inline policies could not be removed"):
        found = {role: inline_policies(client, role) for role in module.params["roles"]}
        removed = {role: names for role, names in found.items() if names}
        if not module.check_mode:
            for role, names in removed.items():
                for name in names:
                    client.delete_role_policy(aws_retry=True, RoleName=role, PolicyName=name)
        diff = difference(removed, {role: [] for role in removed})
        module.exit_json(changed=bool(removed), removed=removed, diff=diff)


if __name__ == "__main__":
    main()
