"""A refusal by AWS is reported with the operation, the missing action and resource, and where to allow it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from fake_aws import plugin


class FailedError(Exception):
    """The module failed."""


class Module:
    def fail_json_aws(self, error: Exception, msg: str) -> None:
        raise FailedError(f"{msg}: {error}")


DENIED = (
    "User: arn:aws:iam::123456789012:user/deployer is not authorized to perform: sqs:CreateQueue on resource: "
    "arn:aws:sqs:eu-west-1:123456789012:a because no identity-based policy allows the sqs:CreateQueue action"
)


def message_of(error: Exception) -> str:
    with pytest.raises(FailedError) as caught, plugin("module_utils.failures").reported(Module(), "The queue a"):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    "code", ["AccessDenied", "AccessDeniedException", "AccessDeniedFault", "UnauthorizedOperation"]
)
def test_a_missing_permission_is_named_with_where_to_add_it(code: str) -> None:
    said = message_of(ClientError({"Error": {"Code": code, "Message": DENIED}}, "CreateQueue"))
    assert said.startswith("The queue a")
    assert "sqs:CreateQueue on resource: arn:aws:sqs:eu-west-1:123456789012:a" in said
    assert "playbooks/policies.yml" in said


def test_a_missing_permission_of_lambda_is_not_reported_as_one_of_the_caller() -> None:
    text = "Lambda does not have permission to access the ECR image. Check the ECR permissions."
    said = message_of(ClientError({"Error": {"Code": "AccessDeniedException", "Message": text}}, "CreateFunction"))
    assert text in said
    assert "The credentials lack a permission" not in said


def test_another_refusal_says_nothing_of_permissions() -> None:
    said = message_of(ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": "gone"}}, "GetQueueUrl"))
    assert said.startswith("The queue a: ")
    assert "gone" in said
    assert "playbooks/policies.yml" not in said


def test_a_failed_connection_is_reported_too() -> None:
    assert "Could not connect" in message_of(EndpointConnectionError(endpoint_url="https://nowhere"))


def test_an_error_of_our_own_is_not_hidden() -> None:
    with pytest.raises(KeyError), plugin("module_utils.failures").reported(Module(), "The queue a"):
        raise KeyError("ours")
