"""The IAM documents of the environments in tests/contract/policies_inventory.yml, rendered once for all tests."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT, REGION = "000000000000", "eu-west-1"

Document = dict[str, Any]


def render(folders: pytest.TempPathFactory) -> dict[str, dict[str, Document]]:
    """Return the documents by environment and by name, rendered once for all workers of a run of pytest.

    In `make test`, the auditors have rendered them before (scripts/audit).

    In addition to those of playbooks/policies.yml: the roles' own (`execution-role`, `catalog-execution-role`,
    `schedules-role`), and `secrets`, the resource policy of the secrets.
    """
    audited = Path(os.environ.get("REPORTS") or "/nowhere", "policies.json")
    if audited.exists():
        return dict(json.loads(audited.read_text()))
    base = folders.getbasetemp()
    # A worker of pytest-xdist has a directory of its own in that of the run.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    destination = shared / "policies.json"
    with (shared / "policies.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not destination.exists():
            _render(destination)
    return dict(json.loads(destination.read_text()))


def _render(destination: Path) -> None:
    run = subprocess.run(
        [
            *("ansible-playbook", "tests/contract/policies.yml", "--inventory=tests/contract/policies_inventory.yml"),
            f"--extra-vars=destination={destination}",
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
