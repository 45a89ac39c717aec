"""The execution role with settings that narrow, bound and widen it, or an existing role instead.

Needs a deployed system, and restores it. The playbook runs only for the role execution_role, as the deployer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from deployed_environment import NAME
from local_stack import LocalStack
from playbook_runs import OWNER, Playbook, only, run_playbook
from role_documents import role, statements

GIVEN = f"{NAME}-given"
BOUNDARIES = (f"{NAME}-boundary", f"{NAME}-other-boundary")
KEYS = {
    "label_bucket_kms_key_arn": "bucket",
    "export_queue_kms_key_arn": "queue",
    "encord_secrets_kms_key_arn": "secrets",
    "export_function_kms_key_arn": "function",
    # AWS's services use these two for themselves, not the function.
    "export_function_log_kms_key_arn": "logs",
    "image_repository_kms_key_arn": "images",
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def deploy(**settings: str) -> Playbook:
    # The resources in the settings are outside the deployer's policies, and only an administrator changes the boundary.
    run = run_playbook("deploy", *only("execution_role"), "-e", json.dumps(settings), *(OWNER if settings else ()))
    assert run.returncode == 0, run.output
    return run


@pytest.fixture
def boundaries(stack: LocalStack) -> Iterator[list[str]]:
    iam = stack.aws("iam")
    document = json.dumps(ANYTHING)
    arns = [iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"] for name in BOUNDARIES]
    yield arns
    for arn in arns:
        iam.delete_policy(PolicyArn=arn)


@pytest.fixture
def given(stack: LocalStack) -> Iterator[str]:
    iam = stack.aws("iam")
    made = iam.create_role(RoleName=GIVEN, AssumeRolePolicyDocument=json.dumps(TRUST), Description="theirs")
    yield str(made["Role"]["Arn"])
    iam.delete_role(RoleName=GIVEN)


def test_a_boundary_is_set_changed_and_removed_and_keys_are_allowed_only_while_they_are_given(
    stack: LocalStack, boundaries: list[str]
) -> None:
    before = role(stack)
    assert before["boundary"].endswith(f":policy/boundary-of-{NAME}-{stack.facts['region']}")
    assert not [sid for sid, entry in statements(stack).items() if "kms:" in json.dumps(entry)]

    prefix = f"arn:aws:kms:{stack.facts['region']}:{stack.facts['account_id']}:key/"
    deploy(execution_role_permissions_boundary=boundaries[0], **{name: prefix + key for name, key in KEYS.items()})
    assert role(stack)["boundary"] == boundaries[0]
    about_keys = [entry for entry in statements(stack).values() if "kms:" in json.dumps(entry)]
    assert about_keys == [
        {
            "Sid": "UseKeys",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": [prefix + key for key in ("bucket", "queue", "secrets", "function")],
            "Condition": {
                "StringEquals": {
                    "kms:ViaService": [
                        f"{service}.{stack.facts['region']}.amazonaws.com"
                        for service in ("lambda", "s3", "secretsmanager", "sqs")
                    ]
                }
            },
        }
    ]

    deploy(execution_role_permissions_boundary=boundaries[1])
    assert role(stack) == {**before, "boundary": boundaries[1]}, "without keys their statement is gone"

    removed = deploy(execution_role_permissions_boundary="")
    assert removed.changed == ["execution_role : Present | Remove a permissions boundary that is not configured"]
    assert "can get every permission in account" in " ".join(removed.output.split())
    assert role(stack)["boundary"] is None

    assert deploy().changed == ["execution_role : Present | Ensure only Lambda can assume the role"]
    assert role(stack) == before


def test_another_path_is_refused_and_the_role_keeps_what_it_may_do(stack: LocalStack) -> None:
    before = role(stack)
    run = run_playbook("deploy", *only("execution_role"), "-e", "execution_role_path=/elsewhere/", *OWNER)
    assert run.returncode != 0
    assert "AWS cannot change the path of either: restore execution_role_path" in " ".join(run.output.split())
    assert role(stack) == before


def test_an_existing_role_is_used_unchanged(stack: LocalStack, given: str) -> None:
    ours, theirs = role(stack), role(stack, GIVEN)
    roles = "execution_role,handler_image,export_function"
    run = run_playbook("deploy", "--tags", roles, "--check", "--diff", "-e", f"execution_role_arn={given}", *OWNER)
    assert run.returncode == 0, run.output
    assert [task for task in run.changed if task.startswith("execution_role")] == []
    assert f"+Role:{given}" in {"".join(line.split()) for line in run.output.splitlines()}, "the function takes it"

    # With the preflight, which reads the role.
    used = run_playbook("deploy", "--tags", "execution_role", "-e", f"execution_role_arn={given}", *OWNER)
    assert (used.returncode, used.changed) == (0, []), used.output
    assert (role(stack), role(stack, GIVEN)) == (ours, theirs)
