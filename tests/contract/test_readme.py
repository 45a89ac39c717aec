"""The README is true: its commands exist, and an inventory that is not filled in is refused."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from label_export import __version__

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
PLAYBOOK_COMMANDS = [command for command in COMMANDS if command.startswith("ansible-playbook ")]
ENCRYPT = "ansible-vault encrypt_string --stdin-name signing_secret"
# The first is the shell's; the second has a test below.
OTHER_COMMANDS = {"source .venv/bin/activate", ENCRYPT}
AWS_ENVIRONMENTS = ["dev", "staging", "prod"]


def ansible(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def test_the_readme_has_the_two_commands_and_the_deploy() -> None:
    assert {"make demo", "make test", "ansible-playbook deploy.yml -i inventory/dev"} <= set(COMMANDS)


def test_every_command_has_a_test() -> None:
    makes = {command for command in COMMANDS if command.startswith("make ")}
    assert set(COMMANDS) == makes | set(PLAYBOOK_COMMANDS) | OTHER_COMMANDS
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {command.removeprefix("make ") for command in makes} <= targets


@pytest.mark.parametrize("command", [c for c in PLAYBOOK_COMMANDS if "--ask-vault-pass" not in c])
def test_every_playbook_command_is_well_formed(command: str) -> None:
    result = ansible(*command.split(), "--syntax-check")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("environment", AWS_ENVIRONMENTS)
def test_a_sample_inventory_reports_what_is_missing_and_where(environment: str) -> None:
    result = ansible("ansible-playbook", "deploy.yml", "-i", f"inventory/{environment}")
    said = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "label_export_account_id is ''" in said
    assert f"inventory/{environment}/group_vars/label_export/label_export.yml" in said


def test_an_encrypted_signing_secret_is_used_as_the_readme_says(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(str(uuid.uuid4()))
    secret = str(uuid.uuid4())
    environment = {**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "password")}
    encrypted = subprocess.run(
        ENCRYPT.split(), cwd=ROOT, input=secret, capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert secret not in encrypted
    variables = tmp_path / "vars.yml"
    variables.write_text(encrypted + "\nencord_secrets_signing_secrets:\n  - '{{ signing_secret }}'\n")
    shown = subprocess.run(
        ["ansible", "localhost", "-m", "debug", "-a", "var=encord_secrets_signing_secrets", "-e", f"@{variables}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    assert secret in shown


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
