"""Misspelt inputs are found by their role's name, and the intended input is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.label_export.aws.plugins.lookup.unknown_inputs import LookupModule

ROLES = Path(__file__).resolve().parents[3] / "roles"


def unknown(*names: str, roles: Path = ROLES) -> list[str]:
    return LookupModule().run(list(names), roles=str(roles))


def test_inputs_outputs_and_what_no_role_begins_with_are_known() -> None:
    assert (
        unknown("label_bucket_name", "export_function_arn", "ansible_host", "my_label_bucket_x", "label_bucket") == []
    )


def test_private_variables_are_ignored() -> None:
    assert unknown("__label_bucket_current") == []


def test_a_misspelt_input_is_named_with_the_intended_one() -> None:
    assert unknown("label_bucket_nmae", "export_function_timeuot") == [
        "No role knows export_function_timeuot: did you mean export_function_timeout?",
        "No role knows label_bucket_nmae: did you mean label_bucket_name?",
    ]


def test_an_input_without_a_similar_name_is_named_alone() -> None:
    assert unknown("front_door_0000000000000000000000000000") == [
        "No role knows front_door_0000000000000000000000000000."
    ]


def test_a_directory_without_roles_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match="there are no roles in"):
        unknown("label_bucket_name", roles=tmp_path)


def role_in(directory: Path) -> Path:
    """A role with one input, and with one output of each kind."""
    role = directory / "engine"
    files = {
        "README.md": "| variable |\n|---|\n| no table that a person reformatted can be read |\n",
        "meta/argument_specs.yml": "argument_specs: {main: {options: {engine_size: {type: int}}}}",
        "vars/main.yml": "engine_arn: a\n__engine_zzqqxxjjkk: b\n",
        "tasks/main.yml": (
            "- block:\n    - ansible.builtin.set_fact: {engine_fact: 1}\n  rescue:\n    - register: engine_found\n"
        ),
        "tasks/names.yml": "[]",
    }
    for name, text in files.items():
        path = role / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def test_names_come_from_the_roles_specs_and_variables_and_not_from_its_readme(tmp_path: Path) -> None:
    roles = role_in(tmp_path)
    assert unknown("engine_size", "engine_arn", "engine_fact", "engine_found", roles=roles) == []
    # A private name is never suggested.
    assert unknown("engine_zzqqxxjjkk", roles=roles) == ["No role knows engine_zzqqxxjjkk."]
