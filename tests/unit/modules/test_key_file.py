"""The file of a private key: read as a person names it, with a message if it cannot be read.

What is said of most files is in tests/contract/test_wrong_inputs.py, through the role's preflight.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from fake_aws import plugin

# pragma: allowlist nextline secret - the form of a key, and no key
TEXT = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


def looked_up(name: str, directory: Path, *passwords: bytes) -> dict[str, str]:
    loader = DataLoader()
    loader.set_vault_secrets([("default", VaultSecret(password)) for password in passwords])
    (found,) = plugin("lookup.key_file").LookupModule(loader=loader).run([name], {}, directory=str(directory))
    return dict(found)


def test_no_name_is_no_problem(tmp_path: Path) -> None:
    assert looked_up("", tmp_path) == {"text": "", "problem": ""}


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b"\r\n"], ids=["as it is", "a byte order mark", "a line's end"]
)
def test_a_key_is_read_whatever_an_editor_put_around_it(before: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(before + TEXT.encode() + b"\r\n\n")
    assert looked_up("key", tmp_path) == {"text": TEXT, "problem": ""}


def test_a_relative_path_is_taken_from_the_directory_whatever_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "key").write_text(TEXT)
    (tmp_path / "elsewhere").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert looked_up("key", inventory)["text"] == TEXT
    assert f"There is {tmp_path}/elsewhere: write this whole path." in looked_up("elsewhere", inventory)["problem"]


def test_home_and_variables_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(TEXT)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert looked_up("~/key", Path("/nowhere"))["text"] == TEXT
    assert looked_up("$HOME/key", Path("/nowhere"))["text"] == TEXT


def test_the_home_of_nobody_is_named() -> None:
    assert (
        "no user of this machine has that home directory"
        in looked_up("~nobody-at-all/key", Path("/nowhere"))["problem"]
    )


def test_a_vaulted_file_is_decrypted_or_says_what_is_missing(tmp_path: Path) -> None:
    vault = VaultLib([("default", VaultSecret(b"right"))])
    (tmp_path / "key").write_bytes(vault.encrypt(TEXT.encode()))
    assert looked_up("key", tmp_path, b"right")["text"] == TEXT
    assert "no password was given. Add --ask-vault-pass" in looked_up("key", tmp_path)["problem"]
    assert "none of the given passwords decrypts it" in looked_up("key", tmp_path, b"wrong")["problem"]


def test_a_file_of_another_user_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")  # root would not see this, since it may read everything

    monkeypatch.setattr(Path, "stat", refused)
    assert f"chmod u+r {tmp_path}/key" in looked_up("key", tmp_path)["problem"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe" + TEXT.encode("utf-16-le"), b"\0" + TEXT.encode(), b"\xff" + TEXT.encode()]
)
def test_a_message_contains_no_key_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    found = looked_up("key", tmp_path)
    assert found["text"] == ""
    assert "AAAA" not in found["problem"]
