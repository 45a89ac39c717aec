"""The documentation of our plugins matches their options, types, defaults and choices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_aws import plugin

ROOT = Path(__file__).parents[3]
COLLECTION = ROOT / "collections/ansible_collections/label_export/aws"
# Their modules are the documentation of actions that run on the controller; Ansible itself documents such actions so.
ACTIONS = ("assert_all", "validate_roles")
MODULES = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py") if path.stem not in ACTIONS)
OTHERS = {
    kind: sorted(path.stem for path in (COLLECTION / f"plugins/{kind}").glob("*.py")) for kind in ("lookup", "filter")
}
STATES = ("present", "absent")


class Intercepted(Exception):  # noqa: N818  (no error: it carries what the module was made with)
    """The module was about to be created, with these arguments."""


def arguments_of(module: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the arguments with which a module creates its AnsibleAWSModule."""

    def intercept(**arguments: Any) -> None:
        raise Intercepted(arguments)

    found = plugin(f"modules.{module}")
    monkeypatch.setattr(found, "AnsibleAWSModule", intercept)
    with pytest.raises(Intercepted) as intercepted:
        found.main()
    arguments: dict[str, Any] = intercepted.value.args[0]
    return arguments


def comparable(options: dict[str, Any], nested: str) -> dict[str, Any]:
    """Return the common part of documentation and argument spec of options; ``nested`` is the key of suboptions."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "aliases": option.get("aliases", []),
            "options": comparable(option.get(nested, {}), nested),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_the_argument_spec_equals_the_documentation(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documentation = yaml.safe_load(plugin(f"modules.{module}").DOCUMENTATION)
    spec = arguments_of(module, monkeypatch)["argument_spec"]
    assert comparable(spec, "options") == comparable(documentation.get("options", {}), "suboptions")
    assert documentation["module"] == module


@pytest.mark.parametrize("module", MODULES)
def test_requirements_of_a_state_are_documented(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = yaml.safe_load(plugin(f"modules.{module}").DOCUMENTATION).get("options", {})
    documented = {
        (state, name)
        for name, option in options.items()
        for state in STATES
        if f"Required when O(state={state})" in str(option["description"])
    }
    rules = arguments_of(module, monkeypatch).get("required_if", [])
    assert documented == {(value, name) for option, value, names in rules for name in names if option == "state"}


@pytest.mark.parametrize("module", MODULES)
def test_check_mode_is_supported_as_the_attributes_say(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documentation = yaml.safe_load(plugin(f"modules.{module}").DOCUMENTATION)
    assert documentation["extends_documentation_fragment"] == "label_export.aws.module"
    shared = yaml.safe_load(plugin("doc_fragments.module").ModuleDocFragment().DOCUMENTATION)["attributes"]
    attributes = documentation.get("attributes", shared)
    assert attributes["check_mode"]["support"] == "full"
    assert arguments_of(module, monkeypatch)["supports_check_mode"] is True


@pytest.mark.parametrize("module", [*MODULES, *ACTIONS])
def test_examples_name_the_module_and_its_options(module: str) -> None:
    found = plugin(f"modules.{module}")
    options = yaml.safe_load(found.DOCUMENTATION).get("options", {})
    for task in yaml.safe_load(found.EXAMPLES):
        assert (task[f"label_export.aws.{module}"] or {}).keys() <= options.keys()


def test_the_action_group_and_the_readme_name_every_plugin() -> None:
    assert MODULES
    group = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["action_groups"]["aws"]
    assert group == MODULES
    rows = re.findall(r"^\| `(\w+)`(?: \((\w+)\))? \|", (COLLECTION / "README.md").read_text(), re.MULTILINE)
    assert sorted(name for name, kind in rows if not kind) == MODULES
    assert [name for name, kind in rows if kind == "action"] == sorted(ACTIONS)
    assert {kind: [name for name, of in rows if of == kind] for kind in OTHERS} == OTHERS


@pytest.mark.parametrize(("kind", "names"), [("module", sorted([*MODULES, *ACTIONS])), *OTHERS.items()])
def test_ansible_doc_has_no_warnings(kind: str, names: list[str]) -> None:
    full = [f"label_export.aws.{name}" for name in names]
    shown = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-doc")), "--json", "-t", kind, *full],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_FORCE_COLOR": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    documents = json.loads(shown.stdout)
    assert sorted(documents) == full
    assert all(document["doc"]["short_description"] and document["examples"] for document in documents.values())
