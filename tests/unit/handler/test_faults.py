"""The fault table's rows about the queue, each against the real handler."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from handler_deployment import KEY_ARN, Context, Deployment, openssh, public_hex, works_with_enough_time
from handler_servers import Answer, Fault
from label_export import retry
from label_export.adapters.encord.private_key import EncordKey
from label_export.adapters.encord.source import CurrentKey
from label_export.adapters.transport import Request, Transport
from label_export.core.errors import RetryableError

HTML = Answer(200, b"<html><body>maintenance</body></html>", {"Content-Type": "text/html"})
PASSING = {
    "408": Fault(Answer(408)),
    "429": Fault(Answer(429)),
    "500": Fault(Answer(500, b"oops")),
    "502 HTML": Fault(Answer(502, b"<html>")),
    "503": Fault(Answer(503)),
    "504": Fault(Answer(504)),
    "reset before": Fault(cut="before"),
    "reset after": Fault(cut="after"),
    "truncated": Fault(cut="middle"),
    "HTML under 200": Fault(HTML),
    "empty": Fault(Answer(200, b"")),
    "half an envelope": Fault(Answer(200, b'{"status":200,"response":{"label_hash"')),
    "broken gzip": Fault(Answer(200, b"\x1f\x8bnot gzip", {"Content-Encoding": "gzip"})),
    "rate limit in the envelope": Fault(Answer(200, b'{"status":429,"response":["RATE_LIMIT_ERROR"]}')),
    "unknown error in the envelope": Fault(Answer(200, b'{"status":500,"response":["UNKNOWN_ERROR"]}')),
    "another label's row": Fault(Answer(200, b'{"status":200,"response":{"label_hash":"another"}}')),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_encord_faults_that_pass_are_retried(deployment: Deployment, fault: Fault) -> None:
    label = deployment.row()
    deployment.encord.fail("labelrow", fault, fault)
    assert deployment.export(label) == []
    assert deployment.encord.count("labelrow") == 3
    assert deployment.stored(label).body == deployment.served(label)  # type: ignore[union-attr]


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_labels_return_to_the_queue_if_encord_keeps_failing(deployment: Deployment, fault: Fault) -> None:
    label, good = deployment.row(1), deployment.row(2)
    deployment.set(LABEL_EXPORT_CONCURRENCY="1")
    deployment.encord.fail("labelrow", *[fault] * retry.ATTEMPTS)
    assert deployment.export(label, good) == [label]
    assert deployment.encord.count("labelrow") == retry.ATTEMPTS + 1
    assert (deployment.stored(label), deployment.stored(good) is not None) == (None, True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(400, b'{"status":400,"response":["INVALID_ARGUMENTS_ERROR"]}'), "encord_refused"),
        (Answer(403), "encord_refused"),
        (Answer(403, b"<html>blocked by a firewall"), "encord_refused"),
        (Answer(404, b"<html>no such page"), "encord_refused"),
        (Answer(301, b"", {"Location": "https://localhost:1/"}), "encord_refused"),
        (Answer(200, b'{"status":400,"response":["CORRUPTED_LABEL_ERROR"],"payload":"x"}'), "encord_refused"),
    ],
)
def test_permanent_faults_are_not_retried(deployment: Deployment, output: Any, answer: Answer, reason: str) -> None:
    label = deployment.row()
    deployment.encord.fail("labelrow", Fault(answer))
    assert deployment.export(label) == [label]
    assert deployment.encord.count("labelrow") == 1
    written = output()
    assert written.metric("Failed", reason) == 1
    assert written.logged("label_failed")[0]["permanent"] is True


def test_an_http_404_with_the_envelope_of_a_deleted_row_is_its_negative_answer(
    deployment: Deployment, output: Any
) -> None:
    label = deployment.row()
    deployment.encord.fail("labelrow", Fault(Answer(404, b'{"status":404,"response":["RESOURCE_NOT_FOUND_ERROR"]}')))
    assert deployment.export(label) == [label]
    assert output().metric("Unconfirmed", "row_deleted") == 1


def test_retry_after_is_honoured_within_the_time_left(deployment: Deployment) -> None:
    label = deployment.row()
    deployment.encord.fail("labelrow", Fault(Answer(429, b"", {"Retry-After": "1"})))
    began = time.monotonic()
    assert deployment.export(label) == []
    assert time.monotonic() - began >= 1.0


def without_pauses(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """Record the pauses between tries instead of sleeping."""
    defaults = {**(retry.Retry.__init__.__kwdefaults__ or {}), "sleep": pauses.append, "jitter": lambda: 0.0}
    monkeypatch.setattr(retry.Retry.__init__, "__kwdefaults__", defaults)


def test_retry_after_as_a_date_is_honoured_too(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    without_pauses(monkeypatch, pauses)
    due = format_datetime(datetime.now(UTC) + timedelta(seconds=400), usegmt=True)
    deployment.encord.fail("labelrow", Fault(Answer(429, b"", {"Retry-After": due})))
    assert deployment.export(deployment.row(), context=Context(seconds=800)) == []
    pause, *again = pauses
    assert 0 < pause <= 400
    # No real time passed here, so the pause that all calls to Encord share is not over.
    assert len(again) == 1


@pytest.mark.parametrize("asked", ["30", "999999", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_retry_after_beyond_the_time_left_hands_back_at_once(
    deployment: Deployment, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    without_pauses(monkeypatch, pauses)
    label = deployment.row()
    deployment.encord.fail("labelrow", Fault(Answer(503, b"", {"Retry-After": asked})))
    assert deployment.export(label, context=Context(seconds=8)) == [label]
    assert pauses == []
    assert deployment.encord.count("labelrow") == 1


def test_a_server_that_hangs_ends_within_the_time_left(deployment: Deployment, output: Any) -> None:
    label, good = deployment.row(1), deployment.row(2)
    enough = threading.Event()
    deployment.set(LABEL_EXPORT_CONCURRENCY="1")

    def times_out(seconds: float) -> bool:
        deployment.encord.forget_faults()
        deployment.encord.fail("labelrow", *[Fault(when=lambda: enough.wait(600), cut="before")] * 4)
        assert deployment.export(label, good, context=Context(seconds=seconds)) == [label, good]
        return bool(output().metric("Failed", "timeout") == 1)

    try:
        assert works_with_enough_time(times_out, 5.5)
    finally:
        enough.set()


def test_a_server_that_trickles_ends_within_the_time_left(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 5.0, 11.0])
    transport = Transport(
        connections_per_host=1,
        environment={"AWS_CA_BUNDLE": os.environ["AWS_CA_BUNDLE"]},
        clock=lambda: next(now, 11.0),
    )
    deployment.encord.fail("labelrow", Fault(Answer(200, b"x" * (3 << 20))))
    request = Request("POST", deployment.encord.url, {}, b'{"query_type":"labelrow","query_method":"GET"}')
    with pytest.raises(RetryableError, match="did not finish"):
        transport.send(request, peer="Encord", timeout=10, read_timeout=10)


def test_a_response_above_the_size_limit_fails(deployment: Deployment) -> None:
    label = deployment.row()
    deployment.aws.fail("GetSecretValue", *[Fault(Answer(200, b" " * (2 << 20)))] * 4)
    assert deployment.export(label) == [label]


# The private key


def test_a_refused_key_is_read_again_only_once(deployment: Deployment, output: Any) -> None:
    labels = [deployment.row(number) for number in range(1, 6)]
    deployment.encord.public_keys.clear()
    assert deployment.export(*labels) == labels
    assert output().metric("Failed", "key_refused") == 5
    asked = deployment.encord.count("labelrow")
    assert asked <= 5, "one call for each that had begun, no second ones"
    assert deployment.export(*labels) == labels
    assert deployment.encord.count("labelrow") == asked, "no hammering with a key that was refused a moment ago"
    assert deployment.aws.count("GetSecretValue") == 1


def test_a_refused_key_that_did_not_change_is_not_tried_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = deployment.row()
    deployment.encord.public_keys.clear()
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    assert deployment.export(label) == [label]
    assert deployment.aws.count("GetSecretValue") == 2
    assert deployment.encord.count("labelrow") == 1


def test_a_rotated_key_is_found_when_the_old_one_is_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [deployment.row(number) for number in range(1, 6)]
    deployment.export(labels[0])
    new = Ed25519PrivateKey.generate()
    deployment.aws.secrets[KEY_ARN] = openssh(new)
    deployment.encord.public_keys = {public_hex(new)}
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    assert deployment.export(*labels) == []
    assert deployment.aws.count("GetSecretValue") == 2
    assert len(deployment.aws.objects) == 5


def test_a_key_that_another_thread_has_refreshed_is_tried_first() -> None:
    old, new = (EncordKey(openssh(Ed25519PrivateKey.generate())) for _ in range(2))
    retry_ = retry.Retry(lambda: 60)
    key = CurrentKey(lambda _: new, lambda _: pytest.fail("read again without need"))
    assert key.refresh(old, retry_) is new


def test_a_refused_key_is_retried_after_a_while(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    label = deployment.row()
    keys, deployment.encord.public_keys = deployment.encord.public_keys, set()
    assert deployment.export(label) == [label]
    deployment.encord.public_keys = keys
    assert deployment.export(label) == [label]
    monkeypatch.setattr("label_export.adapters.encord.source.REFUSED_FOR", 0.0)
    assert deployment.export(label) == []


def test_a_bad_key_fails_items_without_a_call_and_is_fixed_without_a_restart(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = deployment.row()
    good = deployment.aws.secrets[KEY_ARN]
    bad = openssh(rsa.generate_private_key(65537, 2048))
    deployment.aws.secrets[KEY_ARN] = bad
    assert deployment.export(label) == [label]
    written = output()
    assert written.metric("Failed", "private_key") == 1
    assert "not an Ed25519 key" in written.logged("label_failed")[0]["detail"]
    assert not any(line in written.text for line in bad.splitlines() if len(line) > 20 and "PRIVATE" not in line)
    assert deployment.encord.calls == []
    deployment.aws.secrets[KEY_ARN] = good
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    assert deployment.export(label) == []


@pytest.mark.parametrize(
    ("operation", "fault", "reason"),
    [
        ("GetSecretValue", Fault(Answer(400, b'{"__type":"AccessDeniedException"}')), "secretsmanager_access_denied"),
        ("GetSecretValue", Fault(Answer(200, b'{"ARN":"a","SecretBinary":"AAAA"}')), "secret_not_text"),
        ("HeadObject", Fault(Answer(403)), "s3_access_denied"),
        ("PutObject", Fault(Answer(403, b"<Error><Code>AccessDenied</Code></Error>")), "s3_access_denied"),
        ("PutObject", Fault(Answer(400, b"<Error><Code>KMS.DisabledException</Code></Error>")), "s3_refused"),
        ("PutObject", Fault(Answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")), "s3_refused"),
    ],
)
def test_a_refusal_by_aws_is_permanent(
    deployment: Deployment, output: Any, operation: str, fault: Fault, reason: str
) -> None:
    label = deployment.row()
    deployment.aws.fail(operation, fault)
    assert deployment.export(label) == [label]
    assert deployment.aws.count(operation) == 1
    assert output().metric("Failed", reason) == 1


# S3

S3_PASSING = [
    Fault(Answer(503, b"<Error><Code>SlowDown</Code></Error>")),
    Fault(Answer(500, b"<Error><Code>InternalError</Code></Error>")),
    Fault(Answer(400, b"<Error><Code>RequestTimeout</Code></Error>")),
    Fault(Answer(400, b"<Error><Code>BadDigest</Code></Error>")),
    Fault(Answer(409, b"<Error><Code>OperationAborted</Code></Error>")),
    Fault(cut="before"),
]


@pytest.mark.parametrize("fault", S3_PASSING)
@pytest.mark.parametrize("operation", ["HeadObject", "PutObject"])
def test_s3_faults_that_pass_are_retried(deployment: Deployment, operation: str, fault: Fault) -> None:
    if operation == "HeadObject" and fault.answer is not None:
        fault = Fault(Answer(503))
    label = deployment.row()
    deployment.aws.fail(operation, fault, fault)
    assert deployment.export(label) == []
    assert deployment.aws.count(operation) == 3
    assert operation == "HeadObject" or deployment.aws.count("HeadObject") == 1, "no look where no race was lost"
    assert len(deployment.aws.history) == 1


def test_a_reply_lost_after_the_write_makes_no_second_version(deployment: Deployment) -> None:
    label = deployment.row()
    deployment.aws.fail("PutObject", Fault(cut="after"))
    assert deployment.export(label) == []
    assert len(deployment.aws.history) == 1
    deployment.row(last_edited_at="2025-02-01 00:00:00")
    deployment.aws.fail("PutObject", Fault(cut="after"))
    assert deployment.export(label) == []
    assert len(deployment.aws.history) == 2


@pytest.mark.parametrize("status", [409, 412])
def test_the_loser_of_a_race_reads_again(deployment: Deployment, status: int) -> None:
    label = deployment.row()
    deployment.aws.fail("PutObject", Fault(Answer(status, b"<Error><Code>ConditionalRequestConflict</Code></Error>")))
    assert deployment.export(label) == []
    assert (deployment.aws.count("HeadObject"), deployment.aws.count("PutObject")) == (2, 2)


def test_an_object_that_is_deleted_between_read_and_write_is_written(deployment: Deployment) -> None:
    label = deployment.row()
    deployment.export(label)
    deployment.row(last_edited_at="2025-02-01 00:00:00")
    deployment.aws.fail("PutObject", Fault(when=deployment.aws.objects.clear))
    assert deployment.export(label) == []
    assert deployment.stored(label).body == deployment.served(label)  # type: ignore[union-attr]


def test_an_untrusted_certificate_is_permanent(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable)
    deployment.restart()
    label = deployment.row()
    assert deployment.export(label) == [label]
    line = output().logged("label_failed")[0]
    assert (line["reason"], line["permanent"]) == ("tls", True)


def test_a_name_that_does_not_resolve_is_retryable(deployment: Deployment, output: Any) -> None:
    deployment.set(LABEL_EXPORT_ENCORD_DOMAIN="https://encord.invalid")
    label = deployment.row()
    assert deployment.export(label) == [label]
    assert output().metric("Failed", "connection") == 1
