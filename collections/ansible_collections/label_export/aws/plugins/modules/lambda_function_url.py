#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_function_url
short_description: Ensure a Function URL that everyone may call
description:
  - Creates, corrects or deletes the URL of a function or alias, without authentication (C(NONE)), together with the two
    statements of its resource policy that such a URL needs, C(lambda:InvokeFunctionUrl) and C(lambda:InvokeFunction).
    With only one of them every call gets a 403.
  - The function must authenticate its callers itself. AWS Security Hub rates a function that everyone may invoke as
    critical (Lambda.1).
  - No upstream module manages Function URLs.
author: The label-export contributors
options:
  function_name:
    description: The function's name.
    type: str
    required: true
  qualifier:
    description: The alias whose URL it is.
    type: str
  state:
    description: Whether the URL and its two statements exist.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
  diff_mode:
    description: Shows each changed setting, the two statements included.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure webhooks reach the alias by a URL of its own
  label_export.aws.lambda_function_url:
    function_name: label-export-dev
    qualifier: live
  register: webhook_url
"""

RETURN = r"""
url:
  description: The URL, chosen by AWS, ending with a slash; empty in check mode when there is none.
  returned: when state is present
  type: str
  sample: https://a1b2c3d4e5.lambda-url.eu-west-1.on.aws/
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import changed_values, difference
from ansible_collections.label_export.aws.plugins.module_utils.lambda_function_url import find_url
from ansible_collections.label_export.aws.plugins.module_utils.lambda_statement import (
    add,
    list_statements,
    remove,
    target,
    wanted_statement,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

EVERYONE = "*"
# By their identifiers: permission to call the URL, and to invoke the function through the URL.
STATEMENTS = {
    "function-url": wanted_statement(
        {"action": "lambda:InvokeFunctionUrl", "principal": EVERYONE, "function_url_auth_type": "NONE"}
    ),
    "function-url-invoke": wanted_statement(
        {"action": "lambda:InvokeFunction", "principal": EVERYONE, "invoked_via_function_url": True}
    ),
}
URL_SETTINGS = {"auth_type": "NONE", "invoke_mode": "BUFFERED", "cors": {}}
WANTED: dict[str, Any] = {**URL_SETTINGS, "statements": STATEMENTS}


class FunctionUrl:
    """The thin layer over the API for the URL of one function or alias."""

    def __init__(self, client: Any, named: dict[str, str]) -> None:
        self.client = client
        self.named = named
        self.url = ""
        self.exists = False
        self.statements: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, Any] = {}

    def load(self) -> None:
        """Read the URL and its existing statements."""
        self.url, settings = find_url(self.client, self.named)
        self.exists, self.settings = settings is not None, settings or {}
        found = list_statements(self.client, self.named)
        self.statements = {key: value for key, value in found.items() if key in STATEMENTS}

    def current(self) -> dict[str, Any] | None:
        """Return the existing settings in the form of WANTED; None if there are none."""
        statements = {"statements": self.statements} if self.statements else {}
        return {**self.settings, **statements} or None

    def ensure_statements(self) -> None:
        for statement_id, wanted in STATEMENTS.items():
            current = self.statements.get(statement_id)
            if current == wanted:
                continue
            if current is not None:
                remove(self.client, self.named, statement_id)
            add(self.client, self.named, statement_id, wanted)

    def ensure_url(self) -> None:
        request = {"AuthType": "NONE", "InvokeMode": "BUFFERED"}
        if not self.exists:
            self.url = self.client.create_function_url_config(aws_retry=True, **request, **self.named)["FunctionUrl"]
        elif self.settings != URL_SETTINGS:
            # An empty Cors removes the existing one.
            self.client.update_function_url_config(aws_retry=True, Cors={}, **request, **self.named)

    def delete(self) -> None:
        if self.exists:
            self.client.delete_function_url_config(aws_retry=True, **self.named)
        for statement_id in self.statements:
            remove(self.client, self.named, statement_id)


def ensure_present(module: AnsibleAWSModule, function_url: FunctionUrl) -> None:
    function_url.load()
    current = function_url.current()
    changed = bool(changed_values(current, WANTED))
    if changed and not module.check_mode:
        function_url.ensure_statements()
        function_url.ensure_url()
    module.exit_json(changed=changed, diff=difference(current, WANTED), url=function_url.url)


def ensure_absent(module: AnsibleAWSModule, function_url: FunctionUrl) -> None:
    function_url.load()
    current = function_url.current()
    if current is not None and not module.check_mode:
        function_url.delete()
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "qualifier": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    function_url = FunctionUrl(client, target(module.params))
    name = f"The URL of the function {module.params['function_name']}"
    ensure_state(module, name, function_url, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
