"""Runs of playbooks as a user starts them, with what each changed or announced (from the callback ``changes``)."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_stack import ROOT

# Ansible runs it in addition to the callbacks that ansible.cfg enables.
CALLBACK = {"ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/plugins/callback")}

INVENTORIES = os.environ.get("TESTED_INVENTORIES", "inventory/local").split(":")
PLAIN = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}  # no colour in the output

# Arguments that run a playbook as the local account's root user, whom no policy limits: for settings outside the
# policies of the environment's deployer.
OWNER = (
    *("-e", "label_export_aws_profile=root"),
    *("-e", '{"label_export_aws_credentials_file": "{{ label_export_local_stack.aws_credentials_file }}"}'),
)

# Jinja that gives modules their environment without asking AWS for the account in each task.
WITHOUT_CHECK_OF_THE_ACCOUNT = {"label_export_module_environment": "{{ __label_export_module_environment }}"}
# For a play whose roles only give their defaults: Ansible would validate the inputs of each of them for each host.
NO_SPECS = ("--skip-tags", "always")


def only(*roles: str) -> tuple[str, ...]:
    """Return arguments that run these roles alone, without what role label_export checks before any role.

    It checks the inputs of all roles, which takes longer than most roles. Whole deploys do it in every scenario, and
    tests/contract has each refusal.
    """
    return ("--tags", ",".join(roles), "--skip-tags", "always", "-e", json.dumps(WITHOUT_CHECK_OF_THE_ACCOUNT))


# A task's name with its role, and the loop's item if there is one.
Change = tuple[str, str | None]


@dataclass
class Playbook:
    """The result of a run of ansible-playbook."""

    returncode: int
    output: str

    @property
    def changed(self) -> list[str]:
        """The tasks that report a change, with the role's name."""
        found, task = [], ""
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                task = line.partition("[")[2].rpartition("]")[0]
            elif line.startswith("changed: ") and task not in found:
                found.append(task)
        return found


def playbook_command(name: str, *arguments: str, inventory: str | None = None) -> list[str]:
    """Return the command that runs a playbook of the repository in the tested environment, as a user would."""
    inventories = [inventory] if inventory else INVENTORIES
    options = [part for each in inventories for part in ("-i", each)]
    return ["ansible-playbook", f"playbooks/{name}.yml", *options, *arguments]


def run_playbook(
    name: str, *arguments: str, inventory: str | None = None, environment: Mapping[str, str] | None = None
) -> Playbook:
    """Run a playbook of the repository in the tested environment, as a user would; ``environment`` adds variables."""
    result = subprocess.run(
        playbook_command(name, *arguments, inventory=inventory),
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **PLAIN, **(environment or {})},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Playbook(result.returncode, result.stdout + result.stderr)


@dataclass
class Run:
    """One run of a playbook."""

    returncode: int
    output: str
    changes: list[Change] = field(default_factory=list)
    diffs: dict[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> set[str]:
        return {task for task, _item in self.changes}


def events(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a record; the last one may not be complete yet."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def described(path: Path, returncode: int = 0, output: str = "") -> Run:
    """Return the run that a record describes."""
    run = Run(returncode, output)
    for event in events(path):
        if "changed" in event:
            run.changes.append((event["changed"], event["item"]))
            run.diffs[event["changed"]] = run.diffs.get(event["changed"], "") + json.dumps(event["diff"])
    return run


def recorded(name: str, *arguments: str) -> Run:
    """Run a playbook in the tested environment, and return the run with its changes."""
    with tempfile.TemporaryDirectory() as directory:
        run = run_playbook(name, *arguments, environment={**CALLBACK, "LABEL_EXPORT_RUNS": directory})
        records = sorted(Path(directory).iterdir())
        return described(records[0], run.returncode, run.output) if records else Run(run.returncode, run.output)


def by_molecule(kind: str = "run") -> list[Run]:
    """Return the deploys of this kind, ``run`` or ``check``, in the scenario so far, in order.

    Molecule's configuration has the place of the records (.config/molecule/config.yml).
    """
    records = Path(os.environ["LABEL_EXPORT_RUNS"])
    return [described(path) for path in sorted(records.glob(f"*-deploy-{kind}.jsonl"))]
