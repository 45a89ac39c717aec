"""The SDK's configuration, from a private key in any pasted form. No error contains the key's text."""

from __future__ import annotations

import re
from contextlib import suppress

from encord.configs import SshConfig
from encord.http.constants import RequestsSettings
from label_export.core.errors import PermanentError

_OPENSSH = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END OPENSSH PRIVATE KEY-----", re.DOTALL)
_LINE = 70


def ssh_config(text: str, passphrase: str | None, domain: str, settings: RequestsSettings) -> SshConfig:
    """Return the SDK's configuration for a key; raises PermanentError("private_key").

    The SDK's errors may contain the whole key (a ValueError for a key that is not Ed25519), so they are not chained.
    """
    config = None
    pem = normalised(text)
    with suppress(Exception):  # any error may contain the key's text
        config = SshConfig.from_ssh_private_key(pem, passphrase, requests_settings=settings, domain=domain)
    if config is None:
        raise PermanentError(
            "private_key",
            "the Encord private key cannot be used: it must be an OpenSSH Ed25519 key, its passphrase right",
        )
    return config


def normalised(text: str) -> str:
    r"""Undo what pasting does to a key: CRLF, newlines that became spaces or a literal \n, a lost last newline."""
    found = _OPENSSH.search(text)
    if found is None:
        raise PermanentError(
            "private_key", "the Encord private key cannot be used: it is not a whole OpenSSH private key"
        )
    packed = re.sub(r"\\[rn]|\s", "", found[1])
    lines = [packed[begin : begin + _LINE] for begin in range(0, len(packed), _LINE)]
    begin_line = "-----BEGIN OPENSSH PRIVATE KEY-----"  # pragma: allowlist secret - a header, not a key
    return "\n".join([begin_line, *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
