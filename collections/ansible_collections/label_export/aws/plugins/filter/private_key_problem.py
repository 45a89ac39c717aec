# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter: the problem of an Encord private key, without any of its text."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: private_key_problem
short_description: Return the problem of an Encord private key
description:
  - Returns the reason why a text is not a private key that Encord accepts, as a sentence; an empty text if it is one.
  - Encord keys are Ed25519 in OpenSSH's format. The sentence never contains any of the key's text.
author: The label-export contributors
options:
  _input:
    description: The key's text.
    type: str
    required: true
  has_passphrase:
    description: Whether the function gets a passphrase. Without one, an encrypted key is refused.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Refuse a key that cannot be used
  ansible.builtin.assert:
    that: lookup('file', 'key') | label_export.aws.private_key_problem == ''
"""

RETURN = r"""
_value:
  description: A sentence, or an empty text.
  type: str
"""

import base64
import re
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----"  # pragma: allowlist secret - what a key begins with, and no key
END = "-----END OPENSSH PRIVATE KEY-----"
# As in the function, so that both accept the same texts.
OPENSSH_KEY = re.compile(f"{BEGIN}(.*?){END}", re.DOTALL)
ENCRYPTED = (
    "It is encrypted with a passphrase, and encord_secrets_private_key_passphrase_secret_arn names no secret that "
    "holds it. Name one, or write the key without a passphrase to another file: "
    "cp <the file> <another file> && ssh-keygen -p -N '' -f <another file>"
)
# In OpenSSH's format a public key begins with the length and the name of its type.
ED25519_PUBLIC_KEY = b"\0\0\0\x0bssh-ed25519"


def private_key_problem(text: str, has_passphrase: bool = True) -> str:
    """Return why ``text`` is not an Encord private key, as a sentence without any of its text; empty if it is one.

    ``has_passphrase``: whether the function gets a passphrase for it.
    """
    found = OPENSSH_KEY.search(text)
    if found is None:
        return other_problem(text)
    # Environment variables and forms turn line ends into spaces or the two characters \n.
    return body_problem(re.sub(r"\\r|\\n|\s", "", found[1]), has_passphrase)


def other_problem(text: str) -> str:
    """Return the problem of a text without a key in OpenSSH's format."""
    start = text.lstrip("\ufeff \t\r\n")
    if not start:
        return "It is empty."
    if "\0" in text:
        return "It has NUL characters in it: it is not the text of a key."
    if start.startswith("PuTTY-User-Key-File"):
        return "It is in PuTTY's format. Convert it with: puttygen <the file> -O private-openssh-new -o <another file>"
    if start.startswith(("ssh-", "ecdsa-")):
        return "It is a public key; use the private key, the file without .pub at its end."
    if is_base64_of_key(start):
        return "It is the base64 of a key. Decode it with: base64 --decode"
    return f"It does not begin with {BEGIN} and end with {END}: it is not a private key in OpenSSH's format."


def is_base64_of_key(text: str) -> bool:
    """Return whether a text is a whole key in base64, as some secret stores need it."""
    return text.startswith(base64.b64encode(BEGIN.encode()).decode()[:32])


def body_problem(body: str, has_passphrase: bool) -> str:
    """Return the same for the text between a key's first and last line, without white space."""
    lines = [body[start : start + 70] for start in range(0, len(body), 70)]
    canonical = "\n".join([BEGIN, *lines, END, ""]).encode()
    try:
        is_ed25519 = isinstance(load_ssh_private_key(canonical, password=None), Ed25519PrivateKey)
    # Each of these errors may contain the key's text, so they are not chained or shown.
    except TypeError:
        # Encrypted: the function decrypts it with its passphrase. The public key and its type are not encrypted.
        is_ed25519 = ED25519_PUBLIC_KEY in base64.b64decode(body)
        if is_ed25519 and not has_passphrase:
            return ENCRYPTED
    except (ValueError, UnsupportedAlgorithm):
        return "It is damaged: the text between its first and last line is not a key."
    return "" if is_ed25519 else "It is not an Ed25519 key; create one with: ssh-keygen -t ed25519"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"private_key_problem": private_key_problem}
