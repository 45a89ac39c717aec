#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: export_probe
short_description: Send a webhook about a label that does not exist, and follow it to its end
description:
  - Sends a webhook as Encord would, signed, through the public endpoint, and reads the function's log to see
    what happened to it. The label has a random hash, so Encord has no such label, and nothing is stored.
  - A webhook with a wrong signature is sent first, and must be refused.
  - The function recognises a probe by its event's uid, and deletes its message whatever the result is, so it never
    becomes a dead letter.
author: The label-export contributors
options:
  url:
    description: The webhook's URL. Without it the probe is sent to O(queue).
    type: str
    default: ""
  signing_secrets:
    description: The webhook's signing secrets. Each must be accepted.
    type: list
    elements: str
    default: []
  token_urls:
    description: Whole URLs with a token, as they are pasted in Encord, for stages without a signing secret.
    type: list
    elements: str
    default: []
  queue:
    description: The name of the queue that the probe is sent to when it cannot go through the endpoint.
    type: str
    required: true
  project_hash:
    description: The project that the probe names. A random one when empty.
    type: str
    default: ""
  event_type:
    description: The event's type, one that leads to an export.
    type: str
    default: task_completed_event
  log_group:
    description: The function's log group.
    type: str
    required: true
  bucket:
    description: The bucket in which nothing may be stored.
    type: str
    required: true
  key_template:
    description: The key of a label's object, with C({project_hash}) and C({label_hash}).
    type: str
    required: true
  ca_bundle:
    description: Certificates to trust in addition to the default ones.
    type: path
    default: ""
  timeout:
    description: Seconds to wait until the webhook is handled.
    type: int
    default: 60
attributes:
  check_mode:
    description: Nothing is sent, and RV(checks) is empty.
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to show.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Send a probe
  label_export.aws.export_probe:
    url: https://abc.execute-api.eu-west-1.amazonaws.com/webhook
    signing_secrets: "{{ encord_secrets_signing_secrets }}"
    queue: label-export-dev
    log_group: /aws/lambda/label-export-dev
    bucket: label-export-dev-123456789012-eu-west-1
    key_template: encord/{project_hash}/labels/{label_hash}.json
  no_log: true
"""

RETURN = r"""
checks:
  description: The checks, each with C(name), C(ok), C(found), and in C(next) what to do if it is not ok.
  returned: always
  type: list
  elements: dict
event_uid:
  description: What to search for in the function's log.
  returned: always
  type: str
seconds:
  description: How long the probe took from being sent to its end, 0 when that was not seen.
  returned: always
  type: float
"""

import hashlib
import hmac
import json
import time
import uuid
from typing import Any
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported
from ansible_collections.label_export.aws.plugins.module_utils.log_events import filtered_events

# lambda/label_export/core/messages.py knows probes by it, and by the label that probe_label makes of the uid.
PROBE_PREFIX = "verify-"
# A type without an export: the function verifies the signature, and answers that it accepted no label.
HARMLESS_EVENT = "label_export_probe_event"
# Signs the webhook that must be refused. The function recognises it
# (lambda/label_export/entrypoints/webhook_authentication.py), and does not count it for the alarm `refused`.
NEVER_VALID = "label-export-verify: this key is public and never valid"
LOOK_BACK = 600  # seconds that this machine's clock may be ahead of the log's
PAUSE = 0.5  # seconds between two searches of the log
LOG_PAGES = 50  # of the log in one search
ANSWER_WITHIN = 40  # seconds: an HTTP API gives up after 30
# The events (field `event`) that the function logs when a message has ended.
FILTERED = "label_filtered"
ENDS = ("probe_ended", "nothing_to_export", FILTERED, "label_exported", "label_unchanged", "label_failed")
# Encord's answers for a label that does not exist; the second only if the probe's project is random.
GONE = ("row_deleted",)
NO_PROJECT = ("no_access",)


def probe_label(event_uid: str) -> str:
    """Return the label that a probe asks for: the same UUID as in lambda/label_export/core/messages.py."""
    return str(uuid.UUID(bytes=hashlib.sha256(event_uid.encode()).digest()[:16], version=4))


def webhook(event_uid: str, event_type: str, project_hash: str, label_hash: str) -> bytes:
    """Return the body of a webhook as Encord sends it."""
    payload = {"project_hash": project_hash, "label_hashes": [label_hash], "data_hashes": []}
    envelope = {"uid": event_uid, "version": 1, "source": "Encord", "event_type": event_type, "payload": payload}
    return json.dumps(envelope).encode()


def signed(body: bytes, secret: str, now: float) -> dict[str, str]:
    """Return the headers of a webhook that is signed by Encord's scheme (docs.encord.com, webhooks)."""
    stamp = str(int(now))
    signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Encord-Timestamp": stamp, "X-Encord-Signature": signature}


def judged(end: dict[str, Any] | None, random_project: bool, timeout: int) -> tuple[bool, str, str]:
    """Return whether the probe ended as expected, what was found, and what to do if it did not."""
    if end is None:
        return (
            False,
            f"nothing in the log within {timeout} s",
            "check whether the mapping is enabled (playbooks/status.yml), and read the function's log",
        )
    reason, detail = end.get("reason", ""), end.get("detail", "")
    found = f"{end['event']}: {reason}, {detail}" if reason else str(end["event"])
    fine = reason in GONE or end["event"] == FILTERED or (random_project and reason in NO_PROJECT)
    return fine, found, "see docs/operations.md, When it fails, for this reason"


def said(answer: str) -> str:
    """Return an answer of Probe.post as part of a sentence."""
    return f"answered {answer}" if answer.isdigit() else answer


class Probe:
    """One probe: what is sent, and what was found about it."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.params = module.params
        self.uid = f"{PROBE_PREFIX}{uuid.uuid4()}"
        self.project = self.params["project_hash"] or str(uuid.uuid4())
        self.label = probe_label(self.uid)
        self.checks: list[dict[str, Any]] = []

    def client(self, service: str) -> Any:
        return self.module.client(service, retry_decorator=AWSRetry.jittered_backoff())

    def note(self, name: str, ok: bool, found: str, advice: str) -> bool:
        self.checks.append({"name": name, "ok": ok, "found": found, "next": advice})
        return ok

    def post(self, body: bytes, headers: dict[str, str], url: str | None = None) -> str:
        """Send a webhook; return the response's status as text, or the error, without the URL."""
        try:
            answer = open_url(
                url or self.params["url"],
                data=body,
                headers=headers,
                method="POST",
                timeout=ANSWER_WITHIN,
                follow_redirects="none",
                ca_path=self.params["ca_bundle"] or None,
            )
        except HTTPError as error:
            return str(error.code)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            return f"no answer ({type(reason).__name__})"
        return str(answer.status)

    def knock(self) -> bool:
        """Send a webhook that must be refused and one that must be accepted; return whether the latter was."""
        secrets, urls = self.params["signing_secrets"], self.params["token_urls"]
        plain = {"Content-Type": "application/json"}
        body = webhook(self.uid, self.params["event_type"], self.project, self.label)
        forged = self.post(body, signed(body, NEVER_VALID, time.time()))
        advice = "the endpoint does not lead to the function: deploy, and read the API's access log"
        self.note("a webhook with a wrong signature is refused", forged == "401", said(forged), advice)
        unsigned = self.post(body, plain)
        self.note("a webhook without a signature is refused", unsigned == "401", said(unsigned), advice)
        harmless = webhook(self.uid, HARMLESS_EVENT, self.project, self.label)
        stale = "deploy, which stores the inventory's secrets"
        for number, secret in enumerate(secrets[1:], start=2):
            answer = self.post(harmless, signed(harmless, secret, time.time()))
            self.note(f"signing secret {number} is accepted", answer == "202", said(answer), stale)
        for number, url in enumerate(urls if secrets else urls[1:], start=1 if secrets else 2):
            answer = self.post(harmless, plain, url)
            self.note(f"URL token {number} is accepted", answer == "202", said(answer), stale)
        if not secrets and not urls:
            self.send()
            return self.note(
                "no secret is set, so every webhook is refused and the probe is sent to the queue",
                True,
                "every webhook is refused",
                "",
            )
        answer = self.post(body, signed(body, secrets[0], time.time())) if secrets else self.post(body, plain, urls[0])
        named = "a webhook with the signing secret" if secrets else "a webhook with the URL token"
        return self.note(f"{named} is accepted", answer == "202", said(answer), stale)

    def send(self) -> None:
        """Send the probe's message to the queue, in the form of lambda/label_export/core/messages.py."""
        sqs = self.client("sqs")
        url = sqs.get_queue_url(aws_retry=True, QueueName=self.params["queue"])["QueueUrl"]
        message = {"version": 1, "project_hash": self.project, "label_hash": self.label}
        message |= {"event_uid": self.uid, "event_type": self.params["event_type"]}
        sqs.send_message(aws_retry=True, QueueUrl=url, MessageBody=json.dumps(message))

    def end(self, logs: Any) -> dict[str, Any] | None:
        """Return the log's line about the probe's end, None if there is none yet."""
        events = filtered_events(
            logs,
            LOG_PAGES,
            logGroupName=self.params["log_group"],
            startTime=int((time.time() - LOOK_BACK) * 1000),
            filterPattern=f'"{self.uid}"',
        )
        for event in events:
            try:
                line = json.loads(event["message"])
            except ValueError:
                continue
            if isinstance(line, dict) and line.get("event_uid") == self.uid and line.get("event") in ENDS:
                return line
        return None

    def follow(self) -> float:
        """Wait for the probe's end and check it; return the seconds that it took."""
        logs, began = self.client("logs"), time.monotonic()
        while (end := self.end(logs)) is None and time.monotonic() - began < self.params["timeout"]:
            time.sleep(PAUSE)
        seconds = time.monotonic() - began
        fine, found, advice = judged(end, not self.params["project_hash"], self.params["timeout"])
        self.note("the probe reached Encord through queue and function, and ended there", fine, found, advice)
        return round(seconds, 1) if end else 0.0

    def look_at_bucket(self) -> None:
        """Check that nothing was stored, if the key is known without the label row."""
        key = self.params["key_template"].replace("{project_hash}", self.project).replace("{label_hash}", self.label)
        if "{" in key:
            return
        listing = self.client("s3").list_object_versions(aws_retry=True, Bucket=self.params["bucket"], Prefix=key)
        stored = len(listing.get("Versions", [])) + len(listing.get("DeleteMarkers", []))
        self.note("the probe left nothing in the bucket", not stored, f"{stored} versions of {key}", "delete them")


def run(probe: Probe) -> float:
    if probe.params["url"]:
        if not probe.knock():
            return 0.0
    else:
        probe.send()
    seconds = probe.follow()
    probe.look_at_bucket()
    return seconds


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "url": {"type": "str", "default": ""},
            "signing_secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "token_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "queue": {"type": "str", "required": True},
            "project_hash": {"type": "str", "default": ""},
            "event_type": {"type": "str", "default": "task_completed_event"},
            "log_group": {"type": "str", "required": True},
            "bucket": {"type": "str", "required": True},
            "key_template": {"type": "str", "required": True, "no_log": False},
            "ca_bundle": {"type": "path", "default": ""},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    probe = Probe(module)
    seconds = 0.0
    if not module.check_mode:
        with reported(module, f"The probe {probe.uid} could not be followed"):
            seconds = run(probe)
    module.exit_json(changed=False, checks=probe.checks, event_uid=probe.uid, seconds=seconds)


if __name__ == "__main__":
    main()
