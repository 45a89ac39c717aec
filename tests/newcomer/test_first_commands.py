"""The README's first commands, as a new user runs them: `make demo`, again, `make down`, again."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".local" / "state"


def make(target: str) -> str:
    """Run a target of the Makefile; return its output. Fails with the output when it fails."""
    # The user's environment for the real AWS must have no effect.
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": str(uuid.uuid4())}
    result = subprocess.run(
        ["make", target],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert result.returncode == 0, f"make {target}:\n{result.stdout}\n{result.stderr}\n{last_lines()}"
    return result.stdout


def last_lines() -> str:
    """Return what the local stack's servers logged last."""
    logs = sorted((STATE / "logs").glob("*.log"))
    return "\n".join(f"{log.name}:\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)


def runs(process: int) -> bool:
    """Return whether a process runs. A process that has ended, but is not reaped yet, does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def first() -> Iterator[str]:
    """Return the output of the first demo, with nothing except earlier downloads."""
    make("down")
    yield make("demo")
    make("down")


def test_the_demo_shows_the_saved_label(first: str) -> None:
    assert re.search(r"^Saved: s3://label-export-local-\S+/encord/\S+/labels/\S+\.json$", first, re.MULTILINE)
    assert "the same bytes that Encord serves" in first
    assert re.search(r"last-edited-at: \S+", first)


def test_the_demo_finds_a_label_whose_webhook_was_lost_and_shows_completeness(first: str) -> None:
    lost = re.search(r"found by the catalog's next reconcile.*\n +s3://label-export-local-\S+/labels/\S+\.json", first)
    assert lost
    lines = re.findall(r"^ +project (.+): Encord (\d+) complete, bucket (\d+)(.*), as of .+ UTC$", first, re.MULTILINE)
    assert len(lines) >= 2
    assert first.rindex("Completeness") > first.index("Saved:")


def test_a_second_demo_changes_nothing_and_saves_the_next_edit(first: str) -> None:
    second = make("demo")
    assert re.findall(r"changed=(\d+)", second) == ["0", "0"]
    digest = re.compile(r"sha256: (\w+)")
    assert digest.findall(first) != digest.findall(second)


def test_down_leaves_no_process_and_no_state_and_works_twice(first: str) -> None:
    assert "Saved:" in first
    records = list(STATE.glob("*.process.json"))
    assert records, "the processes that were started are written down"
    processes = [int(re.findall(r'"pid": (\d+)', record.read_text())[0]) for record in records]
    assert all(runs(process) for process in processes)
    make("down")
    assert not any(runs(process) for process in processes)
    assert not STATE.exists()
    make("down")
