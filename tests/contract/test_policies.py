"""The IAM policies of an environment fit into managed policies, name only that environment, and are explained."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import ansible
import pytest
from rendered_policies import Document, render

ROOT = Path(__file__).resolve().parents[2]
REASONS = (ROOT / "docs/decisions/0020-what-the-deployer-may-do.md").read_text()
# IAM and STS quotas: characters of a managed policy without white space; managed policies of a user or role.
MANAGED_POLICY_CHARACTERS = 6144
ATTACHED_POLICIES = 10
# Every form of an ARN of the environment `dev`: its name at the end, or followed by a part that it owns.
OURS = re.compile(
    r"arn:aws:s3:::label-export-dev-000000000000-eu-west-1(/\*|/encord/\?{8}(-\?{4}){3}-\?{12}/(state/)?index/\*)?"
    r"|arn:aws:(sqs|sns):eu-west-1:000000000000:label-export-dev"
    r"(-dead-letters|-alarms|-catalog|-catalog-dead-letters|-catalog-events|-backfill)?"
    r"|arn:aws:events:eu-west-1:000000000000:rule/label-export-dev-labels"
    r"|arn:aws:secretsmanager:eu-west-1:000000000000:secret:label-export-dev/[a-z-]+(-\?{6})?"
    r"|arn:aws:ecr:eu-west-1:000000000000:repository/label-export-dev(-catalog)?"
    r"|arn:aws:iam::000000000000:(role|policy)/label-export-dev(-catalog|-schedules|-readers-[0-9a-f-]{36})?-eu-west-1"
    r"|arn:aws:lambda:eu-west-1:000000000000:function:label-export-dev(-catalog)?(:\*|:live)?"
    r"|arn:aws:logs:eu-west-1:000000000000:log-group:/aws/[a-z/]+/label-export-dev(-catalog)?(:\*)?"
    r"|arn:aws:scheduler:eu-west-1:000000000000:schedule/default/label-export-dev-(catalog-\*|keep-active)"
    r"|arn:aws:glue:eu-west-1:000000000000:(database/label_export_dev|(table|userDefinedFunction)/label_export_dev/\*)"
    r"|arn:aws:cloudwatch:eu-west-1:000000000000:alarm:label-export-dev/\*"
    r"|arn:aws:cloudwatch::000000000000:dashboard/label-export-dev-eu-west-1"
)
NAMES = [
    "boundary",
    "deployer-data",
    "deployer-endpoint",
    "deployer-function",
    "deployer-identity",
    "deployer-monitoring",
]
# The policies of the roles of functions and schedules.
ROLES = ["execution-role", "catalog-execution-role", "schedules-role"]
DEPLOYERS = [name for name in NAMES if name.startswith("deployer-")]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Document]]:
    """Documents by environment and by name."""
    return render(tmp_path_factory)


def statements(documents: dict[str, Document], *names: str) -> list[dict[str, Any]]:
    return [statement for name in names for statement in documents[name]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_playbook_writes_a_file_for_each_document_and_says_what_to_do(
    tmp_path: Path, rendered: dict[str, dict[str, Document]]
) -> None:
    run = subprocess.run(
        [
            *("ansible-playbook", "playbooks/policies.yml", "--inventory=tests/contract/policies_inventory.yml"),
            *("--limit=dev", f"--extra-vars=deployer_policies_directory={tmp_path}/policies"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    written = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "policies").iterdir()}
    assert sorted(written) == NAMES
    assert written == {name: rendered["dev"][name] for name in NAMES}
    assert "creates the policy boundary-of-label-export-dev-eu-west-1 from boundary.json" in " ".join(
        run.stdout.split()
    )


def test_they_can_all_be_attached_to_one_user() -> None:
    assert len(DEPLOYERS) <= ATTACHED_POLICIES


@pytest.mark.parametrize("name", [*NAMES, *ROLES])
def test_a_policy_fits_into_a_managed_one(name: str, rendered: dict[str, dict[str, Document]]) -> None:
    sizes = {environment: len(re.sub(r"\s", "", json.dumps(found[name]))) for environment, found in rendered.items()}
    assert {environment: size for environment, size in sizes.items() if size > MANAGED_POLICY_CHARACTERS} == {}


def test_no_action_has_a_wildcard_or_is_repeated_in_a_statement(rendered: dict[str, dict[str, Document]]) -> None:
    for documents in rendered.values():
        for statement in statements(documents, *NAMES):
            actions = as_list(statement["Action"])
            assert [action for action in actions if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action)] == []
            assert sorted(set(actions)) == sorted(actions), statement["Sid"]


def test_every_statement_is_named_and_only_allows(rendered: dict[str, dict[str, Document]]) -> None:
    for documents in rendered.values():
        for name in NAMES:
            sids = [statement["Sid"] for statement in statements(documents, name)]
            assert len(set(sids)) == len(sids)
            assert {statement["Effect"] for statement in statements(documents, name)} == {"Allow"}


def test_statements_wider_than_the_environments_names_are_explained(rendered: dict[str, dict[str, Document]]) -> None:
    first_cells = re.findall(r"^\|[^|]+\|", REASONS, re.MULTILINE)
    explained = {sid for cell in first_cells for sid in re.findall(r"`(\w+)`", cell)}
    wide = {
        statement["Sid"]
        for statement in [
            *statements(rendered["dev"], *NAMES),
            *statements(rendered["every_setting"], "deployer-function"),
        ]
        if any(not OURS.fullmatch(resource) for resource in as_list(statement["Resource"]))
    }
    assert wide == explained


def test_every_partition_has_its_own_arns(rendered: dict[str, dict[str, Document]]) -> None:
    text = json.dumps([rendered["china"][name] for name in NAMES])
    assert "arn:aws-cn:" in text
    assert "arn:aws:" not in text
    assert set(re.findall(r"\w+\.cn-north-1\.amazonaws\.com[.a-z]*", text)) > {"s3.cn-north-1.amazonaws.com.cn"}


def test_permissions_on_the_role_require_the_boundary_unless_a_setting_disables_it(
    rendered: dict[str, dict[str, Document]],
) -> None:
    def unbounded(environment: str) -> set[str]:
        return {
            action
            for statement in statements(rendered[environment], *DEPLOYERS)
            for action in statement["Action"]
            if "iam:PermissionsBoundary" not in json.dumps(statement.get("Condition", {}))
        }

    widening = {
        "iam:CreateRole",
        "iam:AttachRolePolicy",
        "iam:UpdateAssumeRolePolicy",
        "iam:PutRolePermissionsBoundary",
    }
    never = {"iam:DeleteRolePermissionsBoundary", "iam:PutRolePolicy"}
    assert unbounded("dev") & (widening | never) == set()
    assert unbounded("no_boundary") >= widening - {"iam:PutRolePermissionsBoundary"}


def test_an_existing_role_is_only_read_and_passed(rendered: dict[str, dict[str, Document]]) -> None:
    actions = {
        action
        for statement in statements(rendered["given_role"], "deployer-identity")
        for action in statement["Action"]
    }
    assert {action for action in actions if not re.match(r"iam:(Get|List)", action)} == {"iam:PassRole"}


def test_keys_are_used_only_through_aws_services(rendered: dict[str, dict[str, Document]]) -> None:
    found = [
        statement
        for statement in statements(rendered["every_setting"], *NAMES, *ROLES)
        if any(action.startswith("kms:") for action in as_list(statement["Action"]))
    ]
    assert len(found) == len({"boundary", "deployer-data", *ROLES})
    assert [s["Sid"] for s in found if not s.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService")] == []


# ---------------------------------------------------------------------------------------------------------------------
# Every action is one that a playbook calls

COLLECTIONS = Path(ansible.__file__).parents[1] / "ansible_collections"
# Actions whose name differs from the operation that needs them (Service Authorization Reference).
OPERATION_OF = {
    "lambda:InvokeFunction": "invoke",
    "s3:DeleteObject": "delete_objects",
    "s3:DeleteObjectVersion": "delete_objects",
    "s3:GetBucketObjectLockConfiguration": "get_object_lock_configuration",
    "s3:GetBucketNotification": "get_bucket_notification_configuration",
    "s3:GetBucketPublicAccessBlock": "get_public_access_block",
    "s3:GetEncryptionConfiguration": "get_bucket_encryption",
    "s3:GetLifecycleConfiguration": "get_bucket_lifecycle_configuration",
    "s3:ListBucket": "head_bucket",
    "s3:ListBucketMultipartUploads": "list_multipart_uploads",
    "s3:ListBucketVersions": "list_object_versions",
    "s3:PutBucketNotification": "put_bucket_notification_configuration",
    "s3:PutBucketPublicAccessBlock": "put_public_access_block",
    "s3:PutEncryptionConfiguration": "put_bucket_encryption",
    "s3:PutLifecycleConfiguration": "put_bucket_lifecycle_configuration",
    "sqs:DeleteMessage": "delete_message_batch",
}
# Actions that no module calls by name.
BESIDES = {
    "apigateway:": "checked by the HTTP verb of each call",
    "ec2:DescribeSecurityGroups": "Lambda, for a function in a VPC",
    "ec2:DescribeSubnets": "Lambda, for a function in a VPC",
    "ec2:DescribeVpcs": "Lambda, for a function in a VPC",
    "kms:": "AWS services on behalf of the deployer, for configured keys",
    "ecr:BatchCheckLayerAvailability": "docker push",
    "ecr:CompleteLayerUpload": "docker push",
    "ecr:GetDownloadUrlForLayer": "Lambda, which pulls the image as the caller that creates the function",
    "ecr:InitiateLayerUpload": "docker push",
    "ecr:PutImage": "docker push",
    "ecr:UploadLayerPart": "docker push",
    "iam:PassRole": "Lambda, for the function's role",
    "logs:CreateLogDelivery": "API Gateway, for a stage's access log",
    "logs:DeleteLogDelivery": "API Gateway, for a stage's access log",
    "logs:DescribeResourcePolicies": "API Gateway, for a stage's access log",
    "logs:GetLogDelivery": "API Gateway, for a stage's access log",
    "logs:ListLogDeliveries": "API Gateway, for a stage's access log",
    "logs:PutResourcePolicy": "API Gateway, for a stage's access log",
    "s3:PutBucketObjectLockConfiguration": "CreateBucket, for a bucket with Object Lock",
    "logs:UpdateLogDelivery": "API Gateway, for a stage's access log",
}


def sources() -> str:
    """Return the source of our modules, and of the amazon.aws modules that the roles use."""
    tasks = "\n".join(path.read_text() for path in ROOT.glob("roles/*/tasks/*.yml") if "local_stack" not in path.parts)
    used = set(re.findall(r"^\s+amazon\.aws\.(\w+):", tasks, re.MULTILINE))
    upstream = COLLECTIONS / "amazon/aws/plugins"
    paths = [
        *(ROOT / "collections/ansible_collections/label_export/aws/plugins").rglob("*.py"),
        *(upstream / "modules" / f"{name}.py" for name in used),
        upstream / "module_utils/iam.py",
    ]
    return "\n".join(path.read_text() for path in paths)


def actions(rendered: dict[str, dict[str, Document]]) -> list[str]:
    """Return every action that the deployer of some environment is allowed."""
    found = (statement for documents in rendered.values() for statement in statements(documents, *DEPLOYERS))
    return sorted({action for statement in found for action in statement["Action"]})


def operation_of(action: str) -> str:
    return OPERATION_OF.get(action) or re.sub(r"(?<!^)(?=[A-Z])", "_", action.partition(":")[2]).lower()


def has_another_reason(action: str) -> bool:
    return any(action == known or (known.endswith(":") and action.startswith(known)) for known in BESIDES)


def test_every_action_is_called_by_a_module_or_has_another_reason(rendered: dict[str, dict[str, Document]]) -> None:
    text = sources()
    called = {action for action in actions(rendered) if re.search(rf"\b{operation_of(action)}\b", text)}
    assert [action for action in actions(rendered) if action not in called and not has_another_reason(action)] == []


def test_the_reasons_are_for_existing_actions(rendered: dict[str, dict[str, Document]]) -> None:
    named = {*OPERATION_OF, *(known for known in BESIDES if not known.endswith(":"))}
    assert named - set(actions(rendered)) == set()


def matches(pattern: str, resource: str) -> bool:
    """Say whether a resource of a policy stands for this ARN, by IAM's rules for wildcards."""
    parts = {"*": ".*", "?": "."}
    return (
        re.fullmatch("".join(parts.get(character, re.escape(character)) for character in pattern), resource) is not None
    )


@pytest.mark.parametrize("name", ["boundary", "catalog-execution-role"])
@pytest.mark.parametrize("folder", ["index", "state/index", "state", "reports", "snapshots", "objects"])
def test_the_catalog_has_no_rights_on_a_label_whose_key_has_one_of_its_folders(
    rendered: dict[str, dict[str, Document]], name: str, folder: str
) -> None:
    """A key template can have a data unit's title, and a title can be `index`."""
    project = "00000000-1111-2222-3333-444444444444"
    bucket = "arn:aws:s3:::label-export-dev-000000000000-eu-west-1/encord"
    rights = {
        action
        for statement in statements(rendered["dev"], name)
        for action in as_list(statement["Action"])
        if any(matches(one, f"{bucket}/{project}/labels/{folder}/label.json") for one in as_list(statement["Resource"]))
    }
    assert "s3:DeleteObjectVersion" not in rights
    if name == "catalog-execution-role":
        assert not rights & {"s3:PutObject", "s3:DeleteObject"}
        own = [
            statement["Sid"]
            for statement in statements(rendered["dev"], name)
            if any(matches(one, f"{bucket}/{project}/{folder}/file") for one in as_list(statement["Resource"]))
            and "s3:PutObject" in as_list(statement["Action"])
        ]
        assert len(own) == 1


def test_the_permissions_on_network_interfaces_stay_while_a_version_is_in_a_vpc(
    rendered: dict[str, dict[str, Document]],
) -> None:
    """Lambda deletes a version's interfaces with the permissions of the function's role."""
    in_a_vpc = {
        environment
        for environment, documents in rendered.items()
        if "JoinTheVpc" in {statement["Sid"] for statement in statements(documents, "execution-role")}
    }
    assert in_a_vpc == {"every_setting", "left_the_vpc"}
