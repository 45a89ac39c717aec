"""Encord's private key: read from its text, however that was pasted, and the signatures that it makes.

The cryptography library's errors can contain the key's text, so they are not logged, kept or chained.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from label_export.core.errors import ExportError, PermanentError
from label_export.retry import Retry

ReadText = Callable[[Retry], str | None]

_OPENSSH = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END OPENSSH PRIVATE KEY-----", re.DOTALL)
_ANY_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_LINE = 70
STALE_FOR = 3600.0  # seconds: the longest use of a key after the secret's text stopped being a key


@dataclass(frozen=True, slots=True)
class TextSource:
    """`read` returns the current text, `refresh` reads it again and returns None if it is unchanged."""

    read: ReadText
    refresh: ReadText


class EncordKey:
    """A private key that signs requests to Encord. Its repr shows nothing of it."""

    __slots__ = ("_key", "_public_hex", "digest")

    def __init__(self, text: str, passphrase: str | None = None) -> None:
        """Read an OpenSSH Ed25519 key; raises PermanentError("private_key") that names the problem, never the text."""
        self._key = _load(text, passphrase)
        self._public_hex = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        """A digest that changes with the key's text, so that the text itself is not kept."""

    def __repr__(self) -> str:
        return "EncordKey(...)"

    def authorization(self, body: bytes) -> str:
        """Return the Authorization header of a request to Encord's project endpoint with this body.

        It is `<public key hex>:<signature hex>`, the signature over the SHA-256 of the body (SDK: encord/configs.py).
        """
        return f"{self._public_hex}:{self._key.sign(hashlib.sha256(body).digest()).hex()}"

    def rest_headers(self, method: str, target: str, created: int) -> dict[str, str]:
        """Return the headers that sign a request without a body to Encord's REST API.

        `target` is the path with the query, `created` Unix seconds. Source: encord/http/v2/request_signer.py.
        """
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(b'').digest()).decode()}:"
        covered = '("@method" "@request-target" "content-digest")'
        params = f'{covered};created={created};keyid="{self._public_hex}";alg="ed25519"'
        signed = "\n".join(
            [
                f'"@method": {method}',
                f'"@request-target": {target}',
                f'"content-digest": {digest}',
                f'"@signature-params": {params}',
            ]
        )
        signature = base64.b64encode(self._key.sign(signed.encode())).decode()
        return {
            "Content-Digest": digest,
            "Signature-Input": f"encord-sig={params}",
            "Signature": f"encord-sig=:{signature}:",
        }


def _load(text: str, passphrase: str | None) -> Ed25519PrivateKey:
    pem = _normalised(text)
    key: object = None
    problem = ""
    try:
        key = load_ssh_private_key(pem, passphrase.encode() if passphrase else None)
    except TypeError:  # raised if a passphrase is missing or not needed
        problem = (
            "it does not need the passphrase that is set" if passphrase else "it is encrypted and no passphrase is set"
        )
    except Exception:  # noqa: BLE001  (any error may contain the key's text)
        problem = f"it cannot be read; {_doubt(passphrase)}"
    if not problem and not isinstance(key, Ed25519PrivateKey):
        problem = "it is not an Ed25519 key (ssh-keygen -t ed25519 creates one)"
    if problem or not isinstance(key, Ed25519PrivateKey):
        raise PermanentError(
            "private_key", f"the Encord private key cannot be used: {problem}"
        )  # outside of `except`: no context
    return key


def _doubt(passphrase: str | None) -> str:
    if not passphrase:
        return "is it whole?"
    if passphrase != passphrase.strip():
        return "the passphrase has a line end or white space around it: store it without (printf %s)"
    return "is the passphrase right?"


def _normalised(text: str) -> bytes:
    r"""Undo what pasting does to a key: CRLF, newlines that became spaces or a literal \n, a lost last newline."""
    found = _OPENSSH.search(text)
    if found is None:
        other = _ANY_PEM.search(text)
        if other is not None and "OPENSSH" not in other[1]:
            problem = f"it is a PEM of the kind {other[1]!r}, not an OpenSSH private key"
        elif text.lstrip().startswith("ssh-"):
            problem = "it is the public key; the private one is in the file without .pub"
        elif not text.strip():
            problem = "it is empty"
        else:
            problem = "it has no whole BEGIN and END OPENSSH PRIVATE KEY lines"
        raise PermanentError("private_key", f"the Encord private key cannot be used: {problem}")
    packed = re.sub(r"\\[rn]|\s", "", found[1])
    lines = [packed[begin : begin + _LINE] for begin in range(0, len(packed), _LINE)]
    begin_line = "-----BEGIN OPENSSH PRIVATE KEY-----"  # pragma: allowlist secret - what a key begins with, and no key
    end_line = "-----END OPENSSH PRIVATE KEY-----"
    return "\n".join([begin_line, *lines, end_line, ""]).encode("ascii", "replace")


class KeyReader:
    """Reads the private key, and decrypts it only if its text or passphrase changed (that takes 0.2 s).

    Not thread-safe: CurrentKey calls it under its lock.
    """

    def __init__(
        self,
        text: TextSource,
        passphrase: TextSource,
        on_stale: Callable[[ExportError], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_stale` is called with the reason if a text is not a key, and the previous key stays in use."""
        self._text = text
        self._passphrase = passphrase
        self._on_stale = on_stale
        self._clock = clock
        self._seen: tuple[str | None, str | None] | None = None
        self._unusable: tuple[str | None, str | None] | None = None
        self._key: EncordKey | None = None
        self._current_at = 0.0

    def read(self, retry: Retry) -> EncordKey:
        """Return the key; if it cannot be used, read it once more, in case it was just replaced."""
        problem = ""
        try:
            return self._read(retry)
        except PermanentError as error:
            if error.reason != "private_key":
                raise
            problem = str(error)
        changed = self.refresh(retry)
        if changed is None:
            raise PermanentError("private_key", problem)
        return changed

    def refresh(self, retry: Retry) -> EncordKey | None:
        """Read the key again and return it if it or its passphrase changed, otherwise None."""
        changed = [self._text.refresh(retry), self._passphrase.refresh(retry)]
        return self._read(retry) if any(text is not None for text in changed) else None

    def _read(self, retry: Retry) -> EncordKey:
        seen = (self._text.read(retry), self._passphrase.read(retry))
        if self._key is None or seen != self._seen:
            may_be_stale = self._key is not None and self._clock() - self._current_at <= STALE_FOR
            if self._key is not None and may_be_stale and seen == self._unusable:
                return self._key
            try:
                self._key = EncordKey(seen[0] or "", seen[1])
            except PermanentError as error:
                if self._key is None or not may_be_stale:
                    raise
                self._unusable = seen
                self._on_stale(error)
                return self._key
            self._seen = seen
        self._current_at = self._clock()
        return self._key
