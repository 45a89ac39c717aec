"""A mapping or a list instead of a single value is found in every role, and its value is not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.lookup.mistyped_inputs import LookupModule

ROLES = Path(__file__).resolve().parents[3] / "roles"


def mistyped(**variables: Any) -> list[str]:
    return LookupModule().run([], variables, roles=str(ROLES), directory="inventory/dev/group_vars/label_export")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("export_queue_name", {"environment": None}, "is a mapping, and a text is expected"),
        ("label_export_region", ["eu-west-1"], "is a list, and a text is expected"),
        ("export_function_timeout", {"a": 1}, "is a mapping, and a number is expected"),
        ("encord_secrets_private_key_file", {"a": 1}, "is a mapping, and a path is expected"),
        ("encord_secrets_destroy", ["yes"], "is a list, and true or false is expected"),
    ],
)
def test_the_input_is_named_with_its_file_and_what_to_do(name: str, value: Any, said: str) -> None:
    (sentence,) = mistyped(**{name: value})
    role = next(path.name for path in ROLES.iterdir() if name.startswith(f"{path.name}_"))
    assert f"{name} {said}" in sentence
    assert f"inventory/dev/group_vars/label_export/{role}.yml" in sentence
    assert "in quotes" in sentence


def test_a_secret_in_the_wrong_form_is_not_shown() -> None:
    (sentence,) = mistyped(encord_secrets_private_key={"canary": "canary"})
    assert "canary" not in sentence


def test_single_values_templates_and_inputs_that_are_lists_or_mappings_are_left_alone() -> None:
    assert (
        mistyped(
            export_queue_name="{{ name }}",
            export_function_timeout="60",
            label_export_account_id=123456789012,
            label_export_tags={"team": "vision"},
            encord_secrets_signing_secrets=["text"],
            another_variable={"a": 1},
        )
        == []
    )


def test_every_one_is_named() -> None:
    assert [sentence.split()[0] for sentence in mistyped(label_bucket_name={}, export_queue_name=[])] == [
        "export_queue_name",
        "label_bucket_name",
    ]
