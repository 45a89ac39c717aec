#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ecr_login_info
short_description: Get a login to the account's ECR registry
description:
  - Returns user name and password for C(docker login); they are valid for twelve hours.
  - The password is a secret. Register it under C(no_log).
author: The label-export contributors
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: Nothing is ever changed.
    support: N/A
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Get a fresh login to the registry
  label_export.aws.ecr_login_info:
  register: registry_login
  no_log: true
"""

RETURN = r"""
username:
  description: The user name, always C(AWS).
  returned: always
  type: str
password:
  description: The token.
  returned: always
  type: str
"""

import base64

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported


def main() -> None:
    module = AnsibleAWSModule(argument_spec={}, supports_check_mode=True)
    client = module.client("ecr", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, "AWS returned no login to the ECR registry"):
        token = client.get_authorization_token(aws_retry=True)["authorizationData"][0]["authorizationToken"]
    username, _colon, password = base64.b64decode(token).decode().partition(":")
    module.exit_json(changed=False, username=username, password=password)


if __name__ == "__main__":
    main()
