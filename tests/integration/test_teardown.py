"""An environment, and the ones of the same name in another region and in another account. Then it is removed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ENVIRONMENT, NAME, Deployment, Playbook, eventually, run_playbook, statuses, webhook_to
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


def removed(*where: str, bucket: str) -> Playbook:
    """Remove the environment with its bucket and its secrets; ``where`` it is, unless in its own region and account."""
    return run_playbook(
        "destroy", *MEANT, *where, "-e", f"label_bucket_destroy_with_labels={bucket}",
        "-e", "encord_secrets_destroy=true", "-e", "encord_secrets_recovery_window_days=0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def neighbour(stack: LocalStack) -> Iterator[Run]:
    """The same environment deployed in another region of the account, and removed at the end, its bucket too."""
    yield recorded("deploy", *THERE)
    run = removed(*THERE, bucket=f"{NAME}-{stack.facts['account_id']}-{OTHER_REGION}")
    assert run.returncode == 0, run.output
    assert there(stack) == {}


@dataclass
class OtherAccount:
    """Another account, and a deployer of its own in it, who has the documented policies and no more."""

    stack: LocalStack
    credentials: Path
    deploy: Run | None = None

    def aws(self, service: str) -> Any:
        """Return a client of the account's owner."""
        return boto3.client(
            service,
            endpoint_url=self.stack.facts["aws_endpoint_url"],
            verify=self.stack.facts["aws_ca_bundle"],
            region_name=self.stack.facts["region"],
            # In the emulator, an account's number is the access key of its owner.
            aws_access_key_id=OTHER_ACCOUNT,
            aws_secret_access_key=OTHER_ACCOUNT,
        )

    @property
    def settings(self) -> tuple[str, ...]:
        """What an inventory of that account would have."""
        return (
            *("-e", f"label_export_account_id={OTHER_ACCOUNT}"),
            *("-e", f"label_export_aws_credentials_file={self.credentials}"),
        )

    def everything(self) -> dict[str, Any]:
        return everything(self.aws, NAME)


@pytest.fixture(scope="module")
def other_account(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherAccount]:
    """The same environment deployed in another account, and removed at the end, its bucket too."""
    account = OtherAccount(stack, tmp_path_factory.mktemp("other-account") / "credentials")
    iam = account.aws("iam")
    if not iam.list_policies(Scope="Local")["Policies"]:
        iam.create_user(UserName=DEPLOYER)
        for document in sorted(ROOT.glob("docs/*-policy.json")):
            policy = iam.create_policy(PolicyName=f"{DEPLOYER}-{document.stem}", PolicyDocument=document.read_text())
            iam.attach_user_policy(UserName=DEPLOYER, PolicyArn=policy["Policy"]["Arn"])
    key = iam.create_access_key(UserName=DEPLOYER)["AccessKey"]
    account.credentials.touch(mode=0o600)
    account.credentials.write_text(
        f"[deployer]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    )
    account.deploy = recorded("deploy", *account.settings)
    yield account
    run = removed(*account.settings, bucket=f"{NAME}-{OTHER_ACCOUNT}-{stack.facts['region']}")
    assert run.returncode == 0, run.output
    assert account.everything() == {}


def neighbours(stack: LocalStack, other_account: OtherAccount) -> dict[str, Any]:
    """Return everything of both environments of the same name."""
    both = {OTHER_REGION: there(stack), OTHER_ACCOUNT: other_account.everything()}
    return {f"{title} in {place}": one for place, found in both.items() for title, one in found.items()}


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


def test_the_same_environment_lives_in_another_account_too(
    stack: LocalStack, neighbour: Run, other_account: OtherAccount
) -> None:
    assert other_account.deploy is not None
    assert other_account.deploy.returncode == 0, other_account.deploy.output
    assert other_account.deploy.changes == neighbour.changes, "all that a first deploy makes"
    one, other = here(stack), other_account.everything()
    assert len(one) == len(other)
    assert own(arns(one)) & own(arns(other)) == set()


def test_a_label_is_saved_in_the_account_whose_endpoint_was_told(
    stack: LocalStack, deployment: Deployment, other_account: OtherAccount
) -> None:
    made = stack.encord_json("POST", "giant-rows", {"frames": 1, "objects": 2, "count": 1})
    label_hash = made["rows"][0]["label_hash"]
    (api,) = [api for api in other_account.aws("apigatewayv2").get_apis()["Items"] if api["Name"] == NAME]
    url = f"{stack.facts['aws_endpoint_url']}/_aws/execute-api/{api['ApiId']}/$default/webhook"
    with webhook_to(stack, url, made["project_hash"]):
        task = stack.encord_json("POST", "complete-task", {"label_hash": label_hash})
    assert statuses(task, url) == [202]
    s3, bucket = other_account.aws("s3"), f"{NAME}-{OTHER_ACCOUNT}-{stack.facts['region']}"
    key = deployment.key(made["project_hash"], label_hash)
    eventually(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"], "the label in that account's bucket")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == stack.encord("GET", f"label-rows/{label_hash}")
    assert deployment.s3.list_objects_v2(Bucket=deployment.bucket, Prefix=key)["KeyCount"] == 0


def test_destroy_asks_for_the_name(stack: LocalStack) -> None:
    before = here(stack)
    for given in ((), ("-e", "label_export_destroy=prod")):
        run = recorded("destroy", *given)
        assert run.returncode != 0
        assert f"-e label_export_destroy={ENVIRONMENT}" in " ".join(run.output.split())
        assert run.changes == []
    assert difference(before, here(stack)) == {}


def test_destroy_removes_it_as_announced_and_nothing_of_its_neighbours(
    stack: LocalStack, neighbour: Run, other_account: OtherAccount
) -> None:
    assert neighbour.returncode == 0
    # IAM deletes no role that has a policy inside it.
    stack.aws("iam").put_role_policy(
        RoleName=f"{NAME}-{stack.facts['region']}", PolicyName="somebodys", PolicyDocument=json.dumps(SOMEBODYS)
    )
    before, others = here(stack), neighbours(stack, other_account)
    announced = recorded("destroy", *MEANT, "--check", "--diff")
    assert announced.returncode == 0, announced.output
    assert difference(before, here(stack)) == {}
    run = recorded("destroy", *MEANT)
    assert run.returncode == 0, run.output
    assert run.changes == announced.changes
    kept = {title for title in before if title.startswith(("bucket ", "secret "))}
    assert here(stack).keys() == kept
    assert difference({title: before[title] for title in kept}, here(stack)) == {}
    assert difference(others, neighbours(stack, other_account)) == {}


def test_the_next_time_bucket_and_secrets_go_when_that_is_said_and_nothing_else_is_there_to_remove(
    stack: LocalStack, neighbour: Run
) -> None:
    assert neighbour.returncode == 0
    others = there(stack)
    run = removed(bucket=f"{NAME}-{stack.facts['account_id']}-{stack.facts['region']}")
    assert run.returncode == 0, run.output
    assert {task.partition(" : ")[0] for task in run.changed} == {"label_bucket", "encord_secrets"}
    assert here(stack) == {}
    assert difference(others, there(stack)) == {}
