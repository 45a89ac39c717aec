"""The rules by which an existing resource matches the wanted one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    canonical_statement,
    changed_values,
    difference,
    json_document,
    own_tags,
    statements,
)


@pytest.mark.parametrize(
    ("current", "wanted", "changes"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "other": 1}, {"a": 1}, {}),
        ({}, {"a": 1}, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
        # None is "not managed"; an empty value is a value.
        ({"a": 1}, {"a": None}, {}),
        (None, {"a": None}, {}),
        ({"a": 1}, {"a": ""}, {"a": ""}),
        ({"a": [1]}, {"a": []}, {"a": []}),
        ({"a": True}, {"a": False}, {"a": False}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, {}),
    ],
)
def test_changed_values(current: dict[str, Any] | None, wanted: dict[str, Any], changes: dict[str, Any]) -> None:
    assert changed_values(current, wanted) == changes


@pytest.mark.parametrize(
    ("current", "wanted", "before", "after"),
    [
        ({"a": 1, "b": 1}, {"a": 1, "b": 2}, {"b": 1}, {"b": 2}),
        ({"a": 1}, {"a": 1}, {}, {}),
        ({"a": 1}, {"a": 1, "b": 2}, {}, {"b": 2}),
        ({"a": 1}, {"a": None}, {}, {}),
        # To be created, to be deleted, and neither existing nor wanted.
        (None, {"a": 1, "b": None}, {}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}, {}),
        (None, {}, {}, {}),
    ],
)
def test_difference(
    current: dict[str, Any] | None, wanted: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert difference(current, wanted) == {"before": before, "after": after}


def test_own_tags_exclude_those_of_aws() -> None:
    assert own_tags({"a": "1", "awsome": "2", "aws:cloudformation:stack-name": "s"}) == {"a": "1", "awsome": "2"}


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ('{ "b":1,\n"a":2 }', {"a": 2, "b": 1}),
        ({"a": 1}, {"a": 1}),
        ("{}", {}),
        ({}, None),
        ("", None),
        (None, None),
    ],
)
def test_json_document(text: Any, document: Any) -> None:
    assert json_document(text) == document


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Action": "s3:*"}, {"Action": ["s3:*"]}),
        ({"Action": ["b", "a"]}, {"Action": ["a", "b"]}),
        ({"Principal": "*"}, {"Principal": {"AWS": "*"}}),
        ({"NotPrincipal": "*"}, {"NotPrincipal": {"AWS": ["*"]}}),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, {"Principal": {"Service": ["sns.amazonaws.com"]}}),
        (
            {"Condition": {"Bool": {"aws:SecureTransport": "false"}}},
            {"Condition": {"Bool": {"aws:SecureTransport": [False]}}},
        ),
        ({"Condition": {"NumericLessThan": {"k": 10}}}, {"Condition": {"NumericLessThan": {"k": "10"}}}),
    ],
)
def test_equivalent_statements_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical_statement(one) == canonical_statement(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Action": "s3:*"}, {"Action": "sqs:*"}),
        ({"Action": ["a", "b"]}, {"Action": ["a"]}),
        ({"Effect": "Allow"}, {"Effect": "Deny"}),
        ({"Principal": {"AWS": "*"}}, {"Principal": {"Service": "*"}}),
        ({"Principal": "*"}, {"NotPrincipal": "*"}),
        ({"Condition": {"Bool": {"k": True}}}, {"Condition": {"Bool": {"k": False}}}),
    ],
)
def test_statements_with_different_meanings_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical_statement(one) != canonical_statement(other)


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ({}, []),
        ({"Statement": []}, []),
        ({"Statement": {"Sid": "a", "Action": ["x"]}}, [{"Sid": "a", "Action": "x"}]),
        ({"Statement": [{"Sid": "b"}, {"Sid": "a"}]}, [{"Sid": "b"}, {"Sid": "a"}]),
    ],
)
def test_statements_of_a_policy(policy: dict[str, Any], found: list[dict[str, Any]]) -> None:
    assert statements(policy) == found
