# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: names that look like a role's input but are not one, with the closest input."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: unknown_inputs
short_description: Find variables that look like a role's input but are not one
description:
  - Returns a sentence for each given name that begins with a role's name and an underscore, and is neither an input nor
    an output of a role. Ansible itself accepts such a name without a warning.
  - Inputs are the options in C(meta/argument_specs.yml). Outputs are the variables in C(vars/main.yml), and those
    that the role's tasks register or set as facts.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

# PyYAML's loader in C, if there is one: ten times faster.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> Any:
    """Return a YAML file's content; None for a file that is missing or empty."""
    if not path.is_file():
        return None
    return yaml.load(path.read_text(), Loader=Loader)  # noqa: S506  (a safe loader)  # nosec B506


def inputs(role: Path) -> set[str]:
    specs = (load(role / "meta/argument_specs.yml") or {}).get("argument_specs", {})
    return {name for entry_point in specs.values() for name in entry_point.get("options", {})}


def outputs(role: Path) -> set[str]:
    names = set(load(role / "vars/main.yml") or {})
    for path in sorted(role.glob("tasks/*.yml")):
        names.update(set_by(load(path) or []))
    return names


def set_by(tasks: list[dict[str, Any]]) -> Iterator[str]:
    """Return the variables that tasks register, set as facts or loop with, those inside blocks too."""
    for task in tasks:
        yield from task.get("ansible.builtin.set_fact", {})
        yield task.get("register", "")
        yield task.get("loop_control", {}).get("loop_var", "")
        for part in ("block", "rescue", "always"):
            yield from set_by(task.get(part, []))


class LookupModule(LookupBase):
    """Looks names up among the roles' inputs and outputs."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return a sentence for each name that no role knows. Raises AnsibleLookupError when there are no roles."""
        roles = [path.parents[1] for path in Path(kwargs["roles"]).glob("*/meta/argument_specs.yml")]
        if not roles:
            raise AnsibleLookupError(f"unknown_inputs: there are no roles in {kwargs['roles']}")
        prefixes = tuple(f"{role.name}_" for role in roles)
        candidates = [name for name in sorted(terms) if name.startswith(prefixes)]
        if not candidates:
            return []
        names = {name for role in roles for name in inputs(role) | outputs(role)}
        return [sentence(name, names) for name in candidates if name not in names]


def sentence(name: str, known: set[str]) -> str:
    """Return the sentence about a name that is not known; it never proposes a private variable."""
    close = difflib.get_close_matches(name, sorted(item for item in known if not item.startswith("_")), n=1)
    return f"No role knows {name}{f': did you mean {close[0]}?' if close else '.'}"
