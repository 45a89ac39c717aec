#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_alias
short_description: Ensure an alias routes every call to one version of a function
description:
  - Creates an alias, or moves it to another version, and removes routing of a share of the calls to other versions.
  - Unlike M(amazon.aws.lambda_alias) it finds and removes such routing, and has a diff.
    A function's aliases are deleted with the function.
author: The label-export contributors
options:
  function_name:
    description: The function's name.
    type: str
    required: true
  name:
    description: The alias's name.
    type: str
    required: true
  function_version:
    description: The number of the published version that gets every call.
    type: str
    required: true
  description:
    description: The alias's description. Not managed when left out.
    type: str
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure every call goes to version 3
  label_export.aws.lambda_alias:
    function_name: label-export-dev
    name: live
    function_version: "3"
"""

RETURN = r"""
settings:
  description: The alias's settings as they are after the run, as the API names them.
  returned: always
  type: dict
  sample: {"FunctionVersion": "3", "Description": "", "RoutingConfig": {"AdditionalVersionWeights": {}}}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import changed_values, difference
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported
from ansible_collections.label_export.aws.plugins.module_utils.lambda_alias import find_alias


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into the API's settings, None if not managed."""
    return {
        "FunctionVersion": params["function_version"],
        "Description": params["description"],
        "RoutingConfig": {"AdditionalVersionWeights": {}},
    }


def ensure(module: AnsibleAWSModule, client: Any) -> None:
    named = {"FunctionName": module.params["function_name"], "Name": module.params["name"]}
    wanted = wanted_settings(module.params)
    current = find_alias(client, named)
    managed = {key: value for key, value in wanted.items() if value is not None}
    changed = bool(changed_values(current, wanted))
    if changed and not module.check_mode:
        # Both in one request: AWS accepts no share for the version that the alias itself names.
        if current is None:
            client.create_alias(aws_retry=True, **named, **managed)
        else:
            client.update_alias(aws_retry=True, **named, **managed)
    module.exit_json(changed=changed, diff=difference(current, wanted), settings={**(current or {}), **managed})


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "function_version": {"type": "str", "required": True},
            "description": {"type": "str"},
        },
        supports_check_mode=True,
    )
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    failure = f"The alias {module.params['name']} of {module.params['function_name']} could not be ensured"
    with reported(module, failure):
        ensure(module, client)


if __name__ == "__main__":
    main()
