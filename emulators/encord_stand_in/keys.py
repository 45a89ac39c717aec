"""The public keys that may authenticate, read from a file of OpenSSH public keys and read again when it changes."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from encord_stand_in.watched import WatchedFile

logger = logging.getLogger(__name__)


class KeyRegistry:
    """Registered Ed25519 keys by their hexadecimal form, which Encord's headers use."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
        self._keys: dict[str, Ed25519PublicKey] = {}

    def find(self, public_key_hex: str) -> Ed25519PublicKey | None:
        """Return the registered key with this hexadecimal form, or None."""
        text = self._file.changed_text()
        if text is not None:
            self._keys = _parse(text)
            logger.info("%d public keys may authenticate", len(self._keys))
        return self._keys.get(public_key_hex.lower())


def _parse(text: str) -> dict[str, Ed25519PublicKey]:
    keys: dict[str, Ed25519PublicKey] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = load_ssh_public_key(line.strip().encode())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if isinstance(key, Ed25519PublicKey):
            keys[key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()] = key
        else:
            logger.warning("line %d of the public key file is not an OpenSSH Ed25519 public key: ignored", number)
    return keys
