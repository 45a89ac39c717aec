"""Measures the cost of tasks in a play, with and without this repository's measures."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import table
from contenders import ROOT, MeasurementError
from serving import serving

TASKS = 60
WITHOUT, FACT = "as Ansible does", "the environment a fact"
FIRST_TASKS = {
    WITHOUT: "",
    FACT: f"""
    - name: Keep it as a fact
      ansible.builtin.import_tasks: {ROOT}/roles/label_export/tasks/caller.yml
""",
}
# Like preflights, which are most of a deploy's tasks.
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
}

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}

MODULES = 20
ITS_OWN, THE_TASKS = "a process of its own, as Ansible does", "the task's process"
# A module that reads, and finds nothing to do.
MODULE = """
    - name: Ensure that there is no such log group
      label_export.aws.log_group:
        name: bench
        state: absent
"""


def seconds_of(playbook: Path, variables: Mapping[str, str]) -> float:
    """Return the wall-clock seconds of one run. Raises MeasurementError if it fails."""
    began = time.monotonic()
    settings = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    result = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), playbook, "-i", "localhost,", "-c", "local", *settings],
        env={**os.environ, **CREDENTIALS, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise MeasurementError(f"{playbook} failed:\n{result.stdout}{result.stderr}")
    return time.monotonic() - began


def tasks(folder: Path, repetitions: int) -> str:
    """Return a table of runs with many tasks that change nothing. Writes into ``folder``."""
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
    with serving(Account) as url:
        settings = {**SETTINGS, "label_export_aws_endpoint_url": url}
        return compared(
            f"{TASKS} tasks", {way: (playbook, settings) for way, playbook in playbooks.items()}, repetitions
        )


class EmptyService(BaseHTTPRequestHandler):
    """An AWS service that gives the same response to every request."""

    answer: bytes

    def do_POST(self) -> None:
        """Send the answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Account(EmptyService):
    """STS: the credentials belong to the account in SETTINGS, which a play checks."""

    answer = (
        b"<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
        b"<Arn>arn:aws:iam::000000000000:user/bench</Arn><UserId>bench</UserId><Account>000000000000</Account>"
        b"</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )


class NoLogGroups(EmptyService):
    """CloudWatch Logs of an account that has no log group."""

    answer = b'{"logGroups": []}'


def modules(folder: Path, repetitions: int) -> str:
    """Return a table of runs with many modules of this repository that change nothing. Writes into ``folder``."""
    playbook, python = folder / "modules.yml", Path(sys.executable)
    # Ansible identifies a Python by its path, and starts a process for a module if it is not its own.
    pythons = {ITS_OWN: f"{python.parent}/./{python.name}", THE_TASKS: sys.executable}
    with serving(NoLogGroups) as url:
        playbook.write_text(
            f"""---
- name: Measure
  hosts: all
  gather_facts: false
  environment:
    AWS_ENDPOINT_URL: {url}
    AWS_REGION: eu-west-1
  tasks:
{MODULE * MODULES}"""
        )
        ways = {way: (playbook, {"ansible_python_interpreter": path}) for way, path in pythons.items()}
        return compared(f"{MODULES} modules", ways, repetitions)


def compared(what: str, ways: Mapping[str, tuple[Path, Mapping[str, str]]], repetitions: int) -> str:
    """Return a table of the playbooks of all variants, each with its variables; they take turns, the first is 1."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repetitions):
        for way, (playbook, variables) in ways.items():
            taken[way].append(seconds_of(playbook, variables))
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    first = next(iter(medians.values()))
    rows = [[way, f"{seconds:.1f} s", f"{seconds / first:.2f}"] for way, seconds in medians.items()]
    return table.markdown((what, "a run", "ratio"), rows)
