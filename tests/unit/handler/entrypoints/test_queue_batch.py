"""A batch of the queue, through the real entry point, to the bytes that are stored in S3."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from handler_deployment import LATE, PROJECT, Context, Deployment, batch, message, works_with_enough_time
from handler_servers import Answer, Fault, StoredObject
from label_export import handler, retry
from label_export.adapters.aws.s3 import S3Store
from label_export.adapters.transport import Transport
from label_export.core.errors import SettingsError, UnknownEventError
from label_export.core.messages import probe_label
from label_export.entrypoints import queue_batch


def test_a_label_is_stored_as_served(deployment: Deployment) -> None:
    label = deployment.row()
    assert deployment.export(label) == []
    stored = deployment.stored(label)
    assert stored is not None
    assert stored.body == deployment.served(label)
    digest = hashlib.sha256(stored.body)
    assert stored.headers["content-type"] == "application/json"
    assert {name: value for name, value in stored.headers.items() if name.startswith("x-amz-meta-")} == {
        "x-amz-meta-label-hash": label,
        "x-amz-meta-data-hash": deployment.encord.rows[label]["data_hash"],
        "x-amz-meta-project-hash": PROJECT,
        "x-amz-meta-last-edited-at": "2025-01-02 10:00:00",
        "x-amz-meta-sha256": digest.hexdigest(),
        "x-amz-meta-exported-by": "encord-label-export/0.1.0",
    }
    put = next(call for call in deployment.aws.calls if call.operation == "PutObject")
    assert put.headers["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
    assert put.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD", (
        "TLS and the checksum, which is signed, protect it"
    )


def test_a_row_in_an_odd_but_valid_form_keeps_every_byte(deployment: Deployment) -> None:
    label = deployment.row()
    odd = b'{ "zeta":1.50, "label_hash" : "%b",\t"n":1e2,"u":"\\u00e9\xc3\xa9","dup":1,"dup":2 }' % label.encode()
    deployment.encord.rows[label] = odd
    assert deployment.export(label) == []
    stored = deployment.stored(label)
    assert stored is not None
    assert stored.body == odd


def test_a_replay_writes_nothing_and_an_edit_replaces(deployment: Deployment, output: Any) -> None:
    label = deployment.row()
    for _ in range(3):
        assert deployment.export(label) == []
    assert len(deployment.aws.history) == 1
    assert output().metric("Unchanged") == 1
    deployment.row(last_edited_at="Thu, 02 Jan 2025 10:00:01 GMT", data_title="new")
    assert deployment.export(label) == []
    stored = deployment.stored(label)
    assert stored is not None
    assert stored.body == deployment.served(label)


def test_an_older_edit_time_is_returned_and_stored_at_a_late_receive(deployment: Deployment, output: Any) -> None:
    """As after an SDK save with a stale time, after a restored version, or with a stored time in the future."""
    label = deployment.row()
    deployment.export(label)
    before = deployment.stored(label)
    deployment.row(last_edited_at="2025-01-02 09:59:59")
    output()
    for receive_count in range(1, LATE):
        assert deployment.export(label, receive_count=receive_count) == [label]
        assert deployment.stored(label) is before
        written = output()
        assert written.metric("Unconfirmed", "older_edit_time") == 1
        assert written.metric("WentBack") is written.metric("Failed") is None
    assert deployment.export(label, receive_count=LATE) == []
    assert deployment.stored(label).body == deployment.served(label)  # type: ignore[union-attr]
    written = output()
    assert (written.metric("WentBack"), written.metric("Exported")) == (1, 1)
    (line,) = written.logged("label_went_back")
    assert (line["level"], line["label_hash"], line["edited_at"]) == ("WARNING", label, "2025-01-02T09:59:59+00:00")
    assert deployment.export(label) == []
    assert output().metric("Unchanged") == 1


def test_equal_or_missing_times_are_settled_by_a_fetch_after_the_look(deployment: Deployment) -> None:
    label = deployment.row()
    deployment.export(label)
    deployment.row(data_title="same second")
    deployment.export(label)
    deployment.row(data_title="no time", last_edited_at=None)
    deployment.export(label)
    assert b"no time" in deployment.stored(label).body  # type: ignore[union-attr]
    assert len(deployment.aws.history) == 3
    assert deployment.encord.count("labelrow") == 1 + 2 + 2


def test_duplicates_in_a_batch_are_exported_once(deployment: Deployment) -> None:
    label = deployment.row()
    assert deployment.export(label, label, label) == []
    assert (deployment.encord.count("labelrow"), deployment.aws.count("PutObject")) == (1, 1)
    failing = str(uuid.uuid4())
    deployment.encord.fail("labelrow", Fault(Answer(400, b"{}")))
    assert deployment.export(failing, failing) == [failing, failing]


def test_one_bad_item_never_fails_other_items(deployment: Deployment, output: Any) -> None:
    good = [deployment.row(number) for number in range(1, 5)]
    gone = str(uuid.UUID(int=9))
    poison = ["{", "[]", "null", None, 7, "[" * 100_000, message(), message("x/y"), message(good[0], version=2)]
    poison += [message(good[0], version=True), message(good[0], project="a b"), message(data_hash=5)]
    poison += [message(good[0], event_uid=7), message(good[0], event_type=None)]
    event = batch(*poison, message(gone), *(message(label) for label in good), receive_count=LATE)
    failed = {int(item["itemIdentifier"]) for item in deployment.call(event)["batchItemFailures"]}
    assert failed == set(range(len(poison)))
    assert all(deployment.stored(label) for label in good)
    written = output()
    assert written.metric("Failed", "poison_message") == len(poison)
    assert written.metric("Terminal", "row_deleted") == 1
    assert written.metric("Exported") == 4
    assert len(written.logged("label_exported")) == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [({"data_type": "deleted"}, "data_deleted"), (None, "row_deleted")],
)
def test_terminal_cases_end_at_a_late_receive_and_leave_an_earlier_export(
    deployment: Deployment, output: Any, row: dict[str, Any] | None, reason: str
) -> None:
    label = deployment.row()
    deployment.export(label)
    before = deployment.stored(label)
    if row is None:
        del deployment.encord.rows[label]
    else:
        deployment.row(last_edited_at="2026-01-01 00:00:00", **row)
    output()
    for receive_count in range(1, LATE):
        assert deployment.export(label, receive_count=receive_count) == [label]
        written = output()
        assert written.metric("Unconfirmed", reason) == 1
        assert written.metric("Terminal") is written.metric("Failed") is None
        assert [line["reason"] for line in written.logged("label_unconfirmed")] == [reason]
    assert deployment.encord.count("labelrowmetadata") == 0, "the project is not requested yet"
    assert deployment.export(label, receive_count=LATE) == []
    assert deployment.encord.count("labelrowmetadata") == 1
    assert deployment.stored(label) is before
    written = output()
    assert written.metric("Terminal", reason) == 1
    assert [line["label_hash"] for line in written.logged("nothing_to_export")] == [label]


def test_a_single_negative_response_of_any_kind_ends_no_message(deployment: Deployment) -> None:
    """At the first receive. A row that Encord serves a moment later is exported."""
    label = deployment.row()
    for body in (DELETED, b'{"status":403,"response":["AUTHORISATION_ERROR"]}', b'{"status":200,"response":null}'):
        deployment.encord.fail("labelrow", *[Fault(Answer(200, body))] * retry.ATTEMPTS)
        assert deployment.export(label) == [label]
        deployment.encord.forget_faults()
    assert deployment.export(label, receive_count=2) == []
    assert deployment.stored(label) is not None


def test_a_late_negative_answer_that_is_not_repeated_ends_nothing(deployment: Deployment) -> None:
    label = deployment.row()
    deployment.encord.fail("labelrow", Fault(Answer(404, DELETED)))
    assert deployment.export(label, receive_count=LATE) == []
    assert deployment.stored(label) is not None


def test_every_label_of_a_project_that_cannot_be_found_stays_in_the_queue(deployment: Deployment, output: Any) -> None:
    """Encord also answers RESOURCE_NOT_FOUND_ERROR for the project: that is no_access, never "deleted"."""
    labels = [deployment.row(number) for number in range(1, 11)]
    for receive_count in range(1, 6):
        for operation in ("labelrow", "labelrowmetadata"):
            deployment.encord.fail(operation, *[Fault(Answer(404, DELETED))] * len(labels))
        assert deployment.export(*labels, receive_count=receive_count) == labels
        deployment.encord.forget_faults()
    written = output()
    assert written.metric("Terminal") is None
    assert {line["reason"] for line in written.logged("label_failed")} == {"no_access"}
    assert len(written.logged("label_failed")) == 3 * len(labels)
    assert deployment.export(*labels, receive_count=1) == [], "a redrive exports them"
    assert len(deployment.aws.objects) == len(labels)


def test_a_late_message_does_not_end_a_new_message(deployment: Deployment) -> None:
    label = deployment.row()
    del deployment.encord.rows[label]
    records = batch(message(label))["Records"] + batch(message(label), receive_count=LATE)["Records"]
    records[1]["messageId"] = "late"
    assert deployment.call({"Records": records})["batchItemFailures"] == [{"itemIdentifier": "0"}]


def test_the_late_receive_is_a_setting(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_LATE_RECEIVE="2")
    label = deployment.row()
    del deployment.encord.rows[label]
    assert deployment.export(label, receive_count=1) == [label]
    assert deployment.export(label, receive_count=2) == []


@pytest.mark.parametrize("http_status", [200, 403])
def test_no_access_to_a_row_returns_only_that_row_and_keeps_the_stored_object(
    deployment: Deployment, output: Any, http_status: int
) -> None:
    label, other = deployment.row(1), deployment.row(2)
    deployment.export(label)
    before = deployment.stored(label)
    output()
    deployment.set(LABEL_EXPORT_CONCURRENCY="1")
    envelope = deployment.encord.envelope(["AUTHORISATION_ERROR"], 403)
    deployment.encord.fail("labelrow", Fault(Answer(http_status, envelope.body)))
    assert deployment.export(label, other, receive_count=5) == [label]
    assert deployment.stored(label) is before
    assert deployment.stored(other) is not None
    written = output()
    assert written.metric("Failed", "no_access") == 1
    (line,) = written.logged("label_failed")
    assert (line["label_hash"], line["reason"], line["level"]) == (label, "no_access", "ERROR")
    assert written.metric("Terminal") is None
    assert deployment.aws.count("GetSecretValue") == 2, "the key was not refused: it is not read again"


def test_no_access_to_a_project_returns_data_units_and_labels_with_a_stage_too(
    deployment: Deployment, output: Any
) -> None:
    closed = Fault(deployment.encord.envelope(["AUTHORISATION_ERROR"], 403))
    deployment.encord.fail("labelrowmetadata", closed)
    assert len(deployment.call(batch(message(data_hash="d-1"), receive_count=5))["batchItemFailures"]) == 1
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    deployment.encord.fail("labelrowmetadata", closed)
    label = deployment.row()
    assert deployment.export(label, receive_count=5) == [label]
    assert [line["reason"] for line in output().logged("label_failed")] == ["no_access"] * 2
    assert deployment.aws.objects == {}


DELETED = b'{"status":404,"response":["RESOURCE_NOT_FOUND_ERROR"]}'


def metadata(label_hash: str | None, data_hash: str, stage: object = "Complete") -> dict[str, Any]:
    node = {"uuid": str(uuid.UUID(int=5)), "title": stage} if isinstance(stage, str) else stage
    return {"label_hash": label_hash, "data_hash": data_hash, "workflow_graph_node": node}


def test_a_data_hash_is_resolved_to_all_its_labels(deployment: Deployment, output: Any) -> None:
    labels = [deployment.row(number, branch_name=f"b{number}") for number in (1, 2)]
    data = str(uuid.UUID(int=77))
    deployment.encord.metadata = [metadata(label, data) for label in labels] + [metadata(deployment.row(3), "other")]
    assert deployment.call(batch(message(data_hash=data))) == {"batchItemFailures": []}
    assert all(deployment.stored(label) for label in labels)
    assert len(deployment.aws.objects) == 2
    assert {line["label_hash"] for line in output().logged("label_exported")} == set(labels)


def test_one_branch_that_fails_does_not_hold_back_the_others(deployment: Deployment, output: Any) -> None:
    labels = [deployment.row(number) for number in (1, 2, 3)]
    data = str(uuid.UUID(int=77))
    deployment.encord.metadata = [metadata(label, data) for label in labels]
    deployment.encord.fail("labelrow", Fault(Answer(400, b"{}")), Fault(Answer(404, DELETED)))
    assert deployment.call(batch(message(data_hash=data)))["batchItemFailures"] == [{"itemIdentifier": "0"}]
    assert [deployment.stored(label) is not None for label in labels] == [False, False, True]
    written = output()
    assert written.logged("label_failed")[0]["label_hash"] == labels[0]
    assert written.metric("Unconfirmed", "row_deleted") == 1


@pytest.mark.parametrize("odd", ["../../labels/other", "a b", "", 5, {"a": 1}])
def test_an_invalid_label_hash_in_a_listing_is_not_requested_and_does_not_delay_others(
    odd: Any, deployment: Deployment, output: Any
) -> None:
    label, data = deployment.row(1), str(uuid.UUID(int=77))
    deployment.encord.metadata = [{**metadata(None, data), "label_hash": odd}, metadata(label, data)]
    assert deployment.call(batch(message(data_hash=data)))["batchItemFailures"] == [{"itemIdentifier": "0"}]
    assert deployment.stored(label) is not None
    assert len(deployment.aws.objects) == 1
    (failed,) = output().logged("label_failed")
    assert (failed["reason"], failed.get("label_hash"), failed["data_hash"]) == ("malformed_answer", None, data)


def test_a_data_unit_without_labelling_is_terminal_and_no_row_is_created(deployment: Deployment, output: Any) -> None:
    data = str(uuid.UUID(int=77))
    deployment.encord.metadata = [metadata(None, data)]
    assert len(deployment.call(batch(message(data_hash=data)))["batchItemFailures"]) == 1
    assert deployment.call(batch(message(data_hash=data), receive_count=LATE)) == {"batchItemFailures": []}
    assert output().metric("Terminal", "never_initialised") == 1
    assert {call.operation for call in deployment.encord.calls} == {"labelrowmetadata"}
    assert deployment.aws.objects == {}


def test_a_listing_that_ignores_the_filter_exports_no_other_label(deployment: Deployment) -> None:
    wanted, other = deployment.row(1), deployment.row(2)
    rows = [metadata(wanted, "d-1"), metadata(other, "d-2")]
    deployment.encord.fail("labelrowmetadata", Fault(deployment.encord.envelope(rows)))
    assert deployment.call(batch(message(data_hash="d-1"))) == {"batchItemFailures": []}
    assert (deployment.stored(wanted) is not None, deployment.stored(other)) == (True, None)


def test_a_listing_in_another_form_is_refused(deployment: Deployment) -> None:
    for response in ({"a": 1}, ["text"], None):
        deployment.encord.fail("labelrowmetadata", *[Fault(deployment.encord.envelope(response))] * 4)
        assert len(deployment.call(batch(message(data_hash="d-1")))["batchItemFailures"]) == 1


def test_only_configured_workflow_stages_are_exported(deployment: Deployment, output: Any) -> None:
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    label = deployment.row()
    deployment.encord.metadata = [metadata(label, "d", "Complete")]
    assert deployment.export(label) == []
    assert deployment.stored(label) is not None
    assert output().metric("FilteredShare") == [0.0]


def test_another_stage_ends_a_message_only_at_a_late_receive(deployment: Deployment, output: Any) -> None:
    """The webhook can be faster than the task: a task in Review can be in Complete a minute later."""
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    label = deployment.row()
    deployment.encord.metadata = [metadata(label, "d", "Review")]
    assert deployment.export(label) == [label]
    written = output()
    assert (written.metric("Unconfirmed", "stage"), written.metric("Filtered")) == (1, None)
    assert deployment.export(label, receive_count=LATE) == []
    written = output()
    assert (written.metric("Filtered"), written.metric("FilteredShare")) == (1, [1.0])
    assert [line["label_hash"] for line in written.logged("label_filtered")] == [label]
    assert deployment.stored(label) is None
    deployment.encord.metadata = [metadata(label, "d", "Complete")]
    assert deployment.export(label) == []
    assert deployment.stored(label) is not None


@pytest.mark.parametrize("node", [None, {"title": 5}, "text", []])
def test_a_row_that_names_no_stage_is_a_failure_where_stages_are_set(
    deployment: Deployment, output: Any, node: object
) -> None:
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    label = deployment.row()
    row = {"label_hash": label, "data_hash": "d", "workflow_graph_node": node}
    deployment.encord.metadata = [row]
    assert deployment.export(label, receive_count=5) == [label]
    written = output()
    assert (written.metric("Failed", "stage_unknown"), written.metric("Filtered")) == (1, None)


def test_a_row_that_no_listing_has_is_deleted_and_not_filtered(deployment: Deployment, output: Any) -> None:
    label = deployment.row()
    deployment.export(label)
    before = deployment.stored(label)
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    output()
    assert deployment.export(label, receive_count=LATE) == []
    written = output()
    assert (written.metric("Terminal", "row_deleted"), written.metric("Filtered")) == (1, None)
    assert deployment.stored(label) is before


def test_an_ending_without_an_object_is_logged_at_every_level(deployment: Deployment, output: Any) -> None:
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]', LABEL_EXPORT_LOG_LEVEL="ERROR")
    label, gone = deployment.row(), str(uuid.UUID(int=9))
    deployment.encord.metadata = [metadata(label, "d", "Review")]
    assert deployment.export(label, gone, receive_count=LATE) == []
    written = output()
    assert written.logged("label_filtered")[0]["label_hash"] == label
    assert written.logged("nothing_to_export")[0]["label_hash"] == gone


def test_a_project_that_is_not_exported_any_more_goes_to_the_dead_letter_queue(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_PROJECTS='["another"]')
    label = deployment.row()
    assert deployment.export(label) == [label]
    assert deployment.encord.calls == []


@pytest.mark.parametrize("single_limit", [64 << 20, 100])
def test_every_call_to_s3_names_the_account_that_owns_the_bucket(
    single_limit: int, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one part and in several: S3 then refuses a bucket of this name that belongs to another account."""
    monkeypatch.setattr("label_export.adapters.aws.s3.SINGLE_LIMIT", single_limit)
    deployment.set(LABEL_EXPORT_BUCKET_OWNER="123456789012")
    assert deployment.export(deployment.row()) == []
    calls = [call for call in deployment.aws.calls if call.path.startswith("/labels-bucket")]
    assert {call.operation for call in calls} >= {"HeadObject"}
    assert {call.headers.get("x-amz-expected-bucket-owner") for call in calls} == {"123456789012"}


def test_gzip_and_kms(deployment: Deployment) -> None:
    arn = "arn:aws:kms:eu-west-1:000000000000:key/5c1ee93b"
    deployment.set(LABEL_EXPORT_COMPRESSION="gzip", LABEL_EXPORT_KMS_KEY_ARN=arn)
    label = deployment.row()
    for _ in range(2):
        assert deployment.export(label) == []
    stored = deployment.stored(label)
    assert stored is not None
    assert gzip.decompress(stored.body) == deployment.served(label)
    assert stored.headers["content-encoding"] == "gzip"
    assert stored.headers["x-amz-meta-sha256"] == hashlib.sha256(deployment.served(label)).hexdigest()
    assert stored.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert stored.headers["x-amz-server-side-encryption-aws-kms-key-id"] == arn
    assert len(deployment.aws.history) == 1


def test_a_compressed_answer_of_encord(deployment: Deployment) -> None:
    deployment.encord.gzip = True
    label = deployment.row()
    assert deployment.export(label) == []
    assert deployment.stored(label).body == deployment.served(label)  # type: ignore[union-attr]


def test_a_compressed_answer_in_two_members_that_grows_a_thousandfold(deployment: Deployment) -> None:
    label = deployment.row(data_units={"text": "x" * (5 << 20)})
    whole = deployment.encord.envelope(deployment.served(label)).body
    half = len(whole) // 2
    body = gzip.compress(whole[:half]) + gzip.compress(whole[half:])
    deployment.encord.fail("labelrow", Fault(Answer(200, body, {"Content-Encoding": "gzip"})))
    assert deployment.export(label) == []
    assert deployment.stored(label).body == deployment.served(label)  # type: ignore[union-attr]
    assert deployment.encord.count("labelrow") == 1


def test_connections_are_kept_and_nothing_is_asked_twice(deployment: Deployment) -> None:
    labels = [deployment.row(number) for number in range(1, 4)]
    deployment.export(labels[0])
    before = (deployment.encord.connections, deployment.aws.connections)
    asked = len(deployment.encord.calls) + len(deployment.aws.calls)
    for label in labels[1:]:
        deployment.export(label)
    assert (deployment.encord.connections, deployment.aws.connections) == before
    assert len(deployment.encord.calls) + len(deployment.aws.calls) - asked == 2 * 3, "fetch, look, write"
    assert deployment.aws.count("GetSecretValue") == 1


def test_labels_of_a_batch_run_in_parallel_within_the_bound(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_CONCURRENCY="3")
    labels = [deployment.row(number) for number in range(1, 8)]
    running, most, lock = 0, 0, threading.Lock()
    reached = threading.Event()

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                reached.set()
        reached.wait(60)
        time.sleep(0.1)  # long enough for one too many to start
        with lock:
            running -= 1

    deployment.encord.fail("labelrow", *[Fault(when=enter)] * len(labels))
    # Enough time that no call on a busy machine is abandoned and repeated.
    assert deployment.export(*labels, context=Context(seconds=600)) == []
    assert most == 3


def test_what_is_left_is_returned_when_time_runs_low(deployment: Deployment, output: Any) -> None:
    labels = [deployment.row(number) for number in range(1, 4)]
    assert deployment.export(*labels, context=Context(seconds=4.0)) == labels
    assert deployment.encord.calls == []
    assert output().metric("HandedBack") == 3


def test_an_answer_that_trickles_ends_with_its_time_and_holds_no_later_batch_up(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that is sent byte by byte: each byte is in time, the whole never is."""
    monkeypatch.setattr(queue_batch, "START_RESERVE", 0.0)
    label, other = deployment.row(1), deployment.row(2)
    deployment.set(LABEL_EXPORT_CONCURRENCY="1")
    enough = threading.Event()
    deployment.encord.trickle[label] = enough
    assert deployment.export(deployment.row(3)) == []  # so that the next one has all of its time
    output()
    try:

        def times_out(seconds: float) -> bool:
            assert deployment.export(label, context=Context(seconds=seconds)) == [label]
            return bool(output().metric("Failed", "timeout") == 1)

        assert works_with_enough_time(times_out, 2.0), "it was left behind, not ended"
        assert deployment.export(other) == []
    finally:
        enough.set()


def test_an_item_that_no_time_out_reaches_is_returned_before_the_time_ends(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_batch, "START_RESERVE", 0.0)
    labels = [deployment.row(number) for number in range(1, 5)]
    deployment.set(LABEL_EXPORT_CONCURRENCY="1")
    deployment.export(labels[0])
    enough = threading.Event()
    look = S3Store.look

    def hangs(self: S3Store, key: str) -> Any:
        if labels[1] in key:
            enough.wait(600)
        return look(self, key)

    runs = []

    def neighbour_is_done(seconds: float) -> bool:
        context = Context(seconds=seconds)
        failed = deployment.export(labels[2], labels[1], labels[3], context=context)
        runs.append(output())
        return failed == [labels[1], labels[3]] and context.get_remaining_time_in_millis() > 0

    monkeypatch.setattr(S3Store, "look", hangs)
    output()
    try:
        assert works_with_enough_time(neighbour_is_done, 2.0)
        assert deployment.stored(labels[2]), "the neighbour is done"
        written = runs[-1]
        assert [line["label_hash"] for line in written.logged("label_handed_back")] == [labels[1], labels[3]]
        assert written.metric("HandedBack", "overdue") == 2
        assert works_with_enough_time(
            lambda seconds: deployment.export(labels[3], context=Context(seconds=seconds)) == [], 4.0
        ), "the next batch waits for the thread that hangs"
    finally:
        enough.set()


def test_every_measure_of_an_exported_label(deployment: Deployment, output: Any) -> None:
    label = deployment.row()
    before = datetime.now(UTC) - timedelta(seconds=1)
    deployment.export(label)
    written = output()
    size = len(deployment.served(label))
    assert written.metric("ExportedBytes") == [size]
    assert len(written.metric("EncordMilliseconds")) == 1
    assert len(written.metric("S3Milliseconds")) == 2
    (age,) = written.metric("EditToObjectSeconds")
    assert datetime(2025, 1, 2, 10, tzinfo=UTC) + timedelta(seconds=age) >= before
    assert written.metric("Exported") == 1
    (line,) = written.logged("label_exported")
    assert line.keys() >= {"request_id", "project_hash", "label_hash", "key", "bytes", "sha256", "milliseconds"}


@pytest.mark.parametrize(
    "members",
    [
        b'"text":"\\ud800","price":1.50',
        b'"text":"\xed\xa0\x80","price":1.50',
        b'"price":NaN,"text":"NaN"',
        b'"price":-Infinity,"price":1.50',
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_row_that_is_not_json_to_most_parsers_is_stored_as_served(
    deployment: Deployment, members: bytes, mark: bytes
) -> None:
    label = deployment.row()
    row = b'{"label_hash":"%b",%b,"last_edited_at":"2025-01-02 10:00:00"}' % (label.encode(), members)
    deployment.encord.rows[label] = row
    envelope = deployment.encord.envelope(row)
    deployment.encord.fail("labelrow", *[Fault(Answer(200, mark + envelope.body))] * 2)
    assert deployment.export(label) == []
    stored = deployment.stored(label)
    assert stored is not None
    assert stored.body == row
    assert stored.headers["x-amz-meta-sha256"] == hashlib.sha256(row).hexdigest()
    assert stored.headers["x-amz-meta-last-edited-at"] == "2025-01-02 10:00:00"
    assert deployment.export(label) == []
    assert len(deployment.aws.history) == 1


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_an_object_whose_bytes_were_replaced_and_its_metadata_kept_is_written_again(
    deployment: Deployment, compression: str
) -> None:
    deployment.set(LABEL_EXPORT_COMPRESSION=compression)
    label = deployment.row()
    deployment.export(label)
    stored = deployment.stored(label)
    assert stored is not None
    whole, stored.body = stored.body, b"{}"
    assert deployment.export(label) == []
    assert deployment.stored(label).body == whole  # type: ignore[union-attr]
    assert deployment.export(label) == []
    assert len(deployment.aws.history) == 2


def test_a_row_whose_first_byte_comes_late_has_half_of_the_time_that_is_left(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    real = Transport.send

    def watched(self: Transport, request: Any, *, peer: str, read_timeout: float, **more: Any) -> Any:
        if peer == "Encord":
            seen.append(read_timeout)
        return real(self, request, peer=peer, read_timeout=read_timeout, **more)

    monkeypatch.setattr(Transport, "send", watched)
    assert deployment.export(deployment.row(), context=Context(seconds=600)) == []
    assert [250 < seconds <= 300 for seconds in seen] == [True]


def test_two_branches_of_one_data_unit_one_gone_one_never_begun(deployment: Deployment, output: Any) -> None:
    data = str(uuid.UUID(int=77))
    labels = [deployment.row(number, branch_name=branch) for number, branch in enumerate(["main", "model", "gone"], 1)]
    deployment.encord.metadata = [*(metadata(label, data) for label in labels), metadata(None, data)]
    del deployment.encord.rows[labels[2]]
    deployment.row(2, branch_name="model", data_type="deleted")
    assert deployment.call(batch(message(data_hash=data), receive_count=LATE)) == {"batchItemFailures": []}
    written = output()
    assert [deployment.stored(label) is not None for label in labels] == [True, False, False]
    assert (written.metric("Terminal", "data_deleted"), written.metric("Terminal", "row_deleted")) == (1, 1)


def test_an_unexpected_error_fails_one_item_without_its_text(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [deployment.row(number) for number in (1, 2)]

    def broken(self: object, key: str) -> None:
        if labels[0] in key:
            raise ZeroDivisionError("canary")

    monkeypatch.setattr("label_export.adapters.aws.s3.S3Store.look", broken)
    assert deployment.export(*labels) == [labels[0]]
    written = output()
    line = written.logged("label_failed")[0]
    assert line["reason"] == "unexpected"
    assert line["detail"].startswith("ZeroDivisionError at test_queue_batch.py:")
    assert "canary" not in written.text


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": []},
        {"Records": [{"eventSource": "aws:s3"}]},
        {"Records": 3},
        {"action": "export"},
        [],
        None,
        "x",
        {"requestContext": {}},
        {"requestContext": {"http": "x"}},
    ],
)
def test_other_events_are_errors(deployment: Deployment, event: object, output: Any) -> None:
    with pytest.raises(UnknownEventError, match="neither an HTTP request nor a batch"):
        deployment.call(event)
    assert output().metric("UnknownEvent") == 1


def test_settings_are_read_at_the_start_in_lambda(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.set(AWS_LAMBDA_RUNTIME_API="127.0.0.1:9001", LABEL_EXPORT_BUCKET="")
    with pytest.raises(SettingsError, match="LABEL_EXPORT_BUCKET is not set"):
        importlib.reload(handler)
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API")
    importlib.reload(handler)


def test_the_application_is_created_once_for_each_process(deployment: Deployment) -> None:
    made = handler.application()
    assert handler.application() is made
    deployment.restart()
    assert handler.application() is not made


def test_an_object_that_someone_else_wrote_is_replaced(deployment: Deployment) -> None:
    label = deployment.row()
    path = f"/labels-bucket/encord/{PROJECT}/labels/{label}.json"
    deployment.aws.objects[path] = StoredObject(b"{}", {})
    assert deployment.export(label) == []
    assert deployment.aws.objects[path].body == deployment.served(label)


@pytest.mark.parametrize(("error", "tries"), [("AUTHORISATION_ERROR", 1), ("UNKNOWN_ERROR", 4), (None, 1)])
def test_a_probe_of_verify_is_never_redelivered(
    deployment: Deployment, output: Any, error: str | None, tries: int
) -> None:
    """Whatever Encord answers: the sender of the probe reads the log, and a dead letter would raise an alarm."""
    if error:
        deployment.encord.fail("labelrow", *[Fault(deployment.encord.envelope([error], 403))] * tries)
    assert deployment.call(batch(message(probe_label("verify-1"), event_uid="verify-1"))) == {"batchItemFailures": []}
    assert deployment.encord.count("labelrow") == tries
    written = output()
    (line,) = written.logged("probe_ended")
    reasons = {"AUTHORISATION_ERROR": "no_access", "UNKNOWN_ERROR": "encord_unavailable", None: "row_deleted"}
    assert (line["event_uid"], line["reason"]) == ("verify-1", reasons[error])
    assert written.metric("Failed") is written.metric("Terminal") is written.metric("Unconfirmed") is None


def test_a_real_label_with_the_uid_of_a_probe_is_not_a_probe(deployment: Deployment, output: Any) -> None:
    label = deployment.row()
    deployment.encord.fail("labelrow", Fault(Answer(400, b"{}")))
    assert len(deployment.call(batch(message(label, event_uid="verify-1")))["batchItemFailures"]) == 1
    assert output().metric("Failed", "encord_refused") == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_probe_ends_only_its_own_message(deployment: Deployment, order: int) -> None:
    label = probe_label("verify-1")
    deployment.encord.fail("labelrow", *[Fault(Answer(400, b"{}"))] * 2)
    bodies = [message(label, event_uid="verify-1"), message(label)][::order]
    (failed,) = deployment.call(batch(*bodies))["batchItemFailures"]
    assert "verify-1" not in bodies[int(failed["itemIdentifier"])]
