"""The scenario `alternative` changes every setting from its default; each exception is listed with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "tests" / "molecule" / "alternative" / "inventory" / "group_vars" / "label_export"
LOCAL = ROOT / "inventory" / "local" / "group_vars" / "label_export"
DEPLOYED = [
    entry["role"] for play in yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text()) for entry in play["roles"]
]
AS_BY_DEFAULT = {
    "label_export_state": "set by the playbooks; teardown sets the other value",
    "label_export_destroy": "given only to remove an environment; teardown does that",
    "label_export_secure_logging": "the other value shows secrets in the output, for debugging",
    "label_bucket_destroy_with_labels": "given only to remove an environment; teardown does that",
    "execution_role_arn": "an existing role replaces ours (test_execution_role.py)",
    "catalog_execution_role_arn": "an existing role replaces ours",
    "catalog_execution_role_scheduler_arn": "an existing role replaces ours",
    "front_door_show_url_tokens": "the other value shows a secret in the output",
    "monitoring_existing_topic_arn": "an existing topic replaces ours, with its key and addresses",
    "label_bucket_event_bridge": "with the other value there is no events queue to test",
    "monitoring_dashboard": "with the other value there is none to test",
    "catalog_function_enabled": "with the other value there is no catalog to test (test_catalog.py of scenario drift)",
    "handler_image_architecture": "the emulator runs what this machine runs, not both architectures",
    "front_door_kind": "the other kinds replace the API and all its settings (test_front_door.py)",
}  # fmt: skip


class Tagged(yaml.SafeLoader):
    """Reads files with Ansible's tags."""


Tagged.add_multi_constructor("!", lambda loader, suffix, node: f"{suffix} {node.value}")


def variables(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(directory.glob("*.yml")):
        found |= yaml.load(path.read_text(), Loader=Tagged) or {}  # noqa: S506 - it is a SafeLoader
    return found


def defaults(role: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text()) or {}


@pytest.mark.parametrize("role", DEPLOYED)
def test_every_setting_differs_from_its_default(role: str) -> None:
    of_this_machine = {name: value for name, value in variables(LOCAL).items() if name not in AS_BY_DEFAULT}
    chosen = {**of_this_machine, **variables(SCENARIO)}
    nothing = object()
    same = {name for name, value in defaults(role).items() if chosen.get(name, nothing) in (nothing, value)}
    assert same == {name for name in AS_BY_DEFAULT if name in defaults(role)}


def test_the_exceptions_are_existing_settings() -> None:
    assert AS_BY_DEFAULT.keys() - {name for role in DEPLOYED for name in defaults(role)} == set()
