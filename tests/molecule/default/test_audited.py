"""What is deployed has no fault that Prowler finds and .config/prowler-mutelist.yaml does not list with a reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deployed_environment import NAME

ROOT = Path(__file__).resolve().parents[3]


def test_prowler_objects_to_nothing_that_is_not_listed() -> None:
    run = subprocess.run(
        [ROOT / "scripts" / "audit-deployed", NAME],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
