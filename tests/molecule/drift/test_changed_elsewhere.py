"""What a deploy keeps: a secret that was rotated by hand, and versions and images that are in use.

Needs a deployed system. One run of the playbook, only for the roles encord_secrets and retired_versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from deployed_environment import NAME, Deployment, as_the_deploy_left_it
from local_stack import LocalStack
from playbook_runs import Playbook, only, run_playbook
from surplus_versions import digest_of, publish_more_versions, push_more_images, surplus_images

SECRET = f"{NAME}/webhook-signing-secrets"
ROTATED = json.dumps({"signing_secrets": ["rotated by hand"], "url_tokens": []})
KEPT = 2
SURPLUS_IMAGES = 3


@pytest.fixture(scope="module")
def live(deployment: Deployment) -> str:
    return str(deployment.functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"])


@pytest.fixture(scope="module")
def run(stack: LocalStack, deployment: Deployment, live: str) -> Iterator[Playbook]:
    secrets = stack.aws("secretsmanager")
    before = secrets.get_secret_value(SecretId=SECRET)["SecretString"]
    publish_more_versions(deployment.functions, KEPT)
    push_more_images(stack.aws("ecr"), digest_of(deployment.functions, live), SURPLUS_IMAGES)
    secrets.put_secret_value(SecretId=SECRET, SecretString=ROTATED)
    try:
        yield run_playbook(
            "deploy",
            *only("encord_secrets", "retired_versions"),
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


def test_old_versions_are_removed_except_the_newest_and_the_one_in_use(
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
    assert digest_of(deployment.functions, live) in {image["imageDigest"] for image in images}
    # ECR returns the time of a push only to the second.
    assert len(surplus_images(stack.aws("ecr"))) == KEPT, "the newest ones, and no more"
