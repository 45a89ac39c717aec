"""The check of the private key before a deploy: it reports what is wrong, and never the key."""

from __future__ import annotations

import base64
import re

import pytest
from ansible_collections.label_export.aws.plugins.filter.private_key_problem import (
    BEGIN,
    END,
    FilterModule,
    private_key_problem,
)
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from label_export.adapters.encord.private_key import EncordKey
from label_export.core.errors import PermanentError

PASSPHRASE = BestAvailableEncryption(b"passphrase")


def text_of(
    key: PrivateKeyTypes,
    form: PrivateFormat = PrivateFormat.OpenSSH,
    encryption: KeySerializationEncryption | None = None,
) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


KEY = Ed25519PrivateKey.generate()
GOOD = text_of(KEY)
ENCRYPTED = text_of(KEY, encryption=PASSPHRASE)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
BODY = "".join(GOOD.splitlines()[1:-1])


def with_body(body: str) -> str:
    return f"{BEGIN}\n{body}\n{END}\n"


@pytest.mark.parametrize("text", [GOOD, ENCRYPTED], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("\n", "\r\n"), ("\n", "\\n"), ("\n", "\\r\\n"), ("\n", " "), ("\n", "")],
    ids=["as it is", "CRLF", "literal \\n", "literal \\r\\n", "spaces", "one line"],
)
@pytest.mark.parametrize("around", ["", "\n", "  \n", '"'])
def test_a_valid_key_has_no_problem_however_it_was_pasted(text: str, old: str, new: str, around: str) -> None:
    assert private_key_problem(around + text.replace(old, new) + around) == ""


NOT_OPENSSH = "not a private key in OpenSSH's format"
NOT_ED25519 = "not an Ed25519 key"
DAMAGED = "It is damaged"
BAD = {
    "empty": ("", "It is empty"),
    "white space": (" \n\t", "It is empty"),
    "public": (PUBLIC, "It is a public key"),
    "public, of another type": ("ecdsa-sha2-nistp256 AAAA", "It is a public key"),
    "a word": ("changeme", NOT_OPENSSH),
    "PKCS#8": (text_of(KEY, PrivateFormat.PKCS8), NOT_OPENSSH),
    "PKCS#8, encrypted": (text_of(KEY, PrivateFormat.PKCS8, PASSPHRASE), NOT_OPENSSH),
    "RSA in its own format": (text_of(RSA, PrivateFormat.TraditionalOpenSSL), NOT_OPENSSH),
    "no last line": (GOOD.replace(END, ""), NOT_OPENSSH),
    "no first line": (GOOD.replace(BEGIN, ""), NOT_OPENSSH),
    "RSA": (text_of(RSA), NOT_ED25519),
    "RSA, encrypted": (text_of(RSA, encryption=PASSPHRASE), NOT_ED25519),
    "EC": (text_of(EC), NOT_ED25519),
    "EC, encrypted": (text_of(EC, encryption=PASSPHRASE), NOT_ED25519),
    "no body": (with_body(""), DAMAGED),
    "half a body": (with_body(BODY[: len(BODY) // 2]), DAMAGED),
    "no base64": (with_body("!" + BODY[1:]), DAMAGED),
    "letters of no alphabet": (with_body("ä" + BODY[1:]), DAMAGED),
    "two lines swapped": (with_body("\n".join(reversed(GOOD.splitlines()[1:-1]))), DAMAGED),
    "another key's half": (
        with_body(BODY[:100] + "".join(text_of(Ed25519PrivateKey.generate()).splitlines()[1:-1])[100:]),
        DAMAGED,
    ),
    "the body twice": (with_body(BODY + BODY), DAMAGED),
}


@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD.keys())
def test_an_invalid_key_is_reported_with_its_problem(text: str, problem: str) -> None:
    assert problem in private_key_problem(text)


@pytest.mark.parametrize("text", [GOOD, ENCRYPTED], ids=["plain", "encrypted"])
def test_a_key_that_was_cut_off_anywhere_is_damaged(text: str) -> None:
    body = "".join(text.splitlines()[1:-1])
    answers = {private_key_problem(with_body(body[:length])).split(":")[0] for length in range(0, len(body) - 4)}
    assert answers == {DAMAGED}


@pytest.mark.parametrize(
    "text",
    [*(text for text, _ in BAD.values()), GOOD, GOOD.replace("\n", "\\n"), GOOD.replace("\n", " "), f"'{GOOD}' # mine"],
    ids=[*BAD, "good", "literal \\n", "spaces", "a comment"],
)
def test_the_function_takes_the_same_keys(text: str) -> None:
    try:
        EncordKey(text)
        taken = True
    except PermanentError as error:
        # The passphrase of an encrypted key is a separate secret, which the filter does not have.
        taken = "it is encrypted" in str(error) and NOT_ED25519 not in private_key_problem(text)
    assert (private_key_problem(text) == "") is taken


def letters_shown(text: str) -> list[str]:
    """Return the parts of the key's body in the answer, eight letters at a time."""
    message = private_key_problem(text)
    body = re.sub(r"\\r|\\n|\s", "", re.sub("-----[^-]*-----", "", text))
    return [body[start : start + 8] for start in range(len(body) - 7) if body[start : start + 8] in message]


@pytest.mark.parametrize(
    "text", [*(text for text, _ in BAD.values()), GOOD, ENCRYPTED], ids=[*BAD, "good", "encrypted"]
)
def test_no_answer_contains_any_of_the_key(text: str) -> None:
    assert letters_shown(text) == []


def test_no_answer_contains_any_of_a_key_with_one_changed_letter() -> None:
    for position in range(len(BODY)):
        for letter in ("A", "=", "-", "\x00"):
            text = with_body(BODY[:position] + letter + BODY[position + 1 :])
            assert letters_shown(text) == []


def test_the_filters_name() -> None:
    assert FilterModule().filters() == {"private_key_problem": private_key_problem}


def test_the_samples_are_what_they_are_called() -> None:
    assert base64.b64decode(BODY).startswith(b"openssh-key-v1\0")
    assert b"aes256-ctr" in base64.b64decode("".join(ENCRYPTED.splitlines()[1:-1]))
