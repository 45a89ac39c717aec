"""Real HTTPS servers on loopback for the handler's tests: a small AWS and a small Encord, with faults on demand."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    until: threading.Event | None = None  # the body is sent byte by byte until then


@dataclass(frozen=True)
class Fault:
    """The fault of one request: a response instead of the real one, or a cut connection.

    `cut` is "before" or "after" the effect of the request, or "middle" of the response's body. `when` runs first.
    """

    answer: Answer | None = None
    cut: str | None = None
    when: Callable[[], None] | None = None


@dataclass
class Call:
    """One request as the server got it."""

    operation: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class LoopbackServer:
    """An HTTPS server with kept connections that records calls and applies faults, by operation, in order.

    Each response waits for `request_seconds`, the first one of a connection for `connection_seconds` more.
    """

    def __init__(self, certificate: Path) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.request_seconds = 0.0
        self.connection_seconds = 0.0
        self.lock = threading.RLock()
        self._faults: dict[str, deque[Fault]] = {}
        self._answers_lost: dict[str, set[str]] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[LoopbackServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()

    def fail(self, operation: str, *faults: Fault) -> None:
        """Apply `faults` to the next calls of `operation`, one each."""
        with self.lock:
            self._faults.setdefault(operation, deque()).extend(faults)

    def lose_first_answers(self, operation: str) -> None:
        """Let the first try of each request of `operation` take effect without an answer; the others are answered."""
        with self.lock:
            self._answers_lost[operation] = set()

    def forget_faults(self) -> None:
        with self.lock:
            self._faults.clear()
            self._answers_lost.clear()

    def _fault(self, call: Call) -> Fault:
        if waiting := self._faults.get(call.operation):
            return waiting.popleft()
        lost = self._answers_lost.get(call.operation)
        # All tries of a request have the same identifier.
        if lost is None or (request := call.headers["amz-sdk-invocation-id"]) in lost:
            return Fault()
        lost.add(request)
        return Fault(cut="after")

    def count(self, operation: str) -> int:
        return Counter(call.operation for call in self.calls)[operation]

    def operation(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        raise NotImplementedError

    def answer(self, call: Call) -> Answer:
        raise NotImplementedError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                self.pause = outer.connection_seconds
                with outer.lock:
                    outer.connections += 1

            def log_message(self, *args: object) -> None:
                pass

            def serve(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                chunked = headers.get("transfer-encoding") == "chunked"
                body = read_chunked(self.rfile) if chunked else self.rfile.read(int(headers.get("content-length", 0)))
                pause, self.pause = outer.request_seconds + self.pause, 0.0
                time.sleep(pause)
                query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                operation = outer.operation(self.command, parts.path, query, headers, body)
                call = Call(operation, unquote(parts.path), query, headers, body)
                with outer.lock:
                    outer.calls.append(call)
                    fault = outer._fault(call)
                if fault.when is not None:
                    fault.when()
                if fault.cut == "before":
                    self._reset()
                    return
                answer = fault.answer or outer.answer(call)
                if fault.cut == "after":
                    self._reset()
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                body = answer.body if self.command != "HEAD" else b""
                while answer.until is not None and not answer.until.wait(0.1):
                    self.wfile.write(body[:1])
                    body = body[1:]
                self.wfile.write(body[: len(body) // 2] if fault.cut == "middle" else body)
                if fault.cut == "middle":
                    self._reset()

            def _reset(self) -> None:
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve  # noqa: N815  (names that http.server looks for)

        return Handler


def read_chunked(stream: BufferedIOBase) -> bytes:
    """Read a chunked body (RFC 9112, section 7.1), trailers included, and return its content."""
    whole = bytearray()
    while size := int(stream.readline().partition(b";")[0], 16):
        whole += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return bytes(whole)


@dataclass
class StoredObject:
    body: bytes
    headers: dict[str, str]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class AwsServer(LoopbackServer):
    """S3 with conditional writes, checksums and multipart uploads; SQS; Secrets Manager. Signatures are not checked."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(certificate)
        self.objects: dict[str, StoredObject] = {}
        self.history: list[tuple[str, bytes]] = []
        self.uploads: dict[str, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []
        self.secrets: dict[str, str] = {}
        self.refuse_entries: deque[set[str]] = deque()

    def operation(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        if "x-amz-target" in headers:
            return headers["x-amz-target"].split(".")[1]
        if "uploads" in query:
            return "CreateMultipartUpload"
        if "uploadId" in query:
            return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[method]
        return {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}[method]

    def answer(self, call: Call) -> Answer:
        with self.lock:
            return getattr(self, f"_{call.operation}")(call)  # type: ignore[no-any-return]

    def _GetSecretValue(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        arn = json.loads(call.body)["SecretId"]
        if arn not in self.secrets:
            return Answer(400, json.dumps({"__type": "com.amazonaws#ResourceNotFoundException"}).encode())
        return Answer(body=json.dumps({"ARN": arn, "SecretString": self.secrets[arn]}).encode())

    def _GetQueueAttributes(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        queue = json.loads(call.body)["QueueUrl"].rpartition("/")[2]
        arn = f"arn:aws:sqs:eu-west-1:000000000000:{queue}"
        return Answer(body=json.dumps({"Attributes": {"QueueArn": arn}}).encode())

    def _SendMessageBatch(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        entries = json.loads(call.body)["Entries"]
        assert 1 <= len(entries) <= 10
        refused = self.refuse_entries.popleft() if self.refuse_entries else set()
        taken = [entry for entry in entries if entry["Id"] not in refused]
        self.messages += [json.loads(entry["MessageBody"]) for entry in taken]
        answer = {
            "Successful": [{"Id": entry["Id"]} for entry in taken],
            "Failed": [{"Id": entry_id, "SenderFault": False, "Code": "InternalError"} for entry_id in sorted(refused)],
        }
        return Answer(body=json.dumps(answer).encode())

    def _GetObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        stored = self.objects.get(call.path)
        return _s3_error(404, "NoSuchKey") if stored is None else Answer(200, stored.body, {"ETag": stored.etag})

    def _HeadObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        stored = self.objects.get(call.path)
        if stored is None:
            return Answer(404)
        return Answer(200, b"", {"ETag": stored.etag, "Content-Length": str(len(stored.body)), **stored.headers})

    def _PutObject(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        refusal = _precondition(call, self.objects.get(call.path)) or _checksum_mismatch(call)
        if refusal is not None:
            return refusal
        self._store(call.path, call.body, call.headers)
        return Answer(200, b"", {"ETag": self.objects[call.path].etag})

    def _CreateMultipartUpload(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        upload_id = f"upload/{len(self.uploads)}+="
        self.uploads[upload_id] = {"headers": call.headers, "parts": {}}
        return Answer(body=_s3_result("InitiateMultipartUploadResult", UploadId=upload_id))

    def _UploadPart(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        refusal = _checksum_mismatch(call)
        if refusal is not None:
            return refusal
        self.uploads[call.query["uploadId"]]["parts"][int(call.query["partNumber"])] = call.body
        return Answer(200, b"", {"ETag": f'"{hashlib.md5(call.body, usedforsecurity=False).hexdigest()}"'})

    def _CompleteMultipartUpload(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        if call.query["uploadId"] not in self.uploads:
            return _s3_error(404, "NoSuchUpload")
        refusal = _precondition(call, self.objects.get(call.path))
        if refusal is not None:
            return refusal
        upload = self.uploads[call.query["uploadId"]]
        size = sum(len(part) for part in upload["parts"].values())
        if call.headers.get("x-amz-mp-object-size", str(size)) != str(size):
            return _s3_error(400, "InvalidRequest")
        del self.uploads[call.query["uploadId"]]
        listed = re.findall(rb'<PartNumber>(\d+)</PartNumber>|<ETag>"(\w+)"</ETag>', call.body)
        parts = [upload["parts"][int(number)] for number, _ in listed if number]
        etags = [etag.decode() for _, etag in listed if etag]
        assert etags == [hashlib.md5(part, usedforsecurity=False).hexdigest() for part in parts]
        self._store(call.path, b"".join(parts), upload["headers"])
        bucket, _, key = call.path[1:].partition("/")
        etag = self.objects[call.path].etag
        return Answer(body=_s3_result("CompleteMultipartUploadResult", Bucket=bucket, Key=key, ETag=etag))

    def _AbortMultipartUpload(self, call: Call) -> Answer:  # noqa: N802  (AWS's name)
        found = self.uploads.pop(call.query["uploadId"], None)
        return Answer(204) if found is not None else _s3_error(404, "NoSuchUpload")

    def _store(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        kept = {
            name: value
            for name, value in headers.items()
            if name.startswith(("x-amz-meta-", "content-", "x-amz-server"))
        }
        kept.pop("content-length", None)
        self.objects[path] = StoredObject(body, kept)
        self.history.append((path, body))


def _precondition(call: Call, stored: StoredObject | None) -> Answer | None:
    if call.headers.get("if-none-match") == "*" and stored is not None:
        return _s3_error(412, "PreconditionFailed")
    if "if-match" in call.headers and stored is None:
        return _s3_error(404, "NoSuchKey")
    if "if-match" in call.headers and stored is not None and stored.etag != call.headers["if-match"]:
        return _s3_error(412, "PreconditionFailed")
    assert "if-match" in call.headers or "if-none-match" in call.headers, "a write without a condition"
    return None


def _checksum_mismatch(call: Call) -> Answer | None:
    actual = base64.b64encode(hashlib.sha256(call.body).digest()).decode()
    return None if call.headers.get("x-amz-checksum-sha256") == actual else _s3_error(400, "BadDigest")


def _s3_result(name: str, **members: str) -> bytes:
    inner = "".join(f"<{member}>{value}</{member}>" for member, value in members.items())
    return f'<{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{name}>'.encode()


def _s3_error(status: int, code: str) -> Answer:
    return Answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())


class EncordServer(LoopbackServer):
    """Encord's project endpoint: verifies the signature, serves rows from a dict, refuses every write."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(certificate)
        self.public_keys: set[str] = set()
        self.rows: dict[str, dict[str, Any] | bytes] = {}
        self.metadata: list[dict[str, Any]] = []
        self.trickle: dict[str, threading.Event] = {}  # labels whose rows are sent byte by byte until the event is set
        self.stages: dict[str, list[str]] = {}  # the titles of a project's workflow, by its hash
        self.gzip = False

    def operation(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        return "GetProject" if method == "GET" else str(json.loads(body)["query_type"])

    def answer(self, call: Call) -> Answer:
        if call.operation == "GetProject":
            return self._project(call)
        question = json.loads(call.body)
        assert (call.path, question["query_method"]) == ("/public", "GET"), "only reading is allowed"
        if not self._authentic(call):
            return self.envelope(["AUTHENTICATION_ERROR"], 401)
        if call.operation == "labelrow":
            enough = self.trickle.get(question["values"]["uid"])
            if enough is not None:
                return Answer(body=b" " * 1000, until=enough)
            row = self.rows.get(question["values"]["uid"])
            return self.envelope(["RESOURCE_NOT_FOUND_ERROR"], 404) if row is None else self.envelope(row)
        wanted = question["values"]["payload"]
        return self.envelope(
            [
                row
                for row in self.metadata
                if row["data_hash"] in wanted.get("data_hashes", [row["data_hash"]])
                and row["label_hash"] in wanted.get("label_hashes", [row["label_hash"]])
            ]
        )

    def envelope(self, response: object, status: int = 200) -> Answer:
        text = response if isinstance(response, bytes) else json.dumps(response).encode()
        body = b'{"status":%d,"response":%b}' % (status, text)
        headers = {"Content-Type": "application/json"}
        if self.gzip:
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        return Answer(200, body, headers)

    def _project(self, call: Call) -> Answer:
        """REST: the signature is verified as in the SDK's encord/http/v2/request_signer.py."""
        params = call.headers["signature-input"].removeprefix("encord-sig=")
        lines = ['"@method": GET', f'"@request-target": {call.path}']
        lines += [f'"content-digest": {call.headers["content-digest"]}', f'"@signature-params": {params}']
        (public_key,) = re.findall(r'keyid="([0-9a-f]{64})"', params)
        signature = base64.b64decode(call.headers["signature"].removeprefix("encord-sig=:").removesuffix(":"))
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, "\n".join(lines).encode())
        except InvalidSignature:
            return Answer(401)
        titles = self.stages.get(call.path.rpartition("/")[2])
        if public_key not in self.public_keys or titles is None:
            return Answer(403, b'{"message":"No access"}')
        stages = [{"stageType": "ANNOTATION", "uuid": "x", "title": title} for title in titles]
        return Answer(body=json.dumps({"workflow": {"stages": stages}}).encode())

    def _authentic(self, call: Call) -> bool:
        public_key, _, signature = call.headers["authorization"].partition(":")
        assert call.headers["resourcetype"] == "project"
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
            key.verify(bytes.fromhex(signature), hashlib.sha256(call.body).digest())
        except (InvalidSignature, ValueError):
            return False
        return public_key in self.public_keys
