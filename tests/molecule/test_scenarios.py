"""Runs each molecule scenario, and makes sure that it did what its name says.

Molecule passes a scenario whose playbook is missing or whose play matches no host; these tests do not.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "molecule"
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/molecule.yml"))
LOGS = ROOT / ".local" / "logs"
# Steps that molecule takes without a playbook of their own.
WITHOUT_PLAYBOOK = {"idempotence": "converge"}


def scenario_configuration(scenario: str) -> dict[str, Any]:
    return yaml.safe_load((HERE / scenario / "molecule.yml").read_text())


def hosts_matched(step_output: str) -> int:
    """Return how many hosts ran at least one task, by Ansible's recap."""
    return len(re.findall(r"^\S+ +: ok=[1-9]\d* ", step_output, re.MULTILINE))


def steps(output: str) -> dict[str, str]:
    """Split molecule's output by the steps that it announces; later runs of a step are added to its first."""
    parts = re.split(r"^INFO +\[\S+ > (\w+)\] Executing$", output, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        found[name] = found.get(name, "") + text
    return found


def test_the_default_scenario_is_there() -> None:
    assert "default" in SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_playbook_exists(scenario: str) -> None:
    configuration = scenario_configuration(scenario)
    playbooks = configuration["ansible"]["playbooks"]
    missing = {step: path for step, path in playbooks.items() if not (HERE / scenario / path).is_file()}
    assert missing == {}
    sequence = configuration["scenario"]["test_sequence"]
    without = {step for step in sequence if WITHOUT_PLAYBOOK.get(step, step) not in playbooks}
    assert without == set()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_passes_and_each_step_matched_a_host(scenario: str) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"molecule-{scenario}.log"
    environment = {
        **os.environ,
        "MOLECULE_GLOB": "tests/molecule/*/molecule.yml",
        "NO_COLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
    }
    with log.open("w") as file:
        result = subprocess.run(
            ["molecule", "test", "-s", scenario, "--no-command-borders"],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    output = log.read_text()
    tail = "\n".join(output.splitlines()[-80:])
    assert result.returncode == 0, f"{tail}\n\nThe whole output: {log}"
    ran = steps(output)
    for step in scenario_configuration(scenario)["scenario"]["test_sequence"]:
        assert hosts_matched(ran.get(step, "")) > 0, f"the step {step} of {scenario} matched no host; see {log}"
