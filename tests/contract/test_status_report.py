"""The report fails with a finding of a severity that the setting refuses, and says which findings there are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = {"LOW": 7, "CRITICAL": 1}


@pytest.mark.parametrize(
    ("refused", "findings", "fails"),
    [(["CRITICAL"], FINDINGS, True), (["HIGH"], FINDINGS, False), ([], FINDINGS, False), (["CRITICAL"], None, False)],
    ids=["refused", "another severity", "by default", "no result yet"],
)
def test_a_refused_severity_fails_the_report(
    refused: list[str], findings: dict[str, int] | None, fails: bool, tmp_path: Path
) -> None:
    scan: dict[str, Any] = {"pushed": "", "scanned": findings is not None, "findings": findings or {}}
    role = {"name": "status_report", "tasks_from": "findings"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "deployment_facts_found": {"image": "images@sha256:0", "image_scan": scan},
            "label_export_inputs_directory": "inventory/dev/group_vars/label_export",
            "status_report_refused_severities": refused,
        },
        "tasks": [{"name": "Look at the findings", "ansible.builtin.include_role": role}],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    run = subprocess.run(
        ["ansible-playbook", str(playbook), "-i", "localhost,", "-c", "local"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode != 0) == fails, run.stdout
    assert ("has findings: CRITICAL 1, LOW 7." in " ".join(run.stdout.split())) == fails
