# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: why a function's own code refuses its settings."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: refused_settings
short_description: Check a function's settings with the function's own code
description:
  - Returns the message with which the function would refuse its environment, or an empty text if it would start.
  - The function's code is imported in the process of the task, which ends with the task.
author: The label-export contributors
options:
  _terms:
    description: The function's environment variables, as dictionaries. A later one adds to those before it.
    type: list
    elements: dict
    required: true
  package:
    description: The function's Python package, such as C(label_export).
    type: str
    required: true
  source:
    description: The directory that has the package, and the package C(label_export).
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Ensure that the function would start
  ansible.builtin.assert:
    that: lookup('label_export.aws.refused_settings', {}, package='label_export', source='lambda') == ''
"""

RETURN = r"""
_raw:
  description: The message, or an empty text.
  type: list
  elements: str
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """Imports the function's code, and runs it with the environment."""

    def run(self, terms: list[dict[str, Any]], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the message with which the function refuses its settings."""
        environment = {name: str(value) for term in terms for name, value in term.items()}
        with importing_from(kwargs["source"]):
            errors = import_module("label_export.core.errors")
            settings = import_module(f"{kwargs['package']}.settings")
        try:
            settings.Settings.from_environment(environment)
        except errors.SettingsError as error:
            return [str(error)]
        return [""]


@contextmanager
def importing_from(directory: str) -> Iterator[None]:
    """Import from the directory first, and leave no bytecode there: it would be part of the image's content."""
    writes_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        sys.dont_write_bytecode = writes_no_bytecode
