"""Check, deploy, deploy again, on an AWS that nobody here corrects: Moto's server. The second deploy changes nothing.

The scenarios show the same for all roles on an emulator that emulators/emulated_aws.py brings closer to AWS.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from moto_process import ACCOUNT, moto

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "tests/contract/second_aws.yml"
# Roles of a deploy that are not run on Moto, and why.
GAPS = {
    "handler_image": "needs a registry: Moto takes an image's manifest, and no push",
    "catalog_image": "as handler_image",
    "export_function": "a version is used only after its self check, and Moto runs no image",
    "catalog_function": "as export_function",
    "keep_active": "its schedule is for a version in use",
    "front_door": "the HTTP API belongs to a version in use",
    "retired_versions": "removes old versions and images, of which there are none",
}
# Tasks whose setting Moto does not keep, and the setting.
NOT_KEPT = {
    "export_queue : Present | Ensure the dead-letter queue keeps what failed": "RedriveAllowPolicy",
    "catalog_queue : Present | Ensure the dead-letter queue keeps the catalog's failed work": "RedriveAllowPolicy",
}


class Runs:
    """What the three runs changed, and their output."""

    def __init__(self, folder: Path, url: str) -> None:
        key = folder / "key"
        key.write_bytes(
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        settings: dict[str, Any] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "label_export_environment": "dev",
            "label_export_account_id": ACCOUNT,
            "label_export_region": "eu-west-1",
            "label_export_aws_endpoint_url": url,
            "encord_secrets_private_key_file": str(key),
            "execution_role_permissions_boundary": "",
            "monitoring_emails": ["operators@example.com"],
            # A role's default, and the role is not part of the play: it asks for a container engine.
            "handler_image_source": str(ROOT / "lambda"),
            # Its alarms name an API, of which there is none.
            "front_door_kind": "none",
            # Moto tags no dashboard: TagResource answers that there is none.
            "monitoring_dashboard": False,
        }
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(yaml.safe_dump({"label_export": {"hosts": {"localhost": settings}}}))
        self.checked = self.run("--check")
        self.first = self.run()
        self.second = self.run()

    def run(self, *arguments: str) -> str:
        """Run the playbook; return its output."""
        outcome = subprocess.run(
            ["ansible-playbook", "-i", str(self.inventory), str(PLAYBOOK), "--diff", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "AWS_ACCESS_KEY_ID": "an-access-key-of-moto",
                "AWS_SECRET_ACCESS_KEY": "a-secret-key-of-moto",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-2000:]
        return outcome.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Check, deploy, deploy again."""
    folder = tmp_path_factory.mktemp("second-aws")
    with moto(folder / "moto.log") as url:
        yield Runs(folder, url)


def changed(output: str) -> list[str]:
    """Return the tasks that report a change."""
    found, task = [], ""
    for line in output.splitlines():
        if line.startswith("TASK ["):
            task = line.partition("[")[2].rpartition("]")[0]
        elif line.startswith("changed: ") and task not in found:
            found.append(task)
    return found


def test_every_role_of_a_deploy_is_run_or_a_gap_with_a_reason() -> None:
    (play,) = yaml.safe_load(PLAYBOOK.read_text())
    run = {entry["role"] for entry in play["roles"] if entry["tags"] != ["never"]}
    (deploy,) = yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text())
    assert run | set(GAPS) == {entry["role"] for entry in deploy["roles"]}
    assert run & set(GAPS) == set()


def test_the_second_deploy_changes_nothing(runs: Runs) -> None:
    assert [task for task in changed(runs.second) if task not in NOT_KEPT] == []


def test_what_moto_does_not_keep_is_still_so(runs: Runs) -> None:
    assert set(changed(runs.second)) >= set(NOT_KEPT), "Moto keeps it now: remove it from NOT_KEPT"
    assert all(setting in runs.second for setting in NOT_KEPT.values())


def test_a_check_announces_what_the_deploy_then_changes(runs: Runs) -> None:
    assert len(changed(runs.first)) > len(GAPS)
    assert [task for task in changed(runs.first) if task not in changed(runs.checked)] == []
