"""The fault table: what the function must do under each fault, against real servers behind a proxy.

ROWS has the table's text. Tests name the rows that they prove. ELSEWHERE says what a row requires beyond the function.
tests/unit/handler/test_faults.py has the finer cases of the same faults.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from ansible_collections.label_export.aws.plugins.modules import label_requeue
from exported_system import MAX_RECEIVES, Context, System, in_process
from fault_proxy import (
    Answer,
    Fault,
    Rule,
    answers,
    aws_json_error,
    blackholes,
    calls,
    encord_error,
    resets,
    s3_error,
    truncates,
)
from label_export import handler, retry
from label_export.adapters.aws import s3 as s3_adapter
from label_export.adapters.aws.client import READ_TIMEOUTS

LOST = "webhook lost, front door down"
DUPLICATE = "duplicate; out of order"
FORGED = "forged, unsigned, stale, replayed; wrong or rotated secret; two secrets valid at once"
MALFORMED = (
    "body over the cap (1 MiB); wrong content type; broken base64; deep or huge JSON; numbers for strings; "
    "unknown event; unknown version; a project off the allow list"
)
QUEUE_DOWN = "queue down when the webhook comes"
ENCORD_FAILS = "Encord 408, 429 (Retry-After within the time left), 5xx, time-out, reset, truncated body"
KEY_REFUSED = "Encord refuses the key; key malformed or of the wrong type"
S3_FAILS = "S3 503 SlowDown, AccessDenied, KMS denied, reply lost after the write"
RACE = "two writers race"
KILLED = "time-out, out of memory, kill -9 in the middle of a batch"
THROTTLED = "throttled"
POISON = "poison message; half a batch fails"
ROTATED = "secret rotated, function deployed, under traffic"
REDRIVEN = "dead-letter queue redriven, twice"
TERMINAL = "label row deleted, never initialised (`label_hash` null), data unit `deleted`"
NO_ACCESS = "access to a project lost, project answered as not found"
WENT_BACK = "edit time goes back with other bytes (SDK save, restored version, stored time in the future)"
ODD = "a webhook's rest after one odd element"
REFUSED = "throttled by the API (429), refused after authentication"
GIANT = "a giant row (100 MB and more)"
CLOCKS = "clocks off"

ROWS = {
    LOST: "not found by itself: the task is completed or submitted again",
    DUPLICATE: "same object, no new version; newest edit wins",
    FORGED: "the same 401; both accepted while rotating",
    MALFORMED: "413 before parsing; 4xx that names the field; unknown event acknowledged and counted; never 500",
    QUEUE_DOWN: "5xx; what was queued already is a harmless hint",
    ENCORD_FAILS: "bounded tries with jitter inside the function's remaining time, then back to the queue",
    KEY_REFUSED: "items fail, alarm, no hammering, secret read again once; the key's text nowhere",
    S3_FAILS: "retry what is retryable; the rest to the dead-letter queue; no second version",
    RACE: "conditional write, loser reads again",
    KILLED: "redelivered; finished items repeat as nothing",
    THROTTLED: "delayed, not dead-lettered",
    POISON: "only that item returns, then the dead-letter queue",
    ROTATED: "nothing lost",
    REDRIVEN: "safe; must work by receive, send, delete too",
    TERMINAL: "confirmed at a later receive, then terminal and counted; an earlier export stays; never the call that "
    "would create the row",
    NO_ACCESS: 'dead-letter queue and alarm (a redrive fixes it), never "deleted"',
    WENT_BACK: "looked at again, returned, at a late receive stored as a new version and alarmed; never silently stale",
    ODD: "the good elements are queued, the odd one counted and alarmed",
    REFUSED: "alarm; hashes in the log; can be queued again by a playbook",
    GIANT: "streamed within the function's memory, or a named failure; never a silent cut",
    CLOCKS: "ordering by Encord's edit time, never ours",
}

ELSEWHERE = {
    LOST: "what never reaches the function leaves nothing to test",
    THROTTLED: "Lambda refuses before the function runs; the mapping's maximum concurrency is read back once deployed",
}

PROOFS: dict[str, list[str]] = defaultdict(list)

T = TypeVar("T", bound=Callable[..., None])


def proves(row: str) -> Callable[[T], T]:
    """Record that a test proves a row of the table."""

    def note(test: T) -> T:
        PROOFS[row].append(test.__name__)
        return test

    return note


def test_every_row_is_proved_or_listed_as_elsewhere() -> None:
    assert set(PROOFS) | set(ELSEWHERE) == set(ROWS)
    assert not set(PROOFS) & set(ELSEWHERE)


def be_impatient_with(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the function wait up to a minute for a response, but half a second where none will come."""
    if fault.end == "blackhole":
        monkeypatch.setattr("label_export.adapters.encord.source.READ_SHARE", 0.01)
        for service in READ_TIMEOUTS:
            monkeypatch.setitem(READ_TIMEOUTS, service, 0.5)


class Logged:
    """The log lines that the function wrote since the last call."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def reasons(self, event: str = "label_failed") -> list[str]:
        return [line["reason"] for line in self.lines if line.get("event") == event]

    def count(self, event: str) -> int:
        return sum(line.get("event") == event for line in self.lines)


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], Logged]:
    return lambda: Logged(capsys.readouterr().out)


# The webhook


@proves(DUPLICATE)
def test_a_duplicate_makes_no_version_and_an_older_row_never_replaces_a_newer(system: System) -> None:
    (label,) = system.labels(1)
    system.edit(label, "2026-03-01T00:00:00Z")
    for _ in range(3):
        assert system.post([label, label])["statusCode"] == 202
        system.drain()
    assert len(system.versions(label)) == 1
    system.edit(label, "2026-02-01T00:00:00Z")
    system.send(label)
    assert system.deliver() == [system.message(label)], "in doubt, and read again"
    assert len(system.versions(label)) == 1
    system.edit(label, "2026-03-02T00:00:00Z")
    system.send(label, label)
    system.drain()
    assert len(system.versions(label)) == 2
    assert system.is_exact(label)


@proves(FORGED)
def test_an_unsigned_request_gets_one_refusal_and_has_no_effect(system: System) -> None:
    (label,) = system.labels(1)
    attempts: list[dict[str, Any]] = [
        {"secret": "another"},
        {"signature": ""},
        {"signature": "0" * 64},
        {"offset": -301},
        {"offset": 301},
        {"secret": "another", "body": "{"},
    ]
    refusals = [system.post([label], **attempt) for attempt in attempts]
    assert {json.dumps(refusal, sort_keys=True) for refusal in refusals} == {json.dumps(refusals[0], sort_keys=True)}
    assert refusals[0]["statusCode"] == 401
    assert system.waiting() == 0
    assert system.encord.exchanges == []
    assert system.aws.count("SendMessageBatch") == 0


@proves(FORGED)
def test_both_secrets_are_accepted_while_rotating_and_the_old_one_not_after(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    (label,) = system.labels(1)

    def set_secrets(*secrets: str) -> None:
        text = json.dumps({"signing_secrets": list(secrets)})
        system.secrets.put_secret_value(SecretId=system.signing_arn, SecretString=text)

    old, new = system.signing_secret, "the-new-one"
    assert system.post([label], secret=new)["statusCode"] == 401
    set_secrets(old, new)
    assert [system.post([label], secret=secret)["statusCode"] for secret in (old, new)] == [202, 202]
    set_secrets(new)
    handler.application.cache_clear()
    assert [system.post([label], secret=secret)["statusCode"] for secret in (old, new)] == [401, 202]


def envelope(**changes: Any) -> str:
    payload = {"project_hash": "p-1", "label_hashes": ["l-1"]}
    known = {"uid": "u", "version": 1, "source": "Encord", "event_type": "task_completed_event", "payload": payload}
    return json.dumps(known | changes)


@proves(MALFORMED)
@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"body": "x" * ((1 << 20) + 1)}, 413, "body"),
        ({"content_type": "text/plain"}, 415, "content-type"),
        ({"body": "%%%", "is_base64": True}, 400, "body"),
        ({"body": "[" * 60_000}, 400, "body"),
        ({"body": envelope(payload={"project_hash": 7, "label_hashes": ["l"]})}, 400, "payload.project_hash"),
        ({"body": envelope(payload={"project_hash": "p", "label_hashes": [7]})}, 400, "payload.label_hashes"),
        ({"body": envelope(version=2)}, 400, "version"),
        ({"body": envelope(event_type="digest_event_of_tomorrow")}, 202, None),
        (
            {"body": envelope(payload={"project_hash": "off-the-list", "label_hashes": ["l"]})},
            403,
            "payload.project_hash",
        ),
    ],
)
def test_a_malformed_request_is_refused_by_name_and_never_with_500(
    system: System, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], status: int, field: str | None
) -> None:
    monkeypatch.setenv("LABEL_EXPORT_PROJECTS", json.dumps(["p-1"]))
    answer = system.post([], **changes)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"]).get("field") == field
    assert system.aws.count("SendMessageBatch") == 0


@proves(ODD)
def test_the_good_elements_beside_an_odd_one_are_exported(system: System, logged: Callable[[], Logged]) -> None:
    labels = system.labels(3)
    answer = system.post([labels[0], "a:b", *labels[1:]])
    assert (answer["statusCode"], json.loads(answer["body"])) == (202, {"accepted": 3})
    assert logged().count("webhook_odd_elements") == 1
    system.drain()
    assert all(map(system.is_exact, labels))


@proves(REFUSED)
def test_what_was_refused_after_authentication_can_be_queued_from_the_log(
    system: System, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], Logged]
) -> None:
    """With the functions of the module behind playbooks/requeue.yml. What the API refuses is in its access log."""
    labels = system.labels(3)
    monkeypatch.setenv("LABEL_EXPORT_PROJECTS", json.dumps(["another"]))
    assert system.post(labels)["statusCode"] == 403
    monkeypatch.delenv("LABEL_EXPORT_PROJECTS")
    handler.application.cache_clear()
    (line,) = [line for line in logged().lines if line.get("event") == "labels_not_queued"]
    for target in label_requeue.targets(line):
        system.send(body=label_requeue.message(target, "requeue-1"))
    system.drain()
    assert all(map(system.is_exact, labels))


@proves(QUEUE_DOWN)
@pytest.mark.parametrize(
    "fault",
    [
        answers(aws_json_error(503, "ServiceUnavailable")),
        resets(),
        answers(aws_json_error(403, "AccessDeniedException")),
    ],
    ids=lambda fault: fault.name,
)
def test_nothing_is_acknowledged_while_the_queue_is_down(
    system: System, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("label_export.application.WEBHOOK_SECONDS", 3.0)
    labels = system.labels(2)
    down = Rule(fault, "SendMessageBatch")
    system.aws.inject(down)
    answer = system.post(labels)
    assert (answer["statusCode"], "Retry-After" in answer["headers"]) == (503, True)
    assert down.applied >= 1
    assert system.waiting() == 0
    system.aws.heal()
    assert system.post(labels)["statusCode"] == 202
    system.drain()
    assert all(map(system.is_exact, labels))


@proves(QUEUE_DOWN)
def test_the_failed_part_of_an_sqs_batch_is_sent_again(system: System) -> None:
    labels = system.labels(12)
    partial = {
        "Successful": [],
        "Failed": [{"Id": str(number), "SenderFault": False, "Code": "InternalError"} for number in range(10)],
    }
    system.aws.inject(Rule(answers(Answer(200, json.dumps(partial).encode())), "SendMessageBatch", nth=[1]))
    assert system.post(labels)["statusCode"] == 202
    assert system.waiting() == len(labels)
    system.aws.inject(Rule(answers(Answer(200, json.dumps(partial).encode())), "SendMessageBatch"))
    assert system.post(labels)["statusCode"] == 503


@proves(QUEUE_DOWN)
def test_a_lost_response_of_the_queue_at_worst_queues_twice(system: System) -> None:
    labels = system.labels(2)
    system.aws.inject(Rule(resets(after_effect=True), "SendMessageBatch", times=1))
    assert system.post(labels)["statusCode"] == 202
    assert system.waiting() == 2 * len(labels)
    system.drain()
    assert [len(system.versions(label)) for label in labels] == [1, 1]


# Encord

PASSING = {
    "408": answers(Answer(408)),
    "429, come back at once": answers(Answer(429, b"", {"Retry-After": "0"})),
    "429 in the envelope": answers(encord_error(429, "RATE_LIMIT_ERROR")),
    "500": answers(Answer(500, b"oops")),
    "503": answers(Answer(503)),
    "504": answers(Answer(504)),
    "reset": resets(),
    "reset after": resets(after_effect=True),
    "truncated": truncates(0.5),
    "truncated by a reset": truncates(0.5, reset=True),
    "time-out": blackholes(),
    "HTML": answers(Answer(200, b"<html>maintenance</html>", {"Content-Type": "text/html"})),
    "empty": answers(Answer(200)),
    "another row": answers(Answer(200, b'{"status":200,"response":{"label_hash":"another","data_units":{}}}')),
}


@proves(ENCORD_FAILS)
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_exports_after_encord_recovers(system: System, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure is retried. A long one: bounded retries, nothing stored, back to the queue, exported when it ends."""
    be_impatient_with(fault, monkeypatch)
    label, other = system.labels(2)
    system.send(label)
    system.encord.inject(Rule(fault, "labelrow", nth=[1]))
    assert system.deliver() == []
    assert system.is_exact(label)
    system.encord.heal()
    down = Rule(fault, "labelrow", body=other)
    system.encord.inject(down)
    system.send(other)
    assert system.deliver() == [system.message(other)]
    assert down.applied == retry.ATTEMPTS
    assert system.stored(other) is None
    system.encord.heal()
    system.drain()
    assert system.is_exact(other)
    assert system.dead() == []


@proves(ENCORD_FAILS)
def test_a_retry_after_beyond_the_time_left_returns_the_label_without_another_call(system: System) -> None:
    (label,) = system.labels(1)
    system.send(label)
    system.encord.inject(Rule(answers(Answer(429, b"", {"Retry-After": "60"})), "labelrow", times=1))
    assert system.deliver(in_process(Context(30))) == [system.message(label)]
    assert system.encord.count("labelrow") == 1
    handler.application.cache_clear()  # as another process would: this one waits for the whole pause
    system.drain()
    assert system.is_exact(label)


@proves(ENCORD_FAILS)
def test_a_silent_encord_costs_no_more_than_the_time_left(
    system: System, logged: Callable[[], Logged], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its retries share the time that is left, and labels that had not begun are returned."""
    monkeypatch.setenv("LABEL_EXPORT_CONCURRENCY", "1")
    before, *labels = system.labels(4)
    system.send(before)
    system.drain()
    system.encord.inject(silence := Rule(blackholes(), "labelrow"))
    logged()
    records = [
        {"messageId": label, "body": system.message(label), "attributes": {}, "eventSource": "aws:sqs"}
        for label in labels
    ]
    monkeypatch.setattr("label_export.entrypoints.queue_batch.START_RESERVE", 1.5)
    answer = handler.handle({"Records": records}, Context(3.0))
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == labels
    assert 1 <= silence.applied <= retry.ATTEMPTS
    written = logged()
    assert written.count("label_handed_back") == 2
    assert written.reasons() == ["timeout"]


@proves(KEY_REFUSED)
def test_a_refused_key_is_read_again_once_and_encord_is_not_called_again(
    system: System, logged: Callable[[], Logged], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    labels = system.labels(8)
    system.new_key(registered=False)
    system.send(*labels)
    for _ in range(3):
        system.deliver()
    assert system.aws.count("GetSecretValue") == 2, "read, and read again once"
    assert system.encord.count("labelrow") <= 5, "only those that had begun in parallel"
    assert set(logged().reasons()) == {"key_refused"}
    assert all(system.stored(label) is None for label in labels)
    assert system.waiting() == len(labels)


@proves(KEY_REFUSED)
@pytest.mark.parametrize(
    "bad",
    [
        "not a key",
        # Another format's, and no key.
        "-----BEGIN PRIVATE KEY-----\ncanary-of-the-key\n-----END PRIVATE KEY-----",  # pragma: allowlist secret
    ],
)
def test_a_malformed_key_fails_items_without_a_call_or_its_text(
    system: System, logged: Callable[[], Logged], bad: str
) -> None:
    (label,) = system.labels(1)
    system.secrets.put_secret_value(SecretId=system.key_arn, SecretString=bad)
    system.send(label)
    system.drain()
    written = logged()
    assert set(written.reasons()) == {"private_key"}
    assert "canary-of-the-key" not in written.text
    assert "not a key" not in written.text
    assert system.encord.exchanges == []
    assert system.dead() == [system.message(label)]


# S3

S3_PASSING = {
    "SlowDown": answers(s3_error(503, "SlowDown")),
    "InternalError": answers(s3_error(500, "InternalError")),
    "RequestTimeout": answers(s3_error(400, "RequestTimeout")),
    "OperationAborted": answers(s3_error(409, "OperationAborted")),
    "reset": resets(),
    "SlowDown though it was written": answers(s3_error(503, "SlowDown"), after_effect=True),
    "reply lost after the write": resets(after_effect=True),
    "no reply after the write": blackholes(after_effect=True),
}


@proves(S3_FAILS)
@pytest.mark.parametrize("fault", S3_PASSING.values(), ids=S3_PASSING.keys())
def test_after_s3_recovers_each_edit_has_one_version(
    system: System, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient_with(fault, monkeypatch)
    (label,) = system.labels(1)
    for edits in (1, 2):
        system.edit(label)
        system.send(label)
        system.aws.inject(Rule(fault, "PutObject", times=1))
        assert system.deliver() == []
        assert len(system.versions(label)) == edits
        assert system.is_exact(label)


@proves(S3_FAILS)
def test_reading_the_stored_object_is_retried_too(system: System) -> None:
    (label,) = system.labels(1)
    system.send(label)
    system.aws.inject(Rule(answers(Answer(503)), "HeadObject", nth=[1]), Rule(resets(), "HeadObject", times=1))
    assert system.deliver() == []
    assert system.is_exact(label)


@proves(S3_FAILS)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (s3_error(403, "AccessDenied"), "s3_access_denied"),
        (s3_error(400, "KMS.DisabledException"), "s3_refused"),
        (s3_error(400, "KMS.NotFoundException"), "s3_refused"),
    ],
    ids=["AccessDenied", "KMS disabled", "KMS key gone"],
)
def test_a_label_that_s3_denies_is_dead_lettered_and_others_are_not(
    system: System, logged: Callable[[], Logged], answer: Answer, reason: str
) -> None:
    forbidden, *neighbours = system.labels(4)
    rule = Rule(answers(answer), "PutObject", path=forbidden)
    system.aws.inject(rule)
    system.send(forbidden, *neighbours)
    assert system.deliver() == [system.message(forbidden)]
    assert all(map(system.is_exact, neighbours))
    system.drain()
    assert rule.applied == MAX_RECEIVES, "once for each delivery: a refusal is not retried"
    assert set(logged().reasons()) == {reason}
    assert system.dead() == [system.message(forbidden)]
    assert [len(system.versions(label)) for label in neighbours] == [1, 1, 1]


@proves(S3_FAILS)
def test_s3_itself_denies_and_the_item_is_dead_lettered(system: System, logged: Callable[[], Logged]) -> None:
    """No injected response: a policy on the bucket denies one key to everybody."""
    forbidden, neighbour = system.labels(2)
    resource = f"arn:aws:s3:::{system.name}/{system.key(forbidden)}"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": resource}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    system.s3.put_bucket_policy(Bucket=system.name, Policy=policy)
    system.send(forbidden, neighbour)
    system.drain()
    assert set(logged().reasons()) == {"s3_access_denied"}
    assert system.dead() == [system.message(forbidden)]
    assert system.is_exact(neighbour)


# Races


def statuses(system: System, operation: str) -> list[int | None]:
    """Return the statuses of S3's responses to the operation, in the order of the requests."""
    return [exchange.status for exchange in system.aws.exchanges if exchange.operation == operation]


@proves(RACE)
@pytest.mark.parametrize("known", [False, True], ids=["new key", "known key"])
def test_the_loser_of_a_race_reads_again_and_never_writes_the_older_row(system: System, known: bool) -> None:
    """A writer has fetched and is held before its write; meanwhile another one exports a newer edit."""
    (label,) = system.labels(1)
    if known:
        system.send(label)
        system.drain()
    before = len(system.versions(label))
    system.edit(label, "2026-05-01T00:00:00Z")
    held, go_on = threading.Event(), threading.Event()

    def hold(_exchange: object) -> None:
        held.set()
        assert go_on.wait(120)

    # Held after the fetch: the slow writer has the older row.
    system.encord.inject(Rule(calls(hold), "labelrow", times=1))
    system.send(label)
    slow = threading.Thread(target=system.drain)
    slow.start()
    assert held.wait(120)
    system.edit(label, "2026-05-02T00:00:00Z")
    record = {"messageId": "fast", "body": system.message(label), "attributes": {}, "eventSource": "aws:sqs"}
    assert in_process()({"Records": [record]}) == {"batchItemFailures": []}
    go_on.set()
    slow.join(120)
    assert len(system.versions(label)) == before + 1
    assert system.is_exact(label)
    assert statuses(system, "PutObject")[-2:] == [200, 412]


@proves(RACE)
def test_another_writer_between_read_and_write(system: System) -> None:
    """Another writer writes between our read and our write: 412, read again, and the newer edit stays."""
    (label,) = system.labels(1)
    record = {"messageId": "fast", "body": system.message(label), "attributes": {}, "eventSource": "aws:sqs"}

    def overtake(_exchange: object) -> None:
        system.edit(label, "2026-05-02T00:00:00Z")
        assert in_process()({"Records": [record]}) == {"batchItemFailures": []}

    system.edit(label, "2026-05-01T00:00:00Z")
    system.send(label)
    system.aws.inject(Rule(calls(overtake, first=True), "PutObject", times=1))
    system.drain()
    assert statuses(system, "PutObject") == [412, 200]
    assert len(system.versions(label)) == 1
    assert system.is_exact(label)


@proves(CLOCKS)
@pytest.mark.parametrize("hours", [-3, 3], ids=["behind", "ahead"])
def test_the_order_is_encords_whatever_our_clock_shows(
    system: System, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Edits from long ago and from the far future, exported by a function whose clock is hours off."""
    (label,) = system.labels(1)
    now = time.time
    monkeypatch.setattr("label_export.entrypoints.queue_batch.time.time", lambda: now() + 3600.0 * hours)
    edits = {"2019-01-01": 1, "2020-01-01": 2, "2019-06-01": 2, "2031-01-01": 3, "2030-01-01": 3}
    for day, versions in edits.items():
        system.edit(label, f"{day}T00:00:00Z")
        system.send(label)
        system.deliver()  # only once: an earlier edit time is still in doubt then
        assert len(system.versions(label)) == versions
    head = system.s3.head_object(Bucket=system.name, Key=system.key(label))
    assert head["Metadata"]["last-edited-at"].startswith(("2031-01-01", "Wed, 01 Jan 2031"))


# Dying, poison, rotation, redrive

ONE_EVENT = "import json,sys; from label_export import handler; from exported_system import Context; "
ONE_EVENT += "json.dump(handler.handle(json.load(sys.stdin), Context()), open(sys.argv[1], 'w'))"


@proves(KILLED)
def test_killed_in_the_middle_of_a_batch(system: System, tmp_path: Any) -> None:
    """SIGKILL between a write's effect and its response: no process can end harder, by lack of memory or of time."""
    labels = system.labels(6)
    system.send(*labels)
    started: list[subprocess.Popen[str]] = []

    def kill(_exchange: object) -> None:
        started[0].kill()

    def dying(event: dict[str, Any]) -> dict[str, Any]:
        path = os.pathsep.join(sys.path)
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", ONE_EVENT, str(tmp_path / "answer")],
                env={**os.environ, "PYTHONPATH": path, "LABEL_EXPORT_CONCURRENCY": "1"},
                stdin=subprocess.PIPE,
                text=True,
            )
        )
        started[0].communicate(json.dumps(event), timeout=60)
        raise ChildProcessError(started[0].returncode)

    system.aws.inject(Rule(calls(kill), "PutObject", nth=[3]))
    with pytest.raises(ChildProcessError, match="-9"):
        system.deliver(dying)
    assert not (tmp_path / "answer").exists()
    finished = [label for label in labels if system.versions(label)]
    assert len(finished) == 3
    assert system.waiting() == len(labels), "nothing was deleted"
    system.drain()
    assert [len(system.versions(label)) for label in labels] == [1] * len(labels), (
        "exporting finished ones again changes nothing"
    )
    assert all(map(system.is_exact, labels))
    assert system.dead() == []


@proves(KILLED)
def test_labels_that_had_not_begun_are_returned_when_time_runs_out(
    system: System, logged: Callable[[], Logged]
) -> None:
    labels = system.labels(3)
    system.send(*labels)
    assert sorted(system.deliver(in_process(Context(4))) or []) == sorted(map(system.message, labels))
    assert system.encord.exchanges == []
    assert logged().count("label_handed_back") == len(labels)
    system.drain()
    assert all(map(system.is_exact, labels))


@proves(POISON)
def test_poison_and_half_a_batch(system: System, logged: Callable[[], Logged]) -> None:
    """Half of the batch can never succeed, for three reasons: only that half is returned and dead-lettered."""
    good, bad = system.labels(3), system.labels(6)[3:]
    system.encord.inject(Rule(answers(encord_error(400, "CORRUPTED_LABEL_ERROR")), "labelrow", body=bad[0]))
    system.aws.inject(Rule(answers(s3_error(403, "AccessDenied")), "PutObject", path=bad[1]))
    system.send(*good, *bad[:2])
    system.send(body="{not json")
    failed = system.deliver()
    assert failed is not None
    poison = sorted([system.message(bad[0]), system.message(bad[1]), "{not json"])
    assert sorted(failed) == poison
    assert all(map(system.is_exact, good))
    system.drain()
    assert system.dead() == poison
    assert set(logged().reasons()) == {"encord_refused", "s3_access_denied", "poison_message"}
    assert [len(system.versions(label)) for label in good] == [1, 1, 1]


@proves(ROTATED)
def test_no_label_is_lost_when_key_and_function_change_under_traffic(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    labels = system.labels(12)
    for number, label in enumerate(labels):
        assert system.post([label])["statusCode"] == 202
        if number == 4:
            system.secrets.put_secret_value(SecretId=system.key_arn, SecretString=system.new_key())
        if number == 8:
            handler.application.cache_clear()
        assert system.deliver() == [], "the delivery in which the old key is refused finds the new one"
    assert all(map(system.is_exact, labels))
    assert system.dead() == []


@proves(REDRIVEN)
def test_redriving_dead_letters_twice_is_safe(system: System) -> None:
    """By receive, send and delete, before and after the cause is fixed; the second time the delete is lost."""
    label, good = system.labels(2)
    system.encord.inject(Rule(answers(encord_error(400, "CORRUPTED_LABEL_ERROR")), "labelrow", body=label))
    system.send(label, good)
    system.drain()
    assert system.dead() == [system.message(label)]

    def redrive(*, delete: bool) -> None:
        for message in system.receive(system.dead_letters):
            system.send(body=message["Body"])
            if delete:
                system.sqs.delete_message(QueueUrl=system.dead_letters, ReceiptHandle=message["ReceiptHandle"])

    redrive(delete=True)
    system.drain()
    assert system.dead() == [system.message(label)], "back again, and not lost"
    system.encord.heal()
    redrive(delete=False)
    redrive(delete=True)
    system.drain()
    assert system.dead() == []
    assert system.is_exact(label)
    assert [len(system.versions(each)) for each in (label, good)] == [1, 1]


# What there is nothing to export of


@proves(TERMINAL)
@pytest.mark.parametrize("kind", ["row deleted", "data unit deleted", "never initialised"])
def test_terminal_cases_end_and_create_nothing(system: System, logged: Callable[[], Logged], kind: str) -> None:
    key = {"data unit deleted": "deleted", "never initialised": "uninitialised"}.get(kind, "image")
    row = system.stand_in.row(key)
    label = row["label_hash"]
    before = None
    if kind == "row deleted":
        system.send(label)
        system.drain()
        before = system.stored(label)
        assert before is not None
        system.stand_in.control("DELETE", f"label-rows/{label}")
    system.stand_in.control("DELETE", "requests")
    named = {"label_hash": label} if label else {"data_hash": row["data_hash"]}
    system.send(body=json.dumps({"version": 1, "project_hash": system.project, **named}))
    system.drain()
    expected = {"data unit deleted": "data_deleted"}.get(kind, kind.replace(" ", "_"))
    seen = logged()
    assert seen.reasons("label_unconfirmed") == [expected] * 2, "one response is no evidence"
    assert seen.reasons("nothing_to_export") == [expected]
    assert system.dead() == []
    assert system.stand_in.counts()["total"]["writes"] == 0
    assert before is None or system.stored(label) == before


@proves(NO_ACCESS)
@pytest.mark.parametrize(
    "answer", [None, encord_error(404, "RESOURCE_NOT_FOUND_ERROR")], ids=["no access", "not found"]
)
def test_labels_of_an_unreadable_project_are_dead_letters_and_a_redrive_exports_them(
    system: System, logged: Callable[[], Logged], answer: Answer | None
) -> None:
    labels = system.labels(3)
    if answer is None:
        system.stand_in.control("POST", "access", {"project_hash": system.project, "accessible": False})
    else:
        system.encord.inject(Rule(answers(answer), "labelrow"), Rule(answers(answer), "labelrowmetadata"))
    system.send(*labels)
    system.drain()
    assert system.dead() == sorted(map(system.message, labels))
    assert logged().reasons("nothing_to_export") == []
    system.stand_in.control("POST", "access", {"project_hash": system.project, "accessible": True})
    system.encord.heal()
    system.send(*labels)
    system.drain()
    assert all(map(system.is_exact, labels))


@proves(WENT_BACK)
def test_a_row_with_an_earlier_edit_time_is_stored_at_a_late_receive(
    system: System, logged: Callable[[], Logged]
) -> None:
    (label,) = system.labels(1)
    system.edit(label, "2030-01-01T00:00:00Z")
    system.send(label)
    system.drain()
    assert system.is_exact(label)
    system.edit(label, "2026-01-01T00:00:00Z")
    system.send(label)
    assert system.deliver() == [system.message(label)]
    assert len(system.versions(label)) == 1
    system.drain()
    assert system.is_exact(label)
    assert (len(system.versions(label)), system.dead()) == (2, [])
    seen = logged()
    assert (seen.count("label_unconfirmed"), seen.count("label_went_back")) == (2, 1)


# Giant rows

MEBIBYTE = 1 << 20


@pytest.fixture
def giant(system: System, monkeypatch: pytest.MonkeyPatch) -> str:
    """Add a row of about 8 MB with a memory limit of 1 MiB; parts of 5 MiB, S3's minimum."""
    monkeypatch.setenv("LABEL_EXPORT_MEMORY_LIMIT_BYTES", str(MEBIBYTE))
    monkeypatch.setattr(s3_adapter, "SINGLE_LIMIT", MEBIBYTE)
    monkeypatch.setattr(s3_adapter, "PART_BYTES", 5 * MEBIBYTE)
    (label,) = system.labels(1, frames=1000, objects=20)
    assert len(system.served(label)) > 6 * MEBIBYTE
    return label


def unfinished(system: System) -> int:
    return len(system.s3.list_multipart_uploads(Bucket=system.name).get("Uploads", []))


@proves(GIANT)
def test_a_giant_row_survives_temporary_failures(system: System, giant: str) -> None:
    system.encord.inject(Rule(truncates(0.7, reset=True), "labelrow", times=1))
    system.aws.inject(
        Rule(answers(s3_error(503, "SlowDown")), "UploadPart", times=1),
        Rule(resets(after_effect=True), "UploadPart", times=1),
        Rule(resets(after_effect=True), "CompleteMultipartUpload", times=1),
    )
    system.send(giant)
    system.drain()
    assert system.is_exact(giant)
    assert (len(system.versions(giant)), unfinished(system)) == (1, 0)


@proves(GIANT)
@pytest.mark.parametrize(
    "rule",
    [
        Rule(resets(after_effect=True), "UploadPart", nth=range(2, 99)),
        Rule(resets(), "UploadPart", nth=range(2, 99)),
        Rule(answers(s3_error(403, "AccessDenied")), "UploadPart", nth=range(2, 99)),
        Rule(answers(s3_error(503, "SlowDown")), "CompleteMultipartUpload"),
    ],
    ids=["answers lost", "reset in the stream", "denied", "never completed"],
)
def test_a_giant_row_that_fails_half_way_leaves_no_object(system: System, giant: str, rule: Rule) -> None:
    rule.matched = rule.applied = 0
    system.aws.inject(rule)
    system.send(giant)
    assert system.deliver() == [system.message(giant)]
    assert system.aws.count("UploadPart", reached=True) >= 1
    assert system.stored(giant) is None
    assert unfinished(system) == 0
    system.aws.heal()
    system.drain()
    assert system.is_exact(giant)


@proves(GIANT)
def test_a_giant_row_truncated_by_encord_starts_no_upload(system: System, giant: str) -> None:
    system.encord.inject(Rule(truncates(0.9, reset=True), "labelrow"))
    system.send(giant)
    assert system.deliver() == [system.message(giant)]
    assert system.aws.count("CreateMultipartUpload") == 0


@proves(GIANT)
def test_a_giant_row_beyond_the_limits_is_dead_lettered_by_name(
    system: System, giant: str, logged: Callable[[], Logged], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_EXPORT_SPOOL_LIMIT_BYTES", str(2 * MEBIBYTE))
    system.send(giant)
    system.drain()
    assert set(logged().reasons()) == {"row_too_large"}
    assert system.dead() == [system.message(giant)]
    assert system.stored(giant) is None


@proves(RACE)
def test_a_slow_giant_row_does_not_replace_a_newer_one(system: System, giant: str) -> None:
    """Conditional completion: the newer edit is written while the parts of the older one are uploaded."""
    record = {"messageId": "fast", "body": system.message(giant), "attributes": {}, "eventSource": "aws:sqs"}
    system.edit(giant, "2026-05-01T00:00:00Z")

    def overtake(_exchange: object) -> None:
        system.edit(giant, "2026-05-02T00:00:00Z")
        assert in_process()({"Records": [record]}) == {"batchItemFailures": []}

    system.aws.inject(Rule(calls(overtake), "UploadPart", nth=[1]))
    system.send(giant)
    system.drain()
    assert (len(system.versions(giant)), unfinished(system)) == (1, 0)
    assert system.is_exact(giant)
