"""An image for the architecture that this machine does not have is built without running anything, and pushed.

Also one that Lambda would refuse: an index of platforms.

Needs a deployed system and does not change it: the function is only checked.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, another_handler
from local_stack import LocalStack
from playbook_runs import Playbook, only, run_playbook
from pushed_images import PushedImage, tags

BASE = "label-export-test-base:of-another-architecture"
MISNAMED = "label-export-test-base:with-another-python"
OTHER = {"x86_64": "arm64", "arm64": "x86_64"}
DOCKERS_NAME = {"x86_64": "amd64", "arm64": "arm64"}
# The architecture in the names of wheels, and its number in the header of a shared library (ELF's e_machine).
WHEELS_NAME = {"x86_64": "x86_64", "arm64": "aarch64"}
ELF_MACHINE = {"x86_64": 62, "arm64": 183}
INDEX = "application/vnd.oci.image.index.v1+json"


def architecture_of(stack: LocalStack) -> str:
    return str(stack.facts.get("architecture", "x86_64"))


def other_than(stack: LocalStack) -> str:
    return OTHER[architecture_of(stack)]


def build(architecture: str, base: str, *arguments: str) -> Playbook:
    return run_playbook(
        "deploy",
        *("-e", f"handler_image_architecture={architecture}"),
        *("-e", f"handler_image_base={base}"),
        *arguments,
    )


def empty_image(name: str, architecture: str, python: str) -> bytes:
    """Return an image in the format of `docker load`; its Python is only a header for an architecture.

    `docker import --platform` would be simpler, but Docker 20.10 assumes this machine's platform.
    """
    header = b"\x7fELF\x02\x01\x01" + bytes(11) + ELF_MACHINE[python].to_bytes(2, "little") + bytes(44)
    layer = archive({"var/lang/bin/python3": header})
    layer_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    configuration = {
        "architecture": DOCKERS_NAME[architecture],
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer_id]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(configuration).encode(), "manifest.json": json.dumps(manifest).encode()}
    return archive({**files, "layer.tar": layer})


def archive(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


@pytest.fixture(scope="module")
def base(stack: LocalStack) -> Iterator[str]:
    stack.engine.images.load(empty_image(BASE, other_than(stack), other_than(stack)))
    yield BASE
    stack.engine.images.remove(BASE)


@pytest.fixture(scope="module")
def token(stack: LocalStack) -> str:
    """The registry's login as AWS returns it: base64 of AWS:password."""
    return str(stack.aws("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"])


@pytest.fixture(scope="module")
def run(stack: LocalStack, base: str) -> Iterator[Playbook]:
    """The build and the push, with all output of Ansible."""
    before = tags(stack)
    yield build(other_than(stack), base, *only("handler_image"), "-vvv")
    for tag in tags(stack) - before:
        stack.aws("ecr").batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": tag}])
        stack.engine.images.remove(f"{stack.facts['registry']}/{NAME}:{tag}")


@pytest.fixture(scope="module")
def pushed(stack: LocalStack, run: Playbook, token: str) -> PushedImage:
    assert run.returncode == 0, run.output
    live = stack.aws("lambda").get_function(FunctionName=NAME, Qualifier="live")["Code"]["ImageUri"]
    images = stack.aws("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    newest = max((image for image in images if image["imageDigest"] not in live), key=lambda i: i["imagePushedAt"])
    return PushedImage(stack, newest["imageTags"][0], token)


def test_the_image_says_that_it_is_for_the_other_architecture(stack: LocalStack, pushed: PushedImage) -> None:
    assert pushed.configuration["architecture"] == DOCKERS_NAME[other_than(stack)]
    assert pushed.configuration["config"]["Cmd"] == ["label_export.handler.handle"]


def test_every_dependency_in_it_is_for_that_architecture(stack: LocalStack, pushed: PushedImage) -> None:
    wheels = [text for name, text in pushed.files.items() if name.endswith(".dist-info/WHEEL")]
    compiled = [line for text in wheels for line in text.decode().splitlines() if line.startswith("Tag: cp")]
    assert compiled
    assert [line for line in compiled if not line.endswith(WHEELS_NAME[other_than(stack)])] == []
    libraries = [content for content in pushed.files.values() if content.startswith(b"\x7fELF")]
    assert libraries
    assert {int.from_bytes(content[18:20], "little") for content in libraries} == {ELF_MACHINE[other_than(stack)]}


def test_the_image_contains_the_handler_unchanged(pushed: PushedImage) -> None:
    assert "var/task/label_export/handler.py" in pushed.files


def test_no_output_contains_token_or_password(run: Playbook, token: str) -> None:
    assert run.returncode == 0, run.output
    assert "Build | Log in to the registry" in run.output
    password = base64.b64decode(token).decode().removeprefix("AWS:")
    # Base64 of "AWS:" and whatever follows: the login of this run may be another one.
    for secret in (token, password, base64.b64encode(b"AWS:").decode()[:5]):
        assert secret not in run.output


def test_the_function_would_become_one_of_that_architecture(stack: LocalStack, run: Playbook, base: str) -> None:
    assert run.returncode == 0, run.output
    check = build(other_than(stack), base, *only("handler_image", "export_function"), "--check", "--diff")
    assert check.returncode == 0, check.output
    assert not [task for task in check.changed if task.startswith("handler_image")], "the image is there"
    lines = {"".join(line.split()) for line in check.output.splitlines()}
    here = architecture_of(stack)
    assert {"Architectures:", f"--{here}", f"+-{other_than(stack)}"} <= lines, check.output


def test_a_base_for_another_architecture_is_refused_and_nothing_is_pushed(stack: LocalStack) -> None:
    before = tags(stack)
    refused = build(other_than(stack), stack.facts["base_image"], "--tags", "handler_image")
    assert refused.returncode != 0
    said = " ".join(refused.output.split())
    assert f"handler_image_base is '{stack.facts['base_image']}'" in said
    assert f"handler_image_architecture is {other_than(stack)}" in said
    assert "group_vars/label_export/handler_image.yml" in said
    assert tags(stack) == before


def test_a_base_with_the_python_of_another_architecture_is_refused_and_nothing_is_pushed(stack: LocalStack) -> None:
    """An engine writes the requested architecture into an image, whatever its base contains."""
    here, before = architecture_of(stack), tags(stack)
    stack.engine.images.load(empty_image(MISNAMED, other_than(stack), here))
    try:
        refused = build(other_than(stack), MISNAMED, *only("handler_image"))
    finally:
        stack.engine.images.remove(MISNAMED, force=True)
    assert refused.returncode != 0
    said = " ".join(refused.output.split())
    wanted = f"handler_image_architecture is {other_than(stack)}"
    assert f"handler_image_base is '{MISNAMED}', an image for {here}, but {wanted}." in said
    assert "Nothing was pushed" in said
    assert tags(stack) == before


def index_of(image: dict[str, Any]) -> str:
    """Return an OCI index that contains an image, as builders with attestations push it."""
    manifest = image["imageManifest"].encode()
    entry = {
        "mediaType": image["imageManifestMediaType"],
        "digest": image["imageId"]["imageDigest"],
        "size": len(manifest),
        "platform": {"architecture": "amd64", "os": "linux"},
    }
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})


def what_runs(deployment: Deployment) -> dict[str, Any]:
    """Return everything about the function and its versions that a deploy could change."""
    functions = deployment.functions
    return {
        "function": functions.get_function(FunctionName=NAME)["Configuration"],
        "image": functions.get_function(FunctionName=NAME)["Code"]["ImageUri"],
        "alias": functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"],
        "versions": functions.list_versions_by_function(FunctionName=NAME)["Versions"],
    }


def test_an_image_index_with_the_wanted_tag_is_refused_and_the_function_does_not_change(
    stack: LocalStack, deployment: Deployment, tmp_path: Path
) -> None:
    """Somebody has built and pushed it by hand: the deploy finds the tag, and must check what it names."""
    ecr, before = stack.aws("ecr"), what_runs(deployment)
    roles = ("-e", f"handler_image_source={another_handler(tmp_path)}", *only("handler_image", "export_function"))
    check = run_playbook("deploy", "--check", *roles)
    (tag,) = re.findall(rf'Would build and push \S+/{NAME}:([^"\s]+)', check.output)
    digest = {"imageDigest": before["image"].partition("@")[2]}
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[digest])["images"]
    ecr.put_image(repositoryName=NAME, imageManifest=index_of(image), imageManifestMediaType=INDEX, imageTag=tag)
    try:
        refused = run_playbook("deploy", *roles)
    finally:
        ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": tag}])
    said = " ".join(refused.output.split())
    assert refused.returncode != 0, said
    assert f"{NAME}:{tag} is of type {INDEX}, which Lambda refuses" in said
    assert "Delete the tag in ECR, and build with Docker's classic builder" in said
    assert refused.changed == []
    assert what_runs(deployment) == before
