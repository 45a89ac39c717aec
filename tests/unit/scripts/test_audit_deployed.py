"""scripts/audit-deployed fails for Prowler's findings, and if Prowler has judged nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MUTELIST = ROOT / ".config/prowler-mutelist.yaml"
SERVICES = ("apigatewayv2", "awslambda", "cloudwatch", "ecr", "iam", "s3", "secretsmanager", "sns", "sqs")
# Writes the findings that the test wants, and ends like Prowler: with 3 for findings.
PROWLER = """#!{python}
import os, pathlib, shutil, sys
arguments = sys.argv[1:]
after = lambda name: arguments[arguments.index(name) + 1]
folder = pathlib.Path("{folder}")
shutil.copy(after("--mutelist-file"), folder / "mutelist.yaml")
(folder / "environment").write_text("\\n".join(f"{{k}}={{v}}" for k, v in os.environ.items() if k.startswith("AWS_")))
shutil.copy(folder / "findings.csv", pathlib.Path(after("--output-directory")) / (after("--output-filename") + ".csv"))
sys.exit(int((folder / "outcome").read_text()))
"""
UV = """#!/bin/sh
case "$1" in
  venv) for last; do :; done; mkdir -p "$last/bin"; cp "{prowler}" "$last/bin/prowler" ;;
  *) case "$*" in *--require-hashes*locks/prowler.txt) ;; *) exit 3 ;; esac ;;
esac
"""


class Checkout:
    """A checkout in which only scripts/audit-deployed and its mute list are real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        real = ("scripts/audit-deployed", "scripts/pythons.sh", ".config/prowler-mutelist.yaml", "locks/prowler.txt")
        for name in real:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        self.add("prowler", PROWLER.format(python=sys.executable, folder=folder))
        self.add(".venv/bin/uv", UV.format(prowler=folder / "prowler"))
        (folder / ".venv/bin/python").symlink_to(sys.executable)
        stack = {"aws_endpoint_url": "https://local", "aws_ca_bundle": "ca", "aws_credentials_file": "c", "region": "r"}
        self.add(".local/state/stack.json", json.dumps(stack))

    def add(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def run(self, *findings: tuple[str, str, str, str], outcome: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it; a finding is service, status, muted and resource."""
        header = "SERVICE_NAME;STATUS;MUTED;RESOURCE_UID;RESOURCE_NAME;CHECK_ID;STATUS_EXTENDED"
        rows = [f"{service};{status};{muted};{name};{name};check;said" for service, status, muted, name in findings]
        (self.folder / "findings.csv").write_text("\n".join([header, *rows]) + "\n")
        (self.folder / "outcome").write_text(str(outcome))
        return subprocess.run(
            [self.folder / "scripts/audit-deployed", "labels-dev"],
            env={"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "somebody", "AWS_PROFILE": "prod"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


PASSED = tuple((service, "PASS", "False", "labels-dev") for service in SERVICES)


def test_what_is_listed_with_a_reason_passes_and_is_counted(checkout: Checkout) -> None:
    muted = ("s3", "FAIL", "True", "labels-dev"), ("iam", "FAIL", "True", "another")
    run = checkout.run(*PASSED, *muted, ("s3", "PASS", "True", "labels-dev"))
    assert run.returncode == 0, run.stderr
    assert "labels-dev: 1 FAIL (listed), 10 PASS" in run.stdout


def test_an_objection_that_is_not_listed_fails_and_is_named(checkout: Checkout) -> None:
    run = checkout.run(*PASSED, ("s3", "FAIL", "False", "labels-dev"), outcome=3)
    assert run.returncode == 1
    assert "check: said" in run.stdout


def test_a_service_that_was_not_judged_fails(checkout: Checkout) -> None:
    run = checkout.run(*[finding for finding in PASSED if finding[0] != "sqs"])
    assert run.returncode == 1
    assert "judged nothing of sqs" in run.stderr


def test_it_reads_only_the_local_stack_and_mutes_other_resources(checkout: Checkout) -> None:
    checkout.run(*PASSED)
    variables = dict(line.split("=", 1) for line in (checkout.folder / "environment").read_text().splitlines())
    assert (variables["AWS_ENDPOINT_URL"], variables["AWS_PROFILE"]) == ("https://local", "root")
    assert "AWS_ACCESS_KEY_ID" not in variables
    muted = yaml.safe_load((checkout.folder / "mutelist.yaml").read_text())["Mutelist"]["Accounts"]["*"]["Checks"]
    (pattern,) = muted["*"]["Resources"]
    # As Prowler reads it (prowler/lib/mutelist/mutelist.py, is_item_matched): it writes `.*` for each `*`.
    pattern = pattern.replace("*", ".*")
    ours = (
        "labels-dev",
        "labels-dev-catalog",
        "labels-dev/errors",
        "deployer-of-labels-dev",
        "arn:aws:sns:r:1:labels-dev",
    )
    assert [name for name in ours if re.search(pattern, name)] == []
    assert [name for name in ("another", "root", "arn:aws:iam::1:root") if not re.search(pattern, name)] == []


def test_without_a_stack_it_says_what_to_do(checkout: Checkout) -> None:
    (checkout.folder / ".local/state/stack.json").unlink()
    run = checkout.run(*PASSED)
    assert run.returncode == 1
    assert "make demo" in run.stderr


def test_every_objection_that_is_passed_over_has_a_reason() -> None:
    checks = yaml.safe_load(MUTELIST.read_text())["Mutelist"]["Accounts"]["*"]["Checks"]
    assert [name for name, check in checks.items() if len(check.get("Description", "")) < len("As above.")] == []


def test_the_settings_that_reasons_name_exist() -> None:
    roles = {path.parents[1].name: path.read_text() for path in ROOT.glob("roles/*/defaults/main.yml")}
    named = set(re.findall(rf"\b(?:{'|'.join(roles)})_[a-z_]+", MUTELIST.read_text()))
    assert len(named) > 5
    assert [name for name in named if not re.search(rf"^#? ?{name}:", "\n".join(roles.values()), re.MULTILINE)] == []
