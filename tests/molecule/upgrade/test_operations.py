"""Operating a deployment: verify, status, redrive, upgrade, a version that does not work, rollback.

Runs against any deployed local stack, and restores its settings.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deployed_environment import ENVIRONMENT, NAME, Deployment, eventually, given_secrets
from local_stack import LocalStack
from playbook_runs import OWNER, Playbook, only, run_playbook
from signed_webhooks import signed

DEAD_LETTERS = f"{NAME}-dead-letters"
# The roles that change a setting of the function; other tests cover the rest of a deploy.
FUNCTION = only("handler_image", "export_function")


def words(run: Playbook) -> str:
    """Return the output with single blanks, since Ansible wraps what it prints."""
    return " ".join(run.output.split())


def passed(run: Playbook) -> Playbook:
    assert run.returncode == 0, run.output
    return run


@pytest.fixture
def in_use(deployment: Deployment) -> Callable[[], str]:
    return lambda: str(deployment.functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"])


def image_of(deployment: Deployment, version: str) -> str:
    return str(deployment.functions.get_function(FunctionName=NAME, Qualifier=version)["Code"]["ImageUri"])


def published(deployment: Deployment) -> list[str]:
    versions = deployment.functions.list_versions_by_function(FunctionName=NAME)["Versions"]
    return [version["Version"] for version in versions if version["Version"] != "$LATEST"]


@pytest.fixture
def unmapped(deployment: Deployment) -> Iterator[str]:
    """Remove the partial batch responses from the queue's mapping; yields its identifier."""
    mapping = deployment.mapping()
    deployment.functions.update_event_source_mapping(UUID=mapping["UUID"], FunctionResponseTypes=[])
    yield mapping["UUID"]
    deployment.functions.update_event_source_mapping(
        UUID=mapping["UUID"], FunctionResponseTypes=["ReportBatchItemFailures"]
    )


def test_verify_tests_the_environment_and_leaves_nothing(deployment: Deployment, stack: LocalStack) -> None:
    def objects() -> int:
        listing = deployment.s3.list_object_versions(Bucket=deployment.bucket)
        found = listing.get("Versions", []) + listing.get("DeleteMarkers", [])
        # The catalog writes its state and reports on its schedules.
        return len([item for item in found if "/labels/" in item["Key"]])

    eventually(lambda: deployment.messages() == 0, "an empty queue")
    before, dead = objects(), deployment.messages(DEAD_LETTERS)
    run = passed(run_playbook("verify", "-vvv"))
    assert run.changed == []
    for check in (
        "a webhook with a wrong signature is refused",
        "a webhook with the signing secret is accepted",
        "the probe reached Encord through queue and function, and ended there",
        "the probe left nothing in the bucket",
    ):
        assert f"(item={check})" in run.output
    assert f"{ENVIRONMENT} works: version" in words(run)
    # Lambda deletes the probe's message when the function has returned, after the log line for which verify waits.
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    assert deployment.messages(DEAD_LETTERS) == dead
    assert objects() == before
    # At -vvv the output has everything that Ansible knows, but not the secrets.
    uid = re.findall(r"verify-[0-9a-f-]{36}", run.output)[0]
    eventually(lambda: uid in deployment.log_text(), "a line about the probe")
    assert [secret for secret in given_secrets(stack) if secret in run.output] == []


@pytest.mark.usefixtures("unmapped")
def test_verify_names_external_changes() -> None:
    run = run_playbook("verify", "-e", "verification_probe=false")
    assert run.returncode != 0
    assert "this check failed: the queue delivers messages to the alias, and only failed ones return" in words(run)
    assert run.output.count("failed: [localhost]") == 1, "every other setting is read back, and fine"


def test_dead_letters_are_redriven_once_and_exported(
    deployment: Deployment, encord: LocalStack, label_rows: list[dict[str, Any]]
) -> None:
    rows = [row for row in label_rows if row["label_hash"] and row["data_type"] == "IMAGE"][:3]
    url = deployment.sqs.get_queue_url(QueueName=DEAD_LETTERS)["QueueUrl"]
    for row in rows:
        change = {"version": 1, "project_hash": row["project_hash"], "label_hash": row["label_hash"]}
        body = json.dumps({**change, "event_uid": str(uuid.uuid4()), "event_type": "task_completed_event"})
        deployment.sqs.send_message(QueueUrl=url, MessageBody=body)
    check = passed(run_playbook("redrive", "--check"))
    assert f"{len(rows)} dead letters would be moved" in words(check)
    assert deployment.messages(DEAD_LETTERS) == len(rows)
    first = passed(run_playbook("redrive"))
    assert f"{len(rows)} dead letters were moved" in words(first)
    assert first.changed == check.changed
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    for row in rows:
        served = encord.encord("GET", f"label-rows/{row['label_hash']}")
        key = deployment.key(row["project_hash"], row["label_hash"])
        assert deployment.s3.get_object(Bucket=deployment.bucket, Key=key)["Body"].read() == served
    again = passed(run_playbook("redrive"))
    assert again.changed == []
    assert f"0 dead letters were moved back to {NAME}; 0 remain" in words(again)


def test_labels_of_a_refused_webhook_are_queued_from_the_log(
    deployment: Deployment, encord: LocalStack, label_rows: list[dict[str, Any]]
) -> None:
    """The webhook is signed, and has a version that the function does not support."""
    rows = [row for row in label_rows if row["label_hash"] and row["data_type"] == "IMAGE"][:2]
    project, uid = rows[0]["project_hash"], str(uuid.uuid4())
    payload = {"project_hash": project, "label_hashes": [row["label_hash"] for row in rows]}
    envelope = {"uid": uid, "version": 2, "event_type": "task_completed_event", "payload": payload}
    body = json.dumps(envelope).encode()
    assert encord.request(deployment.webhook_url, "POST", body, **signed(encord, body))[0] == 400
    eventually(lambda: uid in deployment.log_text(), "a line about the refused webhook")
    keys = [deployment.key(project, row["label_hash"]) for row in rows]
    for key in keys:
        deployment.s3.delete_object(Bucket=deployment.bucket, Key=key)
    check = passed(run_playbook("requeue", "-e", "requeued_labels_hours=1", "--check"))
    assert f"messages would be queued in {NAME}" in words(check)
    run = passed(run_playbook("requeue", "-e", "requeued_labels_hours=1"))
    assert f"messages were queued in {NAME}" in words(run)
    for key, row in zip(keys, rows, strict=True):
        served = encord.encord("GET", f"label-rows/{row['label_hash']}")

        def is_exported(key: str = key, served: bytes = served) -> bool:
            listing = deployment.s3.list_objects_v2(Bucket=deployment.bucket, Prefix=key)
            return bool(listing.get("Contents")) and (
                deployment.s3.get_object(Bucket=deployment.bucket, Key=key)["Body"].read() == served
            )

        eventually(is_exported, f"an object {key}")


def test_a_change_gives_a_new_version_and_a_rollback_restores_the_old_one(
    deployment: Deployment, in_use: Callable[[], str], complete: Callable[[], None]
) -> None:
    complete()
    before, versions = in_use(), published(deployment)
    never_set_before = 60_000_000 + uuid.uuid4().int % 1_000_000
    changed = ("-e", f"export_function_memory_limit_bytes={never_set_before}", *FUNCTION)
    upgrade = passed(run_playbook("deploy", *changed))
    assert [task.partition(" | ")[2] for task in upgrade.changed] == [
        "Ensure the function runs the image",
        "Ensure the alias points to the newest version",
    ]
    after = in_use()
    assert (after, published(deployment)) == (published(deployment)[-1], [*versions, after])
    assert f"Run the self check of version {after}" in upgrade.output
    complete()

    # Half of the calls go to the previous version, as in a canary deployment.
    halves = {"AdditionalVersionWeights": {before: 0.5}}
    deployment.functions.update_alias(FunctionName=NAME, Name="live", RoutingConfig=halves)
    back = passed(run_playbook("rollback", "-e", f"live_version_number={before}"))
    assert (in_use(), len(back.changed)) == (before, 1)
    assert "RoutingConfig" not in deployment.functions.get_alias(FunctionName=NAME, Name="live")
    assert f"{ENVIRONMENT}: version {before} of the exporter is in use instead of version {after}" in words(back)
    complete()
    again = passed(run_playbook("rollback", "-e", f"live_version_number={before}"))
    assert (in_use(), again.changed) == (before, [])


def test_a_version_that_does_not_work_is_not_used(
    deployment: Deployment, in_use: Callable[[], str], complete: Callable[[], None]
) -> None:
    before = in_use()
    broken = ("-e", "export_function_encord_domain=https://localhost:9", *FUNCTION)
    deploy = run_playbook("deploy", *broken)
    assert deploy.returncode != 0
    tried = published(deployment)[-1]
    said = words(deploy)
    assert f"Version {tried} of {NAME} is not used: its self check failed." in said
    assert "encord: the connection to Encord failed" in said
    assert f"The alias live still names version {before}, which stays in use" in said
    assert image_of(deployment, tried) == image_of(deployment, before), "only their settings differ"
    assert in_use() == before
    complete()
    again = run_playbook("deploy", *broken)
    assert (again.returncode != 0, published(deployment)[-1], in_use()) == (True, tried, before), "it is checked again"
    assert f"Run the self check of version {tried}" in again.output


def test_a_missing_version_is_refused_with_a_list_of_existing_ones(
    deployment: Deployment, in_use: Callable[[], str]
) -> None:
    before = in_use()
    run = run_playbook("rollback", "-e", "live_version_number=999")
    assert run.returncode != 0
    assert f"There is no version 999 of {NAME}. There are: {published(deployment)[-1]}" in words(run)
    assert in_use() == before


def test_status_reports_the_deployment_and_changes_nothing(
    deployment: Deployment, stack: LocalStack, in_use: Callable[[], str]
) -> None:
    url = deployment.sqs.get_queue_url(QueueName=DEAD_LETTERS)["QueueUrl"]
    alarms = stack.aws("cloudwatch")
    alarm = f"{NAME}/test-of-status"
    alarms.put_metric_alarm(
        AlarmName=alarm,
        MetricName="Nothing",
        Namespace="LabelExport",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    alarms.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="for a test")
    deployment.sqs.send_message(QueueUrl=url, MessageBody="not a message of the exporter")
    try:
        run = passed(run_playbook("status"))
    finally:
        alarms.delete_alarms(AlarmNames=[alarm])
        (message,) = deployment.sqs.receive_message(QueueUrl=url)["Messages"]
        deployment.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    said = words(run)
    image = deployment.functions.get_function(FunctionName=NAME, Qualifier=in_use())["Code"]["ImageUri"]
    assert run.changed == []
    assert f"Function: {NAME}, version {in_use()} of" in said
    assert f"Image: {image}" in said
    assert f"Webhook URL: {deployment.webhook_url}" in said
    assert f"Dead letters: 1 messages ({DEAD_LETTERS})" in said
    assert re.search(r"Last export: 20\d\d-\d\d-\d\dT", said)
    assert f"{alarm}: for a test" in said


def test_missing_deployments_are_reported() -> None:
    elsewhere = ("-e", "label_export_name=label-export-none", *OWNER)
    status = passed(run_playbook("status", *elsewhere))
    assert f"Function: not deployed (label-export-none-{ENVIRONMENT})" in words(status)
    for playbook in ("verify", "rollback"):
        run = run_playbook(playbook, *elsewhere)
        assert run.returncode != 0
        assert f"label-export-none-{ENVIRONMENT} is not deployed" in words(run)


def test_a_deploy_puts_the_newest_state_back_into_use(deployment: Deployment, in_use: Callable[[], str]) -> None:
    """Runs last in this file: after rollbacks and failed versions, one deploy is enough."""
    passed(run_playbook("deploy", *FUNCTION))
    assert in_use() == published(deployment)[-1]
    again = passed(run_playbook("deploy", "--check", *FUNCTION))
    assert again.changed == []
    assert "Run the self check" not in again.output
