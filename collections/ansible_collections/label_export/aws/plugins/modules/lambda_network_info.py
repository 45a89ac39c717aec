#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_network_info
short_description: Return versions of functions in a VPC, and their network interfaces
description:
  - Returns the versions of functions that have a VPC configuration, and the network interfaces that Lambda created for
    these functions.
  - Lambda deletes the interfaces some minutes after the last version that uses them, with the permissions of the
    function's role. Until then their subnets and security groups cannot be deleted.
author: The label-export contributors
options:
  function_names:
    description: The functions' names. They need not exist.
    type: list
    elements: str
    required: true
  interfaces:
    description: Whether RV(interfaces) is looked up, which needs C(ec2:DescribeNetworkInterfaces).
    type: bool
    default: false
attributes:
  check_mode:
    description: It only reads.
    support: full
  diff_mode:
    description: It only reads.
    support: N/A
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Wait until Lambda has deleted the function's network interfaces
  label_export.aws.lambda_network_info:
    function_names: [label-export-dev]
    interfaces: true
  register: network
  retries: 80
  delay: 15
  until: network.interfaces == []
"""

RETURN = r"""
vpc_versions:
  description: The versions in a VPC, such as C(label-export-dev:7); C($LATEST) is one of them.
  returned: always
  type: list
  elements: str
interfaces:
  description: The identifiers of the network interfaces. Empty where O(interfaces) is false.
  returned: always
  type: list
  elements: str
"""

import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

# Lambda's description of its interfaces, before the function's name and after it.
DESCRIPTION = "AWS Lambda VPC ENI-"
SUFFIX = r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def vpc_versions(client: Any, function_name: str) -> list[str]:
    """Return the function's versions that have a VPC configuration; none for a function that does not exist."""
    try:
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=function_name)
        versions = [version for page in pages for version in page["Versions"]]
    except is_boto3_error_code("ResourceNotFoundException"):
        return []
    return [f"{function_name}:{item['Version']}" for item in versions if (item.get("VpcConfig") or {}).get("SubnetIds")]


def network_interfaces(client: Any, function_name: str) -> list[str]:
    """Return the interfaces that Lambda created for exactly this function."""
    filters = [{"Name": "description", "Values": [f"{DESCRIPTION}{function_name}-*"]}]
    pages = client.get_paginator("describe_network_interfaces").paginate(Filters=filters)
    # The wildcard also finds interfaces of functions with a longer name.
    ours = re.compile(re.escape(DESCRIPTION + function_name) + SUFFIX)
    return [
        item["NetworkInterfaceId"]
        for page in pages
        for item in page["NetworkInterfaces"]
        if ours.fullmatch(item.get("Description", ""))
    ]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_names": {"type": "list", "elements": "str", "required": True},
            "interfaces": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    names: list[str] = module.params["function_names"]
    retry = AWSRetry.jittered_backoff()
    functions = module.client("lambda", retry_decorator=retry)
    with reported(module, f"The VPC configuration of {', '.join(names)} could not be read"):
        versions = [version for name in names for version in vpc_versions(functions, name)]
        found: list[str] = []
        if module.params["interfaces"]:
            ec2 = module.client("ec2", retry_decorator=retry)
            found = [interface for name in names for interface in network_interfaces(ec2, name)]
    module.exit_json(changed=False, vpc_versions=versions, interfaces=sorted(found))


if __name__ == "__main__":
    main()
