"""The three kinds of front door: a deploy leaves exactly one, whatever there was before.

Needs a deployed system with an HTTP API, and leaves one. The playbook runs for the role front_door, and for the
alarms if an HTTP API is added or removed, since it has its own alarms.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, eventually, webhook_to
from local_stack import LocalStack
from playbook_runs import Playbook, only, run_playbook

ACCESS_LOG = f"/aws/vendedlogs/apigateway/{NAME}"
# The parts of a front door by its kind. The identifiers are those of statements in the alias's policy.
EVERYTHING_OF: dict[str, dict[str, Any]] = {
    "http_api": {"apis": [NAME], "urls": [], "log_groups": [ACCESS_LOG], "statements": {"http-api"}},
    "function_url": {
        "apis": [],
        "urls": ["NONE"],
        "log_groups": [],
        "statements": {"function-url", "function-url-invoke"},
    },
    "none": {"apis": [], "urls": [], "log_groups": [], "statements": set()},
}

WITH_ALARMS = ("front_door", "monitoring")


def what_there_is(stack: LocalStack) -> dict[str, Any]:
    functions = stack.aws("lambda")
    try:
        policy = json.loads(functions.get_policy(FunctionName=NAME, Qualifier="live")["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        policy = {"Statement": []}
    urls = functions.list_function_url_configs(FunctionName=NAME)["FunctionUrlConfigs"]
    groups = stack.aws("logs").describe_log_groups(logGroupNamePrefix=ACCESS_LOG)["logGroups"]
    return {
        "apis": [api["Name"] for api in stack.aws("apigatewayv2").get_apis()["Items"] if api["Name"].startswith(NAME)],
        "urls": [url["AuthType"] for url in urls],
        "log_groups": [group["logGroupName"] for group in groups],
        "statements": {statement["Sid"] for statement in policy["Statement"]},
    }


def apis_watched(stack: LocalStack) -> list[str]:
    alarms = stack.aws("cloudwatch").describe_alarms(AlarmNames=[f"{NAME}/endpoint"])["MetricAlarms"]
    return [dimension["Value"] for alarm in alarms for dimension in alarm["Dimensions"]]


def front_door(kind: str, *arguments: str, roles: Sequence[str] = ("front_door",)) -> Playbook:
    run = run_playbook("deploy", *only(*roles), "-e", f"front_door_kind={kind}", *arguments)
    assert run.returncode == 0, run.output
    return run


@pytest.fixture(scope="module", autouse=True)
def with_an_http_api_before_and_after(stack: LocalStack) -> Any:
    assert what_there_is(stack) == EVERYTHING_OF["http_api"]
    yield
    if what_there_is(stack) != EVERYTHING_OF["http_api"]:
        front_door("http_api", roles=WITH_ALARMS)


def function_url(stack: LocalStack) -> str:
    """Return the URL at which the emulator serves the Function URL."""
    (config,) = stack.aws("lambda").list_function_url_configs(FunctionName=NAME)["FunctionUrlConfigs"]
    identifier = config["FunctionUrl"].removeprefix("https://").partition(".")[0]
    return f"{stack.facts['aws_endpoint_url']}/_aws/lambda-url/{identifier}"


def test_a_function_url_replaces_the_api_and_its_alarm_as_the_check_announces(stack: LocalStack) -> None:
    assert len(apis_watched(stack)) == 1
    announced = front_door("function_url", "--check", roles=WITH_ALARMS)
    assert what_there_is(stack) == EVERYTHING_OF["http_api"], "a check changes nothing"
    run = front_door("function_url", roles=WITH_ALARMS)
    assert run.changed == announced.changed
    assert what_there_is(stack) == EVERYTHING_OF["function_url"]
    assert apis_watched(stack) == []
    assert f"Webhook URL: {function_url(stack)}/webhook" in run.output


def test_both_permissions_of_the_url_have_their_condition(stack: LocalStack) -> None:
    policy = json.loads(stack.aws("lambda").get_policy(FunctionName=NAME, Qualifier="live")["Policy"])
    assert {statement["Action"]: statement["Condition"] for statement in policy["Statement"]} == {
        "lambda:InvokeFunctionUrl": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        "lambda:InvokeFunction": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    }


def test_verify_uses_the_function_url() -> None:
    run = run_playbook("verify", "-e", "front_door_kind=function_url")
    assert run.returncode == 0, run.output
    assert "a probe followed from the endpoint to Encord" in " ".join(run.output.split())


@pytest.fixture(scope="module")
def label(stack: LocalStack) -> dict[str, Any]:
    """A label of a project that no other scenario exports."""
    made = stack.encord_json("POST", "giant-rows", {"frames": 1, "objects": 2, "count": 1})
    return {"project_hash": made["project_hash"], "label_hash": made["rows"][0]["label_hash"]}


def test_a_webhook_through_the_function_url_ends_in_the_bucket(
    stack: LocalStack, deployment: Deployment, label: dict[str, Any]
) -> None:
    with webhook_to(stack, f"{function_url(stack)}/webhook", label["project_hash"]):
        task = stack.encord_json("POST", "complete-task", {"label_hash": label["label_hash"]})
        body, _metadata = deployment.saved(**label, edited_at=task["last_edited_at"])
    assert json.loads(body)["label_hash"] == label["label_hash"]


def test_the_function_url_accepts_only_signed_webhooks_at_their_path(stack: LocalStack) -> None:
    url, json_type = function_url(stack), {"Content-Type": "application/json"}
    assert stack.request(f"{url}/webhook", "POST", b"{}", **json_type) == (401, b'{"error": "unauthorized"}')
    assert stack.request(f"{url}/elsewhere", "POST", b"{}", **json_type)[0] == 404
    assert stack.request(f"{url}/webhook")[0] == 404


def test_without_a_front_door_nothing_is_left_and_the_queue_is_named(stack: LocalStack, deployment: Deployment) -> None:
    run = front_door("none")
    assert what_there_is(stack) == EVERYTHING_OF["none"]
    assert "There is no front door" in run.output
    queue = deployment.queue_attributes()["QueueArn"]
    assert queue in run.output


def test_a_message_in_the_form_that_the_deploy_shows_ends_in_the_bucket(
    stack: LocalStack, deployment: Deployment, label: dict[str, Any]
) -> None:
    task = stack.encord_json("POST", "complete-task", {"label_hash": label["label_hash"]})
    queue_url = deployment.sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    deployment.sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"version": 1, **label}))
    deployment.saved(**label, edited_at=task["last_edited_at"])
    eventually(lambda: deployment.messages() == 0, "an empty queue")


def test_an_api_after_no_front_door_has_its_alarm(stack: LocalStack) -> None:
    front_door("http_api", roles=WITH_ALARMS)
    assert what_there_is(stack) == EVERYTHING_OF["http_api"]
    apis = [api["ApiId"] for api in stack.aws("apigatewayv2").get_apis()["Items"] if api["Name"] == NAME]
    assert apis_watched(stack) == apis
