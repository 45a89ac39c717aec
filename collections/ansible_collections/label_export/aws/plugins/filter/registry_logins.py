# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter: the logins that a Docker configuration contains, without credential helpers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: registry_logins
short_description: Return the logins that a Docker configuration contains itself
description:
  - Returns the entries of C(auths) with a user name and a password, by registry.
  - Entries without them, whose login a credential helper has, are left out, and so are malformed entries. A text that
    is no Docker configuration has no logins.
author: The label-export contributors
options:
  _input:
    description: The text of C(~/.docker/config.json).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show for which registries there is a login
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', '~/.docker/config.json') | label_export.aws.registry_logins).keys() }}"
"""

RETURN = r"""
_value:
  description: For each registry a dictionary with C(auth), the user name and the password in base64. A secret.
  type: dict
"""

import base64
import json
from collections.abc import Callable
from typing import Any


def registry_logins(text: str) -> dict[str, dict[str, str]]:
    """Return the logins of a Docker configuration that need no helper; none for any other text."""
    try:
        entries = json.loads(text)["auths"].items()
    except (ValueError, TypeError, LookupError, AttributeError):
        return {}
    return {registry: {"auth": entry["auth"]} for registry, entry in entries if is_login(entry)}


def is_login(entry: Any) -> bool:
    """Return whether an entry holds ``<user name>:<password>`` in base64, as Docker writes it."""
    try:
        return ":" in base64.b64decode(entry["auth"], validate=True).decode()
    except (ValueError, TypeError, LookupError):
        return False


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"registry_logins": registry_logins}
