"""The deployer is found among the principals of a policy as AWS's aws:PrincipalArn would find it."""

from __future__ import annotations

import pytest
from ansible_collections.label_export.aws.plugins.filter.is_one_of_principals import is_one_of_principals

USER = "arn:aws:iam::123456789012:user/people/ana"
SESSION = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Deployers_1f/ana@example.com"
SSO = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Deployers_*"


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        (USER, USER),
        (USER, "arn:aws:iam::123456789012:user/people/*"),
        (USER, "arn:aws:iam::123456789012:user/*/an?"),
        (SESSION, SSO),
        (SESSION, "arn:aws:iam::123456789012:role/AWSReservedSSO_Deployers_1f"),
        (SESSION, "arn:aws:iam::123456789012:role/*"),
        ("arn:aws:iam::123456789012:root", USER),
    ],
)
def test_a_caller_is_found(caller: str, principal: str) -> None:
    assert is_one_of_principals(caller, ["arn:aws:iam::123456789012:user/other", principal])


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        (USER, "arn:aws:iam::123456789012:user/ana"),
        (USER, "arn:aws:iam::210987654321:user/people/ana"),
        (USER, "arn:aws:iam::123456789012:role/people/ana"),
        (SESSION, "arn:aws:iam::123456789012:user/AWSReservedSSO_Deployers_1f"),
        (SESSION, "arn:aws:iam::123456789012:role/AWSReservedSSO_Deployers_"),
        (SESSION, "arn:aws:iam::210987654321:role/AWSReservedSSO_Deployers_1f"),
        (SESSION, SESSION),
    ],
)
def test_another_caller_is_not(caller: str, principal: str) -> None:
    assert not is_one_of_principals(caller, [principal])
    assert not is_one_of_principals(caller, [])
