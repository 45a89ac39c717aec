"""playbooks/preflight.yml only reads, names what would stop a deploy, and shows what a deploy creates.

AWS is a server with a new account, which has every image already. All cases are hosts of two runs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from encord_harness import StandInProcess, make_files, private_key_text
from inventory_host import inventory_host
from playbook_runs import NO_SPECS
from serving import serving

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
DEPLOYER, LACKING, UNKNOWN = (f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in ("deployer", "lacking", "unknown"))
DENIED = {"sqs:TagQueue", "sqs:UntagQueue", "iam:PassRole"}
EXECUTIONS = 10  # a new account's quota
ROLES = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())["preflight_roles"]


class Aws(BaseHTTPRequestHandler):
    """AWS as far as a preflight uses it; it records the requests."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Answer STS, IAM and ECR."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        form = parse_qs(body) if not target else {}
        self.asked.append(target or form["Action"][0])
        if target:
            image = {"imageId": {"imageDigest": "sha256:0"}, "imageManifestMediaType": "application/json"}
            self.answer(200, json.dumps({"images": [image], "failures": []}))
        elif form["Action"] == ["GetCallerIdentity"]:
            identity = f"<Arn>arn:aws:iam::{ACCOUNT}:user/deployer</Arn><UserId>A</UserId><Account>{ACCOUNT}</Account>"
            self.answer(200, result("GetCallerIdentity", identity))
        elif form["Action"] == ["SimulatePrincipalPolicy"] and form["PolicySourceArn"] != [UNKNOWN]:
            self.answer(200, result("SimulatePrincipalPolicy", self.simulation(form)))
        else:
            self.answer(
                403,
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not allowed</Message></Error></ErrorResponse>",
            )

    def simulation(self, form: dict[str, list[str]]) -> str:
        """Return the decisions about each action and resource of a request."""
        actions, resources = (
            [values[0] for name, values in sorted(form.items()) if name.startswith(kind)]
            for kind in ("ActionNames.member.", "ResourceArns.member.")
        )
        members = ""
        for action in actions:
            verdict = "implicitDeny" if action in DENIED and form["PolicySourceArn"] == [LACKING] else "allowed"
            parts = "".join(
                f"<member><EvalResourceName>{name}</EvalResourceName>"
                f"<EvalResourceDecision>{verdict}</EvalResourceDecision></member>"
                for name in resources
            )
            members += (
                f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>{verdict}</EvalDecision>"
                f"<ResourceSpecificResults>{parts}</ResourceSpecificResults></member>"
            )
        return f"<IsTruncated>false</IsTruncated><EvaluationResults>{members}</EvaluationResults>"

    def do_GET(self) -> None:
        """Answer Lambda's quotas; everything else, such as Encord's root, is not found."""
        self.asked.append(self.path)
        if self.path.startswith("/2016-08-19/account-settings"):
            limit = {"ConcurrentExecutions": EXECUTIONS, "UnreservedConcurrentExecutions": EXECUTIONS}
            self.answer(200, json.dumps({"AccountLimit": limit, "AccountUsage": {}}))
        elif self.path.startswith("/v2/apis"):
            self.answer(200, json.dumps({"items": [{"name": "theirs"}, {"name": "theirs too"}]}))
        elif self.path.endswith("/concurrency"):
            self.answer(404, '{"Type": "User", "Message": "none"}', {"X-Amzn-ErrorType": "ResourceNotFoundException"})
        else:
            self.answer(404, "nothing here")

    def answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def result(action: str, content: str) -> str:
    """Return a response of the query protocol."""
    return f"<{action}Response><{action}Result>{content}</{action}Result></{action}Response>"


# What each host sets differently from the first. These run the playbook ...
HOSTS: dict[str, dict[str, Any]] = {
    "fine": {},
    "unknown": {"preflight_deployer_arn": UNKNOWN},
    "wrong": {"label_bucket_kms_key_arn": "alias/labels"},
}
# ... and these only the tested part of it.
ENCORD = {"preflight_encord": True, "asked_parts": ["preflight:encord"]}
HOSTS_OF_PARTS: dict[str, dict[str, Any]] = {
    "lacking": {
        "preflight_deployer_arn": LACKING,
        "asked_parts": ["deployer_policies:documents", "preflight:permissions"],
    },
    "busy": {"export_function_maximum_concurrency": 8, "asked_parts": ["preflight:quotas"]},
    "crowded": {"preflight_http_apis_quota": 2, "asked_parts": ["preflight:quotas"]},
    "reserved": {"export_function_reserved_concurrency": 9, "asked_parts": ["export_function:prerequisites"]},
    "deaf": ENCORD,
    # With the Encord stand-in, whose address, key and project are known only when it runs.
    "titled": {**ENCORD, "export_function_workflow_stages": ["Complete"]},
    "mistyped": {**ENCORD, "export_function_workflow_stages": ["Complete", "Reveiw"]},
    "strange": {**ENCORD, "export_function_workflow_stages": ["Complete"]},
}


class Run(NamedTuple):
    """The result of a host: the message of its failure, empty if there was none, and its output."""

    failed: str
    shown: str
    changed: bool


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Run the playbook and its parts once each, in check mode; return the results by host."""
    directory = tmp_path_factory.mktemp("preflight")
    key = directory / "key"
    key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    Aws.asked.clear()
    files = make_files(directory)
    authorised = directory / "authorised"
    authorised.write_text(private_key_text(files.key))
    stand_in = StandInProcess(files)
    encord = {
        "export_function_encord_domain": stand_in.url,
        "export_function_projects": [stand_in.project()["project_hash"]],
        "encord_secrets_private_key_file": str(authorised),
    }
    parts = {
        **HOSTS_OF_PARTS,
        "titled": {**HOSTS_OF_PARTS["titled"], **encord},
        "mistyped": {**HOSTS_OF_PARTS["mistyped"], **encord},
        # A key that is not registered at Encord.
        "strange": {**HOSTS_OF_PARTS["strange"], **encord, "encord_secrets_private_key_file": str(key)},
    }
    with serving(Aws) as url:
        settings = {
            **inventory_host(label_export_account_id=ACCOUNT),
            "label_export_aws_endpoint_url": url,
            "encord_secrets_private_key_file": str(key),
            "execution_role_permissions_boundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
            "export_function_maximum_concurrency": 4,
            # Nothing listens there. A base image that is pinned by digest needs no registry.
            "export_function_encord_domain": "https://127.0.0.1:9",
            "handler_image_base": f"127.0.0.1:9/base@sha256:{'0' * 64}",
            "preflight_encord": False,
        }
        trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(files.certificate))
        found = {
            **played("playbooks/preflight.yml", HOSTS, settings, directory, trusted),
            **played("tests/contract/preflight_parts.yml", parts, settings, directory, trusted, *NO_SPECS),
        }
    stand_in.stop()
    return found


def played(
    playbook: str,
    hosts: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    directory: Path,
    variables: dict[str, str],
    *arguments: str,
) -> dict[str, Run]:
    """Run a playbook in check mode; return each host's result."""
    inventory = directory / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"label_export": {"hosts": hosts, "vars": settings}}))
    outcome = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), playbook, "--check", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
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
    assert outcome.returncode == 2, outcome.stdout[-3000:] + outcome.stderr[-3000:]
    report = json.loads(outcome.stdout[outcome.stdout.index("{") :])
    return {host: run_of(host, report) for host in hosts}


def run_of(host: str, report: dict[str, Any]) -> Run:
    """Return a host's result from the report of Ansible's callback."""
    results = [task["hosts"][host] for play in report["plays"] for task in play["tasks"] if host in task["hosts"]]
    failed = [each["msg"] for each in results if each.get("failed") and each.get("failed_when_result") is not False]
    shown = [each["msg"] for each in results if isinstance(each.get("msg"), list)]
    return Run(
        " ".join(str(failed[-1]).split()) if failed else "",
        "\n".join(shown[-1]) if shown else "",
        report["stats"][host]["changed"] > 0,
    )


def test_it_checks_the_roles_of_a_deploy() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text())
    assert [entry["role"] for entry in play["roles"]] == ["label_export", *ROLES]


def test_it_shows_what_a_deploy_creates(runs: dict[str, Run]) -> None:
    run = runs["fine"]
    assert run.failed == ""
    for part in (
        "A deploy can start",
        f"S3 bucket: label-export-dev-{ACCOUNT}-eu-west-1",
        "IAM roles, each with a policy: label-export-dev-eu-west-1",
        "Lambda functions: label-export-dev, label-export-dev-catalog",
        "secrets, 0.40 each: 0.80",
        "dashboard: 3.00",
        "Executions: 10 at a time for the account, 8 at most for the queues",
        "Images: in the registry already",
        "https://127.0.0.1:9 does not answer this machine",
    ):
        assert part in run.shown
    simulated = re.search(rf"{DEPLOYER} may do all of (\d+) actions", run.shown)
    assert simulated
    assert int(simulated[1]) > 150


def test_it_only_reads(runs: dict[str, Run]) -> None:
    assert not any(run.changed for run in runs.values())
    assert [name for name in Aws.asked if not re.fullmatch(r"(Get|Simulate|BatchGet)\w+|/.*", name)] == []


def test_missing_permissions_of_the_deployer_are_named_with_their_policy(runs: dict[str, Run]) -> None:
    assert f"{LACKING} lacks permissions" in runs["lacking"].failed
    assert "deployer-data, Queues: sqs:TagQueue, sqs:UntagQueue" in runs["lacking"].failed
    assert "deployer-identity, RolePassedToLambdaAlone: iam:PassRole" in runs["lacking"].failed


def test_a_simulation_that_is_not_allowed_is_reported(runs: dict[str, Run]) -> None:
    assert runs["unknown"].failed == ""
    assert "NOT simulated: " in runs["unknown"].shown
    assert "AccessDenied" in runs["unknown"].shown


def test_a_new_accounts_quota_is_named(runs: dict[str, Run]) -> None:
    assert f"Lambda allows account {ACCOUNT} 10 executions at a time" in runs["busy"].failed
    assert "are 9 executions together" in runs["reserved"].failed
    assert "can reserve 0" in runs["reserved"].failed


def test_an_account_without_room_for_another_http_api_is_named(runs: dict[str, Run]) -> None:
    assert "HTTP APIs: 2 in the account, of 600" in runs["fine"].shown
    assert f"Account {ACCOUNT} has 2 HTTP and WebSocket APIs in eu-west-1, and its quota is 2" in runs["crowded"].failed


def test_an_encord_that_does_not_answer_is_named(runs: dict[str, Run]) -> None:
    assert "https://127.0.0.1:9 does not answer this machine: " in runs["deaf"].failed


def test_a_title_that_is_not_a_stage_of_the_projects_is_refused(runs: dict[str, Run]) -> None:
    assert runs["titled"].failed == ""
    assert (
        "export_function_workflow_stages has Reveiw, which no project has; the stages are " in runs["mistyped"].failed
    )
    assert "could not be read: " in runs["strange"].failed


def test_a_wrong_input_of_a_deploy_is_refused(runs: dict[str, Run]) -> None:
    assert "label_bucket_kms_key_arn is 'alias/labels'" in runs["wrong"].failed
