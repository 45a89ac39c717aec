"""ansible.cfg has only settings that Ansible knows, and nothing here uses what the next versions of Ansible refuse."""

from __future__ import annotations

import configparser
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_runs import CALLBACK

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["roles", "playbooks", "tests/molecule", "tests/contract"]
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.yml")
    if "/playbooks/roles/" not in str(path) and "/playbooks/collections/" not in str(path)
)
CONDITIONS = ["when", "that", "until", "changed_when", "failed_when"]
# How a task of a role starts uv: by name, or through the variable with its path.
STARTS_OF_UV = ["uv", "{{ __local_stack_uv }}", "__uv_install"]


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one of two classes
    """Reads Ansible's own tags as text."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def tasks(node: Any, environment: tuple[str, ...] = ()) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Yield every mapping of a document with the environment variables that it and its blocks set."""
    if isinstance(node, dict):
        own = node.get("environment")
        environment = (*environment, *(own if isinstance(own, dict) else ()))
        yield node, environment
        for value in node.values():
            yield from tasks(value, environment)
    elif isinstance(node, list):
        for value in node:
            yield from tasks(value, environment)


@functools.cache
def documents() -> list[tuple[Path, Any]]:
    return [
        (path.relative_to(ROOT), yaml.load(path.read_text(), Loader))  # noqa: S506 - a SafeLoader of our own
        for path in FILES
    ]


def test_ansible_knows_every_setting() -> None:
    result = subprocess.run(
        ["ansible-config", "validate", "-t", "all"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "All configurations seem valid!" in result.stdout


def molecule_environment() -> dict[str, str]:
    """Return the environment variables that molecule gives to Ansible."""
    settings = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())["ansible"]["env"]
    return {name: value.replace("${MOLECULE_PROJECT_DIRECTORY}", str(ROOT)) for name, value in settings.items()}


@pytest.mark.parametrize("environment", [molecule_environment(), CALLBACK], ids=["molecule", "tests"])
def test_the_callbacks_of_ansible_cfg_are_enabled_in_the_tests_plays(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Without `shared_work` each module has a process of its own, which takes much longer and tests something else."""
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.stat": {"path": "/", "get_attributes": False}}],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play]))
    result = subprocess.run(
        ["ansible-playbook", "-vvv", str(playbook)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Running ansible.builtin.stat in the task's process" in result.stdout


def test_deprecation_warnings_are_shown() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "ansible.cfg")
    assert settings.getboolean("defaults", "deprecation_warnings", fallback=True)


@pytest.mark.parametrize("keyword", CONDITIONS)
def test_no_condition_is_a_template(keyword: str) -> None:
    """ansible-core 2.23 refuses them."""
    found = [
        f"{path}: {condition}"
        for path, document in documents()
        for task, _ in tasks(document)
        for condition in (task.get(keyword) if isinstance(task.get(keyword), list) else [task.get(keyword)])
        if isinstance(condition, str) and condition.lstrip().startswith("{{")
    ]
    assert found == []


def test_uv_trusts_the_system_certificates_in_every_role() -> None:
    found = {True: 0, False: 0}
    untrusting = []
    for path, document in documents():
        if path.parts[0] != "roles":
            continue
        for task, environment in tasks(document):
            command = task.get("ansible.builtin.command")
            argv = command.get("argv") if isinstance(command, dict) else None
            if argv is None or not any(start in (argv if start == "uv" else str(argv)) for start in STARTS_OF_UV):
                continue
            trusting = "UV_SYSTEM_CERTS" in environment
            found[trusting] += 1
            if not trusting:
                untrusting.append(f"{path}: {task['name']}")
    assert untrusting == []
    assert found[True] >= 5
