"""No option of ansible-playbook skips the checks of account and environment, or of a confirmed removal.

AWS is a server that recognises the caller by the access key, and records every other request. The container
engine, to which a deploy connects before some of these requests, is a second server. The hosts of a run are
environments, each with another mistake.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from container_engine import Engine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from inventory_host import inventory_host
from playbook_runs import only
from serving import serving

ROOT = Path(__file__).resolve().parents[2]
MEANT, OTHER = "000000000000", "999999999999"
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))

# What each environment sets differently from the first. Its access key is its name.
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "right": {},
    # The key belongs to another account; the removal is confirmed.
    "other": {"label_export_destroy": "dev"},
    "unnamed": {"label_export_environment": ""},
}


class Aws(BaseHTTPRequestHandler):
    """AWS with accounts without images. Only looking for images and GetCallerIdentity are allowed."""

    identity_calls: ClassVar[list[str]] = []
    other_calls: ClassVar[list[str]] = []

    @property
    def caller(self) -> str:
        """Return the name in the access key that signed the request."""
        return self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]

    def do_POST(self) -> None:
        """Answer GetCallerIdentity, and refuse everything else."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers.get("X-Amz-Target", "").endswith("BatchGetImage"):
            self.answer(400, '{"__type": "RepositoryNotFoundException", "message": "none"}')
            return
        if "Action=GetCallerIdentity" not in body:
            self.refuse()
            return
        self.identity_calls.append(self.caller)
        account = OTHER if self.caller == "other" else MEANT
        self.answer(
            200,
            "<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
            f"<Arn>arn:aws:iam::{account}:user/deployer</Arn><UserId>A</UserId><Account>{account}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>",
        )

    def refuse(self) -> None:
        """Refuse a call, and record its caller."""
        self.other_calls.append(self.caller)
        self.answer(403, "<Error><Code>AccessDenied</Code></Error>")

    def do_GET(self) -> None:
        """Refuse it."""
        self.refuse()

    def do_PUT(self) -> None:
        """Refuse it."""
        self.refuse()

    def do_HEAD(self) -> None:
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
    """Return the settings that all environments on this AWS share."""
    directory = tmp_path_factory.mktemp("user")
    key = directory / "key"
    key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    credentials = directory / "credentials"
    credentials.write_text(
        "".join(f"[{name}]\naws_access_key_id = {name}\naws_secret_access_key = nothing\n" for name in ENVIRONMENTS)
    )
    with serving(Aws) as url, serving(Engine) as engine:
        yield {
            **inventory_host(label_export_account_id=MEANT),
            "label_export_aws_endpoint_url": url,
            "label_export_docker_host": engine.replace("http://", "tcp://"),
            "label_export_aws_credentials_file": str(credentials),
            "label_export_aws_profile": "{{ inventory_hostname }}",
            "encord_secrets_private_key_file": str(key),
            # By its digest, a base image needs no registry. Nothing listens there.
            "handler_image_base": f"127.0.0.1:9/base@sha256:{'0' * 64}",
        }


@dataclass
class Run:
    """The result of a run: the exit code, its output on one line, and each environment's last failure."""

    code: int
    output: str
    failures: dict[str, str]


def run(
    directory: Path,
    settings: dict[str, Any],
    hosts: tuple[str, ...],
    *arguments: str,
    typed: str = "",
    **variables: str,
) -> Run:
    """Run a playbook for some environments; ``typed`` is the input to its questions."""
    Aws.identity_calls.clear()
    Aws.other_calls.clear()
    inventory = directory / "inventory.yml"
    group = {"hosts": {name: ENVIRONMENTS[name] for name in hosts}, "vars": settings}
    inventory.write_text(yaml.safe_dump({"label_export": group}))
    result = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "1000", "AWS_MAX_ATTEMPTS": "1", **variables},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    # A task fails, or an item of its loop.
    failure = r"^(?:fatal|failed): \[(\w+)\](?:: FAILED!| \(item=.*?\)) =>(.*?)(?=^\S|\Z)"
    failures = re.findall(failure, result.stdout, re.MULTILINE | re.DOTALL)
    return Run(
        result.returncode,
        " ".join((result.stdout + result.stderr).split()),
        {host: " ".join(text.split()) for host, text in failures},
    )


DEPLOY = ("right", "other", "unnamed")
# `right` has confirmed nothing.
DESTROY = ("right", "other")
# "No" to every task of the role that checks, then continue with all others.
NO_THEN_ON = "n\n" * 14 + "c\n"
# "No" to the tasks up to the account check, then continue with the requests before anything is created.
NO_THEN_BEFOREHAND = "n\n" * 13 + "c\n"
WAYS_ROUND: dict[str, tuple[tuple[str, ...], list[str], str]] = {
    "nothing left out": (DEPLOY, ["playbooks/status.yml"], ""),
    "skip-tags": (DEPLOY, ["deploy.yml", "--skip-tags", "always"], ""),
    "start at a task of a role": (DEPLOY, ["deploy.yml", "--start-at-task", "Ensure the state of the bucket"], ""),
    "start at the check's own task": (
        DEPLOY,
        ["deploy.yml", "--start-at-task", "Caller | Ensure the credentials belong to the configured account"],
        "",
    ),
    "step": (DEPLOY, ["deploy.yml", "--step"], NO_THEN_ON),
    "step, without the check's own task": (DEPLOY, ["deploy.yml", "--step"], NO_THEN_BEFOREHAND),
    # Without the hosts for which everything would be asked first.
    "limit": (DEPLOY, ["playbooks/redrive.yml", "--limit", "other,unnamed"], ""),
    "removal with skip-tags": (DESTROY, ["playbooks/destroy.yml", "--skip-tags", "always"], ""),
    "removal, started at a task": (
        DESTROY,
        ["playbooks/destroy.yml", "--start-at-task", "Ensure the state of the queues"],
        "",
    ),
    "removal of one role": (DESTROY, ["playbooks/destroy.yml", "--tags", "export_queue"], ""),
    "removal with step": (DESTROY, ["playbooks/destroy.yml", "--step"], NO_THEN_ON),
}


@pytest.mark.parametrize("way", WAYS_ROUND)
def test_no_option_skips_the_checks_of_account_environment_and_confirmation(
    way: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    hosts, arguments, typed = WAYS_ROUND[way]
    found = run(tmp_path, settings, hosts, *arguments, typed=typed)
    assert found.code != 0
    # Only the correct environment reaches AWS, and only if nothing is removed.
    reaching = {"right"} if hosts is DEPLOY and way != "limit" else set()
    assert set(Aws.other_calls) == reaching, found.output
    assert f"The credentials belong to account {OTHER}" in found.failures["other"]
    assert f"label_export_account_id is {MEANT}" in found.failures["other"]
    asked = Aws.identity_calls.count("other")
    # Each item of the loop that includes the early requests asks for its identity; otherwise the first such task does.
    assert asked >= 1 if way == "step, without the check's own task" else asked == 1
    if "unnamed" in hosts:
        assert "unnamed" not in Aws.identity_calls
        # The preflight says it, or else the check that no option skips.
        assert re.search("label_export_environment is ''|do not name an environment", found.failures["unnamed"])
    if hosts is DESTROY:
        assert "-e label_export_destroy=dev" in found.failures["right"]
        assert "right" not in Aws.identity_calls
    if way == "nothing left out":
        # Here the role's tasks run first and ask once for all hosts; the summary has the reason as one sentence.
        assert Aws.identity_calls.count("right") == 1
        sentences = re.findall(
            r"FAILED: .*? The credentials belong to account (\d+) .* Then run it again", found.output
        )
        assert sentences == [OTHER]


def test_step_without_a_task_is_not_a_success(settings: dict[str, Any], tmp_path: Path) -> None:
    found = run(tmp_path, settings, ("right",), "playbooks/status.yml", "--step", typed="n\n" * 300)
    assert found.code == 1
    assert "Nothing was done" in found.output
    assert "--step" in found.output
    assert Aws.other_calls == []


@pytest.mark.parametrize("function", ["export", "catalog"])
def test_a_single_role_names_the_tag_that_it_needs_if_the_image_is_missing(
    function: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    found = run(tmp_path, settings, ("right",), "deploy.yml", *only(f"{function}_function"))
    image = "handler_image" if function == "export" else "catalog_image"
    assert f"(--tags {image},...), or everything." in found.failures["right"]
    assert Aws.other_calls == []


def test_an_endpoint_left_in_the_shell_is_named_before_the_first_request(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    url = settings["label_export_aws_endpoint_url"]
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_URL")
    without = {**settings, "label_export_aws_endpoint_url": ""}
    found = run(tmp_path, without, ("right",), "playbooks/status.yml", **dict.fromkeys(names, url))
    assert found.code != 0
    assert f"unset {' '.join(names)}." in found.output
    assert "label_export_aws_endpoint_url in" in found.output
    assert Aws.identity_calls == []
    assert Aws.other_calls == []


def test_an_engine_that_does_not_answer_is_reported_in_a_check_and_before_anything_is_created(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    without = {**settings, "label_export_docker_host": f"unix://{tmp_path}/nowhere.sock"}
    found = run(tmp_path, without, ("right",), "playbooks/deploy.yml", "--check")
    assert found.code != 0
    # The run ends with one sentence and the command, without Ansible's error frame.
    end = found.output.partition("PLAY RECAP")[2].partition("FAILED: ")[2]
    task = "handler_image : Engine | Ensure a container engine can build the image"
    assert end.startswith(f"{task} The image must be built")
    assert re.search(r"Then run it again, with the same options: ansible-playbook playbooks/deploy.yml -i \S+$", end)
    assert "no container engine that builds Linux images answers at unix:///" in found.output
    assert "label_export_docker_host in" in found.output
    assert Aws.other_calls == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_every_play_with_an_environment_has_the_checked_one(path: Path) -> None:
    for play in yaml.safe_load(path.read_text()):
        # Neither uses AWS as the deployer: one writes files, the other creates the deployer of a local stack.
        without = {role["role"] for role in play["roles"]} <= {"deployer_policies", "local_deployer"}
        if play.get("hosts") == "label_export" and not without:
            assert play["environment"] == "{{ label_export_module_environment }}"
