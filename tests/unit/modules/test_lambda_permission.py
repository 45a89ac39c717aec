"""The statement that allows a service to invoke the function."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.module_utils.lambda_statement import comparable, wanted_statement
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done

API = f"arn:aws:execute-api:eu-west-1:{ACCOUNT}:abc/*/POST/webhook"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
MINIMAL: Values = {"function_name": "function", "statement_id": "http-api", "principal": "apigateway.amazonaws.com"}
EVERYTHING: Values = {**MINIMAL, "qualifier": "live", "source_arn": API, "source_account": ACCOUNT}
PLAIN = {
    "action": "lambda:InvokeFunction",
    "principal": "apigateway.amazonaws.com",
    "source_arn": "",
    "source_account": "",
    "function_url_auth_type": "",
    "invoked_via_function_url": False,
    "other_conditions": {},
}


class FakeLambda(Fake):
    """Lambda, which stores a policy for the function and for each alias."""

    def statements(self, p: Values) -> list[Values]:
        found: list[Values] = self.state.setdefault(p.get("Qualifier", ""), [])
        return found

    def get_policy(self, p: Values) -> Values:
        if not self.statements(p):
            raise RefusedError("ResourceNotFoundException")
        return {"Policy": json.dumps({"Version": "2012-10-17", "Statement": self.statements(p)})}

    def add_permission(self, p: Values) -> None:
        if any(statement.get("Sid") == p["StatementId"] for statement in self.statements(p)):
            raise RefusedError("ResourceConflictException")
        principal = p["Principal"]
        conditions: Values = {}
        if "SourceArn" in p:
            conditions["ArnLike"] = {"AWS:SourceArn": p["SourceArn"]}
        if "SourceAccount" in p:
            conditions["StringEquals"] = {"AWS:SourceAccount": p["SourceAccount"]}
        if "FunctionUrlAuthType" in p:
            conditions.setdefault("StringEquals", {})["lambda:FunctionUrlAuthType"] = p["FunctionUrlAuthType"]
        if "InvokedViaFunctionUrl" in p:
            conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": json.dumps(p["InvokedViaFunctionUrl"])}
        statement = {
            "Sid": p["StatementId"],
            "Effect": "Allow",
            "Principal": {"AWS": ROOT} if principal in (ACCOUNT, ROOT) else {"Service": principal},
            "Action": p["Action"],
            "Resource": "arn",
        }
        if principal == "*":
            statement["Principal"] = "*"
        self.statements(p).append({**statement, "Condition": conditions} if conditions else statement)

    def remove_permission(self, p: Values) -> None:
        statements = self.statements(p)
        statements[:] = [statement for statement in statements if statement.get("Sid") != p["StatementId"]]


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ({"Service": "apigateway.amazonaws.com"}, "apigateway.amazonaws.com"),
        ({"AWS": ROOT}, ACCOUNT),
        ({"AWS": ACCOUNT}, ACCOUNT),
        ({"AWS": f"arn:aws-cn:iam::{ACCOUNT}:root"}, ACCOUNT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/root"}, f"arn:aws:iam::{ACCOUNT}:role/root"),
        ({"AWS": "*"}, "*"),
        ("*", "*"),
    ],
)
def test_comparable_principals(principal: Any, expected: str) -> None:
    assert comparable({"Principal": principal, "Action": "a"})["principal"] == expected


@pytest.mark.parametrize(
    ("condition", "differing"),
    [
        ({}, {}),
        ({"ArnLike": {"AWS:SourceArn": API}}, {"source_arn": API}),
        ({"ArnLike": {"aws:SourceArn": API}}, {"source_arn": API}),
        ({"StringEquals": {"AWS:SourceAccount": ACCOUNT}}, {"source_account": ACCOUNT}),
        (
            {"StringEquals": {"aws:sourceaccount": ACCOUNT}, "ArnLike": {"AWS:SOURCEARN": API}},
            {"source_account": ACCOUNT, "source_arn": API},
        ),
        ({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}, {"function_url_auth_type": "NONE"}),
        ({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}, {"invoked_via_function_url": True}),
        (
            {"Bool": {"lambda:InvokedViaFunctionUrl": "false"}},
            {"other_conditions": {"lambda:invokedviafunctionurl": "false"}},
        ),
        (
            {"StringEquals": {"lambda:EventSourceToken": "token"}},
            {"other_conditions": {"lambda:eventsourcetoken": "token"}},
        ),
    ],
)
def test_comparable_conditions(condition: Values, differing: Values) -> None:
    statement = {"Principal": {"Service": PLAIN["principal"]}, "Action": PLAIN["action"], "Condition": condition}
    assert comparable(statement) == {**PLAIN, **differing}


@pytest.mark.parametrize(
    "odd",
    [
        {"Principal": {"AWS": [ROOT, "arn:aws:iam::210987654321:root"]}},
        {"Principal": {"AWS": ROOT, "Service": "apigateway.amazonaws.com"}},
        {"Principal": {"Federated": "idp"}},
        {"Principal": {"CanonicalUser": ["a", "b"]}},
        {"Principal": None, "NotPrincipal": {"Service": "apigateway.amazonaws.com"}},
        {"Effect": "Deny"},
        {"Action": ["lambda:InvokeFunction", "lambda:GetFunction"]},
        {"Action": None, "NotAction": "lambda:GetFunction"},
        {"Condition": {"StringEquals": {"AWS:SourceAccount": [ACCOUNT, "210987654321"]}}},
        {"Condition": {"StringNotEquals": {"AWS:SourceAccount": ACCOUNT}}},
        {"Condition": {"ForAnyValue:StringEquals": {"aws:PrincipalOrgPaths": ["o-1/r-1/*", "o-2/*"]}}},
    ],
)
def test_a_statement_that_addpermission_does_not_write_equals_none_and_is_replaced(odd: Values) -> None:
    """Lambda's PutResourcePolicy accepts statements of any form."""
    given = {**EVERYTHING, "source_arn": ""}
    fake = FakeLambda()
    done("lambda_permission", fake, **given)
    before = dict(fake.state["live"][0])
    replaced = {key: value for key, value in {**before, **odd}.items() if value is not None}
    assert comparable(replaced) != comparable(before)
    theirs = {key: value for key, value in replaced.items() if key != "Sid"}
    fake.state["live"] = [theirs, {**theirs}, replaced]
    assert_converges("lambda_permission", fake, **given)
    assert fake.state["live"] == [theirs, theirs, before]


@pytest.mark.parametrize(
    ("given", "differing"),
    [
        ({}, {}),
        ({"source_arn": API, "source_account": ACCOUNT}, {"source_arn": API, "source_account": ACCOUNT}),
        ({"principal": ROOT}, {"principal": ACCOUNT}),
    ],
)
def test_wanted_statement(given: Values, differing: Values) -> None:
    unset = {"action": PLAIN["action"], "source_arn": None, "source_account": None}
    assert wanted_statement({**unset, **MINIMAL, **given}) == {**PLAIN, **differing}


@pytest.mark.parametrize(
    "given",
    [
        EVERYTHING,
        MINIMAL,
        {**MINIMAL, "principal": "*"},
        {**MINIMAL, "principal": ACCOUNT},
        {**MINIMAL, "principal": ROOT},
        {**MINIMAL, "principal": "*", "action": "lambda:InvokeFunctionUrl", "function_url_auth_type": "NONE"},
        {**MINIMAL, "principal": "*", "invoked_via_function_url": True},
    ],
)
def test_a_statement_is_added_kept_and_removed(given: Values) -> None:
    fake = FakeLambda()
    assert_converges("lambda_permission", fake, **given)
    assert_gone("lambda_permission", fake, **given)


@pytest.mark.parametrize(
    "drift",
    [
        {"Action": "lambda:GetFunction"},
        {"Principal": "*"},
        {"Condition": {}},
        {"Condition": {"ArnLike": {"AWS:SourceArn": API}, "StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
    ],
)
def test_drift_is_corrected(drift: Values) -> None:
    fake = FakeLambda()
    done("lambda_permission", fake, **EVERYTHING)
    before = dict(fake.state["live"][0])
    theirs = {**before, "Sid": "theirs"}
    fake.state["live"] = [theirs, {**before, **drift}]
    assert_converges("lambda_permission", fake, **EVERYTHING)
    assert fake.state["live"] == [theirs, before]


def test_a_statement_of_the_function_is_none_of_the_aliass() -> None:
    fake = FakeLambda()
    done("lambda_permission", fake, **MINIMAL)
    assert_converges("lambda_permission", fake, **EVERYTHING)
    assert {qualifier: len(statements) for qualifier, statements in fake.state.items()} == {"": 1, "live": 1}
