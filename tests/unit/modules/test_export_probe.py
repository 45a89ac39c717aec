"""The probe: what it sends, that its result contains no secret, and how it judges the outcome."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from ansible_collections.label_export.aws.plugins.modules.export_probe import NEVER_VALID, judged, probe_label
from fake_aws import Fake, Values, done
from label_export.core import messages
from label_export.entrypoints.webhook_authentication import PROBE_KEY

ROOT = Path(__file__).resolve().parents[3]
SECRETS = ["the-first-secret", "the-second-secret"]
TOKENS = ["the-first-token", "the-second-token"]
PROJECT = "11111111-1111-4111-8111-111111111111"
TEMPLATE = "encord/{project_hash}/labels/{label_hash}.json"
GONE = {
    "event": "nothing_to_export",
    "reason": "row_deleted",
    "detail": "Encord no longer has this label row",
}


class FakeAccount(Fake):
    """A queue, a log with each probe's end, and a bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.end: Values = GONE
        self.uids: list[str] = []
        self.sent: list[Values] = []
        self.looks = 0
        self.stored: list[Values] = []

    def get_queue_url(self, p: Values) -> Values:
        return {"QueueUrl": f"https://sqs/{p['QueueName']}"}

    def send_message(self, p: Values) -> None:
        self.sent.append(json.loads(p["MessageBody"]))
        self.uids.append(self.sent[-1]["event_uid"])

    def filter_log_events(self, p: Values) -> Values:
        assert p["logGroupName"] == "/log"
        self.looks += 1
        uid = p["filterPattern"].strip('"')
        if self.looks < 3 or uid not in self.uids:
            return {"events": []}
        # Pages without an event come first: each covers a part of the log.
        page = int(p.get("nextToken", "0"))
        if page < 3:
            return {"events": [], "nextToken": str(page + 1)}
        lines: list[Values] = [
            {"event": "webhook_accepted", "event_uid": uid},
            {**self.end, "event_uid": uid},
        ]
        return {"events": [{"message": text} for text in ["START", *map(json.dumps, lines)]]}

    def list_object_versions(self, p: Values) -> Values:
        assert p["Prefix"].startswith("encord/")
        return {"Versions": self.stored}


class Door:
    """A front door on loopback that refuses unsigned requests, as the function does."""

    def __init__(self, fake: FakeAccount, secrets: list[str], tokens: list[str]) -> None:
        self.requests: list[Values] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                token = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
                stamp, signature = self.headers.get("X-Encord-Timestamp", ""), self.headers.get("X-Encord-Signature")
                signatures = [
                    hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
                    for secret in secrets
                ]
                let_in = signature in signatures or token in tokens
                envelope = json.loads(body)
                outer.requests.append({**envelope, "let_in": let_in})
                if let_in and envelope["event_type"] == "task_completed_event":
                    fake.uids.append(envelope["uid"])
                self.send_response(202 if let_in else 401)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook"

    def urls(self, tokens: list[str]) -> list[str]:
        """Return the URLs that a person would paste."""
        return [f"{self.url}?token={token}" for token in tokens]


@pytest.fixture
def door() -> Iterator[Callable[..., Door]]:
    made: list[Door] = []

    def make(fake: FakeAccount, secrets: list[str], tokens: list[str]) -> Door:
        made.append(Door(fake, secrets, tokens))
        threading.Thread(target=made[-1].server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def probe(fake: FakeAccount, **given: Any) -> Values:
    names = {"queue": "work", "log_group": "/log", "bucket": "labels", "key_template": TEMPLATE, "timeout": 5}
    result = done("export_probe", fake, **{**names, **given})
    assert not result["changed"]
    shown = json.dumps({key: value for key, value in result.items() if key != "invocation"})
    assert [secret for secret in [*SECRETS, *TOKENS] if secret in shown] == []
    return result


def failing(result: Values) -> dict[str, str]:
    return {check["name"]: check["found"] for check in result["checks"] if not check["ok"]}


@pytest.mark.parametrize(
    ("secrets", "tokens", "accepted"),
    [
        (SECRETS, [], ["label_export_probe_event", "task_completed_event"]),
        (SECRETS[:1], TOKENS[:1], ["label_export_probe_event", "task_completed_event"]),
        ([], TOKENS, ["label_export_probe_event", "task_completed_event"]),
    ],
)
def test_the_probe_uses_the_front_door(
    door: Callable[..., Door], secrets: list[str], tokens: list[str], accepted: list[str]
) -> None:
    fake = FakeAccount()
    front = door(fake, secrets, tokens)
    result = probe(fake, url=front.url, signing_secrets=secrets, token_urls=front.urls(tokens), project_hash=PROJECT)
    assert failing(result) == {}
    assert [request["let_in"] for request in front.requests] == [False, False, True, True]
    assert [request["event_type"] for request in front.requests if request["let_in"]] == accepted
    assert {request["uid"] for request in front.requests} == {result["event_uid"]}
    assert {request["payload"]["project_hash"] for request in front.requests} == {PROJECT}
    assert fake.sent == []


def test_the_function_recognises_the_webhook_that_verify_sends_to_be_refused() -> None:
    assert PROBE_KEY == NEVER_VALID


def test_one_verify_raises_no_alarm_for_refused_webhooks(door: Callable[..., Door]) -> None:
    defaults = yaml.safe_load((ROOT / "roles/monitoring/defaults/main.yml").read_text())
    front = door(FakeAccount(), SECRETS, TOKENS)
    probe(FakeAccount(), url=front.url, signing_secrets=SECRETS, token_urls=front.urls(TOKENS), timeout=0)
    refused = [request for request in front.requests if not request["let_in"]]
    assert 0 < len(refused) < defaults["monitoring_refused_threshold"]


def test_a_closed_environment_refuses_every_request_and_its_queue_is_tested(door: Callable[..., Door]) -> None:
    fake = FakeAccount()
    result = probe(fake, url=door(fake, [], []).url)
    assert failing(result) == {}
    assert "every webhook is refused" in result["checks"][2]["name"]
    assert [message["event_uid"] for message in fake.sent] == [result["event_uid"]]


def test_without_a_front_door_the_probe_uses_the_queue() -> None:
    fake = FakeAccount()
    assert failing(probe(fake)) == {}
    assert fake.sent[0].keys() == {"version", "project_hash", "label_hash", "event_uid", "event_type"}


def test_a_secret_that_was_not_given_is_reported(door: Callable[..., Door]) -> None:
    fake = FakeAccount()
    found = failing(probe(fake, url=door(fake, SECRETS[:1], []).url, signing_secrets=SECRETS))
    assert found == {"signing secret 2 is accepted": "answered 401"}
    found = failing(probe(fake, url=door(fake, ["another"], []).url, signing_secrets=SECRETS[:1]))
    assert found == {"a webhook with the signing secret is accepted": "answered 401"}


def test_an_open_or_missing_front_door_is_reported(door: Callable[..., Door]) -> None:
    fake = FakeAccount()
    found = failing(probe(fake, url=door(fake, [], [""]).url, signing_secrets=SECRETS[:1]))
    assert set(found) == {"a webhook with a wrong signature is refused", "a webhook without a signature is refused"}
    found = failing(probe(fake, url="http://127.0.0.1:9/webhook", token_urls=["http://127.0.0.1:9/webhook?token=a"]))
    assert set(found.values()) == {"no answer (ConnectionRefusedError)"}


def test_an_object_that_was_stored_is_reported() -> None:
    fake = FakeAccount()
    fake.stored = [{"Key": "k", "VersionId": "v"}]
    assert set(failing(probe(fake))) == {"the probe left nothing in the bucket"}


def test_a_probe_without_an_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeAccount()
    monkeypatch.setattr(fake, "filter_log_events", lambda _p: {"events": []})
    result = probe(fake, timeout=0)
    assert failing(result) == {
        "the probe reached Encord through queue and function, and ended there": "nothing in the log within 0 s"
    }


@pytest.mark.parametrize(
    ("end", "random_project", "fine"),
    [
        (GONE, False, True),
        ({"event": "label_filtered"}, False, True),
        ({"event": "probe_ended", "reason": "no_access"}, True, True),
        ({"event": "probe_ended", "reason": "no_access"}, False, False),
        ({"event": "probe_ended", "reason": "key_refused"}, True, False),
        ({"event": "label_failed", "reason": "encord_unavailable"}, True, False),
        ({"event": "label_exported"}, True, False),
        (None, True, False),
    ],
)
def test_judged(end: Values | None, random_project: bool, fine: bool) -> None:
    ok, found, advice = judged(end, random_project, 60)
    assert ok is fine
    assert found
    assert advice


def test_check_mode_sends_nothing() -> None:
    fake = FakeAccount()
    assert (
        done("export_probe", fake, check=True, queue="q", log_group="/log", bucket="b", key_template="k")["checks"]
        == []
    )
    assert fake.calls == []


def test_the_function_recognises_the_probe_by_its_label() -> None:
    uid = "verify-1d0c7ea4"
    change = messages.LabelChange(PROJECT, probe_label(uid), None, uid)
    assert change.is_probe
    assert not messages.LabelChange(PROJECT, probe_label(uid), None, "1d0c7ea4").is_probe
