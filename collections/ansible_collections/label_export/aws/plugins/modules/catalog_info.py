#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: catalog_info
short_description: Read what the catalog function reports, and wait for its work
description:
  - Invokes the catalog function with a request that only reads, and returns its answer.
  - With O(wait) it invokes the function again every few seconds, until no work that the answer lists is open, or until
    the time is over.
  - C(amazon.aws.lambda_execute) invokes once, and a task with retries prints every attempt as a failure.
author: The label-export contributors
options:
  function_name:
    description: The catalog function's name.
    type: str
    required: true
  qualifier:
    description: The alias or version to invoke.
    type: str
    required: true
  request:
    description: The event, such as C({"action":"status"}). lambda/label_catalog/README.md lists them.
    type: dict
    required: true
  missing_ok:
    description: Return an empty answer where there is no such function, or no such alias.
    type: bool
    default: false
  wait:
    description: Seconds to wait for open work. 0 for one invocation.
    type: int
    default: 0
  interval:
    description: Seconds between two invocations.
    type: int
    default: 3
  timeout:
    description: Seconds to wait for a version that Lambda has made inactive.
    type: int
    default: 300
attributes:
  check_mode:
    description: It only reads, so it does the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Wait at most a minute for the backfill
  label_export.aws.catalog_info:
    function_name: label-export-dev-catalog
    qualifier: live
    request: {action: backfill, step: status, project_hash: all}
    wait: 60
"""

RETURN = r"""
answer:
  description: What the function returned.
  returned: success
  type: dict
open:
  description: The hashes of projects whose work is not completed and has not failed.
  returned: success
  type: list
  elements: str
"""

import json
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError, reported
from ansible_collections.label_export.aws.plugins.module_utils.lambda_invocation import Version, invoking_client

OPEN = frozenset({"running", "waiting"})


def open_projects(answer: dict[str, Any]) -> list[str]:
    """Return the hashes of the projects whose work is open."""
    return [str(project["project_hash"]) for project in answer.get("projects", []) if project.get("state") in OPEN]


def answer_of(version: Version, *, missing_ok: bool) -> dict[str, Any]:
    """Invoke the function once; return its answer. Raises ExplainedError where the function fails."""
    try:
        answer: Any = version.invoke()
    except is_boto3_error_code("ResourceNotFoundException"):
        if missing_ok:
            return {}
        raise
    if not isinstance(answer, dict):
        text = json.dumps(answer)[:200]
        raise ExplainedError(f"{version.text()} returned {text}, not an object. Check that it is the catalog function.")
    found: dict[str, Any] = answer
    return found


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "qualifier": {"type": "str", "required": True},
            "request": {"type": "dict", "required": True},
            "missing_ok": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 0},
            "interval": {"type": "int", "default": 3},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    client = invoking_client(module)
    version = Version(client, module.params, module.params["request"])
    end = time.monotonic() + module.params["wait"]
    with reported(module, f"The catalog function {module.params['function_name']} could not be invoked"):
        while True:
            answer = answer_of(version, missing_ok=module.params["missing_ok"])
            still_open = open_projects(answer)
            if not still_open or time.monotonic() >= end:
                break
            time.sleep(module.params["interval"])
        module.exit_json(changed=False, answer=answer, open=still_open)


if __name__ == "__main__":
    main()
