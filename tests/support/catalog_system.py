"""Catalog and exporter in one process, between a small AWS and the Encord stand-in, which are real HTTPS servers."""

from __future__ import annotations

import email.utils
import hashlib
import io
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

import pytest
from encord_harness import Files, StandInProcess, private_key_text
from handler_deployment import ACCOUNT, KEY_ARN, SIGNING_ARN, Context, batch, signed_request
from handler_servers import Answer, AwsServer, Call, StoredObject, read_chunked
from label_catalog import handler as catalog_handler
from label_catalog.application import Application
from label_catalog.settings import Settings
from label_export import handler as export_handler

BUCKET = "labels-bucket"
_PAGE = 1000


class CatalogAws(AwsServer):
    """The handler tests' AWS, with what the catalog needs in addition: reading, listing, deleting, several queues."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(certificate)
        self.queues: dict[str, list[str]] = defaultdict(list)
        self.modified: dict[str, datetime] = {}
        self.deleted: list[str] = []
        self.versions: dict[str, dict[str, StoredObject]] = defaultdict(dict)  # of each path, the oldest first
        self.lifecycle: list[dict[str, Any]] = []
        self.retained: dict[str, str] = {}
        self.after_save: Callable[[str], None] | None = None

    def operation(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        if "x-amz-target" in headers or "uploads" in query or "uploadId" in query:
            return super().operation(method, path, query, headers, body)
        if method == "GET" and query.get("list-type") == "2":
            return "ListObjectsV2"
        if "lifecycle" in query:
            return "GetBucketLifecycleConfiguration"
        if "retention" in query:
            return "PutObjectRetention"
        if "x-amz-copy-source" in headers:
            return "CopyObject"
        return {"HEAD": "HeadObject", "PUT": "PutObject", "GET": "GetObject", "DELETE": "DeleteObject"}[method]

    def waiting(self, queue: str) -> list[dict[str, Any]]:
        """Return the messages of a queue."""
        return [json.loads(body) for body in self.queues[queue]]

    def _SendMessageBatch(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        answer = super()._SendMessageBatch(call)
        asked = json.loads(call.body)
        taken = {entry["Id"] for entry in json.loads(answer.body)["Successful"]}
        queue = asked["QueueUrl"].rpartition("/")[2]
        self.queues[queue] += [entry["MessageBody"] for entry in asked["Entries"] if entry["Id"] in taken]
        return answer

    def _SendMessage(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        asked = json.loads(call.body)
        self.queues[asked["QueueUrl"].rpartition("/")[2]].append(asked["MessageBody"])
        return Answer(body=json.dumps({"MessageId": "1"}).encode())

    def _GetQueueAttributes(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        queue = json.loads(call.body)["QueueUrl"].rpartition("/")[2]
        attributes = {
            "QueueArn": f"arn:aws:sqs:eu-west-1:000000000000:{queue}",
            "ApproximateNumberOfMessages": str(len(self.queues[queue])),
            "ApproximateNumberOfMessagesNotVisible": "0",
        }
        return Answer(body=json.dumps({"Attributes": attributes}).encode())

    def expire_versions(self) -> None:
        """Remove every version except the current one of each object, as a lifecycle rule does in the end."""
        for path, versions in self.versions.items():
            for name, stored in list(versions.items()):
                if self.objects.get(path) is not stored:
                    del versions[name]

    def version(self, path: str) -> str:
        """Return the current version of what is under a path."""
        return next(name for name, stored in self.versions[path].items() if stored is self.objects[path])

    def _keep_version(self, path: str) -> dict[str, str]:
        name = f"v{sum(map(len, self.versions.values())) + 1}-{len(self.history)}"
        self.versions[path][name] = self.objects[path]
        return {"x-amz-version-id": name}

    def _HeadObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        answer = super()._HeadObject(call)
        versions = {id(stored): name for name, stored in self.versions[call.path].items()}
        stored = self.objects.get(call.path)
        named = {"x-amz-version-id": versions[id(stored)]} if stored is not None and id(stored) in versions else {}
        locked = {"x-amz-object-lock-retain-until-date": self.retained[call.path]} if call.path in self.retained else {}
        return self._dated(call, Answer(answer.status, answer.body, {**answer.headers, **named, **locked}))

    def _CopyObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        """S3: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html, with the condition on the target."""
        source, _, version = unquote(call.headers["x-amz-copy-source"]).partition("?versionId=")
        path = "/" + source.removeprefix("/")
        found = self.versions[path].get(version) if version else self.objects.get(path)
        if found is None:
            code = "NoSuchVersion" if version else "NoSuchKey"
            return Answer(404, f"<Error><Code>{code}</Code></Error>".encode())
        wanted = call.headers.get("x-amz-copy-source-if-match")
        taken = call.headers.get("if-none-match") == "*" and call.path in self.objects
        if taken or (wanted is not None and wanted != found.etag):
            return Answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        self.objects[call.path] = StoredObject(found.body, dict(found.headers))
        self.modified[call.path] = datetime.now(UTC)
        if "x-amz-object-lock-retain-until-date" in call.headers:
            self.retained[call.path] = call.headers["x-amz-object-lock-retain-until-date"]
        named = self._keep_version(call.path)
        if self.after_save is not None:
            self.after_save(call.path)
        body = f"<CopyObjectResult><ETag>{escape(found.etag)}</ETag></CopyObjectResult>".encode()
        return Answer(200, body, named)

    def _PutObjectRetention(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        until = call.body.decode().partition("<RetainUntilDate>")[2].partition("<")[0]
        if until < self.retained.get(call.path, ""):
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        self.retained[call.path] = until
        return Answer(200)

    def _GetBucketLifecycleConfiguration(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        if not self.lifecycle:
            return Answer(404, b"<Error><Code>NoSuchLifecycleConfiguration</Code></Error>")
        rules = "".join(
            f"<Rule><ID>{rule['ID']}</ID><Status>Enabled</Status><Filter><Prefix>{rule['Prefix']}</Prefix></Filter>"
            f"{rule['Action']}</Rule>"
            for rule in self.lifecycle
        )
        return Answer(body=f"<LifecycleConfiguration>{rules}</LifecycleConfiguration>".encode())

    def _store(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        super()._store(path, body, headers)
        self._keep_version(path)

    def _GetObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        stored = self.objects.get(call.path)
        if stored is None:
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return self._dated(call, Answer(200, stored.body, {"ETag": stored.etag, **stored.headers}))

    def _PutObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        by_exporter = "x-amz-checksum-sha256" in call.headers
        answer = super()._PutObject(call) if by_exporter else self._put_document(call)
        if answer.status == 200:
            self.modified[call.path] = datetime.now(UTC)
            if self.after_save is not None:
                self.after_save(call.path)
        return answer

    def _put_document(self, call: Call) -> Answer:
        stored = self.objects.get(call.path)
        if call.headers.get("if-none-match") == "*" and stored is not None:
            return Answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        if "if-match" in call.headers and (stored is None or stored.etag != call.headers["if-match"]):
            return Answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        chunked = "aws-chunked" in call.headers.get("content-encoding", "")
        body = read_chunked(io.BytesIO(call.body)) if chunked else call.body
        self.objects[call.path] = StoredObject(body, {"content-type": call.headers.get("content-type", "")})
        return Answer(200, b"", {"ETag": self.objects[call.path].etag, **self._keep_version(call.path)})

    def _DeleteObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        self.objects.pop(call.path, None)
        self.deleted.append(call.path)
        return Answer(204)

    def _ListObjectsV2(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        base = f"/{BUCKET}/"
        prefix = call.query.get("prefix", "")
        token = call.query.get("continuation-token", call.query.get("start-after", ""))
        keys = sorted(path.removeprefix(base) for path in self.objects if path.startswith(base + prefix))
        keys = [key for key in keys if key > max(token, call.query.get("start-after", ""))]
        folders: list[str] = []
        if delimiter := call.query.get("delimiter"):
            below = {key: key.removeprefix(prefix).partition(delimiter) for key in keys}
            folders = sorted({prefix + first + delimiter for first, found, _ in below.values() if found})
            keys = [key for key, (_, found, _) in below.items() if not found]
        page, more = keys[:_PAGE], len(keys) > _PAGE
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{self._modified(base + key):%Y-%m-%dT%H:%M:%S.000Z}"
            f"</LastModified><ETag>{escape(self.objects[base + key].etag)}</ETag>"
            f"<Size>{len(self.objects[base + key].body)}</Size></Contents>"
            for key in page
        )
        following = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        common = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        text = f"<ListBucketResult>{truncated}{following}{contents}{common}</ListBucketResult>"
        return Answer(body=text.encode(), headers={"Content-Type": "application/xml"})

    def _dated(self, call: Call, answer: Answer) -> Answer:
        moment = self._modified(call.path)
        return Answer(
            answer.status, answer.body, {**answer.headers, "Last-Modified": email.utils.format_datetime(moment, True)}
        )

    def _modified(self, path: str) -> datetime:
        return self.modified.get(path, datetime(2025, 6, 1, tzinfo=UTC)).replace(microsecond=0)


@dataclass
class Clock:
    """The catalog's clock; `off` is its error."""

    off: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.off


@dataclass
class CatalogSystem:
    """Both functions with their environment."""

    aws: CatalogAws
    stand_in: StandInProcess
    files: Files
    monkeypatch: pytest.MonkeyPatch
    bundle: Path
    clock: Clock = field(default_factory=Clock)
    signing_secret: str = "not-a-secret-in-a-test"  # noqa: S105 - it is none
    letters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aws.secrets[KEY_ARN] = private_key_text(self.files.key)
        self.aws.secrets[SIGNING_ARN] = json.dumps({"signing_secrets": [self.signing_secret], "url_tokens": []})
        queue = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}"
        self.set(
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "test"),
            AWS_REGION="eu-west-1",
            AWS_DEFAULT_REGION="eu-west-1",
            AWS_ENDPOINT_URL=self.aws.url,
            AWS_CA_BUNDLE=str(self.bundle),
            SSL_CERT_FILE=str(self.bundle),  # reading the system's takes longer than most tests
            LABEL_EXPORT_BUCKET=BUCKET,
            LABEL_CATALOG_INDEX="false",  # on in the tests of the index: a census then starts more work
            LABEL_EXPORT_QUEUE_URL=f"{queue}/labels",
            LABEL_CATALOG_BACKFILL_QUEUE_URL=f"{queue}/backfill",
            LABEL_CATALOG_QUEUE_URL=f"{queue}/catalog",
            LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN=KEY_ARN,
            LABEL_EXPORT_SIGNING_SECRETS_ARN=SIGNING_ARN,
            LABEL_EXPORT_ENCORD_DOMAIN=self.stand_in.url,
            LABEL_EXPORT_PROJECTS=json.dumps([self.project]),
        )

    def set(self, **variables: str) -> None:
        """Set environment variables; the next call is a cold start."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        self.restart()

    def restart(self) -> None:
        """Make the next call of either function a cold start."""
        catalog_handler.application.cache_clear()
        export_handler.application.cache_clear()
        self._application: Application | None = None

    @property
    def project(self) -> str:
        """The hash of the stand-in's main project."""
        return str(self.stand_in.project()["project_hash"])

    def catalog(self, event: Any, seconds: float = 600.0) -> dict[str, Any]:
        """Invoke the catalog."""
        if self._application is None:
            self._application = Application(Settings.from_environment(os.environ), os.environ, now=self.clock)
        return self._application.handle(event, Context(seconds))

    def take(self, queue: str) -> dict[str, Any] | None:
        """Take one message from the catalog's queue as Lambda would deliver it."""
        if not self.aws.queues[queue]:
            return None
        return batch(self.aws.queues[queue].pop(0))

    def work_all(self, seconds: float = 600.0) -> int:
        """Deliver the catalog's messages until there are none; return how many there were."""
        count = 0
        while (event := self.take("catalog")) is not None:
            answer = self.catalog(event, seconds)
            assert answer == {"batchItemFailures": []}
            count += 1
            assert count < 200, "the catalog's queue never becomes empty"
        return count

    def export_all(self) -> int:
        """Deliver all messages of both lanes to the exporter until none is left; return the number of deliveries.

        A message that fails five times is a dead letter.
        """
        delivered = 0
        for queue in ("labels", "backfill"):
            waiting = [(body, 1) for body in self.aws.queues[queue]]
            self.aws.queues[queue].clear()
            while waiting:
                now, waiting = waiting[:10], waiting[10:]
                event = batch(*(body for body, _ in now), receive_count=max(count for _, count in now))
                failed = {
                    int(item["itemIdentifier"]) for item in export_handler.handle(event, Context())["batchItemFailures"]
                }
                delivered += len(now)
                for number in failed:
                    body, count = now[number]
                    if count >= 5:
                        self.letters.append(body)
                    else:
                        waiting.append((body, count + 1))
        return delivered

    def reconcile(self) -> dict[str, Any]:
        """Run one reconcile and export what it queued."""
        answer = self.catalog({"action": "reconcile"})
        self.export_all()
        return answer

    def census(self) -> dict[str, Any]:
        """Run one census, export what it queued, and return its report."""
        self.catalog({"action": "census"})
        self.work_all()
        self.export_all()
        return self.report()

    def report(self) -> dict[str, Any]:
        """Return the main project's latest report."""
        return self.document(f"encord/{self.project}/reports/latest.json")

    def document(self, key: str) -> dict[str, Any]:
        """Return a document of the bucket."""
        found: dict[str, Any] = json.loads(self.aws.objects[f"/{BUCKET}/{key}"].body)
        return found

    def path(self, label_hash: str) -> str:
        """Return the path under which the server keeps a label."""
        return f"/{BUCKET}/encord/{self.project}/labels/{label_hash}.json"

    def webhook(self, row: dict[str, Any], event_type: str) -> None:
        """Have the exporter receive a signed webhook about a row."""
        body = {
            "uid": hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest()[:32],
            "version": 1,
            "source": "Encord",
            "event_type": event_type,
            "event_created_timestamp": datetime.now(UTC).isoformat(),
            "payload": {
                "project_hash": self.project,
                "data_hashes": [row["data_hash"]],
                "label_hashes": [row["label_hash"]],
            },
        }
        answer = export_handler.handle(signed_request(body, self.signing_secret), Context())
        assert answer["statusCode"] == 202, answer


def differences(system: CatalogSystem, stages: tuple[str, ...] = ("Review", "Complete")) -> list[str]:
    """The oracle: compare the stand-in's rows with the bytes in the bucket. It shares no code with the catalog.

    Labels in `stages` must be there byte for byte. Labels in other stages need not.
    """
    found = []
    for row in system.stand_in.project()["label_rows"]:
        if row["label_hash"] is None or row["workflow_stage"] not in stages or row["key"] == "deleted":
            continue
        stored = system.aws.objects.get(system.path(row["label_hash"]))
        if stored is None:
            found.append(f"{row['key']} is missing")
        elif stored.body != system.stand_in.row_bytes(row["label_hash"]):
            found.append(f"{row['key']} is stale")
    return found


def chance(seed: int) -> random.Random:
    """Return repeatable randomness."""
    return random.Random(seed)  # noqa: S311 - repeatable on purpose
