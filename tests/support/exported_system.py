"""The real handler between the local stack's S3, SQS, Secrets Manager and Encord, behind fault-injecting proxies.

For the tests of the fault table. Only Lambda itself is missing: `drain` does what the event source mapping does, and
takes the handler as a function or as a separate process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord_harness import StandInProcess, private_key_text, public_key_text
from fault_proxy import FaultProxy
from label_export import handler
from ministack_process import ACCOUNT, REGION, MiniStackProcess

MAX_RECEIVES = 5

Handle = Callable[[dict[str, Any]], dict[str, Any]]


class Context:
    """Lambda's context: the number of seconds that are left from now."""

    aws_request_id = "request-1"

    def __init__(self, seconds: float = 60.0) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._end - time.monotonic()))


@dataclass
class Servers:
    """What all tests of a session share; each test uses its own names in it."""

    ministack: MiniStackProcess
    stand_in: StandInProcess
    aws: FaultProxy
    encord: FaultProxy
    clients: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def role(self) -> tuple[str, str]:
        """Credentials to which policies apply, as for the function; they do not apply to the root user."""
        iam, name = self.client("iam"), "function"
        statement = {"Effect": "Allow", "Action": ["s3:*", "sqs:*", "secretsmanager:*"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.ministack.client(service)
        return self.clients[service]


class System:
    """One function with its bucket, queues and secrets."""

    def __init__(self, servers: Servers) -> None:
        self.name = f"t-{uuid.uuid4().hex[:16]}"
        self.aws, self.encord, self.stand_in = servers.aws, servers.encord, servers.stand_in
        self.s3, self.sqs, self.secrets = (servers.client(name) for name in ("s3", "sqs", "secretsmanager"))
        self._access_key, self._secret_key = servers.role
        self.project = self.stand_in.project()["project_hash"]
        self.signing_secret = self.stand_in.files.secrets.read_text().strip()
        self._make()

    def _make(self) -> None:
        self.s3.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        self.dead_letters = self.sqs.create_queue(QueueName=f"{self.name}-dead")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-dead"
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
        self.queue = self.sqs.create_queue(QueueName=self.name, Attributes={"RedrivePolicy": redrive})["QueueUrl"]
        self.key_arn = self.secrets.create_secret(
            Name=f"{self.name}-key", SecretString=private_key_text(self.stand_in.files.key)
        )["ARN"]
        self.signing_arn = self.secrets.create_secret(
            Name=f"{self.name}-signing", SecretString=json.dumps({"signing_secrets": [self.signing_secret]})
        )["ARN"]

    def environment(self) -> dict[str, str]:
        """The function's environment: its endpoints are the proxies."""
        return {
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_CA_BUNDLE": str(self.stand_in.files.certificate),
            "SSL_CERT_FILE": str(self.stand_in.files.certificate),  # reading the system's takes longer than most tests
            "LABEL_EXPORT_BUCKET": self.name,
            "LABEL_EXPORT_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.name}",
            "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": self.key_arn,
            "LABEL_EXPORT_SIGNING_SECRETS_ARN": self.signing_arn,
            "LABEL_EXPORT_ENCORD_DOMAIN": self.encord.url,
        }

    # Encord

    def labels(self, count: int, *, frames: int = 1, objects: int = 2) -> list[str]:
        """Add this many label rows to Encord; return their hashes."""
        spec = {"frames": frames, "objects": objects, "count": count, "project_hash": self.project}
        return [row["label_hash"] for row in self.stand_in.control("POST", "giant-rows", spec)["rows"]]

    def edit(self, label_hash: str, edited_at: str | None = None) -> None:
        """Change a label as a person does, now or at a given time."""
        at = {} if edited_at is None else {"edited_at": edited_at}
        self.stand_in.control("POST", "complete-task", {"label_hash": label_hash, "deliver": False, **at})

    def served(self, label_hash: str) -> bytes:
        """Return the bytes of a label row as Encord serves it now."""
        return self.stand_in.row_bytes(label_hash)

    def new_key(self, *, registered: bool = True) -> str:
        """Replace our key at Encord by a new one, or remove it; return the new key's text."""
        key = Ed25519PrivateKey.generate()
        self.stand_in.files.public_keys.write_text(public_key_text(key) if registered else "# nobody\n")
        return private_key_text(key)

    # Webhooks

    def post(self, label_hashes: list[str], *, secret: str | None = None, **changes: Any) -> dict[str, Any]:
        """Return the function's response to a signed webhook."""
        payload = {"project_hash": self.project, "label_hashes": label_hashes}
        envelope = {"uid": str(uuid.uuid4()), "version": 1, "source": "Encord", "event_type": "task_completed_event"}
        body = changes.pop("body", json.dumps({**envelope, "event_created_timestamp": 0, "payload": payload}))
        at = str(int(time.time()) + changes.pop("offset", 0))
        signature = hmac.new((secret or self.signing_secret).encode(), f"{at}.{body}".encode(), hashlib.sha256)
        event = {
            "version": "2.0",
            "rawPath": "/webhook",
            "rawQueryString": "",
            "headers": {
                "content-type": changes.pop("content_type", "application/json"),
                "x-encord-signature": changes.pop("signature", signature.hexdigest()),
                "x-encord-timestamp": at,
            },
            "requestContext": {"http": {"method": "POST", "path": "/webhook"}},
            "body": body,
            "isBase64Encoded": changes.pop("is_base64", False),
        }
        return handler.handle(event, Context())

    # The queue

    def send(self, *label_hashes: str, body: str | None = None) -> None:
        """Queue a message for each label, or one with this text, without the function."""
        bodies = [self.message(label_hash) for label_hash in label_hashes] if body is None else [body]
        for text in bodies:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=text)

    def message(self, label_hash: str, project: str | None = None) -> str:
        return json.dumps({"version": 1, "project_hash": project or self.project, "label_hash": label_hash})

    def receive(self, url: str | None = None) -> list[dict[str, Any]]:
        """Receive up to ten messages; the next receive may have them again."""
        answer = self.sqs.receive_message(
            QueueUrl=url or self.queue,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return list(answer.get("Messages", []))

    def deliver(self, handle: Handle | None = None) -> list[str] | None:
        """Do what the mapping does, once: receive a batch, invoke, delete the messages that did not fail.

        Returns the bodies that failed, or None if the queue was empty. A `handle` that raises is a crash.
        """
        messages = self.receive()
        if not messages:
            return None
        records = [
            {
                "messageId": message["MessageId"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSource": "aws:sqs",
            }
            for message in messages
        ]
        answer = (handle or in_process())({"Records": records})
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages if message["MessageId"] in failed]

    def drain(self, handle: Handle | None = None) -> None:
        """Deliver until the queue is empty: permanent failures are then among the dead letters."""
        for _ in range(100):
            if self.deliver(handle) is None:
                return
        raise AssertionError("the queue does not become empty")

    def waiting(self) -> int:
        """Return the number of messages in the queue."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["All"])["Attributes"]
        return sum(int(value) for name, value in attributes.items() if name.startswith("ApproximateNumberOfMessages"))

    def dead(self) -> list[str]:
        """Return the bodies of the dead letters."""
        return sorted(message["Body"] for message in self.receive(self.dead_letters))

    # The bucket

    def key(self, label_hash: str) -> str:
        return f"encord/{self.project}/labels/{label_hash}.json"

    def stored(self, label_hash: str) -> bytes | None:
        try:
            return bytes(self.s3.get_object(Bucket=self.name, Key=self.key(label_hash))["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            return None

    def versions(self, label_hash: str) -> list[Mapping[str, Any]]:
        """Return the object's versions, newest first."""
        listing = self.s3.list_object_versions(Bucket=self.name, Prefix=self.key(label_hash))
        return list(listing.get("Versions", []))

    def is_exact(self, label_hash: str) -> bool:
        """Return whether the stored object is byte for byte what Encord serves."""
        return self.stored(label_hash) == self.served(label_hash)


def in_process(context: Context | None = None) -> Handle:
    """Return the handler of this process, with a fresh context for each event."""
    return lambda event: handler.handle(event, context or Context())
