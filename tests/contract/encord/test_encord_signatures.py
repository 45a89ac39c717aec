"""Both signature schemes are really verified: an invalid request is refused, counted by reason, and not answered."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord import EncordUserClient
from encord.exceptions import AuthenticationError, SshKeyNotFound
from encord.http.v2 import request_signer
from encord_harness import public_key_text

LISTING = json.dumps({"query_type": "labelrowmetadata", "query_method": "GET", "values": {"uid": None, "payload": {}}})


def refused(stand_in: Any) -> dict[str, int]:
    reasons: dict[str, int] = stand_in.counts()["refused"]
    return reasons


# --- legacy ---------------------------------------------------------------------------------------------------------


def test_a_signed_query_is_answered(caller: Any, stand_in: Any) -> None:
    answer = caller.legacy(LISTING)
    assert answer.json()["status"] == 200
    assert refused(stand_in) == {}


def flipped(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value: "", "missing_authorization"),
        (lambda value: value.replace(":", ""), "malformed_authorization"),
        (lambda value: "Bearer " + value, "malformed_authorization"),
        (lambda value: value[:-2], "malformed_authorization"),
        (lambda value: value.split(":")[0] + ":" + flipped(value.split(":")[1]), "bad_signature"),
        (lambda value: "00" * 32 + ":" + value.split(":")[1], "unknown_key"),
    ],
)
def test_a_changed_authorization_is_refused(
    caller: Any, stand_in: Any, change: Callable[[str], str], reason: str
) -> None:
    headers = caller.legacy_headers(LISTING)
    headers["Authorization"] = change(headers["Authorization"])
    answer = caller.legacy(LISTING, headers)
    assert answer.status_code == 200
    assert answer.json()["status"] == 401
    assert "data_hash" not in answer.text
    assert refused(stand_in) == {reason: 1}


def test_a_changed_body_is_refused(caller: Any, stand_in: Any) -> None:
    answer = caller.legacy(LISTING.replace("null", '"x"'), caller.legacy_headers(LISTING))
    assert answer.json() == {"status": 401, "response": ["AUTHENTICATION_ERROR"], "payload": None}
    assert refused(stand_in) == {"bad_signature": 1}


def test_the_key_of_another_signer_is_refused(caller: Any, stand_in: Any, new_key: Ed25519PrivateKey) -> None:
    """Signed with a second registered key, but naming the first."""
    with stand_in.files.public_keys.open("a") as stream:
        stream.write(public_key_text(new_key))
    headers = caller.legacy_headers(LISTING)
    digest = hashlib.sha256(LISTING.encode()).digest()
    headers["Authorization"] = headers["Authorization"].split(":")[0] + ":" + new_key.sign(digest).hex()
    assert caller.legacy(LISTING, headers).json()["status"] == 401
    assert refused(stand_in) == {"bad_signature": 1}


def test_another_path_or_method_is_not_found(caller: Any, stand_in: Any) -> None:
    assert caller.legacy(LISTING, path="/public/user").status_code == 404
    answer = stand_in.session.get(f"{stand_in.url}/public", headers=caller.legacy_headers(""))
    assert answer.json()["response"] == ["METHOD_NOT_ALLOWED_ERROR"]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("[]", "INVALID_ARGUMENTS_ERROR"),
        ("{", "INVALID_ARGUMENTS_ERROR"),
        ("[" * 100_000, "INVALID_ARGUMENTS_ERROR"),
        (LISTING.replace('"payload": {}', '"payload": {"edited_after": "soon"}'), "INVALID_DATE_FORMAT_ERROR"),
        (LISTING.replace('"payload": {}', '"payload": {"label_hashes": "x"}'), "INVALID_ARGUMENTS_ERROR"),
        (LISTING.replace('"payload": {}', '"payload": {"data_title_like": 5}'), "INVALID_ARGUMENTS_ERROR"),
        (LISTING.replace("labelrowmetadata", "dataset"), "METHOD_NOT_ALLOWED_ERROR"),
        (LISTING.replace("labelrowmetadata", "labelrow"), "RESOURCE_NOT_FOUND_ERROR"),
    ],
)
def test_a_query_of_another_form_is_an_error_in_the_envelope(caller: Any, body: str, name: str) -> None:
    answer = caller.legacy(body)
    assert answer.status_code == 200
    assert answer.json()["response"] == [name]


def test_the_wrong_resource_type_is_refused(caller: Any) -> None:
    headers = caller.legacy_headers(LISTING) | {"ResourceType": "dataset"}
    assert caller.legacy(LISTING, headers).json()["response"] == ["AUTHORISATION_ERROR"]


# --- REST -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(stand_in: Any) -> str:
    return f"/v2/public/projects/{stand_in.project()['project_hash']}"


def test_a_signed_request_is_answered(caller: Any, path: str, stand_in: Any) -> None:
    answer = caller.send(caller.signed(path))
    assert answer.json()["title"] == "Street scenes"
    assert caller.send(caller.signed("/v2/public/projects?titleEq=x")).status_code == 200
    assert refused(stand_in) == {}


def change_header(name: str, pattern: str, value: str) -> Callable[[requests.PreparedRequest], None]:
    def change(request: requests.PreparedRequest) -> None:
        changed = re.sub(pattern, value, request.headers[name])
        assert changed != request.headers[name], "the test changed nothing"
        request.headers[name] = changed

    return change


def drop_header(name: str) -> Callable[[requests.PreparedRequest], None]:
    return lambda request: request.headers.pop(name) and None


def a_little_older(request: requests.PreparedRequest) -> None:
    change_header("Signature-Input", r"created=\d+", f"created={int(time.time()) - 30}")(request)


def other_method(request: requests.PreparedRequest) -> None:
    request.method = "POST"


def other_path(request: requests.PreparedRequest) -> None:
    request.url = str(request.url).replace("/projects/", "/ontologies/")


def other_query(request: requests.PreparedRequest) -> None:
    request.url = f"{request.url}?all=1"


def other_body(request: requests.PreparedRequest) -> None:
    request.body = b"{}"
    request.headers["Content-Length"] = "2"


def other_body_and_digest(request: requests.PreparedRequest) -> None:
    other_body(request)
    digest = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    request.headers["Content-Digest"] = f"sha-256=:{digest}:"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_header("Signature"), "missing_signature_headers"),
        (drop_header("Signature-Input"), "missing_signature_headers"),
        (drop_header("Content-Digest"), "missing_signature_headers"),
        (change_header("Signature-Input", "^encord-sig=", ""), "malformed_signature_input"),
        (change_header("Signature-Input", "$", "; nonsense"), "malformed_signature_input"),
        (change_header("Signature-Input", '"@method" ', ""), "missing_component"),
        (change_header("Signature-Input", '"@request-target" ', ""), "missing_component"),
        (change_header("Signature-Input", ' "content-digest"', ""), "missing_component"),
        (change_header("Signature-Input", '"content-digest"', '"content-digest" "x-absent"'), "unknown_component"),
        (change_header("Signature-Input", 'alg="ed25519"', 'alg="hmac-sha256"'), "wrong_algorithm"),
        (change_header("Signature-Input", r"created=\d+;", ""), "missing_created"),
        (a_little_older, "bad_signature"),
        (change_header("Signature-Input", 'keyid="[0-9a-f]{64}', 'keyid="' + "00" * 32), "unknown_key"),
        (change_header("Signature", "^encord-sig", "friend-sig"), "malformed_signature"),
        (change_header("Signature", "=:.*:", "=:!:"), "malformed_signature"),
        (change_header("Content-Digest", "sha-256=:.", "sha-256=:_"), "digest_mismatch"),
        (other_method, "bad_signature"),
        (other_path, "bad_signature"),
        (other_query, "bad_signature"),
        (other_body, "digest_mismatch"),
        (other_body_and_digest, "bad_signature"),
    ],
)
def test_a_changed_request_is_refused(
    caller: Any, path: str, stand_in: Any, change: Callable[[requests.PreparedRequest], None], reason: str
) -> None:
    request = caller.signed(path)
    change(request)
    answer = caller.send(request)
    assert (answer.status_code, answer.json()) == (401, {"message": "Authentication failed"})
    assert refused(stand_in) == {reason: 1}


# 10 s beyond the bound of 300 s, so that the result is the same on a slow machine.
@pytest.mark.parametrize(("seconds", "reason"), [(-310, "stale"), (310, "future"), (-290, None), (290, None)])
def test_the_time_of_a_signature_is_bounded(
    caller: Any, path: str, monkeypatch: pytest.MonkeyPatch, seconds: int, reason: str | None
) -> None:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(request_signer, "datetime", Shifted)
    answer = caller.send(caller.signed(path))
    assert answer.status_code == (401 if reason else 200)
    assert refused(caller.stand_in) == ({reason: 1} if reason else {})


def test_a_signature_of_another_registered_key_is_refused(
    caller: Any, path: str, stand_in: Any, new_key: Ed25519PrivateKey
) -> None:
    with stand_in.files.public_keys.open("a") as stream:
        stream.write(public_key_text(new_key))
    mine, other = caller.signed(path), caller.__class__(stand_in, new_key).signed(path)
    assert caller.send(other).status_code == 200
    mine.headers["Signature"] = other.headers["Signature"]
    assert caller.send(mine).status_code == 401
    assert refused(stand_in) == {"bad_signature": 1}


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def new_key(stand_in: Any) -> Any:
    """Return a key that is not registered; a test's registration is undone."""
    before = stand_in.files.public_keys.read_text()
    yield Ed25519PrivateKey.generate()
    stand_in.files.public_keys.write_text(before)


def test_the_sdk_raises_its_own_exceptions_for_an_unregistered_key(
    stand_in: Any, client_for: Callable[..., EncordUserClient], new_key: Ed25519PrivateKey, client: EncordUserClient
) -> None:
    project_hash = stand_in.project()["project_hash"]
    stranger = client_for(stand_in.url, new_key)
    with pytest.raises(AuthenticationError):
        stranger.get_project(project_hash)
    project = client.get_project(project_hash)
    project._client._querier._config = stranger._config.config
    with pytest.raises(SshKeyNotFound):
        project.list_label_rows_v2()


def test_the_key_file_is_read_again_when_it_changes(
    stand_in: Any, client_for: Callable[..., EncordUserClient], new_key: Ed25519PrivateKey
) -> None:
    project_hash = stand_in.project()["project_hash"]
    newcomer = client_for(stand_in.url, new_key)
    with pytest.raises(AuthenticationError):
        newcomer.get_project(project_hash)
    before = stand_in.files.public_keys.read_text()
    stand_in.files.public_keys.write_text("not a key\nssh-ed25519 !!!\n" + before + public_key_text(new_key))
    assert newcomer.get_project(project_hash).title == "Street scenes"
    stand_in.files.public_keys.write_text(before)
    with pytest.raises(AuthenticationError):
        newcomer.get_project(project_hash)
