#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_invocation
short_description: Invoke a version of a Lambda function that only looks, and wait for an inactive one
description:
  - Invokes a version or alias synchronously and returns its answer. The function is expected to change nothing.
  - A version that was not invoked for some weeks is inactive. An invocation then fails, and Lambda prepares the version
    again. The module waits for that and invokes once more. M(amazon.aws.lambda_execute) waits for the unpublished
    version to be active, which nothing invokes and nothing activates.
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

import json
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError, reported

# How Lambda refuses to invoke a version that is inactive, or that it is preparing (API reference, Invoke).
NOT_READY = ["ResourceNotReadyException", "ResourceConflictException"]
PAUSE = 2  # seconds between two looks


class Version:
    """One version of a function, or what an alias names."""

    def __init__(self, client: Any, params: dict[str, Any]) -> None:
        self.client = client
        self.named = {"FunctionName": params["function_name"], "Qualifier": params["qualifier"]}
        self.payload = json.dumps(params["payload"])
        self.ends = time.monotonic() + params["timeout"]
        self.timeout: int = params["timeout"]
        self.waited = False

    def invoke(self) -> Any:
        """Return what the function returns. Raises ExplainedError where it fails, or does not become active in time."""
        while True:
            try:
                answer = self.client.invoke(aws_retry=True, Payload=self.payload, **self.named)
            except is_boto3_error_code(NOT_READY):
                self.waited = True
                self.wait()
                continue
            output = json.loads(answer["Payload"].read() or b"null")
            if answer.get("FunctionError"):
                reason = output.get("errorMessage", output) if isinstance(output, dict) else output
                raise ExplainedError(f"{self.text()} was invoked and failed: {reason}")
            return output

    def wait(self) -> None:
        """Wait a moment, and on while Lambda prepares the version."""
        while True:
            if time.monotonic() > self.ends:
                raise ExplainedError(
                    f"{self.text()} was not active within {self.timeout} s. Lambda may still be preparing it: run this "
                    "again."
                )
            time.sleep(PAUSE)
            configuration = self.client.get_function_configuration(aws_retry=True, **self.named)
            if configuration.get("State") == "Failed":
                reason = f"{configuration.get('StateReason')} ({configuration.get('StateReasonCode')})"
                raise ExplainedError(
                    f"{self.text()} cannot be made active: {reason}. Use another version, or deploy again."
                )
            if configuration.get("State") != "Pending":
                return

    def text(self) -> str:
        return f"Version {self.named['Qualifier']} of {self.named['FunctionName']}"


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
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    version = Version(client, module.params)
    output: Any = {}
    if not module.check_mode:
        with reported(module, f"{version.text()} could not be invoked"):
            output = version.invoke()
    module.exit_json(changed=False, output=output, waited=version.waited)


if __name__ == "__main__":
    main()
