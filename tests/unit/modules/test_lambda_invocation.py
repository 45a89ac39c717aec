"""A version is invoked, and awaited if Lambda has made it inactive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from fake_aws import REGION, Fake, RefusedError, Values, done, plugin, run

LONGEST_RUN = 900  # seconds, Lambda's quota

GIVEN: Values = {"function_name": "function", "qualifier": "7", "payload": {"action": "self_check"}}


class FakeLambda(Fake):
    """Lambda with one version, which may be inactive: the first invocation fails, and starts its activation."""

    def __init__(self, state: str = "Active", *, pending: int = 3) -> None:
        super().__init__()
        self.state = state
        self.pending = pending
        self.output: Any = {"ok": True}
        self.error: Values = {}
        self.comes_to = "Active"

    def invoke(self, p: Values) -> Values:
        assert (p["FunctionName"], p["Qualifier"]) == ("function", "7")
        assert json.loads(p["Payload"]) == {"action": "self_check"}
        if self.state == "Inactive":
            self.state = "Pending"
            raise RefusedError("ResourceNotReadyException")
        if self.state != "Active":
            raise RefusedError("ResourceConflictException")
        return {"StatusCode": 200, "Payload": Body(json.dumps(self.output)), **self.error}

    def get_function_configuration(self, _p: Values) -> Values:
        if self.state == "Pending":
            self.pending -= 1
            if self.pending < 0:
                self.state = self.comes_to
        return {"State": self.state, "StateReason": "no image", "StateReasonCode": "ImageDeleted"}


class Body:
    """The payload of a response, which can be read once."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> bytes:
        return self.text.encode()


def test_the_response_is_awaited_for_longer_than_a_function_may_run() -> None:
    with patch_module_args({"region": REGION, "access_key": "test", "secret_key": "test"}):
        client = plugin("module_utils.lambda_invocation").invoking_client(AnsibleAWSModule(argument_spec={}))
    assert client.client.meta.config.read_timeout > LONGEST_RUN


@pytest.mark.parametrize("state", ["Active", "Inactive", "Pending"])
def test_a_version_answers_once_it_is_active(state: str) -> None:
    fake = FakeLambda(state)
    result = done("lambda_invocation", fake, **GIVEN)
    assert (result["changed"], result["output"], result["waited"]) == (False, {"ok": True}, state != "Active")


def test_nothing_is_invoked_in_check_mode() -> None:
    fake = FakeLambda("Inactive")
    assert done("lambda_invocation", fake, check=True, **GIVEN)["output"] == {}
    assert fake.calls == []


def test_a_version_that_does_not_become_active_in_time_is_reported() -> None:
    result = run("lambda_invocation", FakeLambda("Inactive", pending=10**9), **GIVEN, timeout=0)
    assert result["msg"].startswith("Version 7 of function was not active within 0 s.")


def test_a_version_that_cannot_become_active_is_reported() -> None:
    fake = FakeLambda("Inactive")
    fake.comes_to = "Failed"
    assert "cannot be made active: no image (ImageDeleted)" in run("lambda_invocation", fake, **GIVEN)["msg"]


def test_a_function_that_fails_is_reported_with_its_reason() -> None:
    fake = FakeLambda()
    fake.output, fake.error = {"errorMessage": "out of memory"}, {"FunctionError": "Unhandled"}
    assert "was invoked and failed: out of memory" in run("lambda_invocation", fake, **GIVEN)["msg"]


def test_another_refusal_is_not_retried() -> None:
    fake = FakeLambda()
    fake.refusals["invoke"] = ("AccessDeniedException", 1)
    assert "Version 7 of function could not be invoked" in run("lambda_invocation", fake, **GIVEN)["msg"]
