"""The private key in any pasted form; errors name the problem but never contain the text."""

from __future__ import annotations

import hashlib
import json
import traceback
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from handler_deployment import KEY_ARN, PASSPHRASE_ARN, Deployment, openssh, public_hex
from label_export.adapters.encord.private_key import STALE_FOR, EncordKey, KeyReader, TextSource
from label_export.core.errors import PermanentError
from label_export.retry import Retry

KEY = Ed25519PrivateKey.generate()
TEXT = openssh(KEY)
ENCRYPTED = openssh(KEY, b"passphrase")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", " "),
        TEXT.replace("\n", ""),
        TEXT.replace("\n", "\\n"),
        TEXT.replace("\n", "\\r\\n"),
        TEXT.rstrip("\n"),
        "\n\n  " + TEXT + "\ntrailing",
        json.dumps(TEXT),
    ],
)
def test_keys_are_read_however_they_were_pasted(text: str) -> None:
    public, _, signature = EncordKey(text).authorization(b"body").partition(":")
    assert public == public_hex(KEY)
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
        bytes.fromhex(signature), hashlib.sha256(b"body").digest()
    )


def test_the_signature_equals_the_sdks() -> None:
    from encord.configs import SshConfig  # noqa: PLC0415  (takes seconds)

    headers = SshConfig(KEY).define_headers("p", "project", '{"a":1}')
    assert EncordKey(TEXT).authorization(b'{"a":1}') == headers["Authorization"]


def test_the_signature_of_a_rest_request_is_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    from encord.http.v2 import request_signer  # noqa: PLC0415  (takes seconds)
    from requests import Request  # noqa: PLC0415  (comes with encord)

    class Clock:
        @staticmethod
        def now() -> datetime:
            return datetime.fromtimestamp(1_800_000_000)

    monkeypatch.setattr(request_signer, "datetime", Clock)
    request = Request("GET", "https://api.encord.com/v2/public/projects/1?a=b").prepare()
    signed = request_signer.sign_request(request, public_hex(KEY), KEY).headers
    ours = EncordKey(TEXT).rest_headers("GET", "/v2/public/projects/1?a=b", 1_800_000_000)
    assert ours == {name: signed[name] for name in ours}
    assert len(ours) == 3


def test_an_encrypted_key(deployment: Deployment) -> None:
    deployment.aws.secrets[KEY_ARN] = openssh(deployment.key, b"correct")
    deployment.aws.secrets[PASSPHRASE_ARN] = "correct"
    deployment.set(LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN=PASSPHRASE_ARN)
    assert deployment.export(deployment.row()) == []


def pem(key: Any, form: PrivateFormat) -> str:
    return str(key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())


BAD = {
    "not an Ed25519 key": (openssh(rsa.generate_private_key(65537, 2048)), None),
    "not an Ed25519 key ": (openssh(ec.generate_private_key(ec.SECP256R1())), None),
    "'PRIVATE KEY', not an OpenSSH": (pem(KEY, PrivateFormat.PKCS8), None),
    "'RSA PRIVATE KEY', not": (pem(rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL), None),
    "it is the public key": (KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), None),
    "it is empty": (" \n", None),
    "no whole BEGIN and END": (TEXT[:200], None),
    "is it whole": (TEXT[:80] + TEXT[120:], None),
    "no passphrase is set": (ENCRYPTED, None),
    "is the passphrase right": (ENCRYPTED, "wrong-canary"),
    "white space around it: store it without": (ENCRYPTED, "wrong-canary\n"),
    "does not need the passphrase": (TEXT, "canary"),
    "is it whole ": (TEXT.replace("b3Bl", "\u00e9\u00e9\u00e9\u00e9"), None),
}


@pytest.mark.parametrize(("problem", "key"), BAD.items(), ids=BAD.keys())
def test_invalid_keys_are_reported_without_their_text(problem: str, key: tuple[str, str | None]) -> None:
    text, passphrase = key
    with pytest.raises(PermanentError) as caught:
        EncordKey(text, passphrase)
    assert caught.value.reason == "private_key"
    assert problem.strip() in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "the library's error holds the key's text"
    shown = "".join(traceback.format_exception(caught.value))
    for line in text.splitlines():
        assert len(line) < 20 or "-----" in line or line not in shown
    assert "canary" not in shown


def test_a_key_is_not_in_its_representation() -> None:
    assert repr(EncordKey(TEXT)) == "EncordKey(...)"


def test_a_key_stays_in_use_for_an_hour_after_its_text_became_invalid() -> None:
    good = openssh(Ed25519PrivateKey.generate())
    texts, now, stale = [good], [1000.0], list[str]()
    none = TextSource(lambda _: None, lambda _: None)
    reader = KeyReader(
        TextSource(lambda _: texts[-1], lambda _: None),
        none,
        lambda error: stale.append(error.reason),
        clock=lambda: now[0],
    )
    retry = Retry(lambda: 60.0)
    key = reader.read(retry)
    texts.append('{"half": "a JSON')
    assert [reader.read(retry) is key for _ in range(3)] == [True] * 3
    assert stale == ["private_key"], "once, not for each use"
    now[0] += STALE_FOR + 1
    with pytest.raises(PermanentError, match="no whole BEGIN and END"):
        reader.read(retry)
    texts.append(openssh(Ed25519PrivateKey.generate()))
    assert reader.read(retry).digest != key.digest
