"""No option of ansible-playbook gets past the account and the environment that are meant, and a confirmed removal.

AWS is a server that knows who calls it, and counts everything else that it is asked.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from serving import serving

ROOT = Path(__file__).resolve().parents[2]
MEANT, OTHER = "000000000000", "999999999999"
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


class Aws(BaseHTTPRequestHandler):
    """AWS of an account without images, in which nothing is allowed but to look for them and to ask who one is."""

    account: ClassVar[str] = MEANT
    identity_calls: ClassVar[list[str]] = []
    other_calls: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Answer GetCallerIdentity, and refuse everything else."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "ContainerRegistry" in self.headers.get("X-Amz-Target", ""):
            self.answer(400, '{"__type": "RepositoryNotFoundException", "message": "none"}')
            return
        if "Action=GetCallerIdentity" not in body:
            self.refuse()
            return
        self.identity_calls.append(body)
        self.answer(
            200,
            "<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
            f"<Arn>arn:aws:iam::{self.account}:user/deployer</Arn><UserId>A</UserId><Account>{self.account}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>",
        )

    def refuse(self) -> None:
        """Refuse a call, and remember it."""
        self.other_calls.append(f"{self.command} {self.path} {self.headers.get('X-Amz-Target', '')}")
        self.answer(403, "<Error><Code>AccessDenied</Code></Error>")

    def do_GET(self) -> None:
        """Refuse it."""
        self.refuse()

    def do_PUT(self) -> None:
        """Refuse it."""
        self.refuse()

    def answer(self, status: int, text: str) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The settings of an environment on that AWS."""
    key = tmp_path_factory.mktemp("key") / "key"
    key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    with serving(Aws) as url:
        yield {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "label_export_environment": "dev",
            "label_export_account_id": MEANT,
            "label_export_region": "eu-west-1",
            "label_export_aws_endpoint_url": url,
            "encord_secrets_private_key_file": str(key),
        }


def run(directory: Path, settings: dict[str, Any], account: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a playbook with credentials of an account; return its exit code and its output on one line."""
    Aws.account = account
    Aws.identity_calls.clear()
    Aws.other_calls.clear()
    inventory = directory / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"label_export": {"hosts": {"localhost": settings}}}))
    result = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_MAX_ATTEMPTS": "1",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, " ".join((result.stdout + result.stderr).split())


WAYS_ROUND_THE_ACCOUNT = {
    "skip-tags": ["deploy.yml", "--skip-tags", "always"],
    "start at a task of a role": ["deploy.yml", "--start-at-task", "Ensure the bucket is as wanted"],
    "start at the check's own task": [
        "deploy.yml",
        "--start-at-task",
        "Caller | Ensure the credentials belong to the account that is meant",
    ],
    # The role's tasks come first here, and ask once for all others.
    "none": ["playbooks/status.yml"],
    "removal with skip-tags": ["playbooks/destroy.yml", "--skip-tags", "always", "-e", "label_export_destroy=dev"],
}


@pytest.mark.parametrize("way", WAYS_ROUND_THE_ACCOUNT)
def test_no_option_reaches_another_account(way: str, settings: dict[str, Any], tmp_path: Path) -> None:
    code, output = run(tmp_path, settings, OTHER, *WAYS_ROUND_THE_ACCOUNT[way])
    assert code != 0
    assert f"The credentials belong to account {OTHER}" in output
    assert f"label_export_account_id is {MEANT}" in output
    assert len(Aws.identity_calls) == 1
    assert Aws.other_calls == []
    if "playbooks/" in WAYS_ROUND_THE_ACCOUNT[way][0]:
        (sentence,) = re.findall(r"FAILED: .*? The credentials belong to account (\d+) .* Then run it again", output)
        assert sentence == OTHER


@pytest.mark.parametrize(
    "arguments",
    [["--skip-tags", "always"], ["--start-at-task", "Ensure the queues are as wanted"], ["--tags", "export_queue"]],
    ids=" ".join,
)
def test_no_option_removes_what_is_not_confirmed(
    arguments: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    code, output = run(tmp_path, settings, MEANT, "playbooks/destroy.yml", *arguments)
    assert code != 0
    assert "-e label_export_destroy=dev" in output
    assert Aws.other_calls == []


def test_no_option_reaches_an_environment_without_a_name(settings: dict[str, Any], tmp_path: Path) -> None:
    arguments = ["deploy.yml", "--skip-tags", "always"]
    code, output = run(tmp_path, {**settings, "label_export_environment": ""}, MEANT, *arguments)
    assert code != 0
    assert "do not name an environment" in output
    assert Aws.other_calls == []


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_URL"])
def test_an_endpoint_left_in_the_shell_is_named_before_anybody_is_asked(
    variable: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    url = settings["label_export_aws_endpoint_url"]
    without = {**settings, "label_export_aws_endpoint_url": ""}
    code, output = run(tmp_path, without, MEANT, "playbooks/status.yml", **{variable: url})
    assert code != 0
    assert f"unset {variable}" in output
    assert "label_export_aws_endpoint_url in" in output
    assert Aws.other_calls == []


@pytest.mark.parametrize("arguments", [[], ["--skip-tags", "always"]], ids=["checked once", "checked by each task"])
def test_the_right_account_gets_as_far_as_aws(arguments: list[str], settings: dict[str, Any], tmp_path: Path) -> None:
    _code, output = run(tmp_path, settings, MEANT, "playbooks/redrive.yml", *arguments)
    assert Aws.other_calls, output
    assert len(Aws.identity_calls) >= 1


def test_an_engine_that_does_not_answer_is_found_in_a_check_and_before_anything_is_made(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    without = {**settings, "label_export_docker_host": f"unix://{tmp_path}/nowhere.sock"}
    code, output = run(tmp_path, without, MEANT, "playbooks/deploy.yml", "--check")
    assert code != 0
    # The run ends with one sentence and the command, without Ansible's frame around it.
    end = output.partition("PLAY RECAP")[2].partition("FAILED: ")[2]
    assert end.startswith("handler_image : Engine | Ensure there is an engine to build with The image has to be built")
    assert re.search(r"Then run it again, with the same options: ansible-playbook playbooks/deploy.yml -i \S+$", end)
    assert "no container engine that builds Linux images answers at unix:///" in output
    assert "label_export_docker_host in" in output
    assert Aws.other_calls == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_every_play_with_an_environment_has_the_checked_one(path: Path) -> None:
    for play in yaml.safe_load(path.read_text()):
        # Neither reaches AWS as the deployer: one writes files, the other makes the deployer of a local stack.
        without = {role["role"] for role in play["roles"]} <= {"deployer_policies", "local_deployer"}
        if play.get("hosts") == "label_export" and not without:
            assert play["environment"] == "{{ label_export_module_environment }}"
