"""Completing a task moves the row on and sends each registered URL a webhook that verifies independently."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import re
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from encord_harness import make_files


class Receiver:
    """An HTTP server that records requests and answers 202, or a given status."""

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 202
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "14")
                self.end_headers()
                self.wfile.write(b'{"accepted":1}')

            def log_message(self, *_: Any) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}/stage/webhook?x=1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def registered(stand_in: Any, receiver: Receiver) -> dict[str, Any]:
    answer: dict[str, Any] = stand_in.control("POST", "webhooks", {"url": receiver.url})
    return answer


def verifies(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Verify a webhook as documented, without any code of the stand-in."""
    timestamp = headers["x-encord-timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        return False
    expected = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers.get("x-encord-signature", ""), expected)


def first_box(row: dict[str, Any]) -> dict[str, float]:
    (unit,) = row["data_units"].values()
    box: dict[str, float] = unit["labels"]["0"]["objects"][0]["boundingBox"]
    return box


def complete(stand_in: Any, key: str = "video", **more: Any) -> dict[str, Any]:
    body = {"label_hash": stand_in.row(key)["label_hash"], **more}
    answer: dict[str, Any] = stand_in.control("POST", "complete-task", body)
    return answer


def test_completing_a_task_moves_the_row_on_and_sends_a_signed_webhook(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any]
) -> None:
    before = stand_in.row("video")
    bytes_before = stand_in.row_bytes(before["label_hash"])
    answer = complete(stand_in)
    assert answer["deliveries"] == [
        {"url": receiver.url, "status": 202, "body": '{"accepted":1}', "milliseconds": pytest.approx(100, abs=2000)}
    ]
    ((path, headers, body),) = receiver.received
    assert path == "/stage/webhook?x=1"
    assert headers["content-type"] == "application/json"
    assert verifies(registered["signing_secret"], headers, body)
    assert not verifies(registered["signing_secret"], headers, body + b" ")
    assert not verifies("another", headers, body)
    event = json.loads(body)
    assert {key: event[key] for key in ("version", "source", "event_type", "payload")} == {
        "version": 1,
        "source": "Encord",
        "event_type": "task_completed_event",
        "payload": {
            "project_hash": stand_in.project()["project_hash"],
            "data_hashes": [before["data_hash"]],
            "label_hashes": [before["label_hash"]],
        },
    }
    assert set(event) == {"uid", "version", "source", "event_type", "event_created_timestamp", "payload"}
    after = stand_in.row("video")
    assert after["workflow_stage"] == "Complete"
    assert after["last_edited_at"] == answer["last_edited_at"]
    assert datetime.fromisoformat(after["last_edited_at"]) > datetime.fromisoformat(before["last_edited_at"])
    row, row_before = json.loads(stand_in.row_bytes(before["label_hash"])), json.loads(bytes_before)
    assert row["last_edited_at"] == after["last_edited_at"]
    assert first_box(row)["x"] != first_box(row_before)["x"]
    assert row["editorVersion"]["revision"] == 1


@pytest.mark.parametrize("key", ["image", "image-group", "audio", "text", "html", "pdf", "dicom", "nifti",
                                 "time-series", "group", "scene", "empty", "deleted"])  # fmt: skip
def test_each_edit_changes_the_bytes_and_has_a_later_time_in_the_rows_own_form(stand_in: Any, key: str) -> None:
    label_hash = stand_in.row(key)["label_hash"]
    rows, edited = [stand_in.row_bytes(label_hash)], [stand_in.row(key)["last_edited_at"]]
    for _ in range(3):
        complete(stand_in, key)
        rows.append(stand_in.row_bytes(label_hash))
        edited.append(stand_in.row(key)["last_edited_at"])
    assert len(set(rows)) == 4
    assert len(set(edited)) == 4
    forms = ("%Y-%m-%d %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%S.%f%z")
    for form in forms:
        try:
            parsed = [datetime.strptime(text, form) for text in edited]
        except ValueError:
            continue
        assert parsed == sorted(parsed)
        return
    pytest.fail(f"times of no known form: {edited}")


def test_a_task_can_be_completed_at_a_given_time_or_without_a_change(stand_in: Any) -> None:
    label_hash = stand_in.row("video")["label_hash"]
    at = "2025-01-01T00:00:00.000001+00:00"
    assert complete(stand_in, edited_at=at)["last_edited_at"] == at
    first = stand_in.row_bytes(label_hash)
    assert complete(stand_in, edited_at=at, change=False)["last_edited_at"] == at
    assert stand_in.row_bytes(label_hash) == first
    assert complete(stand_in, edited_at=at)["revision"] == 2
    assert stand_in.row_bytes(label_hash) != first


def test_a_lost_webhook(stand_in: Any, receiver: Receiver, registered: dict[str, Any]) -> None:
    before = stand_in.row("video")["last_edited_at"]
    assert complete(stand_in, deliver=False)["deliveries"] == []
    assert stand_in.row("video")["last_edited_at"] != before
    assert receiver.received == []


def test_a_webhook_sent_several_times_is_the_same_event(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any]
) -> None:
    assert len(complete(stand_in, duplicates=2)["deliveries"]) == 3
    assert len({body for _, _, body in receiver.received}) == 1
    label_hash = stand_in.row("audio")["label_hash"]
    before = stand_in.row_bytes(label_hash)
    stand_in.control("POST", "send-webhook", {"label_hash": label_hash})
    assert len({body for _, _, body in receiver.received}) == 2
    assert stand_in.row_bytes(label_hash) == before


def test_one_webhook_can_name_several_labels(stand_in: Any, receiver: Receiver, registered: dict[str, Any]) -> None:
    hashes = [stand_in.row(key)["label_hash"] for key in ("video", "audio", "text")]
    stand_in.control("POST", "send-webhook", {"label_hashes": hashes})
    assert json.loads(receiver.received[0][2])["payload"]["label_hashes"] == hashes


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("lists", {"data_hashes": ["DATA"], "label_hashes": ["LABEL"]}),
        ("strings", {"data_hashes": "DATA", "label_hashes": "LABEL"}),
        ("singular", {"data_hash": "DATA", "label_hash": "LABEL"}),
        ("label_hash_only", {"label_hash": "LABEL"}),
        ("data_hashes_only", {"data_hashes": ["DATA"]}),
    ],
)
def test_every_form_of_payload_is_signed(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any], form: str, expected: dict[str, Any]
) -> None:
    row = stand_in.row("video")
    complete(stand_in, payload_form=form)
    ((_, headers, body),) = receiver.received
    assert verifies(registered["signing_secret"], headers, body)
    text = json.dumps(json.loads(body)["payload"]).replace(row["label_hash"], "LABEL").replace(row["data_hash"], "DATA")
    assert json.loads(text) == {"project_hash": stand_in.project()["project_hash"], **expected}


def test_events_have_types_and_move_the_task_to_their_stage(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any]
) -> None:
    assert complete(stand_in, "image", event_type="task_submitted_event")["workflow_stage"] == "Review"
    assert complete(stand_in, "image", event_type="task_sumbitted_event")["workflow_stage"] == "Review"
    assert complete(stand_in, "image")["workflow_stage"] == "Complete"
    more = {"event_type": "digest_event", "version": 2, "extra": {"payload": {}, "new": 1}}
    stand_in.control("POST", "send-webhook", {"label_hash": stand_in.row("image")["label_hash"], **more})
    events = [json.loads(body) for _, _, body in receiver.received]
    assert [event["event_type"] for event in events] == [
        "task_submitted_event",
        "task_sumbitted_event",
        "task_completed_event",
        "digest_event",
    ]
    assert (events[3]["version"], events[3]["payload"], events[3]["new"]) == (2, {}, 1)


def test_a_webhook_is_sent_only_for_registered_events(stand_in: Any, receiver: Receiver) -> None:
    other = stand_in.project(1)
    stand_in.control(
        "POST",
        "webhooks",
        {"url": receiver.url, "event_types": ["task_submitted_event"], "project_hash": other["project_hash"]},
    )
    complete(stand_in, event_type="task_submitted_event")
    small = other["label_rows"][0]["label_hash"]
    stand_in.control("POST", "complete-task", {"label_hash": small})
    assert receiver.received == []
    stand_in.control("POST", "complete-task", {"label_hash": small, "event_type": "task_sumbitted_event"})
    assert len(receiver.received) == 1


def test_the_same_url_keeps_its_id_and_can_be_removed(stand_in: Any, receiver: Receiver) -> None:
    first = stand_in.control("POST", "webhooks", {"url": receiver.url})
    again = stand_in.control("POST", "webhooks", {"url": receiver.url, "event_types": ["task_completed_event"]})
    other = stand_in.control("POST", "webhooks", {"url": receiver.url + "&y"})
    assert first["id"] == again["id"] != other["id"]
    listed = stand_in.control("GET", "webhooks")["webhooks"]
    assert [hook["id"] for hook in listed] == [first["id"], other["id"]]
    assert "secret" not in json.dumps(listed)
    assert len(complete(stand_in)["deliveries"]) == 2
    left = stand_in.control("DELETE", f"webhooks/{first['id']}")["webhooks"]
    assert [hook["id"] for hook in left] == [other["id"]]
    assert stand_in.control("DELETE", "webhooks") == {"webhooks": []}


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "127.0.0.1:80", "https://", "http://127.0.0.1/é", "http://a:0/"])
def test_an_invalid_url_is_refused(stand_in: Any, url: str) -> None:
    assert "URL" in stand_in.control("POST", "webhooks", {"url": url}, status=400)["error"]


def test_the_signing_secret_is_rotated_through_its_file(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any]
) -> None:
    old, new = registered["signing_secret"], os.urandom(8).hex()
    assert old == stand_in.files.secrets.read_text().strip()
    stand_in.files.secrets.write_text(f"\n{new}\n{old}\n")
    try:
        complete(stand_in)
        again = stand_in.control("POST", "webhooks", {"url": receiver.url})
        assert again["signing_secret"] == new
        stand_in.files.secrets.write_text("")
        label_hash = stand_in.row("video")["label_hash"]
        answer = stand_in.control("POST", "send-webhook", {"label_hash": label_hash}, status=409)
        assert "no secret" in answer["error"]
    finally:
        stand_in.files.secrets.write_text(f"{old}\n")
    complete(stand_in)
    (_, first_headers, first), (_, second_headers, second) = receiver.received
    assert verifies(new, first_headers, first)
    assert not verifies(old, first_headers, first)
    assert verifies(old, second_headers, second)


@pytest.mark.parametrize(
    "form",
    [{"signature": "wrong"}, {"signature": "missing"}, {"signature": "malformed"}, {"timestamp_offset": -330},
     {"timestamp_offset": 330}],
)  # fmt: skip
def test_webhooks_that_must_be_refused_do_not_verify(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any], form: dict[str, Any]
) -> None:
    complete(stand_in, **form)
    ((_, headers, body),) = receiver.received
    assert not verifies(registered["signing_secret"], headers, body)
    well_formed = re.fullmatch("[0-9a-f]{64}", headers.get("x-encord-signature", "")) is not None
    assert well_formed == (form.get("signature") not in {"missing", "malformed"})


def test_a_successor_signature_can_be_added(stand_in: Any, receiver: Receiver, registered: dict[str, Any]) -> None:
    complete(stand_in, successor_header=True)
    ((_, headers, body),) = receiver.received
    assert verifies(registered["signing_secret"], headers, body)
    assert any(name.startswith("x-encord-signature-") for name in headers)


def test_https_is_verified_with_the_given_authorities(stand_in: Any, tmp_path: Any) -> None:
    trusted = Receiver((str(stand_in.files.certificate), str(stand_in.files.tls_key)))
    strange_files = make_files(tmp_path)
    strange = Receiver((str(strange_files.certificate), str(strange_files.tls_key)))
    try:
        for receiver in (trusted, strange):
            stand_in.control("POST", "webhooks", {"url": receiver.url})
        first, second = complete(stand_in)["deliveries"]
        assert first["status"] == 202
        assert second["status"] is None
        assert "CERTIFICATE_VERIFY_FAILED" in second["error"]
        assert strange.received == []
    finally:
        trusted.close()
        strange.close()


def test_a_refusal_and_an_unreachable_endpoint_are_reported_and_the_row_has_moved_on(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any]
) -> None:
    receiver.status = 401
    stand_in.control("POST", "webhooks", {"url": "http://127.0.0.1:9/none"})
    refused, unreachable = complete(stand_in)["deliveries"]
    assert refused["status"] == 401
    assert unreachable["status"] is None
    assert "ConnectionRefusedError" in unreachable["error"]
    assert stand_in.row("video")["revision"] == 1


def test_an_uninitialised_unit_is_named_without_a_label(
    stand_in: Any, receiver: Receiver, registered: dict[str, Any]
) -> None:
    data_hash = stand_in.row("uninitialised")["data_hash"]
    answer = stand_in.control("POST", "complete-task", {"data_hash": data_hash})
    assert (answer["label_hash"], answer["last_edited_at"]) == (None, None)
    payload = json.loads(receiver.received[0][2])["payload"]
    assert (payload["data_hashes"], payload["label_hashes"]) == ([data_hash], [])
    answer = stand_in.control("POST", "complete-task", {"data_hash": data_hash, "initialise": True})
    assert json.loads(receiver.received[1][2])["payload"]["label_hashes"] == [answer["label_hash"]]
    assert stand_in.row_bytes(answer["label_hash"])
    assert stand_in.counts()["total"]["writes"] == 0  # a person opened it, no client


def test_edit_times_are_current_and_always_increase(stand_in: Any) -> None:
    times = [datetime.fromisoformat(complete(stand_in)["last_edited_at"]) for _ in range(10)]
    assert times == sorted(set(times))
    assert abs(times[0] - datetime.now(times[0].tzinfo)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "name a row"),
        ({"label_hash": "a", "data_hash": "b"}, "name a row"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"label_hash": "LABEL", "deliver": "no"}, "deliver must be true or false"),
        ({"label_hash": "LABEL", "edited_at": "soon"}, "edited_at is not a time"),
        ({"label_hash": "LABEL", "payload_form": "x"}, "payload_form must be one of"),
        ({"label_hash": "LABEL", "signature": "x"}, "signature must be one of"),
    ],
)
def test_an_invalid_completion_is_refused_by_name(stand_in: Any, body: dict[str, Any], message: str) -> None:
    row = stand_in.row("video")
    if body.get("label_hash") == "LABEL":
        body = {**body, "label_hash": row["label_hash"]}
    assert message in stand_in.control("POST", "complete-task", body, status=400)["error"]
    assert stand_in.row("video") == row


def test_an_unknown_row_is_not_found(stand_in: Any) -> None:
    assert "no label row" in stand_in.control("POST", "complete-task", {"label_hash": "x"}, status=404)["error"]


def test_a_row_can_be_changed_without_an_event(stand_in: Any) -> None:
    label_hash = stand_in.row("video")["label_hash"]
    path = f"label-rows/{label_hash}"
    changed = stand_in.control("PATCH", path, {"time_form": "long", "edited_at": "2025-06-01T10:00:00.5+00:00"})
    assert changed["last_edited_at"] == "Sun, 01 Jun 2025 10:00:00 GMT"
    assert json.loads(stand_in.row_bytes(label_hash))["last_edited_at"] == changed["last_edited_at"]
    stand_in.control("PATCH", path, {"hide_edit_time": True})
    assert "last_edited_at" not in json.loads(stand_in.row_bytes(label_hash))
    stand_in.control("PATCH", path, {"hide_edit_time": False})
    assert "last_edited_at" in json.loads(stand_in.row_bytes(label_hash))
