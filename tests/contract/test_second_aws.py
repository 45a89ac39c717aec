"""Check, deploy and deploy again on an AWS that this repository does not patch: Moto's server.

The second deploy must change nothing. The scenarios test all roles in the same way on a patched emulator
(emulators/emulated_aws.py).
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from inventory_host import inventory_host
from moto_process import ACCOUNT, moto

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "tests/contract/second_aws.yml"
ABSENT = ROOT / "tests/contract/second_aws_function_absent.yml"
# Roles of a deploy that do not run on Moto, and why.
GAPS = {
    "handler_image": "needs a registry: Moto takes an image's manifest, and no push",
    "catalog_image": "as handler_image",
    "export_function": "a version is used only after its self check, and Moto runs no images",
    "catalog_function": "as export_function",
    "front_door": "the HTTP API belongs to a version in use",
    "retired_versions": "removes old versions and images, and there are none",
}
# The roles that run; of the others, the play has only the defaults.
ROLES = [entry["role"] for entry in yaml.safe_load(PLAYBOOK.read_text())[0]["roles"] if entry["role"] not in GAPS]
# Tasks with a setting that Moto does not keep, and the setting.
NOT_KEPT = {
    "label_bucket : Present | Ensure the bucket is private, versioned, encrypted and TLS-only": "EventBridge",
    "export_queue : Present | Ensure the dead-letter queue": "RedriveAllowPolicy",
    "export_queue : Present | Ensure the queue moves failed messages to the dead-letter queue": "RedriveAllowPolicy",
    "catalog_queue : Present | Ensure the dead-letter queue keeps the catalog's failed work": "RedriveAllowPolicy",
    **{
        f"catalog_queue : Present | Ensure the {queue} moves failed messages to {target}": "RedriveAllowPolicy"
        for queue, target in (
            ("catalog's queue", "its dead-letter queue"),
            ("backfill queue", "the exporter's dead-letter queue"),
            ("events queue", "the catalog's dead-letter queue"),
        )
    },
}


class Runs:
    """The changes and the output of the three runs."""

    def __init__(self, folder: Path, url: str) -> None:
        key = folder / "key"
        key.write_bytes(
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        settings: dict[str, Any] = {
            **inventory_host(label_export_account_id=ACCOUNT),
            "label_export_aws_endpoint_url": url,
            "encord_secrets_private_key_file": str(key),
            "execution_role_permissions_boundary": "",
            "monitoring_emails": ["operators@example.com"],
            # The default of a role that is not part of the play; it would need a container engine.
            "handler_image_source": str(ROOT / "lambda"),
            # Its alarms need an API, and there is none.
            "front_door_kind": "none",
            # Moto does not tag dashboards: TagResource answers that there is none.
            "monitoring_dashboard": False,
            "label_catalog_table_enabled": True,
        }
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(yaml.safe_dump({"label_export": {"hosts": {"localhost": settings}}}))
        deploy = ("--tags", ",".join(ROLES))
        self.checked = self.run("--check", *deploy)
        self.first = self.run(*deploy)
        self.second = self.run(*deploy)
        self.url = url

    def client(self, service: str) -> Any:
        """Return a client of Moto, for the account with the deployment."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="an-access-key-of-moto",
            aws_secret_access_key="a-secret-key-of-moto",  # noqa: S106 - Moto asks for none
        )

    def run(self, *arguments: str) -> str:
        """Run the playbook; return its output."""
        process = self.started(PLAYBOOK, "--diff", *arguments)
        output = process.communicate()[0]
        assert process.returncode == 0, output[-6000:]
        return output

    def started(self, playbook: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start a playbook; return its process, whose output can be read."""
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.inventory), str(playbook), *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "AWS_ACCESS_KEY_ID": "an-access-key-of-moto",
                "AWS_SECRET_ACCESS_KEY": "a-secret-key-of-moto",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


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
    (deploy,) = yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text())
    assert {*ROLES, *GAPS} == {entry["role"] for entry in deploy["roles"]}


def test_the_second_deploy_changes_nothing(runs: Runs) -> None:
    assert [task for task in changed(runs.second) if task not in NOT_KEPT] == []


def test_moto_still_does_not_keep_these_settings(runs: Runs) -> None:
    assert set(changed(runs.second)) >= set(NOT_KEPT), "Moto keeps it now: remove it from NOT_KEPT"
    assert all(setting in runs.second for setting in NOT_KEPT.values())


def test_a_check_announces_the_changes_of_the_deploy(runs: Runs) -> None:
    assert len(changed(runs.first)) > len(GAPS)
    assert [task for task in changed(runs.first) if task not in changed(runs.checked)] == []


def test_the_function_is_kept_active_without_the_catalog_too(runs: Runs) -> None:
    off = ("-e", "catalog_function_enabled=false", "-e", "label_catalog_table_enabled=false")
    runs.run("--tags", "catalog_execution_role,keep_active", *off)
    iam, name = runs.client("iam"), "label-export-dev-schedules-eu-west-1"
    found = {role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("label-export")}
    assert found == {"label-export-dev-eu-west-1", name}, "the catalog's own role is gone"
    policy = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
    version = iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
    (statement,) = iam.get_policy_version(PolicyArn=policy, VersionId=version)["PolicyVersion"]["Document"]["Statement"]
    assert statement["Resource"] == [f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:label-export-dev:live"]
    schedule = runs.client("scheduler").get_schedule(Name="label-export-dev-keep-active")
    assert schedule["Target"]["RoleArn"].endswith(f":role/{name}")
    assert schedule["Target"]["Arn"] == statement["Resource"][0]
    again = runs.run("--tags", "catalog_execution_role,keep_active", *off)
    assert changed(again) == []


def test_the_roles_of_both_functions_are_removed_after_the_wait_for_network_interfaces() -> None:
    """Role export_function waits for the interfaces of both functions, and Lambda needs both roles until then."""
    (destroy,) = yaml.safe_load((ROOT / "playbooks/destroy.yml").read_text())
    order = [entry["role"] for entry in destroy["roles"]]
    assert order.index("catalog_function") < order.index("export_function")
    assert order.index("export_function") < min(order.index("catalog_execution_role"), order.index("execution_role"))


def test_a_removal_waits_visibly_for_network_interfaces_and_says_what_to_do_about_remaining_ones(
    runs: Runs,
) -> None:
    ec2 = runs.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    made = ec2.create_network_interface(
        SubnetId=subnet, Description=f"AWS Lambda VPC ENI-label-export-dev-{uuid.UUID(int=1)}"
    )
    interface = made["NetworkInterface"]["NetworkInterfaceId"]
    network = f'{{"export_function_vpc_subnet_ids": ["{subnet}"], "export_function_vpc_security_group_ids": ["sg-1"]}}'
    waiting = ("-e", network, "-e", "__export_function_interfaces_pause=1")

    refused = runs.started(ABSENT, *waiting, "-e", "__export_function_interfaces_tries=2")
    output = " ".join(refused.communicate()[0].split())
    assert refused.returncode != 0
    assert f"Lambda has not deleted its network interfaces {interface} within 1 minutes" in output
    assert "Run this playbook again later" in output

    process = runs.started(ABSENT, *waiting, "-e", "__export_function_interfaces_tries=100")
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "FAILED - RETRYING" in line and "Wait until Lambda has deleted the network interfaces" in line:
            ec2.delete_network_interface(NetworkInterfaceId=interface)
            break
    seen += process.stdout
    assert process.wait() == 0, "".join(seen)[-6000:]
    assert "retries left" in "".join(seen)
