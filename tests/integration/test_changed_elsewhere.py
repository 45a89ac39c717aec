"""What a deploy leaves as it finds it: a secret that was rotated by hand, and versions and images that are in use.

Needs a deployed system. One run of the playbook, for the roles encord_secrets and retired_versions alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import NAME, Deployment, Playbook, as_the_deploy_left_it, run_playbook
from local_stack import LocalStack

SECRET = f"{NAME}/webhook-signing-secrets"
ROTATED = json.dumps({"signing_secrets": ["rotated by hand"], "url_tokens": []})
KEPT = 2
SURPLUS_IMAGES = 3


def digest_of(functions: Any, qualifier: str) -> str:
    uri: str = functions.get_function(FunctionName=NAME, Qualifier=qualifier)["Code"]["ImageUri"]
    return uri.partition("@")[2]


def publish_more_versions(functions: Any, how_many: int) -> None:
    """Publish versions that no alias names; the function itself is left as it was."""
    description = functions.get_function_configuration(FunctionName=NAME)["Description"]
    for number in (*range(how_many), None):
        text = description if number is None else f"surplus {number}"
        functions.update_function_configuration(FunctionName=NAME, Description=text)
        functions.get_waiter("function_updated_v2").wait(FunctionName=NAME)
        functions.publish_version(FunctionName=NAME)


def push_more_images(ecr: Any, digest: str) -> list[str]:
    """Push images that nothing runs, after the one in use; return their digests."""
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])["images"]
    manifest = json.loads(image["imageManifest"])
    found = []
    for number in range(SURPLUS_IMAGES):
        text = json.dumps({**manifest, "annotations": {"surplus": str(number)}})
        ecr.put_image(repositoryName=NAME, imageManifest=text, imageTag=f"surplus-{number}")
        found.append(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")
    return found


@pytest.fixture(scope="module")
def live(deployment: Deployment) -> str:
    return str(deployment.functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"])


@pytest.fixture(scope="module")
def run(stack: LocalStack, deployment: Deployment, live: str) -> Iterator[Playbook]:
    secrets = stack.aws("secretsmanager")
    before = secrets.get_secret_value(SecretId=SECRET)["SecretString"]
    publish_more_versions(deployment.functions, KEPT)
    push_more_images(stack.aws("ecr"), digest_of(deployment.functions, live))
    secrets.put_secret_value(SecretId=SECRET, SecretString=ROTATED)
    try:
        yield run_playbook(
            "deploy",
            *("--tags", "encord_secrets,retired_versions"),
            *("-e", f"retired_versions_kept={KEPT}"),
            *("-e", f"image_repository_kept_images={KEPT}"),
        )
    finally:
        as_the_deploy_left_it(secrets, SECRET, before)


def test_a_secret_that_was_rotated_by_hand_stays_and_is_named(run: Playbook, stack: LocalStack) -> None:
    assert run.returncode == 0, run.output
    assert stack.aws("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"] == ROTATED
    assert [task for task in run.changed if task.startswith("encord_secrets")] == []
    said = " ".join(run.output.split())
    assert f"left as they are: {SECRET}." in said
    assert "encord_secrets_overwrite=true" in said


def test_old_versions_are_gone_but_for_the_newest_and_the_one_in_use(
    run: Playbook, deployment: Deployment, live: str
) -> None:
    assert [task.partition(" : ")[0] for task in run.changed] == ["retired_versions"]
    listed = deployment.functions.list_versions_by_function(FunctionName=NAME)["Versions"]
    left = [version["Version"] for version in listed if version["Version"] != "$LATEST"]
    assert live in left
    assert len(left) == KEPT + 1, "the newest ones, and the one that the alias names"
    assert deployment.functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"] == live


def test_the_image_in_use_stays_though_others_were_pushed_later(
    run: Playbook, stack: LocalStack, deployment: Deployment, live: str
) -> None:
    images = stack.aws("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    tags = {tag for image in images for tag in image.get("imageTags", [])}
    assert digest_of(deployment.functions, live) in {image["imageDigest"] for image in images}
    # Which of them were pushed last ECR tells to the second.
    assert len({tag for tag in tags if tag.startswith("surplus-")}) == KEPT, "the newest ones, and no more"
