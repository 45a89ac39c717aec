"""What is asked before the first deploy: Lambda's quotas, and which actions the deployer lacks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.modules.iam_simulation_info import context_of
from ansible_collections.label_export.aws.plugins.modules.lambda_account_info import reservable
from fake_aws import ACCOUNT, Fake, RefusedError, Values, done, run

USER = f"arn:aws:iam::{ACCOUNT}:user/deployer"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/Deployer"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Deployer/somebody"
QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:queue"


class FakeLambda(Fake):
    """Lambda with a quota, part of which functions have reserved."""

    def __init__(self, limit: int, reserved: Values) -> None:
        super().__init__()
        self.limit = limit
        self.reserved = reserved

    def get_account_settings(self, _: Values) -> Values:
        unreserved = self.limit - sum(self.reserved.values())
        return {"AccountLimit": {"ConcurrentExecutions": self.limit, "UnreservedConcurrentExecutions": unreserved}}

    def get_function_concurrency(self, p: Values) -> Values:
        if p["FunctionName"] == "missing":
            raise RefusedError("ResourceNotFoundException")
        reserved = self.reserved.get(p["FunctionName"])
        return {"ReservedConcurrentExecutions": reserved} if reserved else {}


@pytest.mark.parametrize(
    ("limit", "unreserved", "own", "expected"),
    [(1000, 1000, 0, 900), (1000, 150, 0, 50), (1000, 150, 20, 70), (10, 10, 0, 0), (50, 50, 0, 0), (1000, 100, 0, 0)],
)
def test_what_can_be_reserved(limit: int, unreserved: int, own: int, expected: int) -> None:
    assert reservable(limit, unreserved, own) == expected


def test_a_functions_own_reservation_is_free_and_a_missing_function_has_none() -> None:
    fake = FakeLambda(1000, {"ours": 30, "theirs": 500})
    found = done("lambda_account_info", fake, functions=["ours", "without", "missing"])
    assert (found["limit"], found["reservable"], found["problem"]) == (1000, 400, "")
    assert found["changed"] is False
    assert fake.writes() == []


def test_a_missing_permission_to_read_quotas_is_reported() -> None:
    fake = FakeLambda(1000, {})
    fake.refusals["get_account_settings"] = ("AccessDeniedException", 1)
    found = done("lambda_account_info", fake)
    assert "AccessDenied" in found["problem"]
    assert (found["limit"], found["reservable"]) == (0, 0)


class FakeIam(Fake):
    """IAM, which simulates: ``allowed`` is allowed, under the context in ``needs``; one action on a page."""

    def __init__(self, arn: str = USER) -> None:
        super().__init__()
        self.arn = arn
        self.allowed: set[tuple[str, str]] = set()
        self.needs: dict[str, tuple[str, str]] = {}
        self.principals: set[str] = set()

    def get_caller_identity(self, _: Values) -> Values:
        return {"Arn": self.arn, "Account": ACCOUNT, "UserId": "AIDA"}

    def get_role(self, p: Values) -> Values:
        assert p["RoleName"] == "Deployer"
        fixed: Any = {"Path": "/", "RoleName": "Deployer", "RoleId": "AROA", "CreateDate": "2026-01-01"}
        return {"Role": {**fixed, "Arn": ROLE}}

    def simulate_principal_policy(self, p: Values) -> Values:
        self.principals.add(p["PolicySourceArn"])
        context = {(entry["ContextKeyName"], entry["ContextKeyValues"][0]) for entry in p["ContextEntries"]}
        index = int(p.get("Marker", "0"))
        action = p["ActionNames"][index]
        holds = action not in self.needs or self.needs[action] in context
        verdicts = {
            name: "allowed" if holds and (action, name) in self.allowed else "implicitDeny"
            for name in p["ResourceArns"]
        }
        whole: Values = {"EvalActionName": action, "EvalDecision": min(verdicts.values())}
        if len(verdicts) > 1:
            parts = [{"EvalResourceName": name, "EvalResourceDecision": each} for name, each in verdicts.items()]
            whole["ResourceSpecificResults"] = parts
        else:
            whole["EvalResourceName"] = next(iter(verdicts))
        last = index + 1 == len(p["ActionNames"])
        return {"EvaluationResults": [whole], "IsTruncated": not last, **({} if last else {"Marker": str(index + 1)})}


def documents(**statement: Any) -> Values:
    return {"deployer-data": {"Version": "2012-10-17", "Statement": [{"Sid": "S", "Effect": "Allow", **statement}]}}


def test_each_action_is_simulated_on_each_resource_and_missing_ones_are_named() -> None:
    fake = FakeIam()
    fake.allowed = {("sqs:CreateQueue", QUEUE), ("sqs:CreateQueue", f"{QUEUE}-x"), ("sqs:TagQueue", QUEUE)}
    given = documents(Action=["sqs:CreateQueue", "sqs:TagQueue"], Resource=[QUEUE, f"{QUEUE}-*"])
    found = done("iam_simulation_info", fake, documents=given)
    assert (found["simulated"], found["principal"], found["problem"]) == (4, USER, "")
    assert found["denied"] == [
        {
            "document": "deployer-data",
            "statement": "S",
            "action": "sqs:TagQueue",
            "resource": f"{QUEUE}-x",
            "decision": "implicitDeny",
        }
    ]
    assert [name for name, _ in fake.calls if name.startswith(("put", "create", "delete"))] == []


def test_an_action_without_a_resource_and_one_under_a_condition() -> None:
    fake = FakeIam()
    fake.allowed = {("iam:PassRole", "*")}
    fake.needs = {"iam:PassRole": ("iam:PassedToService", "lambda.amazonaws.com")}
    condition = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    given = documents(Action=["iam:PassRole"], Resource=["*"], Condition=condition)
    assert done("iam_simulation_info", fake, documents=given)["denied"] == []
    assert (
        len(done("iam_simulation_info", fake, documents=documents(Action="iam:PassRole", Resource="*"))["denied"]) == 1
    )


def test_a_session_stands_for_its_role_with_the_path_and_another_principal_can_be_named() -> None:
    fake = FakeIam(SESSION)
    given = documents(Action=["sqs:CreateQueue"], Resource=[QUEUE])
    assert done("iam_simulation_info", fake, documents=given)["principal"] == ROLE
    assert done("iam_simulation_info", fake, documents=given, principal_arn=USER)["principal"] == USER
    assert fake.principals == {ROLE, USER}


@pytest.mark.parametrize("operation", ["simulate_principal_policy", "get_role"])
def test_a_simulation_that_is_not_allowed_is_reported(operation: str) -> None:
    fake = FakeIam(SESSION)
    fake.refusals[operation] = ("AccessDenied", 1)
    found = done("iam_simulation_info", fake, documents=documents(Action=["sqs:CreateQueue"], Resource=[QUEUE]))
    assert "AccessDenied" in found["problem"]
    assert (found["simulated"], found["denied"]) == (0, [])


def test_the_accounts_root_cannot_be_simulated() -> None:
    root = f"arn:aws:iam::{ACCOUNT}:root"
    found = done("iam_simulation_info", FakeIam(root), documents=documents(Action=["s3:GetObject"], Resource=["*"]))
    assert root in found["problem"]


def test_another_error_is_an_error() -> None:
    fake = FakeIam()
    fake.refusals["simulate_principal_policy"] = ("ServiceFailure", 1000)
    assert run("iam_simulation_info", fake, documents=documents(Action="sqs:CreateQueue", Resource=QUEUE))["failed"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, []),
        ({"StringEqualsIfExists": {"aws:ResourceTag/a": "b"}}, []),
        ({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["a"]}}, []),
        ({"ArnLike": {"lambda:FunctionArn": ["arn:f:*", "arn:g"]}}, [("lambda:FunctionArn", "string", "arn:f:x")]),
        ({"Bool": {"aws:SecureTransport": True}}, [("aws:SecureTransport", "boolean", "True")]),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, [("aws:TagKeys", "stringList", "a")]),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, None),
    ],
)
def test_the_context_makes_conditions_hold(condition: Values, expected: list[tuple[str, str, str]] | None) -> None:
    found = context_of({"Condition": condition})
    keys = ("ContextKeyName", "ContextKeyType")
    entries = found and [(*(entry[key] for key in keys), entry["ContextKeyValues"][0]) for entry in found]
    assert (entries if found is not None else None) == expected


class FakeApis(Fake):
    """API Gateway with APIs, one on a page."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def get_apis(self, p: Values) -> Values:
        start = int(p.get("NextToken", "0"))
        rest = {"NextToken": str(start + 1)} if self.names[start + 1 :] else {}
        return {"Items": [{"Name": name} for name in self.names[start : start + 1]], **rest}


def test_http_apis_are_counted() -> None:
    found = done("http_api_count_info", FakeApis("a", "b", "c"), name="c")
    assert (found["count"], found["found"], found["problem"], found["changed"]) == (3, True, "", False)
    assert not done("http_api_count_info", FakeApis("a"), name="c")["found"]


def test_apis_that_cannot_be_listed_do_not_count_as_none() -> None:
    fake = FakeApis("a")
    fake.refusals["get_apis"] = ("AccessDeniedException", 1)
    assert "AccessDeniedException" in done("http_api_count_info", fake, name="a")["problem"]
