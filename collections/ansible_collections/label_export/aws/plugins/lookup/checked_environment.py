# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: the environment variables that reach AWS, if they lead to the configured account."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: checked_environment
short_description: Return a play's environment variables after checking account, environment and removal
description:
  - Returns the given environment variables if the environment is named, if its removal is confirmed in a play that
    removes it, and if the credentials that they lead to belong to the given account. Fails otherwise, with what to do.
  - As a play's C(environment), it applies to each module of each collection. Ansible evaluates it for each task, so
    that neither C(--tags), C(--skip-tags), C(--start-at-task), C(--step) nor C(--limit) leaves it out.
author: The label-export contributors
options:
  _terms:
    description: The environment variables, one dictionary.
    type: list
    elements: dict
    required: true
  name:
    description: The name of the system.
    type: str
    required: true
  environment:
    description: The name of the environment.
    type: str
    required: true
  account_id:
    description: The account that the credentials must belong to, 12 digits.
    type: str
    required: true
  state:
    description: Whether the play creates (C(present)) or removes (C(absent)) the environment.
    type: str
    default: present
  confirmed:
    description: The name of the environment whose removal is confirmed.
    type: str
    default: ""
  settings_file:
    description: The file that messages name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show which variables lead to the account
  ansible.builtin.debug:
    msg: "{{ lookup('label_export.aws.checked_environment', {'AWS_PROFILE': 'dev'}, name='label-export',
                    environment='dev', account_id='123456789012', settings_file='label_export.yml') }}"
"""

RETURN = r"""
_raw:
  description:
    - The given environment variables, and further variables that make every module use the endpoint, profile and keys
      that were checked, whatever the shell has.
  type: list
  elements: dict
"""

import os
import re
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.label_export.aws.plugins.plugin_utils.caller import (
    UnknownCallerError,
    caller,
    configured_elsewhere,
    endpoints_elsewhere,
    one_aws,
    two_identities,
)

ENVIRONMENT = re.compile(r"[a-z][a-z0-9]{0,15}")
NAME = re.compile(r"[a-z][a-z0-9-]{1,23}")
ACCOUNT = re.compile(r"[0-9]{12}")


class LookupModule(LookupBase):
    """Checks the environment, then the account."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the term with one AWS's variables. Raises AnsibleLookupError if a check fails."""
        self.set_options(var_options=variables, direct=kwargs)
        given = {name: str(value) for name, value in terms[0].items()}
        variables_of_tasks = one_aws(given, os.environ)
        message = (
            unmeant(self.get_options())
            or elsewhere(given, self.get_option("settings_file"))
            or two_identities(given, os.environ)
        )
        if message:
            raise AnsibleLookupError(message)
        account, settings_file = self.get_option("account_id"), self.get_option("settings_file")
        try:
            found = caller(variables_of_tasks, settings_file)
        except UnknownCallerError as error:
            raise AnsibleLookupError(str(error)) from None  # its text contains the cause, which Ansible would append
        if found.account != account:
            raise AnsibleLookupError(
                f"The credentials belong to account {found.account} ({found.arn}), but label_export_account_id is "
                f"{account}. "
                f"Use credentials of that account (AWS_PROFILE or label_export_aws_profile), or correct "
                f"{settings_file}."
            )
        return [variables_of_tasks]


def unmeant(options: dict[str, Any]) -> str:
    """Return why the environment is not valid; empty if it is."""
    environment, settings_file = options["environment"], options["settings_file"]
    named = ENVIRONMENT.fullmatch(environment) and NAME.fullmatch(options["name"])
    if not (named and ACCOUNT.fullmatch(options["account_id"])):
        return (
            f"label_export_name is '{options['name']}', label_export_environment '{environment}' and "
            f"label_export_account_id '{options['account_id']}', which do not name an environment. Run the playbook "
            f"without "
            f"options that leave tasks out (--skip-tags, --start-at-task): it then shows the problem in "
            f"{settings_file}."
        )
    if options["state"] == "absent" and options["confirmed"] != environment:
        return (
            f"This removes the environment '{environment}', and label_export_destroy is '{options['confirmed']}'. To "
            f"confirm "
            f"the removal, add -e label_export_destroy={environment}."
        )
    return ""


def elsewhere(given: dict[str, str], settings_file: str) -> str:
    """Return which settings of the user send requests to something other than AWS; empty when none does."""
    if given.get("AWS_ENDPOINT_URL"):
        return ""
    other = f"For an AWS other than Amazon's, set label_export_aws_endpoint_url in {settings_file}."
    if found := endpoints_elsewhere({**os.environ, **given}):
        return (
            f"The environment variable {listed(found)} of your shell sends requests to something other than AWS. Type: "
            f"unset {' '.join(found)}. {other}"
        )
    file, profile, settings = configured_elsewhere(one_aws(given, os.environ))
    if settings:
        return (
            f"The profile '{profile}' in {file} sends requests to something other than AWS, by {listed(settings)}. "
            f"Remove that from the file, name another profile (AWS_PROFILE, or label_export_aws_profile in "
            f"{settings_file}), or type: export AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true. {other}"
        )
    return ""


def listed(found: dict[str, str]) -> str:
    """Return settings with their values, for a sentence."""
    return ", ".join(f"{name} ({url})" for name, url in found.items())
