#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_invocation
short_description: Invoke a version of a Lambda function that only reads, and wait for an inactive one
description:
  - Invokes a version or alias synchronously and returns its answer. The function is expected to change nothing.
  - A version that was not invoked for some weeks is inactive. An invocation then fails, and Lambda activates the
    version again. The module waits for that and retries. M(amazon.aws.lambda_execute) waits for the unpublished
    version to become active, which nothing invokes or activates.
author: The label-export contributors
options:
  function_name:
    description: The function's name.
    type: str
    required: true
  qualifier:
    description: The version's number, or the alias.
    type: str
    required: true
  payload:
    description: The event that the function gets.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for an inactive version.
    type: int
    default: 300
attributes:
  check_mode:
    description: Nothing is invoked, and RV(output) is empty.
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to show.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ask a version for its self check
  label_export.aws.lambda_invocation:
    function_name: label-export-dev
    qualifier: "7"
    payload: {action: self_check}
  register: check
"""

RETURN = r"""
output:
  description: What the function returned.
  returned: always
  type: raw
waited:
  description: Whether the version was not active at first.
  returned: always
  type: bool
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported
from ansible_collections.label_export.aws.plugins.module_utils.lambda_invocation import Version, invoking_client


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "qualifier": {"type": "str", "required": True},
            "payload": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    client = invoking_client(module)
    version = Version(client, module.params, module.params["payload"])
    output: Any = {}
    if not module.check_mode:
        with reported(module, f"{version.text()} could not be invoked"):
            output = version.invoke()
    module.exit_json(changed=False, output=output, waited=version.waited)


if __name__ == "__main__":
    main()
