# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: inputs of roles that hold a mapping or a list where a single value is expected."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: mistyped_inputs
short_description: Find inputs that are a mapping or a list where a single value is expected
description:
  - Returns a sentence for each input of a role that C(meta/argument_specs.yml) declares as a text, a path, a number or
    true or false, and that is a mapping or a list. Ansible accepts that for a text, and fails later, in a filter.
  - YAML reads a value that begins with C({) or C([), without quotes, as one of these.
  - The sentence does not show the value, which may be a secret.
author: The label-export contributors
options:
  _terms:
    description: Nothing.
    type: list
    elements: str
  roles:
    description: The directory of the roles.
    type: path
    required: true
  directory:
    description: The directory in which each role's inputs are set in a file of the role's name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a mapping where a text is expected
  ansible.builtin.assert:
    that: query('label_export.aws.mistyped_inputs', roles='roles', directory='inventory/dev') | length == 0
"""

RETURN = r"""
_raw:
  description: A sentence for each such input, in alphabetical order.
  type: list
  elements: str
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.lookup import LookupBase

# In C where PyYAML has it: ten times faster.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What the types of single values in a role's argument specs are called in a message.
SINGLE = {"str": "a text", "path": "a path", "int": "a number", "float": "a number", "bool": "true or false"}


def expected(roles: Path) -> Iterator[tuple[str, str, str]]:
    """Return each input that is a single value: its name, its role, and what is expected of it."""
    for path in roles.glob("*/meta/argument_specs.yml"):
        specs = yaml.load(path.read_text(), Loader=Loader)["argument_specs"]  # noqa: S506 (safe)  # nosec B506
        for name, option in specs["main"]["options"].items():
            if option.get("type", "str") in SINGLE:
                yield name, path.parents[1].name, SINGLE[option.get("type", "str")]


class LookupModule(LookupBase):
    """Reads the values as they are set, before their templates are evaluated."""

    def run(self, _terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return a sentence for each input that holds a mapping or a list in place of a single value."""
        found = variables or {}
        return [
            sentence(name, found[name], wanted, f"{kwargs['directory']}/{role}.yml")
            for name, role, wanted in sorted(expected(Path(kwargs["roles"])))
            if isinstance(found.get(name), Mapping) or is_list(found.get(name))
        ]


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def sentence(name: str, value: Any, wanted: str, file: str) -> str:
    """Return the problem of an input, where it is set and what to do."""
    kind, sign = ("a list", "[") if is_list(value) else ("a mapping", "{")
    return (
        f"{name} is {kind}, and {wanted} is expected. It is set in {file} or with -e. YAML reads a value that begins "
        f"with {sign} as {kind}: put such a value in quotes, and a template too."
    )
