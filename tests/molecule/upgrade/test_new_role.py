"""A deploy waits for a role that Lambda does not know yet; every other refusal is reported at once.

Needs a deployed system. A setting of the function was changed outside the repository, so that a deploy corrects
it. A proxy in front of AWS answers the first time, since in the emulator a new role is known at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, proxy_before
from fault_proxy import Answer, Exchange, FaultProxy, Rule, answers
from local_stack import LocalStack
from playbook_runs import Playbook, only, run_playbook

# Lambda's own words (API reference: UpdateFunctionConfiguration, InvalidParameterValueException).
NOT_KNOWN_YET = "The role defined for the function cannot be assumed by Lambda."
NEVER = "Lambda was unable to configure your environment variables."
CHANGE = f"/functions/{NAME}/configuration$"


def refusal(message: str) -> Answer:
    """An InvalidParameterValueException, as Lambda's REST API words it."""
    code = "InvalidParameterValueException"
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return Answer(400, json.dumps({"Type": "User", "message": message}).encode(), headers)


def first_change_answered(message: str) -> Rule:
    return Rule(answers(refusal(message)), method="PUT", path=CHANGE, times=1)


def changes(proxy: FaultProxy) -> list[Exchange]:
    return [e for e in proxy.exchanges if e.method == "PUT" and re.search(CHANGE, e.path)]


def deploy(proxy: FaultProxy) -> Playbook:
    roles = only("handler_image", "export_function")
    return run_playbook("deploy", *roles, "-e", f"label_export_aws_endpoint_url={proxy.url}")


def configuration(deployment: Deployment, qualifier: str) -> dict[str, Any]:
    """Return what a deploy sets, without the version's number and time, which Lambda chooses."""
    found = deployment.functions.get_function_configuration(FunctionName=NAME, Qualifier=qualifier)
    return {name: found[name] for name in ("Description", "Environment", "MemorySize", "Role", "Timeout")}


@pytest.fixture
def proxy(stack: LocalStack) -> Iterator[FaultProxy]:
    with proxy_before(stack, stack.facts["aws_endpoint_url"]).running() as proxy:
        yield proxy


def test_only_a_role_that_is_not_known_yet_is_awaited(proxy: FaultProxy, deployment: Deployment) -> None:
    functions, before = deployment.functions, configuration(deployment, "live")
    functions.update_function_configuration(FunctionName=NAME, Description="changed elsewhere")
    functions.get_waiter("function_updated_v2").wait(FunctionName=NAME)

    proxy.inject(first_change_answered(NEVER))
    refused = deploy(proxy)
    assert refused.returncode != 0
    assert NEVER in " ".join(refused.output.split())
    assert "RETRYING" not in refused.output
    assert [exchange.status for exchange in changes(proxy)] == [400]

    proxy.forget()
    proxy.inject(first_change_answered(NOT_KNOWN_YET))
    waited = deploy(proxy)
    assert waited.returncode == 0, waited.output
    assert waited.output.count("FAILED - RETRYING") == 1
    assert [exchange.status for exchange in changes(proxy)] == [400, 200]
    assert configuration(deployment, "live") == configuration(deployment, "$LATEST") == before
