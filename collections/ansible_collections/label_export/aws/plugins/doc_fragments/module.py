# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""The documentation that every module of this collection shares."""

from __future__ import annotations

import yaml
from ansible_collections.amazon.aws.plugins.doc_fragments import boto3, common, region

CHECK_AND_DIFF = """
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
  diff_mode:
    description: Shows each changed setting.
    support: full
"""


class ModuleDocFragment:
    """The options of every AWS module, from the fragments of amazon.aws, and the usual check mode and diff mode.

    A module that does otherwise in check mode or diff mode documents its own ``attributes``, which replace these.
    """

    def __init__(self) -> None:
        """Merge the fragments: Ansible does not let one fragment extend another."""
        upstream = [yaml.safe_load(fragment.ModuleDocFragment().MODULES) for fragment in (common, region, boto3)]
        self.DOCUMENTATION = yaml.safe_dump(
            {
                **yaml.safe_load(CHECK_AND_DIFF),
                "options": {name: option for part in upstream for name, option in part["options"].items()},
                "requirements": [line for part in upstream for line in part.get("requirements", [])],
                "notes": [line for part in upstream for line in part.get("notes", [])],
            }
        )
