"""What playbooks/backfill.yml prints: the plan with estimates, progress, and the end with the labels that failed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = {"title": "cars", "project_hash": "p", "complete": True, "odd": {"total": 0}}
COUNTED = {**PROJECT, "rows": 1200, "selected": 1000, "objects": 400, "to_queue": 600, "requests": 600, "seconds": 30.0}
UNCOUNTED = {"title": "ships", "project_hash": "q", "complete": False, "detail": "the time of one run is not enough"}
BEGAN_SECONDS_AGO = 100


def state(**values: Any) -> dict[str, Any]:
    return {"title": "cars", "project_hash": "p", "work": "w", "state": "running", "detail": "", **values}


def progress(queued: int, to_queue: int | None, lane: int, dead: int, **more: Any) -> dict[str, Any]:
    projects = [state(queued=queued, to_queue=to_queue, state="completed" if more.get("ended") else "running")]
    answer = {"projects": projects, "lane": {"waiting": lane, "in_flight": 0}}
    return {
        "__backfill_progress": {"answer": answer, "open": [] if more.get("ended") else ["p"]},
        "__backfill_dead_letters_before": {"messages": 3},
        "__backfill_dead_letters": {"messages": 3 + dead},
        "__backfill_handled_before": more.get("before", 0),
        "__backfill_failures": {"labels": more.get("labels", [])},
    }


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("plan", {"__backfill_plan": {"answer": {"projects": [COUNTED, UNCOUNTED]}}}),
    "nothing": ("plan", {"__backfill_plan": {"answer": {"projects": []}}}),
    "under way": ("progress", progress(500, 1000, 200, 10)),
    "not counted yet": ("progress", progress(0, None, 0, 0)),
    "started again": ("progress", progress(900, 1000, 100, 0, before=700)),
    "ended": (
        "progress",
        progress(1000, 1000, 0, 1, ended=True, labels=[{"project_hash": "p", "label_hash": "l", "data_hash": None}]),
    ),
    "ended well": ("progress", progress(1000, 1000, 0, 0, ended=True)),
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the text of each case, all from one run."""
    folder = tmp_path_factory.mktemp("texts")
    variables = {
        "backfill_project": "all",
        "export_queue_dead_letter_name": "dead-letters",
        "__backfill_began": "{{ now(utc=true).timestamp() - " + str(BEGAN_SECONDS_AGO) + " }}",
    }
    # One task: each one would cost as much as a start of Ansible.
    texts = ", ".join(
        f"'{case}': lookup('ansible.builtin.template', '{ROOT}/roles/backfill/templates/{template}.txt.j2', "
        f"template_vars=cases['{case}'])"
        for case, (template, _) in CASES.items()
    )
    result = folder / "texts.json"
    task = {
        "name": "Show each case",
        "ansible.builtin.copy": {"content": "{{ {" + texts + "} | to_json }}", "dest": str(result)},
        "vars": {"cases": {case: values for case, (_, values) in CASES.items()}},
    }
    files = [str(ROOT / "roles/backfill/vars/main.yml")]
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "vars_files": files, "tasks": [task]}
    playbook = folder / "play.yml"
    playbook.write_text(json.dumps([play]))
    command = ["ansible-playbook", str(playbook), "-i", "localhost,", "-c", "local"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    found: dict[str, str] = json.loads(result.read_text())
    return found


def test_a_plan_has_rows_requests_time_and_cost(shown: dict[str, str]) -> None:
    assert "cars: 1200 label rows in Encord, 1000 of them" in shown["plan"]
    assert "400 objects in the bucket; 600 labels to export" in shown["plan"]
    assert "ships: not counted, the time of one run is not enough." in shown["plan"]
    assert "600 labels to export in total, with about 600 requests to Encord, in about 30 s." in shown["plan"]
    assert "about 0.01 USD" in shown["plan"]
    assert "No project: the key can read none." in shown["nothing"]


def test_progress_has_done_queued_failed_rate_and_time_left(shown: dict[str, str]) -> None:
    assert "cars: running, 500 of 1000 queued" in shown["under way"]
    assert "290 labels done, 200 queued, 10 failed, 3.0 labels a second, about 2" in shown["under way"]
    assert "s left" in shown["under way"]
    assert "cars: running, 0 of ? queued" in shown["not counted yet"]
    assert "0 labels done, 0 queued, 0 failed" in shown["not counted yet"]


def test_a_second_start_counts_its_own_rate(shown: dict[str, str]) -> None:
    assert "800 labels done, 100 queued, 0 failed, 1.0 labels a second" in shown["started again"]


def test_the_end_has_totals_and_names_failed_labels(shown: dict[str, str]) -> None:
    assert "The backfill has ended: 999 labels done, 1 failed." in shown["ended"]
    assert "Failed: label l of project p" in shown["ended"]
    assert "playbooks/redrive.yml exports them again" in shown["ended"]
    assert "The backfill has ended: 1000 labels done, 0 failed." in shown["ended well"]
    assert "redrive" not in shown["ended well"]
