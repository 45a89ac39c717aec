"""A playbook that matches no host or no task fails, and playbooks find their files from every directory."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = "Environments there: dev, local, prod, staging."
ROLES = ["label_export", "label_bucket", "export_queue"]


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        ["ansible-playbook", *arguments],
        cwd=cwd,
        env={**own, "ANSIBLE_NOCOLOR": "1", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_a_deploy_without_an_inventory_fails_and_names_the_command() -> None:
    result = run("deploy.yml", "--check")
    assert result.returncode == 1
    assert "ansible-playbook deploy.yml -i inventory/<environment>" in result.stderr
    assert ENVIRONMENTS in result.stderr


@pytest.mark.parametrize("playbook", ["deploy.yml", "playbooks/verify.yml"])
def test_a_playbook_runs_from_another_directory_and_with_other_settings(playbook: str, tmp_path: Path) -> None:
    """Ansible also ignores ansible.cfg in a checkout that is writable by everyone."""
    (tmp_path / "empty.cfg").touch()
    settings = {"ANSIBLE_ROLES_PATH": "/nowhere", "ANSIBLE_COLLECTIONS_PATH": "/nowhere", "ANSIBLE_CONFIG": "empty.cfg"}
    result = run(str(ROOT / playbook), "-i", str(ROOT / "inventory" / "dev"), cwd=tmp_path, **settings)
    assert "label_export_account_id is ''" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 2


@pytest.mark.parametrize("playbook", sorted(ROOT.glob("playbooks/*.yml")), ids=lambda path: path.stem)
def test_the_callback_is_beside_every_playbook(playbook: Path) -> None:
    """Ansible loads callbacks from the playbook's directory; a callback that must be enabled would need ansible.cfg."""
    assert all(play["hosts"] in ("label_export", "localhost") for play in yaml.safe_load(playbook.read_text()))
    assert (playbook.parent / "callback_plugins" / "empty_run.py").is_file()


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the callback, at the start of a deploy of roles that are tagged with their names."""
    path = ROOT / "playbooks/callback_plugins/empty_run.py"
    specification = importlib.util.spec_from_file_location("empty_run", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.chdir(ROOT)
    plugin = module.CallbackModule()
    plugin.said = []
    monkeypatch.setattr(module.display, "error", lambda message, **_: plugin.said.append(message))
    assert not getattr(plugin, "CALLBACK_NEEDS_ENABLED", False)
    plugin.v2_playbook_on_start(SimpleNamespace(_file_name=str(ROOT / "playbooks" / "deploy.yml")))
    roles = [SimpleNamespace(tags=["always" if name == "label_export" else name]) for name in ROLES]
    plugin.v2_playbook_on_play_start(SimpleNamespace(hosts="label_export", get_roles=lambda: roles))
    return plugin


def given(monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict({"tags": ("all",), "inventory": ("/dev/null",), **options}))


def finish(callback: Any, *started: list[str], failed: bool = False) -> None:
    """Start tasks with these tags, and end the run."""
    for tags in started:
        callback.v2_playbook_on_task_start(SimpleNamespace(tags=tags), is_conditional=False)
    callback.v2_playbook_on_stats(SimpleNamespace(failures={"localhost": 1} if failed else {}, dark={}))


@pytest.mark.parametrize(
    ("inventory", "reason"),
    [
        (("/dev/null",), "no inventory was named with -i"),
        (("/etc/ansible/hosts",), "no inventory was named with -i"),
        (("mine.yml",), "mine.yml has none"),
    ],
)
def test_no_host_is_an_error_that_names_environments_and_command(
    inventory: tuple[str],
    reason: str,
    callback: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given(monkeypatch, inventory=inventory)
    with pytest.raises(SystemExit) as end:
        callback.v2_playbook_on_no_hosts_matched()
    assert end.value.code == 1
    assert callback.said[-1].endswith(
        f"playbooks/deploy.yml needs a host in the group label_export, and {reason}. "
        f"Name an environment: ansible-playbook playbooks/deploy.yml -i inventory/<environment>. {ENVIRONMENTS}"
    )


def test_no_task_is_an_error(callback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    with pytest.raises(SystemExit) as end:
        finish(callback)
    assert end.value.code == 1
    assert "left no task of playbooks/deploy.yml to run" in callback.said[-1]


def test_a_tag_that_no_task_has_is_an_error_that_names_the_tags(callback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, tags=("label_bukcet", "export_queue"))
    with pytest.raises(SystemExit):
        finish(callback, ["always"], ["export_queue"])
    said = callback.said[-1]
    assert "with the tag label_bukcet, named with --tags" in said
    assert said.endswith("Tags of this playbook: export_queue, label_bucket.")


@pytest.mark.parametrize("tags", [("all",), ("export_queue",), ("always",), ("tagged",)])
def test_a_run_that_did_what_was_requested_succeeds(
    tags: tuple[str], callback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, tags=tags)
    finish(callback, ["always"], ["export_queue"])
    assert callback.said == []


def test_a_failed_run_keeps_its_own_error(callback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, tags=("nonsense",))
    finish(callback, ["always"], failed=True)
    assert callback.said == []
