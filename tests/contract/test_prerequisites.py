"""Problems of a build are reported before anything is created, for both images, with any Docker configuration.

AWS and the container engine are servers; each case is a host of one run in check mode. The user's Docker configuration
names a missing credential helper, and has a malformed login.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from container_engine import Engine, JsonServer
from inventory_host import inventory_host
from playbook_runs import NO_SPECS, WITHOUT_CHECK_OF_THE_ACCOUNT
from serving import serving

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
USERS_CONFIGURATION = {
    "credsStore": "desktop.exe",
    "credHelpers": {REGISTRY: "ecr-login"},
    "auths": {REGISTRY: {"auth": "%%%"}},
}
# What each case's repositories lack, and whether its engine responds.
CASES: dict[str, dict[str, Any]] = {
    "complete": {"lacks": "none", "engine": False},
    "exporter": {"lacks": "exporter", "engine": False},
    "catalog": {"lacks": "catalog", "engine": False},
    "refused": {"lacks": "catalog", "engine": True},
    "denied": {"lacks": "exporter", "engine": True},
    "ready": {"lacks": "exporter", "engine": True},
    # With base images in the engine.
    "foreign": {"lacks": "exporter", "engine": True},
    "several": {"lacks": "exporter", "engine": True},
}
INDEX = "application/vnd.oci.image.index.v1+json"


class Aws(JsonServer):
    """AWS, as far as the checks of images call it. The access key is the case's name."""

    def do_POST(self) -> None:  # noqa: N802 - the name is http.server's
        """Answer STS and ECR."""
        body, target = self.body(), self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        case = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        if not target:
            identity = f"<Arn>arn:aws:iam::{ACCOUNT}:user/a</Arn><UserId>A</UserId><Account>{ACCOUNT}</Account>"
            name = "GetCallerIdentity"
            self.answer(200, f"<{name}Response><{name}Result>{identity}</{name}Result></{name}Response>")
        elif target == "GetAuthorizationToken" and case == "denied":
            self.answer(400, {"__type": "AccessDeniedException", "message": "not authorized to get a token"})
        elif target == "GetAuthorizationToken":
            token = base64.b64encode(b"AWS:token").decode()
            self.answer(200, {"authorizationData": [{"authorizationToken": token, "expiresAt": 1}]})
        else:
            function = "catalog" if "catalog" in json.loads(body)["repositoryName"] else "exporter"
            image = {"imageId": {"imageDigest": "sha256:0"}, "imageManifestMediaType": "application/json"}
            lacking = CASES[case]["lacks"] == function
            self.answer(200, {"images": [] if lacking else [image], "failures": []})


class OtherEngine(Engine):
    """An engine that does not reach the registry."""

    lets_in: ClassVar[bool] = False


class EngineWithBase(Engine):
    """An engine that has a base image for arm64, and one of several platforms, as one in containerd is described."""

    images: ClassVar[dict[str, dict[str, Any]]] = {
        "foreign": {"Architecture": "arm64"},
        "several": {"Architecture": "arm64", "Descriptor": {"mediaType": INDEX}},
    }

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        """List the images, describe one, or return what it is."""
        path = self.path.partition("?")[0]
        if path.endswith("/images/json"):
            self.answer(200, [{"Id": name, "RepoTags": [f"base:{name}"]} for name in self.images])
        elif "/images/" in path:
            name = path.split("/")[-2]
            self.answer(200, {"Id": name, "RepoTags": [f"base:{name}"], **self.images[name]})
        else:
            super().do_GET()


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The message that each case failed with, empty for none."""
    directory = tmp_path_factory.mktemp("prerequisites")
    (directory / "docker").mkdir()
    (directory / "docker/config.json").write_text(json.dumps(USERS_CONFIGURATION))
    credentials = directory / "credentials"
    credentials.write_text(
        "".join(f"[{name}]\naws_access_key_id = {name}\naws_secret_access_key = nothing\n" for name in CASES)
    )
    with (
        serving(Aws) as aws,
        serving(Engine) as engine,
        serving(OtherEngine) as other,
        serving(EngineWithBase) as based,
    ):

        def docker_host(name: str) -> str:
            if not CASES[name]["engine"]:
                return f"unix://{directory}/nowhere.sock"
            return {"refused": other, "foreign": based, "several": based}.get(name, engine).replace("http://", "tcp://")

        settings = {
            **inventory_host(label_export_account_id=ACCOUNT),
            "label_export_aws_endpoint_url": aws,
            # By its digest, a base image needs no registry. Nothing listens there.
            "handler_image_base": f"127.0.0.1:9/base@sha256:{'0' * 64}",
            "label_export_aws_credentials_file": str(credentials),
            "label_export_aws_profile": "{{ inventory_hostname }}",
        }
        hosts = {name: {"label_export_docker_host": docker_host(name)} for name in CASES}
        for name in EngineWithBase.images:
            hosts[name] |= {"handler_image_base": f"base:{name}", "handler_image_base_source": "engine"}
        inventory = directory / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"label_export": {"hosts": hosts, "vars": settings}}))
        result = subprocess.run(
            [
                *("ansible-playbook", "-i", str(inventory), "tests/contract/prerequisites.yml"),
                *("--check", "--forks", "6", *NO_SPECS),
                *("-e", json.dumps(WITHOUT_CHECK_OF_THE_ACCOUNT)),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "AWS_MAX_ATTEMPTS": "1",
                "DOCKER_CONFIG": str(directory / "docker"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    report = json.loads(result.stdout[result.stdout.index("{") :])
    found = dict.fromkeys(CASES, "")
    for task in report["plays"][0]["tasks"]:
        for host, content in task["hosts"].items():
            if content.get("failed") and content.get("failed_when_result") is not False:
                found[host] = " ".join(str(content["msg"]).split())
    return found


def test_no_engine_is_needed_if_both_images_exist(failures: dict[str, str]) -> None:
    assert failures["complete"] == ""


@pytest.mark.parametrize("function", ["exporter", "catalog"])
def test_an_engine_is_needed_if_either_image_is_missing(function: str, failures: dict[str, str]) -> None:
    assert "no container engine that builds Linux images answers at unix:///" in failures[function]


def test_an_engine_that_does_not_reach_the_registry_is_named(failures: dict[str, str]) -> None:
    said = failures["refused"]
    assert f"cannot log in to {REGISTRY}: " in said
    assert "no such host" in said
    assert "handler_image_registry in" in said


def test_a_base_image_in_the_engine_for_another_architecture_is_named(failures: dict[str, str]) -> None:
    """Newer engines would look for it in a registry, and report that one."""
    said = failures["foreign"]
    assert "handler_image_base is 'base:foreign', and the container engine has it for arm64, but" in said
    assert "handler_image_architecture is x86_64" in said
    assert "handler_image.yml" in said


def test_a_base_image_of_several_platforms_is_left_to_the_build(failures: dict[str, str]) -> None:
    assert failures["several"] == ""


def test_a_deployer_without_permission_to_push_is_named(failures: dict[str, str]) -> None:
    assert "AWS returned no login to the registry: " in failures["denied"]
    assert "not authorized to get a token" in failures["denied"]
    assert "ecr:GetAuthorizationToken" in failures["denied"]


def test_the_docker_configuration_of_the_user_has_no_effect(failures: dict[str, str]) -> None:
    assert failures["ready"] == ""
    login = {"username": "AWS", "password": "token", "serveraddress": REGISTRY}
    assert login in Engine.logins
    # Nothing is written down, not even in the role's own configuration.
    assert json.loads((ROOT / "roles/handler_image/files/docker/config.json").read_text()) == {"auths": {}}
