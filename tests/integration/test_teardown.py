"""An environment and its neighbours: one of the same name in another region, an empty account. Then it is removed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ENVIRONMENT, NAME, run_playbook
from local_stack import ROOT, LocalStack
from resources import difference, everything
from runs import Run, by_molecule, recorded

OTHER_REGION = "eu-central-1"
OTHER_ACCOUNT = "111122223333"
DEPLOYER = "label-export-deployer"
SOMEBODYS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
MEANT = ("-e", f"label_export_destroy={ENVIRONMENT}")
THERE = ("-e", f"label_export_region={OTHER_REGION}")


def here(stack: LocalStack) -> dict[str, Any]:
    """Return everything of the environment in its own region, IAM's included, which knows no regions."""
    return of_region(everything(stack.aws, NAME), stack.facts["region"])


def there(stack: LocalStack) -> dict[str, Any]:
    """Return everything of the environment of the same name in the other region."""
    return of_region(everything(partial(stack.aws, region=OTHER_REGION), NAME), OTHER_REGION)


def of_region(found: dict[str, Any], region: str) -> dict[str, Any]:
    """Leave out what lives in no region and is the other region's by its name: buckets are listed everywhere."""
    everywhere = ("bucket ", "role ", "policy ")
    return {title: one for title, one in found.items() if not title.startswith(everywhere) or title.endswith(region)}


def arns(found: dict[str, Any]) -> set[str]:
    # A log group's may end with :*.
    return {arn.removesuffix(":*") for arn in re.findall(r"arn:aws:[^\"\s,\\]+", json.dumps(found, default=str))}


def own(names: set[str]) -> set[str]:
    return {name for name in names if NAME in name}


@pytest.fixture(scope="module")
def neighbour(stack: LocalStack) -> Iterator[Run]:
    """The same environment deployed in another region of the account, and removed at the end, its bucket too."""
    yield recorded("deploy", *THERE)
    bucket = f"{NAME}-{stack.facts['account_id']}-{OTHER_REGION}"
    run = run_playbook(
        "destroy", *MEANT, *THERE, "-e", f"label_bucket_destroy_with_labels={bucket}",
        "-e", "encord_secrets_destroy=true", "-e", "encord_secrets_recovery_window_days=0",
    )  # fmt: skip
    assert run.returncode == 0, run.output
    assert there(stack) == {}


@pytest.fixture(scope="module")
def other_account(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A credentials file of a deployer in another account, who has the documented policies and no more."""
    iam = boto3.client(
        "iam",
        endpoint_url=stack.facts["aws_endpoint_url"],
        verify=stack.facts["aws_ca_bundle"],
        region_name=stack.facts["region"],
        # In the emulator, an account's number is the access key of its owner.
        aws_access_key_id=OTHER_ACCOUNT,
        aws_secret_access_key=OTHER_ACCOUNT,
    )
    if not iam.list_policies(Scope="Local")["Policies"]:
        iam.create_user(UserName=DEPLOYER)
        for document in sorted(ROOT.glob("docs/*-policy.json")):
            policy = iam.create_policy(PolicyName=f"{DEPLOYER}-{document.stem}", PolicyDocument=document.read_text())
            iam.attach_user_policy(UserName=DEPLOYER, PolicyArn=policy["Policy"]["Arn"])
    key = iam.create_access_key(UserName=DEPLOYER)["AccessKey"]
    file = tmp_path_factory.mktemp("other-account") / "credentials"
    file.touch(mode=0o600)
    file.write_text(
        f"[deployer]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    )
    return file


def test_the_deploy_that_nobody_killed_went_on_and_the_next_changed_nothing() -> None:
    first, second = by_molecule()[:2]
    assert first.tasks != set()
    assert second.changes == []


def test_the_same_environment_lives_in_another_region_too(stack: LocalStack, neighbour: Run) -> None:
    assert neighbour.returncode == 0, neighbour.output
    one, other = here(stack), there(stack)
    assert len(one) == len(other) > 8
    assert own(arns(one)) & own(arns(other)) == set()
    assert own(arns(one)) != set()


def test_another_account_has_nothing_of_it(stack: LocalStack, neighbour: Run, other_account: Path) -> None:
    """A check there, as a deployer of that account, announces all that a first deploy makes."""
    check = recorded(
        "deploy", "--check", "--diff",
        "-e", f"label_export_account_id={OTHER_ACCOUNT}",
        "-e", f"label_export_aws_credentials_file={other_account}",
    )  # fmt: skip
    assert check.returncode == 0, check.output
    assert check.changes == neighbour.changes


def test_destroy_asks_for_the_name(stack: LocalStack) -> None:
    before = here(stack)
    for given in ((), ("-e", "label_export_destroy=prod")):
        run = recorded("destroy", *given)
        assert run.returncode != 0
        assert f"-e label_export_destroy={ENVIRONMENT}" in " ".join(run.output.split())
        assert run.changes == []
    assert difference(before, here(stack)) == {}


def test_destroy_removes_it_as_announced_and_nothing_of_its_neighbours(stack: LocalStack, neighbour: Run) -> None:
    assert neighbour.returncode == 0
    # IAM deletes no role that has a policy inside it.
    stack.aws("iam").put_role_policy(
        RoleName=f"{NAME}-{stack.facts['region']}", PolicyName="somebodys", PolicyDocument=json.dumps(SOMEBODYS)
    )
    before, others = here(stack), there(stack)
    announced = recorded("destroy", *MEANT, "--check", "--diff")
    assert announced.returncode == 0, announced.output
    assert difference(before, here(stack)) == {}
    run = recorded("destroy", *MEANT)
    assert run.returncode == 0, run.output
    assert run.changes == announced.changes
    kept = {title for title in before if title.startswith(("bucket ", "secret "))}
    assert here(stack).keys() == kept
    assert difference({title: before[title] for title in kept}, here(stack)) == {}
    assert difference(others, there(stack)) == {}


def test_destroy_again_finds_nothing_to_do() -> None:
    run = recorded("destroy", *MEANT)
    assert run.returncode == 0, run.output
    assert run.changes == []


def test_bucket_and_secrets_go_when_that_is_said(stack: LocalStack, neighbour: Run) -> None:
    assert neighbour.returncode == 0
    others = there(stack)
    bucket = f"{NAME}-{stack.facts['account_id']}-{stack.facts['region']}"
    run = recorded(
        "destroy", *MEANT, "-e", f"label_bucket_destroy_with_labels={bucket}",
        "-e", "encord_secrets_destroy=true", "-e", "encord_secrets_recovery_window_days=0",
    )  # fmt: skip
    assert run.returncode == 0, run.output
    assert here(stack) == {}
    assert difference(others, there(stack)) == {}
