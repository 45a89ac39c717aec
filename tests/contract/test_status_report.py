"""The report fails for a finding whose severity the setting refuses, and lists the findings."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = {"LOW": 7, "CRITICAL": 1}


@pytest.mark.parametrize("of", ["exporter", "catalog"])
@pytest.mark.parametrize(
    ("refused", "findings", "fails"),
    [(["CRITICAL"], FINDINGS, True), (["HIGH"], FINDINGS, False), ([], FINDINGS, False), (["CRITICAL"], None, False)],
    ids=["refused", "another severity", "by default", "no result yet"],
)
def test_a_refused_severity_fails_the_report(
    refused: list[str], findings: dict[str, int] | None, fails: bool, of: str, tmp_path: Path
) -> None:
    clean = {"pushed": "", "scanned": True, "findings": {}}
    scan: dict[str, Any] = {"pushed": "", "scanned": findings is not None, "findings": findings or {}}
    others: list[dict[str, Any]] = []
    if of == "catalog":
        scan, others = clean, [{"function": "catalog", "image": "catalog@sha256:0", **scan}]
    role = {"name": "status_report", "tasks_from": "findings"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "deployment_facts_found": {"image": "images@sha256:0", "image_scan": scan, "other_scans": others},
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
    image = "catalog@sha256:0" if of == "catalog" else "images@sha256:0"
    assert (f"has findings in {image}: CRITICAL 1, LOW 7." in " ".join(run.stdout.split())) == fails


FOUND: dict[str, Any] = {
    "deployed": True,
    "version": "3",
    "function": {"LastModified": "2026-11-20T10:00:00.000+0000"},
    "other_versions": {},
    "image": "images@sha256:0",
    "image_scan": {},
    "versions": [],
    "mapping": {},
    "queue": {},
    "dead_letter_queue": {},
    "bucket": {},
    "alarms": [],
    "last_export": "",
    "last_webhook": "",
}


@pytest.mark.parametrize(
    ("last_webhook", "tasks", "kind", "line"),
    [
        (
            "",
            [9, 3],
            "http_api",
            "no webhook has arrived since the deploy of 2026-11-20T10:00:00Z; 12 tasks were submitted",
        ),
        ("2026-11-20T09:59:59Z", [0], "http_api", "since the deploy of 2026-11-20T10:00:00Z; 0 tasks were submitted"),
        ("", [None], "function_url", "how many tasks were submitted is not known"),
        ("2026-11-20T10:00:01Z", [], "http_api", "Webhooks: the last arrived at 2026-11-20T10:00:01Z"),
        ("", [5], "none", ""),
    ],
    ids=["none since", "only before", "no feed", "one since", "no front door"],
)
def test_the_first_webhook_is_missed(
    last_webhook: str, tasks: list[int | None], kind: str, line: str, tmp_path: Path
) -> None:
    scan = {"pushed": "2026-11-01T12:00:00+00:00", "scanned": True, "findings": FINDINGS}
    scans = {
        "image_scan": {**scan, "findings": {}},
        "other_scans": [{"function": "f", "image": "catalog@sha256:0", **scan}],
    }
    index = "project: 12 labels"
    projects = [{"line": "project: complete", "index": index, "tasks_since": count} for count in tasks]
    names = ("export_function_name", "export_queue_name", "export_queue_dead_letter_name", "label_bucket_name")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            **dict.fromkeys(
                (*names, "label_export_environment", "label_export_account_id", "label_export_region"), "x"
            ),
            "deployment_facts_found": {**FOUND, **scans, "last_webhook": last_webhook},
            "deployment_facts_webhook_url": "https://x",
            "front_door_kind": kind,
            "label_bucket_event_bridge": True,
            "__status_report_catalog": {"answer": {"projects": projects}},
        },
        "vars_files": [str(ROOT / "roles/status_report/vars/main.yml")],
        "tasks": [
            {
                "name": "Show the report",
                "ansible.builtin.copy": {
                    "content": "{{ lookup('ansible.builtin.template', template) }}",
                    "dest": str(tmp_path / "report"),
                },
                "vars": {"template": str(ROOT / "roles/status_report/templates/status.txt.j2")},
            }
        ],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    command = ["ansible-playbook", str(playbook), "-i", "localhost,", "-c", "local"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    report = (tmp_path / "report").read_text()
    assert report.count(index) == len(tasks)
    images = report[report.index("Image: ") : report.index("Versions:")].splitlines()
    assert [images[0], images[2]] == ["Image: images@sha256:0", "Image of f: catalog@sha256:0"]
    assert re.fullmatch(r"  Pushed 2026-11-01T12:00:00\+00:00, \d+ days ago; findings of ECR's scan: none", images[1])
    assert images[3].endswith("findings of ECR's scan: CRITICAL 1, LOW 7")
    assert len(images) == 4
    shown = [text for text in report.splitlines() if text.startswith("Webhooks:")]
    assert len(shown) == (kind != "none")
    assert line in "".join(shown)
