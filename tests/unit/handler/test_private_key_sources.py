"""The three sources of the private key, each through the real handler: any form, any fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handler_deployment import KEY_ARN, PASSPHRASE_ARN, Deployment, openssh
from test_private_key import BAD

SOURCES = ("secretsmanager", "environment", "file")
PASSED_ON: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "newlines lost to spaces": lambda text: text.replace("\n", " "),
    "newlines lost": lambda text: text.replace("\n", ""),
    "literal \\n": lambda text: text.replace("\n", "\\n"),
    "no newline at the end": lambda text: text.rstrip("\n"),
}

Hand = Callable[..., None]


@pytest.fixture
def hand(deployment: Deployment, tmp_path: Path) -> Hand:
    """Gives the function a key from one source, and removes the others."""

    def hand_over(source: str, text: str, passphrase: str | None = None) -> None:
        path = tmp_path / "encord_private_key"
        path.unlink(missing_ok=True)
        deployment.aws.secrets.pop(KEY_ARN, None)
        if source == "secretsmanager":
            deployment.aws.secrets[KEY_ARN] = text
        if source == "file":
            path.write_bytes(text.encode())
        if passphrase is not None:
            deployment.aws.secrets[PASSPHRASE_ARN] = passphrase
        deployment.set(
            LABEL_EXPORT_PRIVATE_KEY_SOURCE=source,
            LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN=KEY_ARN if source == "secretsmanager" else "",
            LABEL_EXPORT_PRIVATE_KEY=text if source == "environment" else "",
            LABEL_EXPORT_PRIVATE_KEY_FILE=str(path),
            LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN="" if passphrase is None else PASSPHRASE_ARN,
        )

    return hand_over


@pytest.mark.parametrize("form", PASSED_ON)
@pytest.mark.parametrize("source", SOURCES)
def test_a_key_works_in_any_form_from_any_source(deployment: Deployment, hand: Hand, source: str, form: str) -> None:
    label = deployment.row()
    hand(source, PASSED_ON[form](openssh(deployment.key)))
    assert deployment.export(label) == []
    assert deployment.stored(label) is not None


@pytest.mark.parametrize("source", SOURCES)
def test_a_key_with_a_passphrase_works_from_any_source(deployment: Deployment, hand: Hand, source: str) -> None:
    labels = [deployment.row(number) for number in (1, 2)]
    hand(source, openssh(deployment.key, b"correct horse"), "correct horse")
    assert deployment.export(labels[0]) == deployment.export(labels[1]) == []
    assert deployment.aws.count("GetSecretValue") == (2 if source == "secretsmanager" else 1), "kept for minutes"


@pytest.mark.parametrize("bad", BAD.items(), ids=BAD.keys())
@pytest.mark.parametrize("source", SOURCES)
def test_an_invalid_key_from_any_source_is_reported_without_its_text(
    deployment: Deployment, hand: Hand, output: Any, source: str, bad: tuple[str, tuple[str, str | None]]
) -> None:
    label = deployment.row()
    problem, (text, passphrase) = bad
    hand(source, text, passphrase)
    assert deployment.export(label) == [label]
    written = output()
    assert problem.strip() in written.logged("label_failed")[0]["detail"]
    assert written.metric("Failed", "private_key") == 1
    assert not [line for line in text.splitlines() if len(line) > 20 and "-----" not in line and line in written.text]
    assert passphrase is None or passphrase not in written.text
    assert deployment.encord.calls == []


@pytest.mark.parametrize(
    ("source", "why"),
    [("environment", "read the function's configuration"), ("file", "pull the image"), ("secretsmanager", None)],
)
def test_the_weakness_of_a_source_is_logged_once(
    deployment: Deployment, hand: Hand, output: Any, source: str, why: str | None
) -> None:
    hand(source, openssh(deployment.key))
    for number in (1, 2):
        assert deployment.export(deployment.row(number)) == []
    warnings = output().logged("weaker_key_source")
    assert len(warnings) == (0 if why is None else 1)
    assert why is None or (warnings[0]["source"] == source and why in warnings[0]["detail"])


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_refused_key_that_is_not_in_secrets_manager_is_not_retried(
    deployment: Deployment, hand: Hand, output: Any, source: str
) -> None:
    hand(source, openssh(deployment.key))
    label = deployment.row()
    deployment.encord.public_keys.clear()
    assert deployment.export(label) == deployment.export(label) == [label]
    assert deployment.encord.count("labelrow") == 1
    assert output().metric("Failed", "key_refused") == 1


def test_a_missing_key_file_is_named(deployment: Deployment, output: Any, tmp_path: Path) -> None:
    deployment.set(LABEL_EXPORT_PRIVATE_KEY_SOURCE="file", LABEL_EXPORT_PRIVATE_KEY_FILE=str(tmp_path / "none"))
    label = deployment.row()
    assert deployment.export(label) == [label]
    assert "No such file" in output().logged("label_failed")[0]["detail"]
