"""The deployed catalog: it finds a lost webhook, a schedule fires, a census counts, a backfill exports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deployed_environment import NAME, Deployment, eventually
from local_stack import ROOT, LocalStack
from playbook_runs import playbook_command, run_playbook

CATALOG = f"{NAME}-catalog"
SCHEDULE = f"{CATALOG}-reconcile"
# The emulator checks its schedules every ten seconds, and the shortest rate is a minute.
PATIENCE_SECONDS = 180


@pytest.fixture(scope="module")
def began(stack: LocalStack) -> Iterator[datetime]:
    """The schedule of the reconcile fires every minute; yields the time since when."""
    scheduler = stack.aws("scheduler")
    found = scheduler.get_schedule(Name=SCHEDULE)
    wanted = {key: found[key] for key in ("Name", "FlexibleTimeWindow", "Target", "State", "Description")}
    scheduler.update_schedule(**wanted, ScheduleExpression="rate(1 minute)")
    yield datetime.now(UTC)
    scheduler.update_schedule(**wanted, ScheduleExpression=found["ScheduleExpression"])


@pytest.fixture(scope="module")
def rows(stack: LocalStack) -> list[dict[str, Any]]:
    """The label rows of the stand-in's main project that have a label."""
    project = stack.encord_json("GET", "projects")["projects"][0]
    return [{**row, "project_hash": project["project_hash"]} for row in project["label_rows"] if row["label_hash"]]


def invoke(deployment: Deployment, event: dict[str, Any]) -> dict[str, Any]:
    response = deployment.functions.invoke(FunctionName=CATALOG, Qualifier="live", Payload=json.dumps(event).encode())
    answer: dict[str, Any] = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, answer
    return answer


def test_a_label_whose_webhook_was_lost_is_found_by_the_next_reconcile(
    began: datetime, deployment: Deployment, stack: LocalStack, rows: list[dict[str, Any]]
) -> None:
    assert began
    task = stack.encord_json("POST", "complete-task", {"label_hash": rows[2]["label_hash"], "deliver": False})
    answer = invoke(deployment, {"action": "reconcile"})
    assert answer["ok"]
    _, found = stack.saved_label(deployment.bucket, rows[2]["label_hash"], task["last_edited_at"])
    assert found["Body"].read() == stack.encord("GET", f"label-rows/{rows[2]['label_hash']}")


def test_a_census_by_playbook_counts_every_label(deployment: Deployment, rows: list[dict[str, Any]]) -> None:
    run = run_playbook("census")
    assert run.returncode == 0, run.output
    text = " ".join(run.output.split())
    assert re.search(r"project [^:]+: Encord \d+ complete, bucket \d+", text)
    key = f"encord/{rows[0]['project_hash']}/reports/latest.json"
    report = json.loads(deployment.s3.get_object(Bucket=deployment.bucket, Key=key)["Body"].read())
    assert report["encord"]["rows"] > 0
    status = run_playbook("status")
    assert report["line"].partition(", as of")[0] in " ".join(status.output.split())


def test_the_report_by_playbook_is_in_the_bucket_and_on_this_machine(
    deployment: Deployment, stack: LocalStack, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    project = rows[0]["project_hash"]
    run = run_playbook("report", "-e", f"label_report_project={project} label_report_directory={tmp_path}")
    assert run.returncode == 0, run.output
    key = f"encord/{project}/reports/report.html"
    found = stack.aws("s3").get_object(Bucket=deployment.bucket, Key=key)
    page = found["Body"].read()
    assert found["ContentType"] == "text/html; charset=utf-8"
    assert (tmp_path / f"{project}.html").read_bytes() == page
    assert b"labels that belong in the bucket" in page  # the census of the test before


def test_a_backfill_by_playbook_counts_in_check_mode_and_exports_what_is_missing(
    deployment: Deployment, stack: LocalStack
) -> None:
    project = stack.encord_json("GET", "projects")["projects"][1]
    row = next(row for row in project["label_rows"] if row["label_hash"])
    task = stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"], "deliver": False})
    options = ("-e", f"backfill_project={project['project_hash']}", "-e", "backfill_progress_interval=2")
    check = run_playbook("backfill", *options, "--check")
    assert check.returncode == 0, check.output
    assert re.search(r"[1-9]\d* labels to export in total", " ".join(check.output.split()))
    run = run_playbook("backfill", *options)
    assert run.returncode == 0, run.output
    assert "The backfill has ended: " in " ".join(run.output.split())
    _, found = stack.saved_label(deployment.bucket, row["label_hash"], task["last_edited_at"])
    assert found["Body"].read() == stack.encord("GET", f"label-rows/{row['label_hash']}")


def test_a_backfill_goes_on_when_its_playbook_is_interrupted_and_a_second_start_joins_it(
    deployment: Deployment, stack: LocalStack
) -> None:
    project = stack.encord_json("GET", "projects")["projects"][1]
    row = next(row for row in project["label_rows"] if row["label_hash"])
    task = stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"], "deliver": False})
    options = ("-e", f"backfill_project={project['project_hash']}", "-e", "backfill_progress_interval=2")
    state = {"action": "backfill", "step": "status", "project_hash": project["project_hash"]}
    before = {work["work"] for work in invoke(deployment, state)["projects"]}
    with subprocess.Popen(
        playbook_command("backfill", *options),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,  # the terminal sends Ctrl-C to all of it
    ) as process:
        eventually(
            lambda: {work["work"] for work in invoke(deployment, state)["projects"]} - before,
            "the backfill's start",
            seconds=PATIENCE_SECONDS,
        )
        os.killpg(process.pid, signal.SIGINT)
    _, found = stack.saved_label(deployment.bucket, row["label_hash"], task["last_edited_at"])
    assert found["Body"].read() == stack.encord("GET", f"label-rows/{row['label_hash']}")
    run = run_playbook("backfill", *options)
    assert run.returncode == 0, run.output
    assert "The backfill has ended: " in " ".join(run.output.split())


def test_the_probe_by_playbook_answers_each_question(rows: list[dict[str, Any]]) -> None:
    run = run_playbook("probe", "-e", f"probe_project={rows[0]['project_hash']}")
    assert run.returncode == 0, run.output
    assert run.changed == []
    text = " ".join(run.output.split())
    assert "holds: The envelope is compact, its status first" in text
    assert "does not hold: A window of edit times includes its ends" in text


def test_a_saved_label_is_soon_in_the_index(deployment: Deployment, stack: LocalStack, tmp_path: Path) -> None:
    project = stack.encord_json("GET", "projects")["projects"][0]
    row = next(row for row in project["label_rows"] if row["label_hash"])
    task = stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"], "deliver": False})
    invoke(deployment, {"action": "reconcile"})
    key, saved = stack.saved_label(deployment.bucket, row["label_hash"], task["last_edited_at"])
    base = f"encord/{project['project_hash']}/index"

    def indexed() -> list[tuple[Any, ...]]:
        try:
            pointer = json.loads(
                deployment.s3.get_object(Bucket=deployment.bucket, Key=f"{base}/latest.json")["Body"].read()
            )
        except deployment.s3.exceptions.NoSuchKey:
            return []
        file = tmp_path / "labels.parquet"
        deployment.s3.download_file(deployment.bucket, f"{base}/{pointer['generation']}/labels.parquet", str(file))
        query = f"SELECT stage, objects FROM read_parquet('{file}') WHERE key = ? AND sha256 = ?"  # noqa: S608 - our own path
        return duckdb.execute(query, [key, saved["Metadata"]["sha256"]]).fetchall()

    ((stage, objects),) = eventually(indexed, "the label in the index", seconds=PATIENCE_SECONDS)
    assert stage == "Complete"
    assert objects is not None
    shown = run_playbook("index")
    assert shown.returncode == 0, shown.output
    assert re.search(r"[1-9]\d* labels and [1-9]\d* annotations, as of", " ".join(shown.output.split()))


def test_the_schedule_invokes_the_function(began: datetime, deployment: Deployment, stack: LocalStack) -> None:
    group = f"/aws/lambda/{CATALOG}"

    def reconciled() -> int:
        pages = deployment.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=int(began.timestamp() * 1000)
        )
        return len([event for page in pages for event in page["events"] if "project reconciled" in event["message"]])

    # Each project has one line; the first test invoked one reconcile itself.
    by_hand = len(stack.encord_json("GET", "projects")["projects"])
    eventually(lambda: reconciled() > by_hand, "a reconcile that the schedule started", seconds=PATIENCE_SECONDS)
