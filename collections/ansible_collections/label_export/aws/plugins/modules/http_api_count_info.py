#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: http_api_count_info
short_description: Count the HTTP APIs that the account has in the region
description:
  - Counts HTTP and WebSocket APIs, which share one quota, and returns whether one of a certain name is among them.
  - No upstream module lists them.
author: The label-export contributors
options:
  name:
    description: The name of an API.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing, in check mode or not.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Count the APIs
  label_export.aws.http_api_count_info:
    name: label-export-dev
"""

RETURN = r"""
problem:
  description: Why the APIs could not be counted, in AWS's words; empty when they were counted.
  returned: always
  type: str
count:
  description: Number of APIs; 0 when they could not be counted.
  returned: always
  type: int
found:
  description: Whether one of them has the name.
  returned: always
  type: bool
"""

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import DENIED, reported


def main() -> None:
    module = AnsibleAWSModule(argument_spec={"name": {"type": "str", "required": True}}, supports_check_mode=True)
    client = module.client("apigatewayv2", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, "The HTTP APIs could not be counted"):
        try:
            pages = client.get_paginator("get_apis").paginate()
            names = [api["Name"] for page in pages for api in page["Items"]]
        except is_boto3_error_code(list(DENIED)) as error:
            module.exit_json(changed=False, problem=str(error), count=0, found=False)
    module.exit_json(changed=False, problem="", count=len(names), found=module.params["name"] in names)


if __name__ == "__main__":
    main()
