"""The servers that both handlers use over TLS: the Encord stand-in and a small AWS, with the same latency injected."""

from __future__ import annotations

import datetime
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import MeasurementError
from encord_harness import StandInProcess, make_files, private_key_text
from handler_servers import Answer, AwsServer, Call, read_chunked

REQUEST_MS = 30
CONNECTION_MS = 60
# One bucket each: the exporter reads a row twice if it finds an object that it has not written itself.
BUCKET = "benchmark-exporter"
DOC_STYLE_BUCKET = "benchmark-doc-style"
KEY_ARN = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:encord-key-AbCdEf"
SIGNING_ARN = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:signing-AbCdEf"


class BenchmarkAws(AwsServer):
    """The tests' AWS, which also accepts what boto3 sends: a write without a condition, its body in signed chunks."""

    def _PutObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        if "aws-chunked" in call.headers.get("content-encoding", ""):
            call.body = read_chunked(io.BytesIO(call.body))
        if {"if-match", "if-none-match"} & set(call.headers):
            return super()._PutObject(call)
        self._store(call.path, call.body, call.headers)
        return Answer(200, b"", {"ETag": self.objects[call.path].etag})


@dataclass(frozen=True)
class Counts:
    """Requests and new connections of one event."""

    encord_requests: int
    encord_connections: int
    aws_requests: int
    aws_connections: int

    def __str__(self) -> str:
        requests = self.encord_requests + self.aws_requests
        return f"{requests} ({self.encord_connections + self.aws_connections})"


class Services:
    """Encord and AWS on loopback; created by `services`."""

    def __init__(self, stand_in: StandInProcess, aws: BenchmarkAws, folder: Path) -> None:
        self._stand_in = stand_in
        self._aws = aws
        self._moments = itertools.count()
        self._folder = folder
        self.project: str = stand_in.project()["project_hash"]
        fault = {"latency_ms": REQUEST_MS, "connection_latency_ms": CONNECTION_MS}
        stand_in.control("POST", "faults", fault)
        aws.request_seconds, aws.connection_seconds = REQUEST_MS / 1000, CONNECTION_MS / 1000
        aws.secrets[KEY_ARN] = private_key_text(stand_in.files.key)

    @property
    def _for_both(self) -> dict[str, str]:
        return {
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "test"),
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self._aws.url.replace("localhost", "127.0.0.1"),  # the bucket is in the path
            "AWS_CA_BUNDLE": str(self._stand_in.files.certificate),
        }

    def exporter_environment(self) -> dict[str, str]:
        """Return the environment that the role export_function would set, without defaults."""
        return {
            **self._for_both,
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            "LABEL_EXPORT_BUCKET": BUCKET,
            "LABEL_EXPORT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/labels",
            "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": KEY_ARN,
            "LABEL_EXPORT_SIGNING_SECRETS_ARN": SIGNING_ARN,
            "LABEL_EXPORT_ENCORD_DOMAIN": self._stand_in.url,
        }

    def doc_style_environment(self) -> dict[str, str]:
        """Return the baseline's environment."""
        return {
            **self._for_both,
            "REQUESTS_CA_BUNDLE": str(self._stand_in.files.certificate),
            "ENCORD_SSH_KEY": private_key_text(self._stand_in.files.key),
            "ENCORD_DOMAIN": self._stand_in.url,
            "BUCKET": DOC_STYLE_BUCKET,
        }

    def image_label(self) -> str:
        """Return the hash of a label row of one image."""
        found: str = self._stand_in.row("image")["label_hash"]
        return found

    def rows(self, frames: int, objects: int, *, tracked: bool = True, count: int = 1) -> list[tuple[str, int]]:
        """Add label rows of a size; return their hashes and bytes."""
        wanted = {"frames": frames, "objects": objects, "tracked": tracked, "count": count}
        made = self._stand_in.control("POST", "giant-rows", wanted)["rows"]
        return [(row["label_hash"], row["bytes"]) for row in made]

    def edit(self, label_hashes: Sequence[str]) -> None:
        """Edit label rows, so that they must be written again; reset the counts."""
        self.touch(label_hashes)
        self.forget()

    def touch(self, label_hashes: Sequence[str]) -> None:
        """Edit label rows, so that they must be written again."""
        for label_hash in label_hashes:
            moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=next(self._moments))
            self._stand_in.control("PATCH", f"label-rows/{label_hash}", {"edited_at": moment.isoformat()})

    def forget(self) -> None:
        """Start counting from zero."""
        self._stand_in.control("DELETE", "requests")
        with self._aws.lock:
            self._aws.calls.clear()
            self._aws.history.clear()
            self._aws.connections = 0

    def counts(self) -> Counts:
        """Return the counts since then."""
        encord = self._stand_in.counts()["total"]
        with self._aws.lock:
            aws = (len(self._aws.calls), self._aws.connections)
        return Counts(encord["requests"], encord["new_connections"], *aws)

    def check_stored(self, label_hashes: Sequence[str]) -> None:
        """Check that each label was completely written since then."""
        with self._aws.lock:
            written = {path.rpartition("/")[2]: body for path, body in self._aws.history}
        for label_hash in label_hashes:
            body = written.get(f"{label_hash}.json", b"")
            if label_hash.encode() not in body[:4096] or not body.endswith(b"}"):
                raise MeasurementError(f"label {label_hash} was not stored: what was measured is not an export")

    def check_exact(self, label_hash: str) -> None:
        """Check that the label was written since then, byte for byte as it is served; forget the object."""
        with self._aws.lock:
            written = {path: body for path, body in self._aws.history if path.endswith(f"/{label_hash}.json")}
            self._aws.history.clear()
            for path in written:
                del self._aws.objects[path]
        if list(written.values()) != [self._stand_in.row_bytes(label_hash)]:
            raise MeasurementError(f"label {label_hash} was not stored as it is served: what was measured is no export")

    def event(self, label_hashes: Sequence[str]) -> dict[str, Any]:
        """Return an event of the queue with a message for each label."""
        return {
            "Records": [
                {
                    "messageId": str(number),
                    "body": json.dumps({"version": 1, "project_hash": self.project, "label_hash": label_hash}),
                    "attributes": {"ApproximateReceiveCount": "1"},
                    "eventSource": "aws:sqs",
                }
                for number, label_hash in enumerate(label_hashes)
            ]
        }


@contextmanager
def services(folder: Path) -> Iterator[Services]:
    """Run both servers; `folder` is for their keys, certificate and log."""
    files = make_files(folder)
    both = folder / "certificate-and-key.pem"
    both.write_bytes(files.certificate.read_bytes() + files.tls_key.read_bytes())
    stand_in = StandInProcess(files)
    try:
        aws = BenchmarkAws(both)
        with aws.running():
            yield Services(stand_in, aws, folder)
    finally:
        stand_in.stop()
