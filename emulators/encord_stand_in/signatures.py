"""Verification of Encord's two request signatures. No part of a request is used before it is verified.

Legacy (``POST /public``), source ``encord.configs.SshConfig``: ``Authorization: <public key hex>:<signature hex>``,
with an Ed25519 signature over the SHA-256 of the body. Path and headers are not covered, as in Encord.

REST (``/v2/public/...``), source ``encord.http.v2.request_signer``, after a draft of RFC 9421::

    Content-Digest: sha-256=:<base64>:
    Signature-Input: encord-sig=("@method" "@request-target" "content-digest");created=...;keyid="...";alg="ed25519"
    Signature: encord-sig=:<base64>:
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from encord_stand_in.keys import KeyRegistry

REQUIRED_COMPONENTS = frozenset({"@method", "@request-target", "content-digest"})

_INPUT = re.compile(r'(?P<label>[a-z*][a-z0-9_.*-]*)=(?P<value>\((?P<components>(?:"[^"]*"\s*)*)\)(?P<parameters>.*))')
_PARAMETER = re.compile(r';\s*(?P<name>[a-z]+)=(?:"(?P<text>[^"\\]*)"|(?P<number>-?\d+))')
_LEGACY = re.compile(r"(?P<key>[0-9a-fA-F]{64}):(?P<signature>[0-9a-fA-F]{128})")


class RefusedError(Exception):
    """A request whose verification failed. ``reason`` is a short key for counters, without data of the request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The parts that a signature can cover. ``target`` is path and query as sent; ``headers`` has lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def verify_legacy(request: SignedRequest, keys: KeyRegistry) -> str:
    """Return the hexadecimal public key that signed the body. Raises RefusedError."""
    header = request.headers.get("authorization")
    if not header:
        raise RefusedError("missing_authorization")
    match = _LEGACY.fullmatch(header)
    if match is None:
        raise RefusedError("malformed_authorization")
    key = _registered(match["key"], keys)
    _verify(key, bytes.fromhex(match["signature"]), hashlib.sha256(request.body).digest())
    return match["key"].lower()


def verify_rest(request: SignedRequest, keys: KeyRegistry, *, now: float, tolerance: float) -> str:
    """Return the hexadecimal public key that signed method, target and digest of the body. Raises RefusedError."""
    headers = request.headers
    if not all(headers.get(name) for name in ("content-digest", "signature-input", "signature")):
        raise RefusedError("missing_signature_headers")
    match = _INPUT.fullmatch(headers["signature-input"])
    if match is None:
        raise RefusedError("malformed_signature_input")
    components = re.findall(r'"([^"]*)"', match["components"])
    parameters = _parameters(match["parameters"])
    if not set(components) >= REQUIRED_COMPONENTS:
        raise RefusedError("missing_component")
    if parameters.get("alg") != "ed25519":
        raise RefusedError("wrong_algorithm")
    _check_created(parameters.get("created", ""), now, tolerance)
    _check_digest(headers["content-digest"], request.body)
    key = _registered(parameters.get("keyid", ""), keys)
    lines = [f'"{name}": {_component(name, request)}' for name in components]
    lines.append(f'"@signature-params": {match["value"]}')
    _verify(key, _signature(headers["signature"], match["label"]), "\n".join(lines).encode())
    return parameters["keyid"].lower()


def _parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    for match in _PARAMETER.finditer(text):
        if match.start() != position or match["name"] in parameters:
            raise RefusedError("malformed_signature_input")
        parameters[match["name"]] = match["text"] if match["number"] is None else match["number"]
        position = match.end()
    if text[position:].strip():
        raise RefusedError("malformed_signature_input")
    return parameters


def _check_created(text: str, now: float, tolerance: float) -> None:
    if not text.isdigit():
        raise RefusedError("missing_created")
    age = now - int(text)
    if age > tolerance:
        raise RefusedError("stale")
    if -age > tolerance:
        raise RefusedError("future")


def _check_digest(header: str, body: bytes) -> None:
    expected = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}:"
    if not hmac.compare_digest(header.encode(), expected.encode()):
        raise RefusedError("digest_mismatch")


def _component(name: str, request: SignedRequest) -> str:
    if name == "@method":
        return request.method.upper()
    if name == "@request-target":
        return request.target
    value = request.headers.get(name)
    if value is None or name.startswith("@"):
        raise RefusedError("unknown_component")
    return value


def _signature(header: str, label: str) -> bytes:
    prefix = f"{label}=:"
    if not header.startswith(prefix) or not header.endswith(":") or len(header) <= len(prefix):
        raise RefusedError("malformed_signature")
    try:
        return base64.b64decode(header[len(prefix) : -1], validate=True)
    except binascii.Error as exc:
        raise RefusedError("malformed_signature") from exc


def _registered(public_key_hex: str, keys: KeyRegistry) -> Ed25519PublicKey:
    key = keys.find(public_key_hex)
    if key is None:
        raise RefusedError("unknown_key")
    return key


def _verify(key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    try:
        key.verify(signature, message)
    except InvalidSignature as exc:
        raise RefusedError("bad_signature") from exc
