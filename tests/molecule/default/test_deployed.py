"""The deployed system: its settings as AWS's API returns them, and labels on their way from Encord to the bucket."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, eventually, given_secrets, invoke
from encord import EncordUserClient
from encord.objects import LabelRowV2
from local_stack import LocalStack
from signed_webhooks import signed, webhook

# ---------------------------------------------------------------------------------------------------------------------
# Settings


def test_the_image_has_bytecode(deployment: Deployment) -> None:
    code = deployment.functions.get_function(FunctionName=NAME, Qualifier="live")
    look = (
        "import json, os, urllib3, label_export; "
        "print(*(name for module in (json, urllib3, label_export) "
        "for name in os.listdir(os.path.dirname(module.__file__) + '/__pycache__')))"
    )
    listing = deployment.stack.engine.containers.run(
        code["Code"]["ImageUri"], ["-c", look], entrypoint="python3.13", network_mode="none", remove=True
    ).decode()
    of_each = {"handler.cpython-313.pyc", "poolmanager.cpython-313.pyc", "decoder.cpython-313.pyc"}
    assert of_each <= set(listing.split()), "of the function, of its dependencies and of Python's own modules"


def test_the_functions_run_as_a_user_without_rights(deployment: Deployment) -> None:
    invoke(deployment.functions, {"action": "self_check"}, "live")
    image = deployment.functions.get_function(FunctionName=NAME, Qualifier="live")["Code"]["ImageUri"]
    containers = deployment.stack.engine.containers.list(filters={"ancestor": image})
    assert containers
    (user,) = {container.attrs["Config"]["User"] for container in containers}
    assert int(user.partition(":")[0]) > 0, "Lambda runs no function as root"


def test_the_bucket_is_private_versioned_encrypted_and_tls_only(deployment: Deployment) -> None:
    s3, bucket = deployment.s3, {"Bucket": deployment.bucket}
    assert set(s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_ownership_controls(**bucket)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = json.loads(s3.get_bucket_policy(**bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    (rule,) = s3.get_bucket_lifecycle_configuration(**bucket)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert "Expiration" not in rule, "labels themselves never expire"


def test_the_queue_outlasts_the_function_and_moves_failed_messages(deployment: Deployment) -> None:
    queue, dead = deployment.queue_attributes(), deployment.queue_attributes(f"{NAME}-dead-letters")
    timeout = deployment.functions.get_function_configuration(FunctionName=NAME)["Timeout"]
    assert int(queue["VisibilityTimeout"]) >= 6 * timeout
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    assert int(redrive["maxReceiveCount"]) >= 5
    assert int(dead["MessageRetentionPeriod"]) == 14 * 24 * 3600 >= int(queue["MessageRetentionPeriod"])
    assert queue["SqsManagedSseEnabled"] == dead["SqsManagedSseEnabled"] == "true"
    lane = deployment.queue_attributes(f"{NAME}-backfill")
    assert set(json.loads(dead["RedriveAllowPolicy"])["sourceQueueArns"]) == {queue["QueueArn"], lane["QueueArn"]}


@pytest.mark.parametrize("queue", ["", "-catalog", "-catalog-events", "-backfill"])
def test_no_other_queue_of_the_account_can_hand_its_messages_to_ours(queue: str, deployment: Deployment) -> None:
    """Another environment's deployer could name ours as the dead-letter queue of its own. IAM cannot refuse that."""
    attributes = deployment.queue_attributes(f"{NAME}{queue}")
    assert json.loads(attributes["RedriveAllowPolicy"]) == {"redrivePermission": "denyAll"}


def test_the_function_runs_the_pushed_image_by_digest(deployment: Deployment, stack: LocalStack) -> None:
    function = deployment.functions.get_function(FunctionName=NAME, Qualifier="live")
    image = function["Code"]["ImageUri"]
    repository, _, digest = image.partition("@")
    assert digest.startswith("sha256:"), image
    assert repository.endswith(f"/{NAME}")
    ecr = stack.aws("ecr")
    (pushed,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])["images"]
    assert pushed["imageManifestMediaType"] in {
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    }
    (settings,) = ecr.describe_repositories(repositoryNames=[NAME])["repositories"]
    assert settings["imageTagMutability"] == "IMMUTABLE"
    assert settings["imageScanningConfiguration"] == {"scanOnPush": True}


def test_two_deploys_created_one_version_and_the_alias_points_to_it(deployment: Deployment) -> None:
    versions = deployment.functions.list_versions_by_function(FunctionName=NAME)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]
    assert deployment.functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"] == "1"


def test_the_function_is_set_as_documented(deployment: Deployment, stack: LocalStack) -> None:
    configuration = deployment.functions.get_function_configuration(FunctionName=NAME)
    assert configuration["TracingConfig"]["Mode"] == "Active"
    role = f"{NAME}-{stack.facts['region']}"
    assert configuration["Role"] == f"arn:aws:iam::{stack.facts['account_id']}:role/{role}"
    mapping = deployment.mapping()
    assert mapping["FunctionArn"].endswith(f":function:{NAME}:live")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == 5
    groups = {group["logGroupName"]: group for group in deployment.logs.describe_log_groups()["logGroups"]}
    assert groups[f"/aws/lambda/{NAME}"]["retentionInDays"] == 30
    assert groups[f"/aws/vendedlogs/apigateway/{NAME}"]["retentionInDays"] == 30


def test_the_environment_contains_references_and_no_secrets(deployment: Deployment, stack: LocalStack) -> None:
    variables = deployment.functions.get_function_configuration(FunctionName=NAME)["Environment"]["Variables"]
    text = json.dumps(variables)
    assert [secret for secret in given_secrets(stack) if secret in text] == []
    assert variables["LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN"].startswith("arn:aws:secretsmanager:")


def test_only_lambda_in_this_account_can_assume_the_role(stack: LocalStack) -> None:
    role = stack.aws("iam").get_role(RoleName=f"{NAME}-{stack.facts['region']}")["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": stack.facts["account_id"]}}


def test_the_api_is_throttled_and_logs_no_query_string(stack: LocalStack) -> None:
    client = stack.aws("apigatewayv2")
    (api,) = [item for item in client.get_apis()["Items"] if item["Name"] == NAME]
    (stage,) = client.get_stages(ApiId=api["ApiId"])["Items"]
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 1000
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 2000
    assert "query" not in stage["AccessLogSettings"]["Format"].lower()
    (route,) = client.get_routes(ApiId=api["ApiId"])["Items"]
    assert route["RouteKey"] == "POST /webhook"
    policy = json.loads(stack.aws("lambda").get_policy(FunctionName=NAME, Qualifier="live")["Policy"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert f":{api['ApiId']}/*/POST/webhook" in json.dumps(statement["Condition"])


# ---------------------------------------------------------------------------------------------------------------------
# Labels


def calls(encord: LocalStack) -> dict[str, int]:
    """Return the number of calls to Encord since the counters were reset, and the number of writes."""
    return dict(encord.encord_json("GET", "requests")["total"])


def test_labels_of_every_modality_are_saved_byte_for_byte(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]
) -> None:
    """Complete all tasks at once, as on a busy day, and compare each object with what Encord serves."""
    rows = [row for row in label_rows if row["label_hash"] and row["data_type"] != "DELETED"]
    assert {row["data_type"] for row in rows} >= {
        "IMAGE", "IMG_GROUP", "VIDEO", "AUDIO", "PLAIN_TEXT", "PDF", "DICOM", "GROUP",
    }  # fmt: skip
    completed = [encord.encord_json("POST", "complete-task", {"label_hash": row["label_hash"]}) for row in rows]
    for task in completed:
        assert [delivery["status"] for delivery in task["deliveries"]] == [202], task
    for task in completed:
        body, metadata = deployment.saved(task["project_hash"], task["label_hash"], task["last_edited_at"])
        served = encord.encord("GET", f"label-rows/{task['label_hash']}")
        assert body == served, task["data_title"]
        assert metadata["sha256"] == hashlib.sha256(served).hexdigest()
        assert metadata["label-hash"] == task["label_hash"]
        assert metadata["data-hash"] == task["data_hash"]
        assert metadata["project-hash"] == task["project_hash"]
    # Lambda deletes a batch only when the function has returned, after the last object is there.
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    assert deployment.messages(f"{NAME}-dead-letters") == 0


def test_the_encord_package_reads_back_what_was_stored(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", encord.facts["aws_ca_bundle"])
    client = EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=encord.facts["encord_private_key_file"], domain=encord.facts["encord_control_url"]
    )
    row = next(row for row in label_rows if row["data_type"] == "IMAGE")
    task = encord.encord_json("POST", "complete-task", {"label_hash": row["label_hash"]})
    body, _metadata = deployment.saved(task["project_hash"], task["label_hash"], task["last_edited_at"])
    project = client.get_project(task["project_hash"])
    (label_row,) = project.list_label_rows_v2(label_hashes=[task["label_hash"]])
    assert isinstance(label_row, LabelRowV2)
    label_row.from_labels_dict(json.loads(body))
    stored = json.loads(body)
    objects = {item["objectHash"] for unit in stored["data_units"].values() for item in unit["labels"]["objects"]}
    assert objects
    assert {instance.object_hash for instance in label_row.get_object_instances()} == objects


def test_a_repeated_webhook_writes_nothing(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]
) -> None:
    row = next(row for row in label_rows if row["data_type"] == "IMAGE")
    task = encord.encord_json("POST", "complete-task", {"label_hash": row["label_hash"], "duplicates": 2})
    assert [delivery["status"] for delivery in task["deliveries"]] == [202] * 3
    deployment.saved(task["project_hash"], task["label_hash"], task["last_edited_at"])
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    key = deployment.key(task["project_hash"], task["label_hash"])
    versions = deployment.versions(key)
    answer = encord.encord_json("POST", "send-webhook", {"label_hash": row["label_hash"], "duplicates": 4})
    assert [delivery["status"] for delivery in answer["deliveries"]] == [202] * 5
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    assert deployment.versions(key) == versions


@pytest.fixture
def quick_redelivery(deployment: Deployment) -> Iterator[None]:
    """A returned message is redelivered after seconds, not after twelve minutes."""
    url = deployment.sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    before = deployment.queue_attributes()["VisibilityTimeout"]
    deployment.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    yield
    deployment.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": before})


@pytest.mark.usefixtures("quick_redelivery")
def test_a_task_without_a_label_row_creates_none_in_encord(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]
) -> None:
    """The message is deleted only at a late receive, when Encord has confirmed that there is no row."""
    row = next(row for row in label_rows if not row["label_hash"])
    encord.encord_json("DELETE", "requests")
    task = encord.encord_json("POST", "complete-task", {"data_hash": row["data_hash"]})
    assert [delivery["status"] for delivery in task["deliveries"]] == [202]
    eventually(lambda: calls(encord)["requests"] > 1, "a second look at Encord")
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    assert deployment.messages(f"{NAME}-dead-letters") == 0
    assert calls(encord)["writes"] == 0, "no row may be created"


# ---------------------------------------------------------------------------------------------------------------------
# Unauthorized requests


def test_unauthenticated_requests_have_no_effect(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]
) -> None:
    """Wrong, stale and missing signatures and a changed body: the same response, no message, no call to Encord."""
    eventually(lambda: deployment.messages() == 0, "an empty queue")
    encord.encord_json("DELETE", "requests")
    body = webhook(label_rows)
    attempts = [
        (body, signed(encord, body, secret=str(uuid.uuid4()))),
        (body, signed(encord, body, timestamp=int(time.time()) - 3600)),
        (body, {"Content-Type": "application/json"}),
        (body.replace(b"Encord", b"encord"), signed(encord, body)),
    ]
    answers = {encord.request(deployment.webhook_url, "POST", sent, **headers) for sent, headers in attempts}
    assert answers == {(401, b'{"error": "unauthorized"}')}
    assert deployment.messages() == 0
    assert calls(encord)["requests"] == 0


def test_the_same_webhook_with_a_valid_signature_is_accepted(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]
) -> None:
    """The counterpart: the test above refuses the same request only for its signature."""
    body = webhook(label_rows)
    status, answer = encord.request(deployment.webhook_url, "POST", body, **signed(encord, body))
    assert (status, json.loads(answer)) == (202, {"accepted": 1})


def test_iam_restricts_the_function_to_its_own_bucket(deployment: Deployment, label_rows: list[dict[str, Any]]) -> None:
    """Point the function at another bucket of the account: IAM denies the write, and nothing is stored."""
    other = f"somebody-elses-{uuid.uuid4()}"
    functions = deployment.functions
    deployment.s3.create_bucket(
        Bucket=other, CreateBucketConfiguration={"LocationConstraint": deployment.stack.facts["region"]}
    )
    before = functions.get_function_configuration(FunctionName=NAME)["Environment"]["Variables"]
    row = next(row for row in label_rows if row["data_type"] == "IMAGE")
    change = {"version": 1, "project_hash": row["project_hash"], "label_hash": row["label_hash"]}
    record = {
        "messageId": "one",
        "receiptHandle": "none",
        "body": json.dumps({**change, "event_uid": "test", "event_type": "task_completed_event"}),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": deployment.queue_attributes()["QueueArn"],
        "awsRegion": deployment.stack.facts["region"],
    }

    def export_to(bucket: str) -> dict[str, Any]:
        variables = {**before, "LABEL_EXPORT_BUCKET": bucket}
        functions.update_function_configuration(FunctionName=NAME, Environment={"Variables": variables})
        functions.get_waiter("function_updated_v2").wait(FunctionName=NAME)
        return invoke(functions, {"Records": [record]}, "$LATEST")

    try:
        assert export_to(other) == {"batchItemFailures": [{"itemIdentifier": "one"}]}
        assert deployment.s3.list_objects_v2(Bucket=other)["KeyCount"] == 0
        assert export_to(deployment.bucket) == {"batchItemFailures": []}
    finally:
        functions.update_function_configuration(FunctionName=NAME, Environment={"Variables": before})
        functions.get_waiter("function_updated_v2").wait(FunctionName=NAME)
        deployment.s3.delete_bucket(Bucket=other)
    eventually(lambda: '"reason": "s3_access_denied"' in deployment.log_text(), "a log line with the refusal")


def test_no_secret_and_no_label_is_in_any_log(
    encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]
) -> None:
    """Runs last in this file: searches everything that was logged for key, signing secret and label text."""
    # This test needs the function's log.
    eventually(lambda: "exported" in deployment.log_text(), "a log line of an export")
    logged = deployment.log_text()
    row = next(row for row in label_rows if row["data_type"] == "IMAGE")
    served = json.loads(encord.encord("GET", f"label-rows/{row['label_hash']}"))
    objects = [item["objectHash"] for unit in served["data_units"].values() for item in unit["labels"]["objects"]]
    assert [canary for canary in [*given_secrets(encord), *objects] if canary in logged] == []
