# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: names that look like a role's input and are none, with the one that may be meant."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: unknown_inputs
short_description: Find variables that look like a role's input and are none
description:
  - Of the given names of variables, takes those that begin with a role's name and an underscore, and are neither an
    input nor an output of a role, as the tables in the roles' READMEs list them. Ansible itself passes them in silence.
author: The label-export contributors
options:
  _terms:
    description: Names of variables.
    type: list
    elements: str
    required: true
  roles:
    description: The directory of the roles.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Refuse a misspelt input
  ansible.builtin.assert:
    that: query('label_export.aws.unknown_inputs', *hostvars[inventory_hostname], roles='roles') | length == 0
"""

RETURN = r"""
_raw:
  description: A sentence for each unknown name, in alphabetical order.
  type: list
  elements: str
"""

import difflib
import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

# A row of a README's table of inputs or outputs, which a test compares with the role.
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


class LookupModule(LookupBase):
    """Looks names up in the roles' tables."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return a sentence for each name that no role knows. Raises AnsibleLookupError when there are no roles."""
        readmes = list(Path(kwargs["roles"]).glob("*/README.md"))
        if not readmes:
            raise AnsibleLookupError(f"unknown_inputs: there are no roles in {kwargs['roles']}")
        known = {path.parent.name: set(ROW.findall(path.read_text())) for path in readmes}
        names = {name for role in known.values() for name in role}
        prefixes = tuple(f"{role}_" for role in known)
        return [sentence(name, names) for name in sorted(terms) if name.startswith(prefixes) and name not in names]


def sentence(name: str, known: set[str]) -> str:
    """Return what to say of a name that is not known."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"No role knows {name}{f': did you mean {close[0]}?' if close else '.'}"
