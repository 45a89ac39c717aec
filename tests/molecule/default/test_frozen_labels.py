"""A snapshot of the deployed system is taken by playbook, and stays whole when its labels are edited or deleted."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

from deployed_environment import NAME, Deployment, eventually
from local_stack import LocalStack
from playbook_runs import run_playbook

CATALOG = f"{NAME}-catalog"
PATIENCE_SECONDS = 180


def invoke(deployment: Deployment, event: dict[str, Any]) -> dict[str, Any]:
    response = deployment.functions.invoke(FunctionName=CATALOG, Qualifier="live", Payload=json.dumps(event).encode())
    answer: dict[str, Any] = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, answer
    return answer


def read(deployment: Deployment, key: str) -> bytes:
    body: bytes = deployment.s3.get_object(Bucket=deployment.bucket, Key=key)["Body"].read()
    return body


def test_a_snapshot_is_read_back_after_its_labels_changed(deployment: Deployment, stack: LocalStack) -> None:
    project = stack.encord_json("GET", "projects")["projects"][0]["project_hash"]
    base = f"encord/{project}"
    invoke(deployment, {"action": "index", "step": "rebuild", "project_hash": project})
    eventually(
        lambda: (
            not [
                work
                for work in invoke(deployment, {"action": "index", "step": "status", "project_hash": project})[
                    "projects"
                ]
                if work.get("state") in ("running", "waiting")
            ]
        ),
        "the index",
        seconds=PATIENCE_SECONDS,
    )
    options = ("-e", "snapshot_name=first", "-e", f"snapshot_project={project}", "-e", "snapshot_formats=coco")
    # Other tests of this scenario leave labels that are not in the bucket.
    options += ("-e", "snapshot_allow_incomplete=true")
    check = run_playbook("snapshot", *options, "--check")
    assert check.returncode == 0, check.output
    listed = deployment.s3.list_objects_v2(Bucket=deployment.bucket, Prefix=f"{base}/snapshots/")
    assert listed["KeyCount"] == 0, "check mode wrote a snapshot"
    run = run_playbook("snapshot", *options)
    assert run.returncode == 0, run.output
    made = json.loads(read(deployment, f"{base}/snapshots/first/snapshot.json"))
    assert made["id"] in " ".join(run.output.split())
    assert made["id"] == hashlib.sha256(read(deployment, f"{base}/snapshots/first/manifest.parquet")).hexdigest()
    lines = gzip.decompress(read(deployment, f"{base}/snapshots/first/manifest.jsonl.gz")).decode().split("\n")
    rows = [json.loads(line) for line in lines if line]
    assert len(rows) == made["counts"]["labels"] > 0
    deployment.s3.put_object(Bucket=deployment.bucket, Key=rows[0]["key"], Body=b"{}")
    if len(rows) > 1:
        deployment.s3.delete_object(Bucket=deployment.bucket, Key=rows[1]["key"])
    for row in rows:
        assert hashlib.sha256(read(deployment, f"{base}/{row['object']}")).hexdigest() == row["sha256"]
    verified = run_playbook("snapshot_verify", "-e", "snapshot_name=first", "-e", f"snapshot_project={project}")
    for row in rows[:2]:  # as the other tests of this scenario expect it
        version = {"Bucket": deployment.bucket, "Key": row["key"], "VersionId": row["version_id"]}
        deployment.s3.copy_object(Bucket=deployment.bucket, Key=row["key"], CopySource=version)
    assert verified.returncode == 0, verified.output
    assert ", 0 wrong (completed)" in " ".join(verified.output.split())
    assert json.loads(read(deployment, f"{base}/snapshots/first/formats/coco/losses.json"))["images"] > 0
