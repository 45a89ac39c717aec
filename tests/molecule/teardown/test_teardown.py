"""An environment, and those of the same name in another region and another account. Then it is removed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from account_resources import difference, everything
from deployed_environment import ENVIRONMENT, NAME, Deployment, statuses, webhook_to
from local_stack import LocalStack
from playbook_runs import Run, by_molecule, recorded, run_playbook
from role_documents import role

OTHER_REGION = "eu-central-1"
OTHER_ACCOUNT = "111122223333"
DEPLOYER = f"deployer-of-{NAME}"
SOMEBODYS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
MEANT = ("-e", f"label_export_destroy={ENVIRONMENT}")
A_LABEL = "encord/a-project/labels/a-label.json"
THERE = ("-e", f"label_export_region={OTHER_REGION}")


def here(stack: LocalStack) -> dict[str, Any]:
    """Return everything of the environment in its own region, including IAM, which has no regions."""
    return of_region(everything(stack.aws, NAME), stack.facts["region"])


def there(stack: LocalStack) -> dict[str, Any]:
    """Return everything of the environment of the same name in the other region."""
    return of_region(everything(partial(stack.aws, region=OTHER_REGION), NAME), OTHER_REGION)


def of_region(found: dict[str, Any], region: str) -> dict[str, Any]:
    """Leave out resources without a region that belong to the other region by name: buckets are listed everywhere."""
    everywhere = ("bucket ", "role ", "policy ")
    return {title: one for title, one in found.items() if not title.startswith(everywhere) or title.endswith(region)}


def arns(found: dict[str, Any]) -> set[str]:
    # The ARN of a log group may end with :*.
    return {arn.removesuffix(":*") for arn in re.findall(r"arn:aws:[^\"\s,\\]+", json.dumps(found, default=str))}


def own(names: set[str]) -> set[str]:
    return {name for name in names if NAME in name}


def policies_of_the_deployer(stack: LocalStack) -> dict[str, str]:
    """Return the documents of the environment's deployer, and the boundary of its function, by name."""
    iam = stack.aws("iam")
    arns = [policy["PolicyArn"] for policy in iam.list_attached_user_policies(UserName=DEPLOYER)["AttachedPolicies"]]
    found = {}
    for arn in [*arns, role(stack)["boundary"]]:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        found[arn.rpartition("/")[2]] = json.dumps(document)
    return found


def give(iam: Any, documents: dict[str, str], here: str, elsewhere: str) -> None:
    """Create the policies for another region or account, and attach the deployer's to the deployer.

    The text is what playbooks/policies.yml would write for this region or account.
    """
    for name, document in documents.items():
        # The boundary's name contains the region, and is the same in every account.
        there = f"{name}-{elsewhere}" if name.startswith(DEPLOYER) else name.replace(here, elsewhere)
        made = iam.create_policy(PolicyName=there, PolicyDocument=document.replace(here, elsewhere))
        if name.startswith(DEPLOYER):
            iam.attach_user_policy(UserName=DEPLOYER, PolicyArn=made["Policy"]["Arn"])


@pytest.fixture(scope="module")
def neighbour(stack: LocalStack) -> Run:
    """The same environment, deployed in another region of the account. It is removed with the stack."""
    give(stack.aws("iam"), policies_of_the_deployer(stack), stack.facts["region"], OTHER_REGION)
    return recorded("deploy", *THERE)


@dataclass
class OtherAccount:
    """The same environment in another account."""

    deployment: Deployment
    first: Run

    def everything(self) -> dict[str, Any]:
        return everything(self.deployment.stack.aws, NAME)


@pytest.fixture(scope="module")
def other_account(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> OtherAccount:
    """Deployed by a deployer of that account, with the same policies and no others. Removed with the stack."""
    documents, account = policies_of_the_deployer(stack), stack.facts["account_id"]
    stack = LocalStack(account=OTHER_ACCOUNT)
    iam = stack.aws("iam")
    if not iam.list_policies(Scope="Local")["Policies"]:
        iam.create_user(UserName=DEPLOYER)
        # Not in the region's way: the deployer here may have got those of the other region too.
        give(iam, {name: text for name, text in documents.items() if OTHER_REGION not in name}, account, OTHER_ACCOUNT)
    key = iam.create_access_key(UserName=DEPLOYER)["AccessKey"]
    credentials = tmp_path_factory.mktemp("other-account") / "credentials"
    credentials.touch(mode=0o600)
    credentials.write_text(
        f"[deployer]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
    )
    settings = (
        *("-e", f"label_export_account_id={OTHER_ACCOUNT}"),
        *("-e", f"label_export_aws_credentials_file={credentials}"),
    )
    return OtherAccount(Deployment(stack), recorded("deploy", *settings))


def neighbours(stack: LocalStack, other_account: OtherAccount) -> dict[str, Any]:
    """Return everything of both environments of the same name."""
    both = {OTHER_REGION: there(stack), OTHER_ACCOUNT: other_account.everything()}
    return {f"{title} in {place}": one for place, found in both.items() for title, one in found.items()}


def test_the_deploy_that_was_not_killed_completed_and_the_next_changed_nothing() -> None:
    first, second = by_molecule()[:2]
    assert first.tasks != set()
    assert second.changes == []


def test_the_same_environment_can_exist_in_another_region(stack: LocalStack, neighbour: Run) -> None:
    assert neighbour.returncode == 0, neighbour.output
    one, other = here(stack), there(stack)
    assert len(one) == len(other) > 8
    assert own(arns(one)) & own(arns(other)) == set()
    assert own(arns(one)) != set()


def test_the_same_environment_can_exist_in_another_account(
    stack: LocalStack, neighbour: Run, other_account: OtherAccount
) -> None:
    assert other_account.first.returncode == 0, other_account.first.output
    # The other environment is in the other region of this account, which the items of some loops name.
    region, account = stack.facts["region"], stack.facts["account_id"]
    made = [
        (task, item and item.replace(OTHER_REGION, region).replace(account, OTHER_ACCOUNT))
        for task, item in neighbour.changes
    ]
    assert other_account.first.changes == made, "all that a first deploy makes"
    one, other = here(stack), other_account.everything()
    assert len(one) == len(other)
    assert own(arns(one)) & own(arns(other)) == set()


def test_a_label_is_saved_in_the_account_whose_endpoint_received_it(
    stack: LocalStack, deployment: Deployment, other_account: OtherAccount
) -> None:
    made = stack.encord_json("POST", "giant-rows", {"frames": 1, "objects": 2, "count": 1})
    project, label = made["project_hash"], made["rows"][0]["label_hash"]
    other = other_account.deployment
    with webhook_to(stack, other.webhook_url, project):
        task = stack.encord_json("POST", "complete-task", {"label_hash": label})
    assert statuses(task, other.webhook_url) == [202]
    body, _metadata = other.saved(project, label, task["last_edited_at"])
    assert body == stack.encord("GET", f"label-rows/{label}")
    assert deployment.versions(deployment.key(project, label)) == 0


def test_destroy_requires_the_name(stack: LocalStack) -> None:
    before = here(stack)
    run = recorded("destroy", "-e", "label_export_destroy=prod")  # without a name: tests/contract/test_guards.py
    assert run.returncode != 0
    assert f"-e label_export_destroy={ENVIRONMENT}" in " ".join(run.output.split())
    assert run.changes == []
    assert difference(before, here(stack)) == {}


def test_destroy_removes_everything_as_announced_except_labels_and_secrets_and_no_other_environment(
    stack: LocalStack, deployment: Deployment, neighbour: Run, other_account: OtherAccount
) -> None:
    assert neighbour.returncode == 0
    # IAM does not delete a role that has an inline policy.
    stack.aws("iam").put_role_policy(
        RoleName=f"{NAME}-{stack.facts['region']}", PolicyName="somebodys", PolicyDocument=json.dumps(SOMEBODYS)
    )
    deployment.s3.put_object(Bucket=deployment.bucket, Key=A_LABEL, Body=b"{}")
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
    assert deployment.versions(A_LABEL) == 1
    assert difference(others, neighbours(stack, other_account)) == {}


def test_a_second_destroy_removes_bucket_and_secrets_if_requested_and_finds_nothing_else(
    stack: LocalStack, deployment: Deployment, neighbour: Run
) -> None:
    assert neighbour.returncode == 0
    others = there(stack)
    run = run_playbook(
        "destroy",
        *MEANT,
        *("-e", f"label_bucket_destroy_with_labels={deployment.bucket}"),
        *("-e", "encord_secrets_destroy=true"),
        *("-e", "encord_secrets_recovery_window_days=0"),
    )
    assert run.returncode == 0, run.output
    assert {task.partition(" : ")[0] for task in run.changed} == {"label_bucket", "encord_secrets"}
    assert here(stack) == {}
    assert difference(others, there(stack)) == {}
