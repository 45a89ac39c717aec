"""The documented IAM policies fit into managed ones, and nothing in them is wider than is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import ansible
import pytest

ROOT = Path(__file__).resolve().parents[2]
POLICIES = sorted(ROOT.glob("policies/*-policy.json"))
REASONS = (ROOT / "docs/decisions/0020-what-the-deployer-may-do.md").read_text()
# IAM and STS quotas: characters of a managed policy, white space not counted.
MANAGED_POLICY_CHARACTERS = 6144
# The name at the beginning of every resource of ours, after which a wildcard needs no reason.
OURS = re.compile(r"arn:aws:[a-z0-9]+:\*?:\*?:[a-z-]*[:/]?(?:/aws/(?:lambda|apigateway)/)?label-export-\*")


def statements(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["Statement"]
    return found


def name_of(path: Path) -> str:
    return path.name


def test_the_readme_names_every_policy() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in POLICIES] == ["deployer-policy.json", "monitoring-policy.json"]
    assert [path.name for path in POLICIES if f"](policies/{path.name})" not in readme] == []


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_a_policy_fits_into_a_managed_one(path: Path) -> None:
    characters = len(re.sub(r"\s", "", path.read_text()))
    assert characters <= MANAGED_POLICY_CHARACTERS


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_no_action_has_a_wildcard_or_stands_twice_in_a_statement(path: Path) -> None:
    for statement in statements(path):
        actions = statement["Action"]
        assert [action for action in actions if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action)] == []
        assert sorted(set(actions)) == sorted(actions), statement["Sid"]


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_every_statement_is_named_and_only_allows(path: Path) -> None:
    sids = [statement["Sid"] for statement in statements(path)]
    assert len(set(sids)) == len(sids)
    assert {statement["Effect"] for statement in statements(path)} == {"Allow"}


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_whatever_is_wider_than_our_names_is_explained(path: Path) -> None:
    first_cells = re.findall(r"^\|[^|]+\|", REASONS, re.MULTILINE)
    explained = {sid for cell in first_cells for sid in re.findall(r"`(\w+)`", cell)}
    wide = {
        statement["Sid"]
        for statement in statements(path)
        if any(not OURS.fullmatch(resource) for resource in statement["Resource"])
    }
    assert wide - explained == set()


# ---------------------------------------------------------------------------------------------------------------------
# Every action is one that a playbook calls

COLLECTIONS = Path(ansible.__file__).parents[1] / "ansible_collections"
# Actions that are named otherwise than the operation that needs them (Service Authorization Reference).
OPERATION_OF = {
    "lambda:GetFunctionConfiguration": "function_updated",  # a waiter
    "lambda:InvokeFunction": "invoke",
    "s3:DeleteObject": "delete_objects",
    "s3:DeleteObjectVersion": "delete_objects",
    "s3:GetBucketPublicAccessBlock": "get_public_access_block",
    "s3:GetEncryptionConfiguration": "get_bucket_encryption",
    "s3:GetLifecycleConfiguration": "get_bucket_lifecycle_configuration",
    "s3:ListBucket": "head_bucket",
    "s3:ListBucketMultipartUploads": "list_multipart_uploads",
    "s3:ListBucketVersions": "list_object_versions",
    "s3:PutBucketPublicAccessBlock": "put_public_access_block",
    "s3:PutEncryptionConfiguration": "put_bucket_encryption",
    "s3:PutLifecycleConfiguration": "put_bucket_lifecycle_configuration",
    "sqs:DeleteMessage": "delete_message_batch",
}
# Actions that no module calls by their name.
BESIDES = {
    "apigateway:": "asked for by the HTTP verb of each call",
    "ecr:BatchCheckLayerAvailability": "docker push",
    "ecr:CompleteLayerUpload": "docker push",
    "ecr:GetDownloadUrlForLayer": "Lambda, which pulls the image as whoever makes the function",
    "ecr:InitiateLayerUpload": "docker push",
    "ecr:PutImage": "docker push",
    "ecr:UploadLayerPart": "docker push",
    "iam:PassRole": "Lambda, for the role that a function is given",
    "logs:CreateLogDelivery": "API Gateway, for a stage's access log",
    "logs:DeleteLogDelivery": "API Gateway, for a stage's access log",
    "logs:DescribeResourcePolicies": "API Gateway, for a stage's access log",
    "logs:GetLogDelivery": "API Gateway, for a stage's access log",
    "logs:ListLogDeliveries": "API Gateway, for a stage's access log",
    "logs:PutResourcePolicy": "API Gateway, for a stage's access log",
    "logs:UpdateLogDelivery": "API Gateway, for a stage's access log",
}


def sources() -> str:
    """Return the text of our modules, and of those of amazon.aws that the roles use."""
    tasks = "\n".join(path.read_text() for path in ROOT.glob("roles/*/tasks/*.yml") if "local_stack" not in path.parts)
    used = set(re.findall(r"^\s+amazon\.aws\.(\w+):", tasks, re.MULTILINE))
    upstream = COLLECTIONS / "amazon/aws/plugins"
    paths = [
        *(ROOT / "collections/ansible_collections/label_export/aws/plugins").rglob("*.py"),
        *(upstream / "modules" / f"{name}.py" for name in used),
        upstream / "module_utils/iam.py",
    ]
    return "\n".join(path.read_text() for path in paths)


def actions() -> list[str]:
    return sorted({action for path in POLICIES for statement in statements(path) for action in statement["Action"]})


def operation_of(action: str) -> str:
    return OPERATION_OF.get(action) or re.sub(r"(?<!^)(?=[A-Z])", "_", action.partition(":")[2]).lower()


def has_another_reason(action: str) -> bool:
    return any(action == known or (known.endswith(":") and action.startswith(known)) for known in BESIDES)


def test_every_action_is_called_by_a_module_or_has_another_reason() -> None:
    text = sources()
    called = {action for action in actions() if re.search(rf"\b{operation_of(action)}\b", text)}
    assert [action for action in actions() if action not in called and not has_another_reason(action)] == []


def test_the_reasons_are_for_actions_that_there_are() -> None:
    named = {*OPERATION_OF, *(known for known in BESIDES if not known.endswith(":"))}
    assert named - set(actions()) == set()
