"""The real function exports a row of every modality, and the unmodified SDK reads back the bytes stored in S3.

Encord is the stand-in, whose rows were built with the SDK's classes; S3 is the server of the function's unit tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from encord import EncordUserClient, Project
from encord.objects import LabelRowV2
from encord_harness import Files, StandInProcess, private_key_text
from handler_servers import AwsServer
from label_export import handler
from test_encord_sdk import MODALITIES

ARN = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:"
NEVER_STORED = {"uninitialised": "never_initialised", "deleted": "data_deleted"}


class Context:
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Exported:
    """The function between the stand-in and a bucket, after it has received every label and data unit of a project."""

    def __init__(self, stand_in: StandInProcess, aws: AwsServer) -> None:
        self.stand_in = stand_in
        self.aws = aws
        self.project_hash: str = stand_in.project()["project_hash"]
        self.rows = {row["key"]: row for row in stand_in.project()["label_rows"]}

    def tell(self) -> dict[str, Any]:
        records = []
        for key, row in self.rows.items():
            target = {"label_hash": row["label_hash"]} if row["label_hash"] else {"data_hash": row["data_hash"]}
            body = json.dumps({"version": 1, "project_hash": self.project_hash, **target})
            attributes = {"ApproximateReceiveCount": "3"}  # late: what there is nothing to export of ends
            records.append({"messageId": key, "body": body, "attributes": attributes, "eventSource": "aws:sqs"})
        return handler.handle({"Records": records}, Context())

    def stored(self, key: str) -> bytes | None:
        path = f"/labels-bucket/encord/{self.project_hash}/labels/{self.rows[key]['label_hash']}.json"
        found = self.aws.objects.get(path)
        return None if found is None else found.body


@pytest.fixture(scope="module")
def exported(running: StandInProcess, files: Files) -> Iterator[Exported]:
    running.control("POST", "reset")
    aws = AwsServer(_with_key(files))
    aws.secrets = {f"{ARN}key-AbCdEf": private_key_text(files.key), f"{ARN}signing-AbCdEf": "{}"}
    environment = {
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": aws.url.replace("localhost", "127.0.0.1"),
        "AWS_CA_BUNDLE": str(files.certificate),
        "LABEL_EXPORT_BUCKET": "labels-bucket",
        "LABEL_EXPORT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/labels",
        "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": f"{ARN}key-AbCdEf",
        "LABEL_EXPORT_SIGNING_SECRETS_ARN": f"{ARN}signing-AbCdEf",
        "LABEL_EXPORT_ENCORD_DOMAIN": running.url,
    }
    with pytest.MonkeyPatch.context() as patch, aws.running():
        for name, value in environment.items():
            patch.setenv(name, value)
        handler.application.cache_clear()
        made = Exported(running, aws)
        assert made.tell() == {"batchItemFailures": []}
        yield made
        handler.application.cache_clear()


def _with_key(files: Files) -> Any:
    path = files.folder / "server.pem"
    path.write_bytes(files.certificate.read_bytes() + files.tls_key.read_bytes())
    return path


@pytest.fixture
def project(exported: Exported, client: EncordUserClient) -> Project:
    return client.get_project(exported.project_hash)


def unread(project: Project, label_hash: str) -> LabelRowV2:
    (row,) = project.list_label_rows_v2(label_hashes=[label_hash], include_all_label_branches=True)
    return row


@pytest.mark.parametrize("key", [*MODALITIES, "branch"])
def test_the_sdk_reads_back_what_was_stored(exported: Exported, project: Project, key: str) -> None:
    label_hash = exported.rows[key]["label_hash"]
    stored = exported.stored(key)
    assert stored is not None
    assert stored == exported.stand_in.row_bytes(label_hash), "byte for byte"
    back, fresh = unread(project, label_hash), unread(project, label_hash)
    requests = exported.stand_in.counts()["total"]["requests"]
    back.from_labels_dict(json.loads(stored))
    assert back.is_labelling_initialised
    assert exported.stand_in.counts()["total"]["requests"] == requests, "from the stored bytes, not from Encord"
    fresh.initialise_labels()
    assert as_known(back) == as_known(fresh)
    spaces = [space for space in back.get_spaces() if hasattr(space, "get_object_instances")]
    labels = back.get_object_instances() + back.get_classification_instances()
    labels += [item for space in spaces for item in space.get_object_instances()]
    assert (len(labels) > 0) == (key != "empty"), "there was something to read"


def as_known(row: LabelRowV2) -> dict[str, Any]:
    """Return the SDK's view of a row. Edit times are left out: the SDK invents one if the row has none."""
    return without_times(row.to_encord_dict())


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in ("lastEditedAt", "createdAt")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_every_row_of_the_stand_in_is_read_back_or_named_here(exported: Exported) -> None:
    assert set(exported.rows) == {*MODALITIES, "branch", *NEVER_STORED}
    assert len(exported.aws.objects) == len(exported.rows) - len(NEVER_STORED)
    assert exported.stored("deleted") is None
    assert exported.rows["uninitialised"]["label_hash"] is None


def test_the_only_row_that_the_sdk_cannot_read_is_not_stored(exported: Exported, project: Project) -> None:
    """Its data unit was deleted: the SDK has no such data type, and the function has nothing to store."""
    label_hash = exported.rows["deleted"]["label_hash"]
    served = json.loads(exported.stand_in.row_bytes(label_hash))
    assert served["data_type"] == "deleted"
    with pytest.raises(NotImplementedError):
        unread(project, label_hash).from_labels_dict(served)


def test_nothing_was_written_to_encord(stand_in: StandInProcess, exported: Exported) -> None:
    assert exported.tell() == {"batchItemFailures": []}
    counts = stand_in.counts()
    assert counts["total"]["writes"] == 0
    assert {name for name in counts["endpoints"] if name.startswith("POST /public")} == {
        "POST /public labelrow/GET",
        "POST /public labelrowmetadata/GET",
    }
    assert stand_in.row("uninitialised")["label_hash"] is None
