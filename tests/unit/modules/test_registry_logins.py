"""The logins for base images: those in the user's Docker configuration, whatever else is wrong with it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.filter.registry_logins import FilterModule

logins = FilterModule().filters()["registry_logins"]
AUTH = base64.b64encode(b"user:password").decode()


def test_only_configured_logins_are_used() -> None:
    configuration = {
        "auths": {"registry.example.com": {"auth": AUTH, "email": "a"}, "helped.example.com": {}},
        "credsStore": "desktop.exe",
        "credHelpers": {"registry.example.com": "missing"},
    }
    assert logins(json.dumps(configuration)) == {"registry.example.com": {"auth": AUTH}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '"auths"',
        '{"auths": null}',
        '{"auths": []}',
        '{"auths": "a"}',
        "\ufeff{}",
        "<<<<<<< HEAD",
    ],
)
def test_an_invalid_configuration_has_no_logins(content: str) -> None:
    assert logins(content) == {}


@pytest.mark.parametrize(
    "entry", [None, [], "a", {"auth": None}, {"auth": ""}, {"auth": "%%%"}, {"auth": "bm8="}, {"auth": "/w=="}]
)
def test_a_malformed_login_is_left_out(entry: Any) -> None:
    assert logins(json.dumps({"auths": {"bad": entry, "good": {"auth": AUTH}}})) == {"good": {"auth": AUTH}}
