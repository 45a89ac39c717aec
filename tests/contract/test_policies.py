"""The documented IAM policies fit into managed ones, and nothing in them is wider than is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
POLICIES = sorted(ROOT.glob("docs/*-policy.json"))
REASONS = (ROOT / "docs/decisions/0020-what-the-deployer-may-do.md").read_text()
# IAM and STS quotas: characters of a managed policy, white space not counted.
MANAGED_POLICY_CHARACTERS = 6144
# The name at the beginning of every resource of ours, after which a wildcard needs no reason.
OURS = re.compile(r"arn:aws:[a-z0-9]+:\*?:\*?:[a-z-]*[:/]?(?:/aws/(?:lambda|apigateway)/)?label-export-\*")


def statements(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["Statement"]
    return found


def name_of(path: Path) -> str:
    return path.name


def test_the_readme_names_every_policy() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in POLICIES] == ["deployer-policy.json", "monitoring-policy.json"]
    assert [path.name for path in POLICIES if f"](docs/{path.name})" not in readme] == []


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_a_policy_fits_into_a_managed_one(path: Path) -> None:
    characters = len(re.sub(r"\s", "", path.read_text()))
    assert characters <= MANAGED_POLICY_CHARACTERS


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_no_action_has_a_wildcard_or_stands_twice_in_a_statement(path: Path) -> None:
    for statement in statements(path):
        actions = statement["Action"]
        assert [action for action in actions if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z]+", action)] == []
        assert sorted(set(actions)) == sorted(actions), statement["Sid"]


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_every_statement_is_named_and_only_allows(path: Path) -> None:
    sids = [statement["Sid"] for statement in statements(path)]
    assert len(set(sids)) == len(sids)
    assert {statement["Effect"] for statement in statements(path)} == {"Allow"}


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_whatever_is_wider_than_our_names_is_explained(path: Path) -> None:
    first_cells = re.findall(r"^\|[^|]+\|", REASONS, re.MULTILINE)
    explained = {sid for cell in first_cells for sid in re.findall(r"`(\w+)`", cell)}
    wide = {
        statement["Sid"]
        for statement in statements(path)
        if any(not OURS.fullmatch(resource) for resource in statement["Resource"])
    }
    assert wide - explained == set()
