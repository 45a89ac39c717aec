"""Workflows pin actions to commits, and keep no credentials for later steps."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [step for job in jobs for step in job.get("steps", [])]


def test_there_are_workflows() -> None:
    assert WORKFLOWS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_their_commits(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)] == []
    # The version is beside each commit, for readers and for tools that update it.
    named = re.findall(r"uses: \S+ # v\d+\.\d+\.\d+$", path.read_text(), re.MULTILINE)
    assert len(named) == len(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_checkout_leaves_no_credentials_behind(path: Path) -> None:
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert [step for step in checkouts if step.get("with", {}).get("persist-credentials") is not False] == []


# The samples that deploy to AWS

SAMPLES = [ROOT / ".github/workflows" / name for name in ("deploy.yml", "drift.yml")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_gets_short_lived_credentials_and_stores_no_key(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    (job,) = document["jobs"].values()
    assert document["permissions"] == {"contents": "read"}
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert "environment" in job, "the role's trust policy asks for it"
    (login,) = (step for step in job["steps"] if "configure-aws-credentials" in step.get("uses", ""))
    assert set(login["with"]) == {"role-to-assume", "aws-region", "mask-aws-account-id"}
    assert set(re.findall(r"secrets\.(\w+)", path.read_text())) == {"VAULT_PASSWORD"}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_runs_existing_playbooks_and_scripts_and_no_text_that_others_control(path: Path) -> None:
    scripts = [step["run"] for step in steps(path) if "run" in step]
    named = {
        name for script in scripts for name in re.findall(r"(?:playbooks/|scripts/)?\b\w+(?:\.yml|_changes)\b", script)
    }
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
    assert [script for script in scripts if "${{" in script] == [], (
        "an expression in a script executes text that others control"
    )


def test_only_the_nightly_workflow_starts_itself_and_only_once_it_is_set_up() -> None:
    deploy, drift = (yaml.safe_load(path.read_text()) for path in SAMPLES)
    assert set(deploy["on"]) == {"workflow_dispatch"}
    assert deploy["concurrency"]["cancel-in-progress"] is False
    assert set(drift["on"]) == {"schedule", "workflow_dispatch"}
    assert drift["jobs"]["drift"]["if"] == "vars.DRIFT_ENVIRONMENT != ''"
    runs = [step["run"] for step in drift["jobs"]["drift"]["steps"] if "ansible-playbook" in step.get("run", "")]
    assert len(runs) == 1
    assert "deploy.yml" in runs[0]
    assert "--check --diff" in runs[0]


RECAP = (
    "PLAY RECAP ****\nlocalhost : ok=9 changed={changed} unreachable={unreachable} failed={failed} skipped=0 rescued=0"
)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (RECAP.format(changed=0, unreachable=0, failed=0), 0),
        (f"TASK [role : t] ***\nchanged: [localhost]\n{RECAP.format(changed=1, unreachable=0, failed=0)}", 1),
        (RECAP.format(changed=10, unreachable=0, failed=0), 1),
        (RECAP.format(changed=0, unreachable=0, failed=1), 1),
        (RECAP.format(changed=0, unreachable=1, failed=0), 1),
        (f"{RECAP.format(changed=0, unreachable=0, failed=0)}\nother : ok=1 changed=2 unreachable=0 failed=0", 1),
        ("TASK [role : t] ***", 2),
        ("PLAY RECAP ****", 2),
        ("", 2),
    ],
)
def test_drift_fails_unless_the_run_ended_without_a_change(output: str, code: int, tmp_path: Path) -> None:
    log = tmp_path / "drift.log"
    log.write_text(f"{output}\n")
    found = subprocess.run([ROOT / "scripts/no_changes", log], capture_output=True, text=True, check=False)
    assert found.returncode == code, found.stderr
    assert ("TASK [role : t]" in found.stderr) == (code == 1 and "TASK" in output)
