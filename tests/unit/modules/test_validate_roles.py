"""The inputs of several roles are validated in one task, and all errors are reported together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_direct_execution import run

SPECS = {
    "bucket": {"bucket_days": {"type": "int"}, "bucket_state": {"type": "str", "choices": ["present", "absent"]}},
    "queue": {"queue_name": {"type": "str", "required": True}},
}
RIGHT: dict[str, Any] = {
    "bucket_days": "{{ weeks * 7 }}",
    "weeks": 2,
    "bucket_state": "present",
    "queue_name": "labels",
}


def result_of(directory: Path, arguments: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the result of the task with these arguments, where these inputs are set."""
    tasks = [
        {"label_export.aws.validate_roles": arguments, "vars": inputs, "ignore_errors": True, "register": "result"},
        {"ansible.builtin.copy": {"content": "{{ [result] | to_json }}", "dest": "{{ results }}", "mode": "0600"}},
    ]
    _, (result,) = run(directory, "", sys.executable, [{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    return dict(result)


def validated(directory: Path, **inputs: Any) -> dict[str, Any]:
    """Return the result of the task for these inputs, in addition to the right ones; None removes one."""
    for role, options in SPECS.items():
        path = directory / "roles" / role / "meta/argument_specs.yml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump({"argument_specs": {"main": {"options": options}}}))
    given = {name: value for name, value in {**RIGHT, **inputs}.items() if value is not None}
    arguments = {"roles": [*SPECS], "roles_directory": str(directory / "roles"), "inputs_directory": "group_vars"}
    return result_of(directory, arguments, given)


def test_right_inputs_change_nothing(tmp_path: Path) -> None:
    result = validated(tmp_path)
    assert (result["failed"], result["changed"]) == (False, False)


def test_errors_of_all_roles_are_reported_together_with_their_files(tmp_path: Path) -> None:
    result = validated(tmp_path, weeks="a", bucket_state="new", queue_name=None)
    assert result["failed"]
    assert result["argument_errors"].keys() == {"bucket", "queue"}
    assert len(result["argument_errors"]["bucket"]) == 2
    for part in ("argument 'bucket_days' is of type", "got: new", "group_vars/bucket.yml", "group_vars/queue.yml"):
        assert part in result["msg"]


@pytest.mark.parametrize("missing", ["roles", "roles_directory", "inputs_directory"])
def test_its_own_arguments_are_required(missing: str, tmp_path: Path) -> None:
    arguments = {"roles": [], "roles_directory": "roles", "inputs_directory": "group_vars"}
    del arguments[missing]
    result = result_of(tmp_path, arguments, {})
    assert result["failed"]
    assert missing in result["msg"]
