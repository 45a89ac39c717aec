# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: a private key's file, or why it cannot be read."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: key_file
short_description: Read a private key's file, or return why it cannot be read
description:
  - Returns a dictionary with C(text), the file's text, and C(problem), the reason if there is none. A file
    that is missing or cannot be read does not fail the lookup, so that a preflight can report it.
  - A file that is encrypted with ansible-vault is decrypted.
author: The label-export contributors
options:
  _terms:
    description:
      - The file's path, which may begin with C(~) or have environment variables in it. Empty for none.
    type: list
    elements: str
    required: true
  directory:
    description: The directory that a relative path is taken from.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Refuse a key that cannot be read
  ansible.builtin.assert:
    that: lookup('label_export.aws.key_file', 'key', directory=inventory_dir).problem == ''
"""

RETURN = r"""
_raw:
  description: The text and the problem, one of which is empty.
  type: list
  elements: dict
"""

import codecs
import getpass
import os
import stat
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# A private key has some hundred bytes.
MAXIMUM_BYTES = 65_536
VAULT = b"$ANSIBLE_VAULT;"
KINDS = {
    stat.S_IFDIR: "is a directory. Name the file in it",
    stat.S_IFIFO: "is a named pipe, which can be read only once. Write the key to a file, and name that",
    stat.S_IFSOCK: "is a socket. Name the file of the key",
    stat.S_IFCHR: "is a device. Name the file of the key",
    stat.S_IFBLK: "is a device. Name the file of the key",
}


class FileProblem(Exception):  # noqa: N818 - it is not raised further: its text becomes a result
    """The reason why a file is not a key's text, as a sentence."""


class LookupModule(LookupBase):
    """Reads one file."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        """Return text and problem of the term's file."""
        try:
            text = self._text(str(terms[0]), Path(kwargs["directory"]))
        except FileProblem as problem:
            return [{"text": "", "problem": str(problem)}]
        return [{"text": text, "problem": ""}]

    def _text(self, name: str, directory: Path) -> str:
        if not name:
            return ""
        try:
            path = directory / os.path.expandvars(Path(name).expanduser())
        except RuntimeError:
            raise FileProblem(f"There is no file {name}: no user of this machine has that home directory.") from None
        content = read(path, name, directory)
        if content.lstrip().startswith(VAULT):
            content = self._decrypted(content.strip(), path)
        return decoded(content, path)

    def _decrypted(self, content: bytes, path: Path) -> bytes:
        try:
            return bytes(self._loader._vault.decrypt(content))
        except AnsibleError:  # its text may contain what it could not decrypt
            known = bool(getattr(self._loader._vault, "secrets", None))
        advice = (
            "none of the given passwords decrypts it. Check --vault-password-file, or the password that you typed."
            if known
            else "no password was given. Add --ask-vault-pass or --vault-password-file."
        )
        raise FileProblem(f"The file {path} is encrypted with ansible-vault, and {advice}")


def read(path: Path, name: str, directory: Path) -> bytes:
    """Return a regular file's bytes. Raises FileProblem with the reason and what to do."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileProblem(f"{path} {KINDS.get(stat.S_IFMT(status.st_mode), 'is not a file')}.")
        if status.st_size > MAXIMUM_BYTES:
            raise FileProblem(f"The file {path} has {status.st_size} bytes, and no private key is that long.")
        return path.read_bytes()
    except FileNotFoundError:
        raise FileProblem(missing(path, name, directory)) from None
    except PermissionError:
        raise FileProblem(
            f"The file {path} cannot be read by the user {user()}: its mode, or that of a directory above it, does "
            f"not allow "
            f"it. Type, as its owner: chmod u+r {path}; or run the playbook as its owner."
        ) from None
    except RuntimeError:  # how Python before 3.13 reports a loop
        raise FileProblem(f"{path} is a link that leads back to itself. Name the file of the key.") from None
    except ValueError:
        raise FileProblem(f"The path {path!r} has a NUL in it.") from None
    except OSError as error:
        reason = "is a link that leads back to itself" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise FileProblem(f"{path} {reason}. Name the file of the key.") from None


def missing(path: Path, name: str, directory: Path) -> str:
    """Return the sentence about a file that does not exist."""
    if path.is_symlink():
        return f"{path} is a link to {os.readlink(path)}, which does not exist."
    if name != name.strip():
        return f"There is no file {str(path)!r}: the path begins or ends with white space."
    if "$" in str(path):
        return f"There is no file {path}: an environment variable in it is not set."
    if name.startswith("file:"):
        return f"There is no file {path}. Give a path, not a URL."
    if not Path(name).is_absolute() and not name.startswith("~"):
        here = Path.cwd() / name
        hint = f" There is {here}: write this whole path." if here.exists() else ""
        return f"There is no file {path}: a relative path is taken from the inventory's directory, {directory}.{hint}"
    return f"There is no file {path}."


def decoded(content: bytes, path: Path) -> str:
    """Return the text of a file. Raises FileProblem where it is not UTF-8, without any of it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileProblem(
            f"The file {path} is UTF-16, as PowerShell's > writes it. Type: iconv -f UTF-16 -t UTF-8 {path} > "
            f"{path}.utf8; "
            "chmod 600 the new file, and name it."
        )
    if b"\0" in content:
        raise FileProblem(f"The file {path} has NUL bytes in it: it is not a text. Name the file that ssh-keygen made.")
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise FileProblem(f"The file {path} is not a text in UTF-8. Name the file that ssh-keygen made.") from None


def user() -> str:
    """Return the name of the user of this process, or its number if it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
