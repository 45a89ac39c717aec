"""Other sources of Encord's private key: a file in the image, and a secret that was created by hand.

Needs a deployed system whose key is in a secret that the deploy creates, and restores it. Scenario `alternative`
tests the third source, the function's environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, given_secrets
from disturbances import ALIAS, FUNCTION, POLICY
from local_stack import LocalStack
from playbook_runs import Playbook, only, run_playbook
from pushed_images import PushedImage, tags
from role_documents import role, statements

IMAGE = "handler_image : Image | Ensure the registry has the image"
SIGNING_SECRETS = f"{NAME}/webhook-signing-secrets"
BY_HAND = f"{NAME}-by-hand"
SOURCE = "LABEL_EXPORT_PRIVATE_KEY_SOURCE"


ROLES = ("encord_secrets", "execution_role", "handler_image", "export_function")


def deploy(*arguments: str, **settings: str) -> Playbook:
    run = run_playbook("deploy", *(arguments or only(*ROLES)), "-e", json.dumps(settings))
    assert run.returncode == 0, run.output
    return run


def live(deployment: Deployment) -> dict[str, Any]:
    """Return the configuration of the version in use."""
    return dict(deployment.functions.get_function(FunctionName=NAME, Qualifier="live"))


def variables(deployment: Deployment) -> dict[str, str]:
    return dict(live(deployment)["Configuration"]["Environment"]["Variables"])


def readable_secrets(stack: LocalStack) -> list[str]:
    """Return the secrets that the execution role may read, without the random suffix of their names."""
    return [arn.removesuffix("-??????") for arn in statements(stack)["ReadSecrets"]["Resource"]]


@pytest.fixture(scope="module")
def prefix(stack: LocalStack) -> str:
    return f"arn:aws:secretsmanager:{stack.facts['region']}:{stack.facts['account_id']}:secret:"


@pytest.fixture(scope="module")
def key(stack: LocalStack) -> str:
    return Path(stack.facts["encord_private_key_file"]).read_text().strip()


@pytest.fixture(scope="module", autouse=True)
def back_to_the_default(stack: LocalStack, deployment: Deployment) -> Iterator[None]:
    """Deploys as before at the end; versions and images of these tests are removed, with the key in an image."""
    functions, ecr = deployment.functions, stack.aws("ecr")
    before, images = live(deployment), tags(stack)
    versions = {item["Version"] for item in functions.list_versions_by_function(FunctionName=NAME)["Versions"]}
    yield
    deploy()
    assert variables(deployment) == before["Configuration"]["Environment"]["Variables"]
    assert live(deployment)["Code"] == before["Code"]
    in_use = live(deployment)["Configuration"]["Version"]
    for item in functions.list_versions_by_function(FunctionName=NAME)["Versions"]:
        if item["Version"] not in {*versions, in_use}:
            functions.delete_function(FunctionName=NAME, Qualifier=item["Version"])
    for tag in tags(stack) - images:
        ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": tag}])
        stack.engine.images.remove(f"{stack.facts['registry']}/{NAME}:{tag}", force=True)


@pytest.fixture
def by_hand(stack: LocalStack, key: str) -> Iterator[str]:
    """Create a secret with the key, outside this repository; yields its ARN. The boundary is updated for it."""
    manager, iam = stack.aws("secretsmanager"), stack.aws("iam")
    arn = str(manager.create_secret(Name=BY_HAND, SecretString=key)["ARN"])
    boundary = role(stack)["boundary"]
    before = iam.get_policy(PolicyArn=boundary)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=boundary, VersionId=before)["PolicyVersion"]["Document"]
    (secrets,) = [statement for statement in document["Statement"] if statement["Sid"] == "Secrets"]
    secrets["Resource"].append(arn)
    made = iam.create_policy_version(PolicyArn=boundary, PolicyDocument=json.dumps(document), SetAsDefault=True)
    yield arn
    iam.set_default_policy_version(PolicyArn=boundary, VersionId=before)
    iam.delete_policy_version(PolicyArn=boundary, VersionId=made["PolicyVersion"]["VersionId"])
    manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def test_a_key_in_the_image_is_nowhere_else_and_the_deploy_says_that_it_is_weaker(
    stack: LocalStack, deployment: Deployment, prefix: str, key: str, complete: Callable[[], None]
) -> None:
    version, images = live(deployment)["Configuration"]["Version"], tags(stack)
    run = deploy("--tags", ",".join(ROLES), "-vvv", encord_secrets_private_key_source="file")
    assert set(run.changed) == {POLICY, IMAGE, FUNCTION, ALIAS}
    said = " ".join(run.output.split())
    assert "The private key is a file in the image, where everyone who may pull the image sees it" in said
    assert [secret for secret in given_secrets(stack) if secret in run.output] == []
    assert int(live(deployment)["Configuration"]["Version"]) > int(version), "it was asked, and is in use"
    assert f"Run the self check of version {live(deployment)['Configuration']['Version']}" in run.output

    found = variables(deployment)
    assert found["LABEL_EXPORT_PRIVATE_KEY_SOURCE"] == "file"
    assert {"LABEL_EXPORT_PRIVATE_KEY", "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN"} & found.keys() == set()
    assert [secret for secret in given_secrets(stack) if secret in json.dumps(found)] == []
    assert readable_secrets(stack) == [prefix + SIGNING_SECRETS]
    (tag,) = tags(stack) - images
    login = stack.aws("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert PushedImage(stack, tag, login).files["var/task/encord_private_key"].decode().strip() == key
    complete()


def test_the_role_may_read_a_manually_created_secret_and_a_label_is_exported_with_it(
    stack: LocalStack, deployment: Deployment, prefix: str, by_hand: str, complete: Callable[[], None]
) -> None:
    run = deploy(encord_secrets_private_key_file="", encord_secrets_private_key_secret_arn=by_hand)
    assert set(run.changed) <= {POLICY, FUNCTION, ALIAS}
    assert variables(deployment)["LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN"] == by_hand
    assert readable_secrets(stack) == [by_hand, prefix + SIGNING_SECRETS]
    complete()


def test_the_version_with_the_key_is_removed_with_its_image_and_a_new_key_is_requested(
    stack: LocalStack, deployment: Deployment
) -> None:
    """The version of the first test, which no alias names any more; the source is the default again."""

    def holding() -> list[str]:
        versions = deployment.functions.list_versions_by_function(FunctionName=NAME)["Versions"]
        sources = {item["Version"]: item["Environment"]["Variables"][SOURCE] for item in versions}
        return [version for version, source in sources.items() if source == "file"]

    (version,) = holding()
    image = deployment.functions.get_function(FunctionName=NAME, Qualifier=version)["Code"]["ImageUri"]
    ecr, digest = stack.aws("ecr"), image.partition("@")[2]
    (tag,) = ecr.describe_images(repositoryName=NAME, imageIds=[{"imageDigest": digest}])["imageDetails"][0][
        "imageTags"
    ]
    run = run_playbook("deploy", *only("retired_versions"))
    assert run.returncode == 0, run.output
    assert (holding(), tag in tags(stack)) == ([], False)
    said = " ".join(run.output.split())
    assert f"{NAME}: removed {version}, left none" in said
    assert "create a new key for the service account in Encord" in said
    assert run_playbook("deploy", *only("retired_versions")).changed == []
    stack.engine.images.remove(f"{stack.facts['registry']}/{NAME}:{tag}", force=True)
