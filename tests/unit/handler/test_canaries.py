"""Key, passphrase, signing secret, URL token and a label's text are in no log line, metric, response or error.

Each path is driven with the same canaries, and everything that the function lets out is searched: what it writes, what
other libraries log (at every level), what it answers, and the text of what it raises.
"""

from __future__ import annotations

import json
import logging
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from handler_deployment import KEY_ARN, PASSPHRASE_ARN, SIGNING_ARN, Deployment, batch, message, openssh, webhook
from handler_servers import Answer, Fault
from label_export import retry
from test_faults import PASSING, S3_PASSING

# Without digits, which dateutil could read as parts of a date.
CANARY = f"canary-{uuid.uuid4().hex.translate(str.maketrans('0123456789', 'ghijklmnop'))}"
PASSPHRASE, TOKEN, SIGNING = f"pass-{CANARY}", f"token-{CANARY}", f"signing-{CANARY}"
KEY_LINE = 20  # characters: shorter lines of a key are not telling


class Watched:
    """A deployment that records all of its output."""

    def __init__(self, deployment: Deployment, log: pytest.LogCaptureFixture) -> None:
        self.deployment = deployment
        self.log = log
        self.said: list[str] = []
        self.keys: list[str] = []
        self.use_key(openssh(deployment.key, PASSPHRASE.encode()))
        deployment.aws.secrets[PASSPHRASE_ARN] = PASSPHRASE
        deployment.aws.secrets[SIGNING_ARN] = json.dumps({"signing_secrets": [SIGNING], "url_tokens": [TOKEN]})
        deployment.signing_secret = SIGNING
        deployment.set(LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN=PASSPHRASE_ARN, LABEL_EXPORT_LOG_LEVEL="DEBUG")
        self.label = deployment.row(data_title=CANARY, data_units={"note": CANARY}, branch_name=CANARY)

    def use_key(self, text: str) -> None:
        self.keys.append(text)
        self.deployment.aws.secrets[KEY_ARN] = text

    def call(self, event: object) -> None:
        try:
            self.said.append(json.dumps(self.deployment.call(event)))
        except Exception as error:  # noqa: BLE001  (whatever it is, its text is searched)
            self.said.append("".join(traceback.format_exception(error)))

    def export(self) -> None:
        self.call(batch(message(self.label)))

    def post(self, body: Any, **changes: Any) -> None:
        try:
            self.said.append(json.dumps(self.deployment.post(body, **changes)))
        except Exception as error:  # noqa: BLE001  (whatever it is, its text is searched)
            self.said.append("".join(traceback.format_exception(error)))


Path = Callable[[Watched], None]


def exported(watched: Watched) -> None:
    for _ in range(2):
        watched.export()
    # dateutil finds a date in any text that has one.
    for edited_at in (CANARY, f"{CANARY} on 2025-01-03 10:00:00"):
        watched.deployment.row(data_title=CANARY, data_units={"note": CANARY * 2}, last_edited_at=edited_at)
        watched.export()


def encord_fails(watched: Watched) -> None:
    for fault in PASSING.values():
        watched.deployment.encord.fail("labelrow", *[fault] * retry.ATTEMPTS)
        watched.export()


def encord_says_it(watched: Watched) -> None:
    canary = CANARY.encode()
    answers = [
        Answer(status, canary, {"Retry-After": CANARY, "Location": CANARY}) for status in (200, 301, 400, 403, 404, 500)
    ]
    answers += [
        Answer(200, b'{"status":%d,"response":["%b"],"payload":"%b"}' % (status, canary, canary))
        for status in (200, 400, 401, 403, 404, 500)
    ]
    answers += [
        Answer(200, b'{"status":200,"response":{"label_hash":"%b"}}' % canary),
        Answer(200, b'{"status":200,"response":{"label_hash":"%b' % canary),
        Answer(200, b'{"status":"%b","response":{}}' % canary),
    ]
    for answer in answers:
        watched.deployment.encord.fail("labelrow", *[Fault(answer)] * retry.ATTEMPTS)
        watched.export()
    watched.deployment.encord.fail("labelrowmetadata", *[Fault(answers[0])] * retry.ATTEMPTS)
    watched.call(batch(message(data_hash="d-1")))


def aws_fails(watched: Watched) -> None:
    said = [Fault(Answer(status, CANARY.encode())) for status in (200, 400, 403, 404, 500)]
    said += [Fault(Answer(400, json.dumps({"__type": "X", "message": CANARY}).encode()))]
    for operation in ("HeadObject", "PutObject", "GetSecretValue"):
        for fault in [*S3_PASSING, *said]:
            if operation == "GetSecretValue":
                watched.deployment.restart()
            watched.deployment.aws.objects.clear()
            watched.deployment.aws.fail(operation, *[fault] * retry.ATTEMPTS)
            watched.export()
            watched.deployment.aws.forget_faults()
    for fault in said:
        watched.deployment.aws.fail("SendMessageBatch", *[fault] * retry.ATTEMPTS)
        watched.post(webhook(label_hash=watched.label))
        watched.deployment.aws.forget_faults()


def key_is_refused(watched: Watched) -> None:
    watched.deployment.encord.public_keys.clear()
    for _ in range(2):
        watched.export()


def key_is_bad(watched: Watched) -> None:
    good = watched.keys[0]
    bad = [good[:200], good.replace("b3Bl", "XXXX"), CANARY, openssh(rsa.generate_private_key(65537, 2048))]
    for text in bad:
        watched.use_key(text)
        watched.deployment.restart()
        watched.export()
    watched.use_key(good)
    for passphrase in (f"{PASSPHRASE}x", ""):
        watched.deployment.aws.secrets[PASSPHRASE_ARN] = passphrase
        watched.deployment.restart()
        watched.export()


def weaker_ways(watched: Watched) -> None:
    watched.deployment.set(LABEL_EXPORT_PRIVATE_KEY_SOURCE="environment", LABEL_EXPORT_PRIVATE_KEY=watched.keys[0])
    watched.export()
    watched.deployment.set(LABEL_EXPORT_PRIVATE_KEY=watched.keys[0][:200])
    watched.export()
    watched.deployment.set(LABEL_EXPORT_BUCKET=CANARY.upper())
    watched.export()


def webhooks(watched: Watched) -> None:
    for body in (
        webhook(label_hash=watched.label),
        {"canary": CANARY},
        CANARY.encode(),
        webhook(project_hash=CANARY + "/"),
    ):
        watched.post(body)
        watched.post(body, rawQueryString=f"token={TOKEN}")
        watched.post(body, rawQueryString=f"token={TOKEN}x", headers={"x-encord-signature": f"{SIGNING}"})
        watched.post(body, rawQueryString=f"token={TOKEN}", requestContext={"http": {"method": CANARY}})
        watched.post(body, headers={"content-type": CANARY, "authorization": SIGNING, "cookie": TOKEN})
    for text in (f'{{"signing_secrets": "{SIGNING}"}}', SIGNING):
        watched.deployment.aws.secrets[SIGNING_ARN] = text
        watched.deployment.restart()
        watched.post(webhook(label_hash=watched.label))


def other_events(watched: Watched) -> None:
    for event in ({"action": CANARY, "token": TOKEN}, CANARY, batch(CANARY, json.dumps({"version": CANARY}))):
        watched.call(event)


def surprises(watched: Watched) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("aws.s3.S3Store.look", "encord.source.EncordSource.fetch", "aws.sqs.SqsQueue.send"):

            def broken(*args: object, **more: object) -> None:
                raise ZeroDivisionError(f"{CANARY} {SIGNING} {TOKEN} {PASSPHRASE} {watched.keys[0]}")

            patch.setattr(f"label_export.adapters.{name}", broken)
            watched.export()
            watched.post(webhook(label_hash=watched.label))


PATHS: list[Path] = [
    exported, encord_fails, encord_says_it, aws_fails, key_is_refused, key_is_bad, weaker_ways, webhooks, other_events,
    surprises,
]  # fmt: skip


@pytest.fixture
def watched(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    with caplog.at_level(logging.DEBUG):
        yield Watched(deployment, caplog)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_canaries_appear_nowhere(watched: Watched, capfd: pytest.CaptureFixture[str], path: Path) -> None:
    path(watched)
    written, errors = capfd.readouterr()
    assert written, "the path was driven"
    let_out = "\n".join([written, errors, watched.log.text, *watched.said])
    for canary in (CANARY, CANARY.upper()):
        assert canary not in let_out, near(let_out, canary)
    key_lines = [
        line for text in watched.keys for line in text.splitlines() if len(line) > KEY_LINE and "-----" not in line
    ]
    for secret in key_lines:
        assert secret not in let_out


def near(text: str, canary: str) -> str:
    place = text.find(canary)
    return text[max(0, place - 200) : place + 200]
