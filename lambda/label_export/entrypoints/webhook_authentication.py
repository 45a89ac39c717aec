"""Authenticates webhooks by signature, or (for stages that show no signing secret) by URL token.

Encord signs every request: `X-Encord-Signature` is the hex HMAC-SHA256, under the stage's signing secret, of
`"{timestamp}." + raw body`; `X-Encord-Timestamp` is whole Unix seconds, valid for 300 s. Each stage may have its own
secret, and two are valid during a rotation.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from label_export.core.errors import PermanentError, RefusedRequestError

TOLERANCE = 300  # seconds
SIGNATURE_HEADER = "x-encord-signature"
TIMESTAMP_HEADER = "x-encord-timestamp"
# playbooks/verify.yml (module export_probe) signs a webhook with it that must be refused. It is refused like any other
# wrong key, but with a separate reason, so that verify raises no alarm.
PROBE_KEY = "label-export-verify: this key is public and never valid"
PROBE_REASON = "verify_probe"

_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")
# Characters that copying, an editor or `echo` add around a secret; `\\n` as the two characters too.
_SURROUNDING = re.compile(r"""^(?:\s|\ufeff|["'`])+|(?:\s|\\[nr]|["'`])+$""")
_AROUND = "a line end, white space or quotes around it: store it without"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """The secrets that authenticate a webhook. If both are empty, every webhook is refused."""

    signing_secrets: tuple[str, ...] = field(repr=False)
    url_tokens: tuple[str, ...] = field(repr=False)

    @classmethod
    def from_json(cls, text: str) -> WebhookSecrets:
        """Read `{"signing_secrets": [...], "url_tokens": [...]}`; either may be missing.

        Raises PermanentError("signing_secrets") without the text if it is anything else.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise _malformed_secret()
        return cls(_texts(value.get("signing_secrets", [])), _texts(value.get("url_tokens", [])))

    def surrounded(self) -> int:
        """Return how many secrets and tokens have white space or quotes around them, which no sender has."""
        return len(_bare(self.signing_secrets + self.url_tokens))


def authenticate(
    headers: Mapping[str, str], token: str | None, body: bytes, secrets: WebhookSecrets, now: float
) -> None:
    """Check that the request has a valid signature or URL token; raises RefusedRequestError(401) if not.

    `headers` have lower-case names, `body` is the raw body, `now` Unix seconds. The error's reason is for the log. The
    response must not contain it.
    """
    if not secrets.signing_secrets and not secrets.url_tokens:
        _refuse_probe(headers, body)
        raise _refused("no_secret_set", "no signing secret and no URL token is set: every webhook is refused")
    if token is not None and _any_equal(token, secrets.url_tokens):
        return
    if token is not None and _any_equal(token, _bare(secrets.url_tokens)):
        raise _refused("secret_white_space", f"the token matches a URL token of the secret that has {_AROUND}")
    signature = headers.get(SIGNATURE_HEADER)
    if signature is None:
        raise _refused(
            "token_wrong" if token is not None else "unsigned", f"no {SIGNATURE_HEADER} header{_successors(headers)}"
        )
    if not _SHA256_HEX.fullmatch(signature):
        raise _refused("signature_malformed", f"{SIGNATURE_HEADER} is not 64 hex digits{_successors(headers)}")
    timestamp = headers.get(TIMESTAMP_HEADER, "")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise _refused("timestamp_malformed", f"{TIMESTAMP_HEADER} is not whole Unix seconds")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise _refused("timestamp_out_of_window", f"{TIMESTAMP_HEADER} is more than {TOLERANCE} s from our clock")
    signed = timestamp.encode() + b"." + body
    if not _any_equal(signature.lower(), _signatures(signed, secrets.signing_secrets)):
        if _any_equal(signature.lower(), _signatures(signed, _bare(secrets.signing_secrets))):
            raise _refused("secret_white_space", f"{SIGNATURE_HEADER} matches a signing secret that has {_AROUND}")
        _refuse_probe(headers, body)
        raise _refused("signature_wrong", f"{SIGNATURE_HEADER} matches no signing secret{_successors(headers)}")


def _refuse_probe(headers: Mapping[str, str], body: bytes) -> None:
    """Raise RefusedRequestError(401) if this is the webhook with which playbooks/verify.yml tests the refusal."""
    signed = headers.get(TIMESTAMP_HEADER, "").encode() + b"." + body
    if _any_equal(headers.get(SIGNATURE_HEADER, "").lower(), _signatures(signed, (PROBE_KEY,))):
        raise _refused("verify_probe", "playbooks/verify.yml tests the refusal with a key that is never valid")


def _signatures(signed: bytes, secrets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(hmac.digest(secret.encode(), signed, "sha256").hex() for secret in secrets)


def _bare(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts that have line ends, white space or quotes around them, without these."""
    bare = ((text, _SURROUNDING.sub("", text)) for text in texts)
    return tuple(inner for text, inner in bare if inner and inner != text)


def _texts(items: object) -> tuple[str, ...]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _malformed_secret()
    try:
        "".join(items).encode()
    except UnicodeEncodeError:
        raise _malformed_secret("holds half of a character (\\ud800 to \\udfff)") from None
    return tuple(item for item in items if item)


def _malformed_secret(
    problem: str = 'is not JSON like {"signing_secrets": ["..."], "url_tokens": ["..."]}',
) -> PermanentError:
    return PermanentError("signing_secrets", f"the secret in LABEL_EXPORT_SIGNING_SECRETS_ARN {problem}")


def _any_equal(given: str, valid: tuple[str, ...]) -> bool:
    """Compare with all in constant time each, without stopping at the first that is equal."""
    equal = False
    for candidate in valid:
        equal |= hmac.compare_digest(given.encode("utf-8", "surrogatepass"), candidate.encode("utf-8", "surrogatepass"))
    return equal


def _successors(headers: Mapping[str, str]) -> str:
    """Return the names of headers that look like a new signature scheme of Encord."""
    names = sorted(name for name in headers if name.startswith(SIGNATURE_HEADER) and name != SIGNATURE_HEADER)
    return f" (there is also {', '.join(name[:80] for name in names[:5])})" if names else ""


def _refused(reason: str, message: str) -> RefusedRequestError:
    return RefusedRequestError(401, reason, message)
