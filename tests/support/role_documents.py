"""The execution role of the deployed environment, with its policies' documents."""

from __future__ import annotations

from typing import Any

from deployed_environment import NAME
from local_stack import LocalStack


def role(stack: LocalStack, name: str = "") -> dict[str, Any]:
    """Return everything about a role that a deploy could change; the deployed one if no name is given."""
    iam = stack.aws("iam")
    name = name or f"{NAME}-{stack.facts['region']}"
    found = iam.get_role(RoleName=name)["Role"]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    policies = {}
    for policy in attached:
        version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
        answer = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
        policies[policy["PolicyArn"]] = answer["PolicyVersion"]["Document"]
    return {
        "arn": found["Arn"],
        "description": found.get("Description"),
        "trust": found["AssumeRolePolicyDocument"],
        "boundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        "policies": policies,
        "inline": iam.list_role_policies(RoleName=name)["PolicyNames"],
        "tags": sorted(iam.list_role_tags(RoleName=name)["Tags"], key=str),
    }


def statements(stack: LocalStack) -> dict[str, dict[str, Any]]:
    (document,) = role(stack)["policies"].values()
    return {statement["Sid"]: statement for statement in document["Statement"]}
