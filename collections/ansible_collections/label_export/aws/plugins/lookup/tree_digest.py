# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: one digest over everything in files and directories."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: tree_digest
short_description: A digest of everything in files and directories
description:
  - Returns the SHA-256 over the relative path and the content of every file, in a fixed order, so that it is the same
    on every machine with the same files. Modes, times, links and the order of a listing do not count.
  - Below a directory, only files of the kinds that a package has count (C(.py), C(.html), C(.json), C(.sql), C(.css),
    C(.js)). So byte code, hidden files and what editors and systems leave do not. A link counts as its target.
author: The label-export contributors
options:
  _terms:
    description: Files and directories. A directory counts with everything below it.
    required: true
"""

EXAMPLES = r"""
- name: Show what the image's content hashes to
  ansible.builtin.debug:
    msg: "{{ lookup('label_export.aws.tree_digest', 'lambda/label_export', 'lambda/Dockerfile') }}"
"""

RETURN = r"""
_raw:
  description: One digest over all terms, 64 hexadecimal digits.
  type: list
  elements: str
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

# What a package holds. Role handler_image names the same, so that nothing else reaches an image.
KINDS = frozenset({".py", ".html", ".json", ".sql", ".css", ".js"})


def files_below(path: Path) -> list[tuple[str, Path]]:
    """Return the files that count below a path, sorted, as pairs of relative name and path."""
    if path.is_file():
        return [(path.name, path)]
    found = []
    for folder, folders, files in os.walk(path, followlinks=True):
        # The path of a directory, so that a link to a directory above it is not followed endlessly.
        above = {parent.resolve() for parent in [Path(folder), *Path(folder).parents]}
        folders[:] = [each for each in folders if each[0] != "." and Path(folder, each).resolve() not in above]
        for name in files:
            file = Path(folder, name)
            if file.suffix in KINDS and name[0] != "." and file.is_file():
                found.append((f"{path.name}/{file.relative_to(path).as_posix()}", file))
    return sorted(found)


def tree_digest(paths: Iterable[Path]) -> str:
    """Return the digest over all paths; raises FileNotFoundError for one that is not there."""
    digest = hashlib.sha256()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
        for name, file in files_below(path):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [tree_digest([Path(term) for term in terms])]
        except OSError as error:
            raise AnsibleLookupError(f"tree_digest: cannot read {error.filename or error}") from error
