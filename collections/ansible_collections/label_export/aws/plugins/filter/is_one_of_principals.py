# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter: whether a caller is one of the users and roles that a policy names."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: is_one_of_principals
short_description: Return whether a caller is one of some users and roles
description:
  - Compares the ARN that GetCallerIdentity returns with ARNs as a condition on C(aws:PrincipalArn) has them, C(*) and
    C(?) included.
  - The ARN of a role's session has the role's name without its path. Names of roles are unique in an account, so the
    name alone is compared.
  - The account's root is always one of them.
author: The label-export contributors
options:
  _input:
    description: The caller's ARN.
    type: str
    required: true
  principals:
    description: ARNs of users and roles.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a deployer who is not among the readers
  ansible.builtin.assert:
    that: caller.arn | label_export.aws.is_one_of_principals(readers)
"""

RETURN = r"""
_value:
  description: Whether one of the ARNs stands for the caller.
  type: bool
"""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

SESSION = re.compile(r"(arn:[^:]+):sts:(:\d+):assumed-role/([^/]+)/.+")


def is_one_of_principals(caller: str, principals: Iterable[str]) -> bool:
    """Return whether one of ``principals`` stands for ``caller``, or the caller is the account's root."""
    if caller.endswith(":root"):
        return True
    session = SESSION.fullmatch(caller)
    if session is None:
        return any(matches(principal, caller) for principal in principals)
    role = f"{session[1]}:iam:{session[2]}:role/{session[3]}"
    return any(matches(without_path(principal), role) for principal in principals)


def without_path(principal: str) -> str:
    """Return a role's ARN, or a pattern of one, without the role's path."""
    kind, slash, name = principal.partition(":role/")
    return f"{kind}{slash}{name.rpartition('/')[2]}"


def matches(pattern: str, arn: str) -> bool:
    # In IAM only * and ? are special; fnmatch would read [ as the start of a set of characters.
    return re.match(translate(pattern.replace("[", "[[]")), arn) is not None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., bool]]:
        return {"is_one_of_principals": is_one_of_principals}
