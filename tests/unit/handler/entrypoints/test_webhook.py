"""Webhooks through the real entry point: authentication, refusals, and what is queued."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from handler_deployment import PROJECT, SIGNING_ARN, Context, CountedContext, Deployment, signed_request, webhook
from handler_servers import Answer, Fault
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from label_export import retry
from label_export.adapters.aws.client import READ_TIMEOUTS
from label_export.core.errors import RefusedRequestError
from label_export.core.messages import decode, encode
from label_export.entrypoints.webhook import HASHES_IN_A_LINE
from label_export.entrypoints.webhook_authentication import PROBE_KEY, WebhookSecrets, authenticate
from label_export.entrypoints.webhook_request import MAX_BODY_BYTES, parse_webhook, readable_parts

LABEL, OTHER = str(uuid.UUID(int=11)), str(uuid.UUID(int=12))
DATA, OTHER_DATA = str(uuid.UUID(int=21)), str(uuid.UUID(int=22))


def status_of(answer: dict[str, Any]) -> tuple[int, Any]:
    return answer["statusCode"], json.loads(answer["body"])


# What is accepted


@pytest.mark.parametrize(
    ("payload", "targets"),
    [
        ({"label_hashes": [LABEL, OTHER]}, [("label_hash", LABEL), ("label_hash", OTHER)]),
        ({"label_hashes": [LABEL, LABEL]}, [("label_hash", LABEL)]),
        ({"label_hashes": LABEL}, [("label_hash", LABEL)]),
        ({"label_hash": LABEL}, [("label_hash", LABEL)]),
        ({"label_hash": [LABEL], "data_hash": DATA}, [("label_hash", LABEL)]),
        ({"label_hashes": [LABEL], "data_hashes": [DATA]}, [("label_hash", LABEL)]),
        ({"label_hash": "", "data_hash": DATA}, [("data_hash", DATA)]),
        ({"label_hashes": [LABEL, None], "data_hashes": [DATA]}, [("label_hash", LABEL), ("data_hash", DATA)]),
        ({"label_hashes": [LABEL, OTHER], "data_hashes": [DATA]}, [("label_hash", LABEL), ("label_hash", OTHER)]),
        # Two branches of one data unit, and a second one: the numbers are equal, and OTHER_DATA is not covered.
        (
            {"label_hashes": [LABEL, OTHER], "data_hashes": [DATA, OTHER_DATA]},
            [("label_hash", LABEL), ("label_hash", OTHER), ("data_hash", DATA), ("data_hash", OTHER_DATA)],
        ),
        ({"data_hashes": [DATA]}, [("data_hash", DATA)]),
        ({"data_hashes": DATA, "label_hashes": None}, [("data_hash", DATA)]),
        ({"data_hashes": [DATA], "label_hashes": [None]}, [("data_hash", DATA)]),
        (
            {"data_hashes": [DATA, OTHER], "label_hashes": [LABEL]},
            [("label_hash", LABEL), ("data_hash", DATA), ("data_hash", OTHER)],
        ),
    ],
)
def test_each_label_becomes_one_message(
    deployment: Deployment, payload: dict[str, Any], targets: list[tuple[str, str]]
) -> None:
    assert status_of(deployment.post(webhook(**payload))) == (202, {"accepted": len(targets)})
    sent = deployment.aws.messages
    common = {"version": 1, "project_hash": PROJECT, "event_uid": "uid-1", "event_type": "task_completed_event"}
    assert sent == [common | {name: value} for name, value in targets]
    for message in sent:
        decode(json.dumps(message))


def test_the_message_is_read_back_as_it_was_written() -> None:
    changes = parse_webhook(json.dumps(webhook(label_hashes=[LABEL], data_hashes=[DATA, OTHER])).encode()).changes
    assert [decode(encode(change)) for change in changes] == list(changes)


def test_misspelt_event_type_and_version_as_text_are_accepted(deployment: Deployment) -> None:
    body = webhook("task_sumbitted_event", label_hash=LABEL) | {"version": "1"}
    assert status_of(deployment.post(body))[0] == 202
    assert deployment.aws.messages[0]["event_type"] == "task_submitted_event"


def test_base64_body_stage_prefix_and_charset(deployment: Deployment) -> None:
    raw = json.dumps(webhook(label_hash=LABEL)).encode()
    event = signed_request(
        raw,
        deployment.signing_secret,
        body=base64.b64encode(raw).decode(),
        isBase64Encoded=True,
        rawPath="/prod/webhook/",
        headers={"content-type": "Application/JSON; charset=utf-8"},
    )
    assert status_of(deployment.call(event)) == (202, {"accepted": 1})


def test_unknown_and_unwanted_events_are_acknowledged_and_counted(deployment: Deployment, output: Any) -> None:
    deployment.set(LABEL_EXPORT_EVENT_TYPES='["task_completed_event"]')
    strange = webhook("agent_stage_work_available_event") | {"payload": "of another shape"}
    assert status_of(deployment.post(strange)) == (202, {"accepted": 0})
    written = output()
    assert (written.metric("Ignored", "no_labels"), written.metric("UnknownEventType")) == (1, None)
    for event_type in ("label_changed_event", "", "task_renamed_event"):
        named = {"label_hash": LABEL} if not event_type.startswith("task_") else {}
        assert status_of(deployment.post(webhook(event_type, **named))) == (202, {"accepted": 0})
        written = output()
        assert (written.metric("Ignored", "unknown_event"), written.metric("UnknownEventType")) == (1, 1)
    assert status_of(deployment.post(webhook("task_submitted_event", label_hash=LABEL))) == (202, {"accepted": 0})
    written = output()
    assert (written.metric("Ignored", "not_selected"), written.metric("UnknownEventType")) == (1, None)
    assert deployment.aws.messages == []


@pytest.mark.parametrize("event_type", ["task_complete_event", "task_approved_event"])
def test_a_renamed_event_about_a_task_is_exported_and_raises_an_alarm(
    deployment: Deployment, output: Any, event_type: str
) -> None:
    assert status_of(deployment.post(webhook(event_type, label_hash=LABEL))) == (202, {"accepted": 1})
    assert [message["label_hash"] for message in deployment.aws.messages] == [LABEL]
    assert output().metric("UnknownEventType") == 1


@pytest.mark.parametrize("uid", [None, 7, 1.5, True, "x" * 200, "a\nb", ["x"], {"a": 1}, "\ud800"])
def test_the_form_of_the_uid_does_not_matter(deployment: Deployment, uid: Any) -> None:
    assert status_of(deployment.post(webhook(label_hash=LABEL) | {"uid": uid})) == (202, {"accepted": 1})
    (sent,) = deployment.aws.messages
    assert decode(json.dumps(sent)).event_uid.isprintable()
    assert len(sent["event_uid"]) <= 128


def test_one_odd_element_beside_good_ones_is_dropped_counted_and_named(deployment: Deployment, output: Any) -> None:
    labels = [str(uuid.UUID(int=number)) for number in range(1, 10)]
    odd = ["a:b", 7, ["x"], "x" * 65]
    assert status_of(deployment.post(webhook(label_hashes=[*labels, *odd])))[0] == 202
    assert [message["label_hash"] for message in deployment.aws.messages] == labels
    written = output()
    assert written.metric("OddElements") == 4
    (line,) = written.logged("webhook_odd_elements")
    assert (line["project_hash"], line["elements"]) == (PROJECT, ["a:b", "7", "list", "x" * 65])


def test_an_odd_label_may_be_one_of_its_data_unit(deployment: Deployment) -> None:
    assert deployment.post(webhook(label_hashes=[LABEL, "a:b"], data_hashes=[DATA]))["statusCode"] == 202
    assert [message.get("data_hash") for message in deployment.aws.messages] == [None, DATA]


def test_a_thousand_tasks_in_one_webhook(deployment: Deployment) -> None:
    labels, data = ([str(uuid.UUID(int=base + number)) for number in range(1000)] for base in (10_000, 20_000))
    assert status_of(deployment.post(webhook(label_hashes=labels, data_hashes=data))) == (202, {"accepted": 2000})


# What is not queued is in the log


def not_queued(output: Any) -> list[tuple[str, str, list[str], list[str]]]:
    lines = output().logged("labels_not_queued")
    assert all(line["project_hash"] == PROJECT for line in lines)
    return [(line["outcome"], line["reason"], line["label_hashes"], line["data_hashes"]) for line in lines]


def test_the_content_of_an_authenticated_webhook_is_logged_unless_it_was_queued(
    deployment: Deployment, output: Any
) -> None:
    deployment.set(LABEL_EXPORT_LOG_LEVEL="ERROR", LABEL_EXPORT_EVENT_TYPES='["task_completed_event"]')
    named = {"label_hashes": [LABEL, OTHER], "data_hashes": [DATA]}
    deployment.post(webhook(**named))
    assert not_queued(output) == [], "it was queued"
    hashes = ([LABEL, OTHER], [DATA])
    cases: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        ("refused", "version", webhook(**named) | {"version": 2}, {}),
        ("refused", "malformed", webhook(**named) | {"event_type": 7}, {}),
        ("refused", "content_type", webhook(**named), {"headers": {"content-type": "text/plain"}}),
        ("ignored", "not_selected", webhook("task_submitted_event", **named), {}),
        ("ignored", "unknown_event", webhook("label_changed_event", **named), {}),
        ("ignored", "no_labels", webhook("digest_event", **named), {}),
    ]
    for outcome, reason, body, changes in cases:
        deployment.post(body, **changes)
        assert not_queued(output) == [(outcome, reason, *hashes)], reason
    deployment.aws.fail("SendMessageBatch", Fault(Answer(403, b'{"__type":"AccessDeniedException"}')))
    deployment.post(webhook(**named))
    assert not_queued(output) == [("unavailable", "sqs_access_denied", *hashes)]
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps([OTHER]))
    deployment.post(webhook(**named))
    assert not_queued(output) == [("refused", "project", *hashes)]
    deployment.post(webhook(label_hashes=["a:b"]))
    (line,) = output().logged("labels_not_queued")
    assert (line["reason"], line["odd_elements"]) == ("malformed", ["a:b"])


def test_the_content_of_an_unauthenticated_webhook_is_not_logged(deployment: Deployment, output: Any) -> None:
    deployment.call(signed_request(webhook(label_hash=LABEL), "wrong"))
    assert LABEL not in output().text


def test_many_hashes_are_logged_in_lines_of_a_bounded_length(deployment: Deployment, output: Any) -> None:
    labels = [str(uuid.UUID(int=number)) for number in range(1, HASHES_IN_A_LINE + 3)]
    deployment.post(webhook(label_hashes=labels) | {"version": 2})
    first, second = not_queued(output)
    assert first[2] + second[2] == labels
    assert len(first[2]) == HASHES_IN_A_LINE


def test_unauthenticated_and_refused_authenticated_webhooks_are_counted_separately(
    deployment: Deployment, output: Any
) -> None:
    unsigned = signed_request(webhook(label_hash=LABEL), "x")
    del unsigned["headers"]["x-encord-signature"]
    deployment.call(unsigned)
    written = output()
    assert (written.metric("RefusedUnsigned"), written.metric("Refused")) == (1, None)
    deployment.call(signed_request(webhook(label_hash=LABEL), "wrong"))
    deployment.post(webhook(label_hash=LABEL), rawPath="/mistyped")
    written = output()
    assert (written.metric("RefusedUnsigned"), written.metric("Refused")) == (None, 1)
    assert written.metric("Refused", "path") == 1, "signed, so it is Encord's, with a mistyped URL"
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps([OTHER]))
    output()
    deployment.post(webhook(label_hash=LABEL))
    written = output()
    assert (written.metric("RefusedAuthenticated", "project"), written.metric("Refused")) == (1, None)


@pytest.mark.parametrize("closed", [False, True])
def test_the_webhook_that_verify_sends_to_be_refused_does_not_count_for_the_alarm(
    deployment: Deployment, output: Any, closed: bool
) -> None:
    if closed:
        deployment.aws.secrets[SIGNING_ARN] = "{}"
        deployment.restart()
    output()
    assert deployment.call(signed_request(webhook(label_hash=LABEL), PROBE_KEY))["statusCode"] == 401
    written = output()
    assert written.metric("RefusedUnsigned", "verify_probe") == 1
    assert written.metric("Refused") is None


def test_allow_list_of_projects(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps([OTHER]))
    status, body = status_of(deployment.post(webhook(label_hash=LABEL)))
    assert (status, body["field"]) == (403, "payload.project_hash")
    assert deployment.aws.messages == []
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps([OTHER, PROJECT]))
    assert status_of(deployment.post(webhook(label_hash=LABEL)))[0] == 202


# Authentication


def refusals(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Return a webhook for each authentication failure, by the reason in the log."""
    body = webhook(label_hash=LABEL)
    secret = deployment.signing_secret
    good = signed_request(body, secret)

    def with_headers(**changes: str | None) -> dict[str, Any]:
        headers = {**good["headers"], **{name.replace("_", "-"): value for name, value in changes.items()}}
        return {**good, "headers": {name: value for name, value in headers.items() if value is not None}}

    return {
        "unsigned": with_headers(x_encord_signature=None),
        "signature_malformed": with_headers(x_encord_signature="abc"),
        "signature_wrong": signed_request(body, "another"),
        "timestamp_malformed": with_headers(x_encord_timestamp="1.5"),
        "timestamp_out_of_window": signed_request(body, secret, at=time.time() - 301),
        "token_wrong": {**with_headers(x_encord_signature=None), "rawQueryString": "token=guess"},
    }


def test_every_authentication_failure_gets_the_same_answer(deployment: Deployment, output: Any) -> None:
    answers = []
    for reason, event in refusals(deployment).items():
        answers.append(deployment.call(event))
        written = output()
        assert written.metric("RefusedUnsigned" if reason == "unsigned" else "Refused", reason) == 1, reason
        assert written.logged("webhook_refused")[0]["reason"] == reason
    assert answers[0]["statusCode"] == 401
    assert json.loads(answers[0]["body"]) == {"error": "unauthorized"}
    assert all(answer == answers[0] for answer in answers)
    assert deployment.aws.messages == []
    assert deployment.encord.calls == []


def test_a_body_that_was_changed_or_a_future_time_is_refused(deployment: Deployment) -> None:
    event = signed_request(webhook(label_hash=LABEL), deployment.signing_secret)
    assert deployment.call({**event, "body": event["body"] + " "})["statusCode"] == 401
    future = signed_request(webhook(label_hash=LABEL), deployment.signing_secret, at=time.time() + 310)
    assert deployment.call(future)["statusCode"] == 401


def test_without_a_secret_everything_is_refused(deployment: Deployment, output: Any) -> None:
    for secrets in ("{}", '{"signing_secrets": [], "url_tokens": []}', '{"signing_secrets": [""], "url_tokens": [""]}'):
        deployment.aws.secrets[SIGNING_ARN] = secrets
        deployment.restart()
        for secret in (deployment.signing_secret, ""):
            event = signed_request(webhook(label_hash=LABEL), secret or "x", rawQueryString="token=")
            assert deployment.call(event)["statusCode"] == 401
        assert output().metric("Refused", "no_secret_set") == 1


def test_two_secrets_are_valid_while_one_is_rotated(deployment: Deployment) -> None:
    other = uuid.uuid4().hex
    deployment.aws.secrets[SIGNING_ARN] = json.dumps({"signing_secrets": [other, deployment.signing_secret]})
    for secret in (other, deployment.signing_secret):
        assert deployment.call(signed_request(webhook(label_hash=LABEL), secret))["statusCode"] == 202


def test_a_new_secret_works_without_a_restart(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202
    new = uuid.uuid4().hex
    deployment.aws.secrets[SIGNING_ARN] = json.dumps({"signing_secrets": [new]})
    event = signed_request(webhook(label_hash=LABEL), new)
    assert deployment.call(event)["statusCode"] == 401, "the secret was read just now, it is not read again at once"
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    assert deployment.call(event)["statusCode"] == 202
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 401, "the old one is no longer valid"


def test_refusals_do_not_make_us_read_the_secret_each_time(deployment: Deployment) -> None:
    for _ in range(5):
        assert deployment.call(signed_request(webhook(label_hash=LABEL), "wrong"))["statusCode"] == 401
    assert deployment.aws.count("GetSecretValue") == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(Answer(503)), Fault(Answer(400, b'{"__type":"AccessDeniedException"}')), Fault(cut="before")],
)
def test_a_forged_request_is_refused_alike_while_the_secret_cannot_be_refreshed(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    forged = signed_request(webhook(label_hash=LABEL), "wrong")
    refusal = deployment.call(forged)
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    deployment.aws.fail("GetSecretValue", *[fault] * retry.ATTEMPTS)
    output()
    assert deployment.call(forged) == refusal
    written = output()
    assert written.metric("WebhookFailed") is None
    (line,) = written.logged("secrets_not_refreshed")
    assert line["level"] == "WARNING"
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202, "who can sign is let in"


@pytest.mark.parametrize("name", ["entrypoints.webhook.parse_webhook", "adapters.aws.sqs.SqsQueue.send"])
def test_an_unexpected_error_is_answered_and_counted_without_its_text(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(f"label_export.{name}", broken)
    answer = deployment.post(webhook(label_hash=LABEL))
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "30")
    written = output()
    assert written.metric("WebhookFailed", "unexpected") == 1
    assert written.logged("webhook_not_queued")[0]["detail"].startswith("ZeroDivisionError at test_webhook.py:")
    assert "canary" not in written.text + json.dumps(answer)


def test_url_token_instead_of_a_signature(deployment: Deployment, output: Any) -> None:
    second = uuid.uuid4().hex
    deployment.aws.secrets[SIGNING_ARN] = json.dumps({"url_tokens": [deployment.token, second]})
    for token in (deployment.token, second):
        event = signed_request(webhook(label_hash=LABEL), "not known", rawQueryString=f"a=1&token={token}")
        assert deployment.call(event)["statusCode"] == 202
    twice = signed_request(webhook(label_hash=LABEL), "not known", rawQueryString=f"token={second}&token=x")
    assert deployment.call(twice)["statusCode"] == 401
    assert second not in output().text


def test_a_base64_token_is_known_however_it_was_typed_behind_the_url(deployment: Deployment) -> None:
    token = f"{uuid.uuid4().hex}+ab/cd=="  # as `openssl rand -base64` prints
    deployment.aws.secrets[SIGNING_ARN] = json.dumps({"url_tokens": [token]})
    for typed in (token, quote(token, safe=""), quote(token), token.replace("=", "%3D")):
        event = signed_request(webhook(label_hash=LABEL), "not known", rawQueryString=f"token={typed}")
        assert deployment.call(event)["statusCode"] == 202, typed


@pytest.mark.parametrize("stored", ["{}\n", "\ufeff{}", "'{}'", '"{}"', "{}\\n", " {}\r\n"], ids=json.dumps)
def test_a_secret_with_surrounding_characters_is_reported_as_such(
    deployment: Deployment, output: Any, stored: str
) -> None:
    secret, token = deployment.signing_secret, deployment.token
    around = {"signing_secrets": [stored.replace("{}", secret)], "url_tokens": [stored.replace("{}", token)]}
    deployment.aws.secrets[SIGNING_ARN] = json.dumps(around)
    body = webhook(label_hash=LABEL)
    by_token = {**signed_request(body, "x", rawQueryString=f"token={token}")}
    for event in (signed_request(body, secret), by_token):
        assert deployment.call(event)["statusCode"] == 401
        written = output()
        assert written.metric("Refused", "secret_white_space") == 1
        assert "store it without" in written.logged("webhook_refused")[0]["detail"]
        assert secret not in written.text
        assert token not in written.text


def test_successor_headers_are_named_only_in_the_log(deployment: Deployment, output: Any) -> None:
    event = signed_request(webhook(label_hash=LABEL), "wrong", headers={"X-Encord-Signature-V2": "abc"})
    answer = deployment.call(event)
    assert "v2" not in json.dumps(answer).lower()
    assert "x-encord-signature-v2" in output().logged("webhook_refused")[0]["detail"]


def test_every_secret_and_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison uses hmac.compare_digest, and the first match does not end them."""
    compared: list[bytes] = []
    real = hmac.compare_digest

    def watched(given: bytes, valid: bytes) -> bool:
        compared.append(valid)
        return real(given, valid)

    monkeypatch.setattr("label_export.entrypoints.webhook_authentication.hmac.compare_digest", watched)
    known = WebhookSecrets(("one", "two", "three"), ("first", "second", "third"))
    authenticate({}, "first", b"", known, 0)
    assert compared == [b"first", b"second", b"third"]
    compared.clear()
    signature = hmac.new(b"one", b"0.", hashlib.sha256).hexdigest()
    authenticate({"x-encord-signature": signature, "x-encord-timestamp": "0"}, None, b"", known, 0)
    assert len(compared) == 3


@pytest.mark.parametrize(("skew", "accepted"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_the_replay_window_ends_after_300_seconds(skew: int, accepted: bool) -> None:
    signature = hmac.new(b"s", f"{1000 + skew}.".encode(), hashlib.sha256).hexdigest()
    headers = {"x-encord-signature": signature, "x-encord-timestamp": str(1000 + skew)}
    reason = None
    try:
        authenticate(headers, None, b"", WebhookSecrets(("s",), ()), 1000)
    except RefusedRequestError as error:
        reason = error.reason
    assert reason == (None if accepted else "timestamp_out_of_window")


secrets = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=3)


@given(
    secrets=secrets,
    body=st.binary(max_size=200),
    skew=st.integers(-300, 300),
    picked=st.integers(0, 2),
    upper=st.booleans(),
)
def test_any_right_signature_is_accepted(secrets: list[str], body: bytes, skew: int, picked: int, upper: bool) -> None:
    now = 1_700_000_000
    secret = secrets[picked % len(secrets)].encode("utf-8", "surrogatepass")
    signature = hmac.new(secret, f"{now + skew}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-encord-timestamp": str(now + skew), "x-encord-signature": signature.upper() if upper else signature}
    authenticate(headers, None, body, WebhookSecrets(tuple(secrets), ()), now)


@given(
    secrets=secrets,
    body=st.binary(max_size=100),
    given=st.text(max_size=80) | st.from_regex("[0-9a-f]{64}", fullmatch=True),
    timestamp=st.text(max_size=20) | st.integers(1_699_999_700, 1_700_000_300).map(str),
    token=st.none() | st.text(max_size=10),
)
def test_any_other_signature_is_refused(
    secrets: list[str], body: bytes, given: str, timestamp: str, token: str | None
) -> None:
    headers = {"x-encord-timestamp": timestamp, "x-encord-signature": given}
    with pytest.raises(RefusedRequestError) as caught:
        authenticate(headers, token, body, WebhookSecrets(tuple(secrets), ("x" * 20,)), 1_700_000_000)
    assert caught.value.status == 401


def test_a_malformed_secret_is_our_fault_not_the_senders(deployment: Deployment, output: Any) -> None:
    half_a_character = '{"signing_secrets": ["canary\\ud800"]}'
    for value in (
        half_a_character,
        "canary",
        "[]",
        '{"signing_secrets": "canary"}',
        '{"url_tokens": [1]}',
        "[" * 100_000,
    ):
        deployment.aws.secrets[SIGNING_ARN] = value
        deployment.restart()
        assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 503
        written = output()
        assert written.metric("WebhookFailed", "signing_secrets") == 1
        assert "canary" not in written.text


# What is refused


def test_size_is_checked_before_anything_else(deployment: Deployment) -> None:
    huge = b"[" * (MAX_BODY_BYTES + 1)
    assert deployment.post(huge)["statusCode"] == 413
    encoded = base64.b64encode(huge).decode()
    assert deployment.post(b"", body=encoded, isBase64Encoded=True)["statusCode"] == 413
    assert deployment.post(b"", body="!" * (2 * MAX_BODY_BYTES), isBase64Encoded=True)["statusCode"] == 413
    assert deployment.post(b"", body="é" * (MAX_BODY_BYTES - 1))["statusCode"] == 413
    assert deployment.aws.calls == [], "no secret was read for it"


def test_the_largest_body_is_accepted_and_one_byte_more_is_not(deployment: Deployment) -> None:
    bare = json.dumps(webhook(label_hash=LABEL)).encode()
    largest = bare + b" " * (MAX_BODY_BYTES - len(bare))
    for raw, status in ((largest, 202), (largest + b" ", 413)):
        assert deployment.post(raw)["statusCode"] == status
        encoded = base64.b64encode(raw).decode()
        assert deployment.post(raw, body=encoded, isBase64Encoded=True)["statusCode"] == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(deployment: Deployment, method: str) -> None:
    answer = deployment.post(webhook(), requestContext={"http": {"method": method}})
    assert (answer["statusCode"], answer["headers"]["Allow"]) == (405, "POST")


def test_get_and_other_paths_are_not_found(deployment: Deployment) -> None:
    assert deployment.post(webhook(), requestContext={"http": {"method": "GET"}})["statusCode"] == 404
    for path in ("/", "/webhooks", "/webhook/x", None, 7):
        assert deployment.post(webhook(), rawPath=path)["statusCode"] == 404


def test_webhooks_are_accepted_at_the_configured_path(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_WEBHOOK_PATH="/encord/labels")
    assert deployment.post(webhook(label_hash=LABEL), rawPath="/encord/labels")["statusCode"] == 202
    assert deployment.post(webhook(), rawPath="/webhook")["statusCode"] == 404


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"headers": {"content-type": "text/plain"}}, 415, "content-type"),
        ({"headers": {"content-type": ""}}, 415, "content-type"),
        ({"isBase64Encoded": True, "body": "%%%"}, 400, "body"),
        ({"isBase64Encoded": True, "body": "é"}, 400, "body"),
        ({"body": {"a": 1}}, 400, "body"),
        ({"body": "\ud800"}, 400, "body"),
    ],
)
def test_the_refusal_of_a_malformed_request_names_the_field(
    deployment: Deployment, changes: dict[str, Any], status: int, field: str
) -> None:
    event = deployment.post(webhook(), **changes)
    assert (event["statusCode"], json.loads(event["body"])["field"]) == (status, field)


def test_missing_parts_of_an_event(deployment: Deployment) -> None:
    for name, status in (("headers", 401), ("body", 400), ("rawQueryString", 400)):
        event = signed_request(b"", deployment.signing_secret)
        del event[name]
        assert deployment.call(event)["statusCode"] == status, name


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"[" * 60_000, "body"),
        (b'{"a":' * 10_000, "body"),
        (b"9" * 50_000, "body"),
        (b"[]", "body"),
        (b"\xff\xfe", "body"),
        (webhook() | {"version": 2}, "version"),
        (webhook() | {"version": None}, "version"),
        (webhook() | {"version": True}, "version"),
        (webhook() | {"event_type": 7}, "event_type"),
        (webhook() | {"event_type": None}, "event_type"),
        (webhook() | {"event_type": "x" * 200}, "event_type"),
        (webhook() | {"event_type": "a\nb"}, "event_type"),
        (webhook() | {"payload": None}, "payload"),
        (webhook() | {"payload": "text"}, "payload"),
        (webhook(project_hash=7), "payload.project_hash"),
        (webhook(project_hash="../x"), "payload.project_hash"),
        (webhook(project_hash="x" * 65), "payload.project_hash"),
        (webhook(), "payload.label_hashes"),
        (webhook(label_hashes=[]), "payload.label_hashes"),
        (webhook(label_hashes=[None]), "payload.label_hashes"),
        (webhook(label_hashes=[1]), "payload.label_hashes"),
        (webhook(label_hashes={"a": 1}), "payload.label_hashes"),
        (webhook(label_hash="a/b"), "payload.label_hash"),
        (webhook(data_hashes=[["x"]]), "payload.data_hashes"),
        (webhook(data_hash=1.5), "payload.data_hash"),
    ],
)
def test_the_refusal_of_a_malformed_webhook_names_the_field(deployment: Deployment, body: Any, field: str) -> None:
    status, answer = status_of(deployment.post(body))
    assert (status, answer["field"]) == (400, field)
    assert deployment.aws.messages == []


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70) | st.sampled_from([LABEL, DATA, PROJECT, 1, "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["uid", "version", "event_type", "payload", "project_hash", "label_hashes", "label_hash", "data_hashes"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=300) | json_like.map(lambda value: json.dumps(value).encode()))
def test_parsing_never_fails_in_another_way(body: bytes) -> None:
    assert readable_parts(body).event_uid.isprintable()
    try:
        parsed = parse_webhook(body)
    except RefusedRequestError as error:
        refused: RefusedRequestError | None = error
    else:
        refused = None
        assert all(decode(encode(change)) == change for change in parsed.changes)
    assert refused is None or (refused.status == 400 and refused.field)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=json_like, payload=json_like)
def test_no_webhook_ends_in_a_server_error(deployment: Deployment, event: Any, payload: Any) -> None:
    body = event if isinstance(event, dict) else webhook() | {"payload": payload}
    assert 200 <= deployment.post(json.dumps(body).encode())["statusCode"] < 500


anything = st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.lists(st.text(max_size=5), max_size=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | st.just(b"[" * 60_000) | st.just(b"[" * 70_000), signed=st.booleans())
@example(body=b"\xff\xfe\x00", signed=True)
def test_no_bytes_end_in_a_server_error(deployment: Deployment, body: bytes, signed: bool) -> None:
    event = signed_request(body, deployment.signing_secret if signed else "wrong")
    assert 400 <= deployment.call(event)["statusCode"] < 500
    assert deployment.aws.messages == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.fixed_dictionaries(
        {},
        optional={
            "body": anything,
            "isBase64Encoded": anything,
            "rawPath": anything,
            "rawQueryString": anything,
            "headers": anything | st.dictionaries(st.text(max_size=20), anything, max_size=3),
            "requestContext": st.fixed_dictionaries({"http": st.dictionaries(st.just("method"), anything)}),
        },
    )
)
def test_no_shape_of_an_http_event_ends_in_a_server_error(deployment: Deployment, parts: dict[str, Any]) -> None:
    event = signed_request(webhook(), deployment.signing_secret) | parts
    assert 400 <= deployment.call(event)["statusCode"] < 500
    assert deployment.aws.messages == []


# What is queued


def test_many_labels_go_in_batches_of_ten(deployment: Deployment, output: Any) -> None:
    labels = [str(uuid.UUID(int=number)) for number in range(1, 36)]
    assert status_of(deployment.post(webhook(label_hashes=labels))) == (202, {"accepted": 35})
    assert sorted(message["label_hash"] for message in deployment.aws.messages) == labels
    assert deployment.aws.count("SendMessageBatch") == 4
    assert output().metric("Enqueued") == 35


def test_messages_that_the_queue_refused_are_sent_again(deployment: Deployment) -> None:
    deployment.aws.refuse_entries.extend([{"0", "2"}, {"2"}])
    assert deployment.post(webhook(label_hashes=[LABEL, OTHER, DATA]))["statusCode"] == 202
    assert [message["label_hash"] for message in deployment.aws.messages] == [OTHER, LABEL, DATA]


def test_a_webhook_is_acknowledged_only_if_the_queue_has_everything(deployment: Deployment, output: Any) -> None:
    deployment.aws.refuse_entries.extend([{"1"}] * 1000)
    event = signed_request(webhook(label_hashes=[LABEL, OTHER]), deployment.signing_secret)
    # The remaining time shrinks with each call, so that a slow machine has as many tries as any other.
    answer = deployment.call(event, CountedContext())
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "30")
    assert output().metric("WebhookFailed", "queue_partial") == 1


@pytest.mark.parametrize(
    ("fault", "tries", "status"),
    [
        (Fault(Answer(503)), 2, 202),
        (Fault(Answer(400, b'{"__type":"com.amazonaws.sqs#ThrottlingException"}')), 2, 202),
        (Fault(cut="before"), 2, 202),
        (Fault(cut="after"), 2, 202),
        (Fault(cut="middle"), 2, 202),
        (Fault(Answer(200, b"<html>")), 2, 202),
        (Fault(Answer(200, b"[]")), 2, 202),
        (Fault(Answer(403, b'{"__type":"AccessDeniedException"}')), 1, 503),
        (Fault(Answer(400, b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}')), 1, 503),
        (Fault(Answer(400, b"x")), 1, 503),
    ],
)
def test_a_queue_that_fails(deployment: Deployment, fault: Fault, tries: int, status: int) -> None:
    deployment.aws.fail("SendMessageBatch", fault)
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == status
    assert deployment.aws.count("SendMessageBatch") == tries


@pytest.mark.parametrize(
    "answer",
    [
        Answer(503),
        Answer(400, b'{"__type":"com.amazonaws.sqs#KmsThrottled"}'),
        Answer(403, b'{"__type":"com.amazonaws.sqs#OverLimit"}'),
        Answer(400, b'{"__type":"ThrottledException"}'),
    ],
)
def test_a_failing_queue_is_retried_while_there_is_time(deployment: Deployment, answer: Answer) -> None:
    deployment.aws.fail("SendMessageBatch", *[Fault(answer)] * 6)
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202
    assert deployment.aws.count("SendMessageBatch") == 7


def test_messages_that_sqs_calls_the_senders_fault_are_not_retried(deployment: Deployment) -> None:
    failed = {"Id": "0", "SenderFault": True, "Code": "InvalidMessageContents"}
    answer = json.dumps({"Successful": [], "Failed": [failed]}).encode()
    deployment.aws.fail("SendMessageBatch", Fault(Answer(200, answer)))
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 503
    assert deployment.aws.count("SendMessageBatch") == 1


@pytest.mark.parametrize("operation", ["SendMessageBatch", "GetSecretValue"])
def test_a_connection_without_a_response_costs_a_few_seconds_of_the_webhooks_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    assert {READ_TIMEOUTS["sqs"], READ_TIMEOUTS["secretsmanager"]} == {5.0}
    monkeypatch.setitem(READ_TIMEOUTS, "sqs", 0.2)
    monkeypatch.setitem(READ_TIMEOUTS, "secretsmanager", 0.2)
    answered = threading.Event()
    deployment.aws.fail(operation, Fault(when=lambda: answered.wait(20), cut="before"))
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202
    answered.set()


def test_a_webhook_ends_before_the_front_door_gives_up(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much time the function has: an HTTP API waits for 30 s."""
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept))
    monkeypatch.setattr("label_export.application.time", clock)
    defaults = {**(retry.Retry.__init__.__kwdefaults__ or {}), "sleep": slept.append}
    monkeypatch.setattr(retry.Retry.__init__, "__kwdefaults__", defaults)
    deployment.aws.fail("SendMessageBatch", *[Fault(Answer(503))] * 1000)
    assert (
        deployment.call(signed_request(webhook(label_hash=LABEL), deployment.signing_secret), Context(seconds=600))[
            "statusCode"
        ]
        == 503
    )
    assert 10 < sum(slept) < 20


@pytest.mark.parametrize("problem", ["down", "malformed"])
def test_webhooks_are_accepted_while_the_secret_cannot_be_read_or_is_invalid(
    deployment: Deployment, output: Any, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.KEPT_FOR", -1.0)
    monkeypatch.setattr("label_export.adapters.aws.secretsmanager.REFRESH_AFTER", 0.0)
    if problem == "down":
        deployment.aws.fail("GetSecretValue", *[Fault(Answer(503))] * 2)
    else:
        deployment.aws.secrets[SIGNING_ARN] = '{"signing_secrets": ["half'
    output()
    for _ in range(2):
        assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202
    written = output()
    assert written.metric("StaleSecret") == 1
    assert [line["level"] for line in written.logged("secret_stale")] == ["WARNING"] * 2


def test_secrets_manager_that_fails(deployment: Deployment) -> None:
    deployment.aws.fail("GetSecretValue", Fault(Answer(500)), Fault(Answer(500)))
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 202
    deployment.restart()
    del deployment.aws.secrets[SIGNING_ARN]
    assert deployment.post(webhook(label_hash=LABEL))["statusCode"] == 503


def test_no_time_left_is_not_an_acknowledgement(deployment: Deployment) -> None:
    event = signed_request(webhook(label_hash=LABEL), deployment.signing_secret)
    assert deployment.call(event, Context(seconds=0.5))["statusCode"] == 503
