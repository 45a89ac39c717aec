"""A storm on the deployed system, and a naive writer in the same storm, which the same check must detect.

Sixty labels are edited three times each. Their webhooks arrive late, out of order and more than once. Encord and AWS
respond with 503s, truncated bodies, delays and lost responses (a proxy is in front of each). Containers are killed in
the middle of their batches, right after a write took effect. At the end every label must have its newest edit, no
history may ever have gone back, and the dead-letter queue must have exactly what cannot succeed. CHAOS_SEED
chooses another storm.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from deployed_environment import NAME, Deployment, eventually, proxy_before, webhook_to
from fault_proxy import (
    Answer,
    Exchange,
    FaultProxy,
    Rule,
    answers,
    aws_json_error,
    calls,
    delays,
    encord_error,
    resets,
    s3_error,
    truncates,
)
from label_export.core.edit_times import parse_edit_time
from local_stack import STACK_FILE, LocalStack

SEED = int(os.environ.get("CHAOS_SEED", "20261124"))
LABELS = 60
EDITS = 3
POISON_LABELS = 3
POISON_TEXTS = ["{not json", '{"version": 99}']
# The naive writer holds what it has read for up to this many events of the storm before it writes.
NAIVE_LATENESS = 240
# Seconds. The visibility timeout is far below six times the function's: messages may be redelivered while they are
# being processed, which is harsher than the deployed setting, and a poison message has its five receives in little
# more than a minute.
TIMEOUT = VISIBILITY = 15
# Five receives, each as long as the function may run and the message is hidden; doubled.
CALM_SECONDS = 2 * 5 * (TIMEOUT + VISIBILITY)
# The writes after which a container may be killed.
KILLED_AFTER_WRITES = [8, 30, 60]
KILLED_AFTER_SENDS = [12]


# ---------------------------------------------------------------------------------------------------------------------
# The check


@dataclass(frozen=True)
class Version:
    """One version of an object: the edit time of its label, and its digest."""

    edited_at: datetime | None
    sha256: str


def problems(histories: Mapping[str, Sequence[Version]], newest: Mapping[str, Version]) -> list[str]:
    """Return the faults in the histories (oldest version first), given the newest version of each label."""
    found = []
    for label, wanted in newest.items():
        history = histories.get(label, [])
        if not history:
            found.append(f"missing: {label}")
            continue
        if history[-1] != wanted:
            found.append(f"not the newest: {label}")
        for before, after in pairwise(history):
            if before.sha256 == after.sha256:
                found.append(f"written twice: {label}")
            elif before.edited_at is None or after.edited_at is None or after.edited_at <= before.edited_at:
                found.append(f"went back: {label}")
    return found


def kinds(found: Sequence[str]) -> dict[str, int]:
    return dict(Counter(problem.partition(":")[0] for problem in found))


# ---------------------------------------------------------------------------------------------------------------------
# The storm


@dataclass(frozen=True)
class Event:
    """An event of the storm: an edit of a label, or a hint (a webhook) about it."""

    at: float
    kind: str
    label: str
    number: int = 0


def schedule(labels: Sequence[str], chance: random.Random) -> list[Event]:
    """Return the edits in each label's order, each with at least one later hint, shuffled and often repeated."""
    events = []
    for label in labels:
        at = 0.0
        for number in range(1, EDITS + 1):
            at += chance.uniform(0.02, 0.33)
            events.append(Event(at, "edit", label, number))
            hints = 1 + (chance.random() < 0.4) + (chance.random() < 0.1)
            events += [Event(at + chance.expovariate(6), "hint", label) for _ in range(hints)]
    return sorted(events, key=lambda event: event.at)


@dataclass
class Storm:
    """The deployed function between two proxies."""

    stack: LocalStack
    deployment: Deployment
    aws: FaultProxy
    encord: FaultProxy
    chance: random.Random
    killed: list[str] = field(default_factory=list)
    webhooks: int = 0
    repeated: int = 0
    hints: int = 0
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def break_loose(self, poison: Sequence[str]) -> None:
        """Inject all faults."""
        corrupted = answers(encord_error(400, "CORRUPTED_LABEL_ERROR"))
        self.encord.inject(*(Rule(corrupted, "labelrow", body=label) for label in poison))
        self.encord.inject(
            self._rule(answers(Answer(503)), "labelrow", 0.10),
            self._rule(answers(encord_error(429, "RATE_LIMIT_ERROR")), "labelrow", 0.05),
            self._rule(resets(), "labelrow", 0.05),
            self._rule(resets(after_effect=True), "labelrow", 0.05),
            self._rule(truncates(0.6), "labelrow", 0.05),
            self._rule(delays(after=0.7), "labelrow", 0.30),  # the row is old when it arrives
        )
        self.aws.inject(
            Rule(calls(self.kill), "PutObject", path="/encord/", nth=KILLED_AFTER_WRITES),
            Rule(calls(self.kill), "SendMessageBatch", nth=KILLED_AFTER_SENDS),
            self._rule(answers(s3_error(503, "SlowDown")), "PutObject", 0.10),
            self._rule(resets(after_effect=True), "PutObject", 0.12),
            self._rule(resets(), "PutObject", 0.05),
            self._rule(delays(before=0.5), "PutObject", 0.25),
            self._rule(answers(Answer(503)), "HeadObject", 0.08),
            self._rule(resets(), "HeadObject", 0.04),
            self._rule(answers(aws_json_error(503, "ServiceUnavailable")), "SendMessageBatch", 0.10),
            self._rule(resets(after_effect=True), "SendMessageBatch", 0.10),
            self._rule(answers(aws_json_error(500, "InternalServiceError")), "GetSecretValue", 0.20),
        )

    def _rule(self, fault: Any, operation: str, probability: float) -> Rule:
        return Rule(fault, operation, probability=probability, seed=self.chance.randrange(1 << 30))

    def kill(self, exchange: Exchange) -> None:
        """Kill the container that sent this request. Only containers of this stack are considered."""
        state = STACK_FILE.parent
        port = self.stack.facts["aws_endpoint_url"].rpartition(":")[2]
        instance = f"label-export-{hashlib.sha256(str(state).encode()).hexdigest()[:12]}:{port}"
        containers = self.stack.engine.containers
        for container in containers.list(filters={"label": f"ministack.instance={instance}"}, ignore_removed=True):
            networks = container.attrs["NetworkSettings"]["Networks"].values()
            if exchange.client in [network["IPAddress"] for network in networks]:
                container.kill("SIGKILL")
                self.killed.append(container.id)
                return

    def edited_at(self, number: int) -> datetime:
        """Return the time of a label's edit with this number, later than those of a previous storm."""
        return self.began + timedelta(seconds=number)

    def edit(self, label: str, number: int) -> None:
        change = {"label_hash": label, "deliver": False, "edited_at": self.edited_at(number).isoformat()}
        self.stack.encord_json("POST", "complete-task", change)

    def send(self, labels: Sequence[str]) -> None:
        """Send a webhook until it is acknowledged (nothing would find the label otherwise)."""
        self.hints += len(labels)
        for _ in range(20):
            self.webhooks += 1
            (delivery,) = self.stack.encord_json("POST", "send-webhook", {"label_hashes": list(labels)})["deliveries"]
            if delivery["status"] == 202:
                return
            assert delivery["status"] is None or delivery["status"] >= 500, delivery
            self.repeated += 1
        pytest.fail("a webhook was never acknowledged")


@dataclass
class NaiveWriter:
    """A script as in a guide: on each hint it reads the newest row and puts it, whatever is there by then."""

    storm: Storm
    prefix: str = field(default_factory=lambda: f"naive/{uuid.uuid4()}/")
    failed: int = 0

    def __post_init__(self) -> None:
        facts = self.storm.stack.facts
        session = boto3.Session(profile_name="root", region_name=facts["region"])
        plain = Config(request_checksum_calculation="when_required")  # in one piece: the proxy does not accept chunks
        self._s3 = session.client("s3", endpoint_url=self.storm.aws.url, verify=facts["aws_ca_bundle"], config=plain)
        self._late: list[tuple[int, int, str, bytes]] = []
        self._threads = ThreadPoolExecutor(8)

    def read(self, label: str, now: int, until: int) -> None:
        """Read a label at event number `now`, and write it at event number `until`."""
        heapq.heappush(self._late, (until, now, label, self.storm.stack.encord("GET", f"label-rows/{label}")))

    def write(self, now: int) -> None:
        """Write all that is due."""
        while self._late and self._late[0][0] <= now:
            _until, _read, label, body = heapq.heappop(self._late)
            self._threads.submit(self._put, label, body)

    def finish(self) -> None:
        """Write the rest, and wait for it."""
        self.write(1 << 30)
        self._threads.shutdown()

    def _put(self, label: str, body: bytes) -> None:
        metadata = {"last-edited-at": json.loads(body)["last_edited_at"], "sha256": hashlib.sha256(body).hexdigest()}
        try:
            bucket = self.storm.deployment.bucket
            self._s3.put_object(Bucket=bucket, Key=f"{self.prefix}{label}.json", Body=body, Metadata=metadata)
        except (BotoCoreError, ClientError):  # a script that fails has failed
            self.failed += 1


@pytest.fixture
def storm(stack: LocalStack, deployment: Deployment) -> Iterator[Storm]:
    """The function behind both proxies, with short time-outs; everything is restored at the end."""
    functions = deployment.functions
    before = functions.get_function_configuration(FunctionName=NAME)
    variables = before["Environment"]["Variables"]
    version = functions.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"]
    visibility = deployment.queue_attributes()["VisibilityTimeout"]

    def set_function(timeout: int, environment: dict[str, str]) -> None:
        functions.update_function_configuration(
            FunctionName=NAME, Timeout=timeout, Environment={"Variables": environment}
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=NAME)

    with ExitStack() as undo:
        aws = undo.enter_context(proxy_before(stack, stack.facts["aws_endpoint_url"]).running())
        proxied = undo.enter_context(proxy_before(stack, stack.facts["encord_control_url"]).running())
        inside = "https://host.docker.internal"
        disturbed = {
            "AWS_ENDPOINT_URL": f"{inside}:{aws.port}",
            "LABEL_EXPORT_ENCORD_DOMAIN": f"{inside}:{proxied.port}",
        }
        undo.callback(set_visibility, deployment, visibility)
        set_visibility(deployment, str(VISIBILITY))
        undo.callback(functions.update_alias, FunctionName=NAME, Name="live", FunctionVersion=version)
        undo.callback(set_function, before["Timeout"], variables)
        set_function(TIMEOUT, {**variables, **disturbed})
        published = functions.publish_version(FunctionName=NAME)["Version"]
        functions.update_alias(FunctionName=NAME, Name="live", FunctionVersion=published)
        yield Storm(stack, deployment, aws, proxied, random.Random(SEED))  # noqa: S311 - repeatable on purpose


def set_visibility(deployment: Deployment, seconds: str) -> None:
    url = deployment.sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    deployment.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": seconds})


def listed(deployment: Deployment, prefix: str) -> list[dict[str, Any]]:
    """Return all versions of all objects below a prefix, each object's newest first, as S3 lists them."""
    pages = deployment.s3.get_paginator("list_object_versions").paginate(Bucket=deployment.bucket, Prefix=prefix)
    return [version for page in pages for version in page.get("Versions", [])]


def histories(
    deployment: Deployment, prefix: str, labels: Sequence[str], earlier: Sequence[str] = ()
) -> dict[str, list[Version]]:
    """Return each label's versions below a prefix, oldest first, without those that were there `earlier`."""
    found: dict[str, list[Version]] = {label: [] for label in labels}
    for version in reversed(listed(deployment, prefix)):
        label = version["Key"].rpartition("/")[2].removesuffix(".json")
        if label in found and version["VersionId"] not in earlier:
            head = deployment.s3.head_object(
                Bucket=deployment.bucket, Key=version["Key"], VersionId=version["VersionId"]
            )
            metadata = head["Metadata"]
            found[label].append(Version(parse_edit_time(metadata.get("last-edited-at")), metadata["sha256"]))
    return found


def dead_letters(deployment: Deployment) -> list[dict[str, Any] | str]:
    """Take all dead letters; a message that is not JSON is returned as text."""
    url = deployment.sqs.get_queue_url(QueueName=f"{NAME}-dead-letters")["QueueUrl"]
    found: list[dict[str, Any] | str] = []
    while messages := deployment.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            known = message["Body"] not in POISON_TEXTS
            found.append(json.loads(message["Body"]) if known else message["Body"])
            deployment.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.fixture
def made(stack: LocalStack, deployment: Deployment) -> Iterator[dict[str, Any]]:
    """A project of labels only for the storm; its webhooks go to the deployed system."""
    made = stack.encord_json("POST", "giant-rows", {"frames": 1, "objects": 2, "count": LABELS + POISON_LABELS})
    with webhook_to(stack, deployment.webhook_url, made["project_hash"]):
        yield made


def test_a_storm_loses_no_label_and_no_label_goes_back(
    storm: Storm, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    deployment, chance = storm.deployment, storm.chance
    project, rows = made["project_hash"], [row["label_hash"] for row in made["rows"]]
    labels, poison = rows[:LABELS], rows[LABELS:]
    queue = deployment.sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    naive = NaiveWriter(storm)
    prefix = f"encord/{project}/labels/"
    earlier = [version["VersionId"] for version in listed(deployment, prefix)]

    # A message that an earlier test left for redelivery stays hidden for twelve minutes.
    deployment.sqs.purge_queue(QueueUrl=queue)
    storm.break_loose(poison)
    for text in POISON_TEXTS:
        deployment.sqs.send_message(QueueUrl=queue, MessageBody=text)
    storm.send(poison)
    waiting: list[str] = []
    for now, event in enumerate(schedule(labels, chance)):
        naive.write(now)
        if event.kind == "edit":
            storm.edit(event.label, event.number)
            continue
        naive.read(event.label, now, now + chance.randint(0, NAIVE_LATENESS))
        waiting.append(event.label)
        if len(waiting) >= chance.randint(1, 6):
            storm.send(waiting)
            waiting = []
    storm.send(waiting or labels[:1])
    naive.finish()
    eventually(lambda: deployment.messages() == 0, "an empty queue after the storm", CALM_SECONDS)
    failing = len(poison) + len(POISON_TEXTS)
    eventually(lambda: deployment.messages(f"{NAME}-dead-letters") >= failing, f"{failing} dead letters")

    served = {label: storm.stack.encord("GET", f"label-rows/{label}") for label in labels}
    newest = {
        label: Version(storm.edited_at(EDITS), hashlib.sha256(body).hexdigest()) for label, body in served.items()
    }
    ours = histories(deployment, prefix, labels, earlier)
    theirs = histories(deployment, naive.prefix, labels)
    caught = problems(theirs, newest)
    dead = dead_letters(deployment)
    with capsys.disabled():
        print(
            f"\nchaos: seed {SEED}: {storm.webhooks} webhooks ({storm.repeated} of them again), {storm.hints} hints, "
            f"{storm.encord.count('labelrow')} fetches, {len(storm.killed)} containers killed, "
            f"{len(dead)} dead letters; "
            f"Encord: {storm.encord.faults()}; AWS: {storm.aws.faults()}; "
            f"{sum(map(len, ours.values()))} versions; the naive writer: {sum(map(len, theirs.values()))} versions, "
            f"{naive.failed} failures, caught: {kinds(caught)}"
        )

    assert problems(ours, newest) == []
    for label, body in served.items():
        stored = deployment.s3.get_object(Bucket=deployment.bucket, Key=deployment.key(project, label))
        assert stored["Body"].read() == body
    assert [text for text in dead if isinstance(text, str)] == unordered(POISON_TEXTS)
    # A webhook about several tasks leads to a message for each label, and one for each data unit.
    letters = [item for item in dead if isinstance(item, dict)]
    assert {item["label_hash"] for item in letters if item.get("label_hash")} == set(poison)
    units = {row["data_hash"] for row in made["rows"] if row["label_hash"] in poison}
    assert {item["data_hash"] for item in letters if not item.get("label_hash")} <= units
    assert not any(deployment.versions(deployment.key(project, label)) for label in poison)
    assert len(storm.killed) == len(KILLED_AFTER_WRITES) + len(KILLED_AFTER_SENDS)
    assert kinds(caught).get("went back"), "the check must be able to fail: the naive writer is not right"


class unordered(list[str]):  # noqa: N801 - reads as a word in an assertion
    """Equal to a list with the same items in any order."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and sorted(other) == sorted(self)

    __hash__ = None  # type: ignore[assignment]
