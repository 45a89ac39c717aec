"""Measures what a task costs in a play, with what the role label_export does about it and without."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import table
from contenders import ROOT, MeasurementError

TASKS = 60
WITHOUT, FACT, REACHED = "as Ansible does", "the environment a fact", "... and its task's name loads filters and tests"
FIRST_TASKS = {
    WITHOUT: "",
    FACT: """
    - name: Work it out
      ansible.builtin.set_fact:
        label_export_module_environment: "{{ __label_export_module_environment }}"
""",
    REACHED: f"""
    - name: Reach
      ansible.builtin.import_tasks: {ROOT}/roles/label_export/tasks/reach.yml
""",
}
# As preflights do, which are most of a deploy's tasks.
TASK = """
    - name: Ensure that the region is one
      ansible.builtin.assert:
        that:
          - label_export_region is match('^[a-z]{2}-')
          - label_export_name | default('') | length > 0
        quiet: true
"""
SETTINGS = {
    "label_export_environment": "bench",
    "label_export_account_id": "000000000000",
    "label_export_region": "eu-west-1",
    "label_export_aws_profile": "bench",
}


def seconds_of(playbook: Path) -> float:
    """Return the wall-clock seconds of one run. Raises MeasurementError where it fails."""
    began = time.monotonic()
    settings = [part for name, value in SETTINGS.items() for part in ("-e", f"{name}={value}")]
    result = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), playbook, "-i", "localhost,", "-c", "local", *settings],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise MeasurementError(f"{playbook} failed:\n{result.stdout}{result.stderr}")
    return time.monotonic() - began


def tasks(folder: Path, repetitions: int) -> str:
    """Return a table of runs with many tasks that change nothing; the three ways take turns. Writes into ``folder``."""
    playbooks = {}
    for number, (way, first) in enumerate(FIRST_TASKS.items()):
        playbooks[way] = folder / f"tasks-{number}.yml"
        playbooks[way].write_text(
            f"""---
- name: Measure
  hosts: all
  gather_facts: false
  environment: "{{{{ label_export_module_environment }}}}"
  roles:
    - role: label_export
      tags: [never]  # for its variables
  tasks:
{first}{TASK * TASKS}"""
        )
    taken: dict[str, list[float]] = {way: [] for way in playbooks}
    for _ in range(repetitions):
        for way, playbook in playbooks.items():
            taken[way].append(seconds_of(playbook))
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    rows = [[way, f"{seconds:.1f} s", f"{seconds / medians[WITHOUT]:.2f}"] for way, seconds in medians.items()]
    return table.markdown((f"{TASKS} tasks", "a run", "ratio"), rows)
