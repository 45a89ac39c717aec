"""A proxy that makes requests fail on purpose: between the function and Encord, S3, SQS or Secrets Manager.

It is in front of one real server, forwards every request unchanged (including the Host header, which is signed),
and applies its rules. A rule says which requests (operation, method, path, body), which of those (nth,
probability with a seed, a maximum), and what happens to them:

==================  ===================================================================================
`answers`           a response instead of the server's: a status, headers such as Retry-After, an error body
`delays`            a delay before the request takes effect, or after it, before the response
`resets`            the connection is reset before the effect, or after it: done, and the response is lost
`truncates`         the response's body ends early, with a clean close or a reset
`blackholes`        no response: only the client's time-out ends it
`calls`             a function of the test runs before or after the effect (another writer, a kill)
==================  ===================================================================================

Every request is recorded with its result. This uses Python's own HTTP server and threads: a reset needs the socket.
"""

from __future__ import annotations

import json
import random
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import urllib3

# RFC 9110, section 7.6.1: headers of a single connection. The length is that of what is sent.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
S3_SUBRESOURCES = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One request and its result.

    `operation` is the AWS operation (`PutObject`, `SendMessageBatch`) or Encord's query type (`labelrow`). `status` is
    the status that the client got, None without a response; `reached` is whether the request was forwarded.
    """

    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    client: str
    reached: bool = False
    status: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Fault:
    """What happens to one request; created by the functions below. In real seconds."""

    name: str
    effect: bool = True  # the request is forwarded
    before: float = 0.0
    after: float = 0.0
    call: Callable[[Exchange], None] | None = None
    call_first: bool = False
    answer: Answer | None = None
    end: Literal["answer", "reset", "truncate", "blackhole"] = "answer"
    keep: float = 1.0  # of the body: a fraction
    reset: bool = False


def answers(answer: Answer, *, after_effect: bool = False) -> Fault:
    """Send `answer`; the server does not get the request unless `after_effect`."""
    return Fault(f"answers {answer.status}", effect=after_effect, answer=answer)


def delays(before: float = 0.0, after: float = 0.0) -> Fault:
    """Wait `before` the request takes effect, and `after` it, before the response is sent; in seconds."""
    return Fault("delays", before=before, after=after)


def resets(*, after_effect: bool = False) -> Fault:
    """Reset the connection: before the server gets the request, or after it has responded."""
    return Fault("resets after effect" if after_effect else "resets", effect=after_effect, end="reset")


def truncates(keep: float = 0.5, *, reset: bool = False) -> Fault:
    """Send the head of the real response and this fraction of its body, then close or reset the connection."""
    return Fault("truncates", keep=keep, end="truncate", reset=reset)


def blackholes(*, after_effect: bool = False) -> Fault:
    """Accept the request and never respond."""
    return Fault("blackholes", effect=after_effect, end="blackhole")


def calls(function: Callable[[Exchange], object], *, first: bool = False) -> Fault:
    """Run `function` after the request took effect, or `first`; then continue normally."""

    def call(exchange: Exchange) -> None:
        function(exchange)

    return Fault("calls", call=call, call_first=first)


def s3_error(status: int, code: str, **headers: str) -> Answer:
    """An error of S3, in the form of its REST API."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>'
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **headers})


def aws_json_error(status: int, code: str, **headers: str) -> Answer:
    """An error of SQS or Secrets Manager, in AWS's JSON protocol."""
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": "injected"}).encode()
    return Answer(status, body, {"Content-Type": "application/x-amz-json-1.0", **headers})


def encord_error(status: int, code: str, *, http_status: int = 200, **headers: str) -> Answer:
    """An error of Encord in its envelope, often with HTTP status 200."""
    body = json.dumps({"status": status, "response": [code], "payload": None}).encode()
    return Answer(http_status, body, {"Content-Type": "application/json", **headers})


@dataclass
class Rule:
    """The requests that a fault affects.

    `operation` is a shell pattern; `path` and `body` are regular expressions to search for. Of the matching requests
    `nth` selects by number, from 1; `probability` by a separate generator with this `seed`; `times` is the maximum.
    """

    fault: Fault
    operation: str = "*"
    method: str | None = None
    path: str = ""
    body: str = ""
    nth: Sequence[int] = ()
    probability: float = 1.0
    seed: int = 0
    times: int | None = None
    matched: int = 0
    applied: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def meets(self, exchange: Exchange) -> bool:
        """Return whether the fault affects this request, and count it."""
        if not (
            fnmatchcase(exchange.operation, self.operation)
            and self.method in {None, exchange.method}
            and re.search(self.path, exchange.path)
            and re.search(self.body.encode(), exchange.body)
        ):
            return False
        self.matched += 1
        chosen = (
            (not self.nth or self.matched in self.nth)
            and (self.times is None or self.applied < self.times)
            and (self.probability >= 1 or self._chance.random() < self.probability)
        )
        self.applied += chosen
        return chosen


class FaultProxy:
    """The proxy of one server. Rules are tried in order; only the first that matches a request acts."""

    def __init__(  # noqa: PLR0913 - each of them is needed to stand between two TLS peers
        self,
        upstream: str,
        *,
        certificate: Path,
        key: Path,
        ca_file: Path,
        addresses: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
    ) -> None:
        """`upstream` is the server's URL, trusted through `ca_file`; `addresses` share one port (0: a free one)."""
        self.exchanges: list[Exchange] = []
        self._upstream = upstream.rstrip("/")
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._pool = urllib3.PoolManager(maxsize=64, retries=False, ca_certs=str(ca_file), headers={})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._servers: list[ThreadingHTTPServer] = []
        for address in addresses:
            server = ThreadingHTTPServer((address, port), self._handler())
            server.daemon_threads = True
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            self._servers.append(server)
            port = server.server_port
        self.port = port
        self.url = f"https://localhost:{port}"

    @contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """Serve within the block."""
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield self
        finally:
            self._over.set()
            for server in self._servers:
                server.shutdown()
                server.server_close()
            self._pool.clear()

    def inject(self, *rules: Rule) -> None:
        """Add rules after the existing ones."""
        with self._lock:
            self._rules.extend(rules)

    def heal(self) -> None:
        """Remove all rules; requests pass unchanged. Requests in a blackhole stay there."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Remove all rules and forget the recorded requests."""
        self.heal()
        with self._lock:
            self.exchanges.clear()

    def count(self, operation: str, *, reached: bool | None = None) -> int:
        """Return the number of requests of this operation; only those that were forwarded, or only the others."""
        with self._lock:
            return sum(
                exchange.operation == operation and reached in {None, exchange.reached} for exchange in self.exchanges
            )

    def faults(self) -> dict[str, int]:
        """Return the number of faults of each kind."""
        found: dict[str, int] = {}
        with self._lock:
            for exchange in self.exchanges:
                if exchange.fault is not None:
                    found[exchange.fault] = found.get(exchange.fault, 0) + 1
        return found

    def _choose(self, exchange: Exchange) -> Fault:
        with self._lock:
            self.exchanges.append(exchange)
            for rule in self._rules:
                if rule.meets(exchange):
                    exchange.fault = rule.fault.name
                    return rule.fault
        return Fault("none")

    def _forward(self, exchange: Exchange, target: str) -> Answer:
        exchange.reached = True
        response = self._pool.request(
            exchange.method,
            self._upstream + target,
            headers={name: value for name, value in exchange.headers.items() if name not in {"connection", "expect"}},
            body=exchange.body or None,
            redirect=False,
            decode_content=False,
        )
        return Answer(response.status, response.data, response.headers)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args: object) -> None:
                pass

            def serve(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                if "transfer-encoding" in headers:
                    self.send_error(411, "the proxy takes bodies in one piece")
                    self.close_connection = True
                    return
                body = self.rfile.read(int(headers.get("content-length", 0)))
                exchange = described(self.command, self.path, headers, body, str(self.client_address[0]))
                try:
                    self.carry_out(proxy._choose(exchange), exchange)
                except OSError:  # the client disconnected, or was killed
                    self.close_connection = True

            def carry_out(self, fault: Fault, exchange: Exchange) -> None:
                proxy._over.wait(fault.before) if fault.before else None
                if fault.call is not None and fault.call_first:
                    fault.call(exchange)
                real = proxy._forward(exchange, self.path) if fault.effect else None
                if fault.call is not None and not fault.call_first:
                    fault.call(exchange)
                proxy._over.wait(fault.after) if fault.after else None
                if fault.end == "blackhole":
                    proxy._over.wait()
                if fault.end in {"blackhole", "reset"}:
                    self.cut_off(reset=True)
                    return
                answer = fault.answer or real or Answer(502, b"the proxy has nothing to answer")
                exchange.status = answer.status
                self.reply(answer, fault.keep)
                if fault.end == "truncate":
                    self.cut_off(reset=fault.reset)

            def reply(self, answer: Answer, keep: float) -> None:
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                head = self.command == "HEAD"
                length = answer.headers.get("Content-Length", "0") if head else str(len(answer.body))
                self.send_header("Content-Length", length)
                self.end_headers()
                if not head:
                    self.wfile.write(answer.body[: int(len(answer.body) * keep)])
                self.wfile.flush()

            def cut_off(self, *, reset: bool) -> None:
                self.close_connection = True
                if reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = serve  # noqa: N815 - http.server's names

        return Handler


def described(method: str, target: str, headers: Mapping[str, str], body: bytes, client: str) -> Exchange:
    """Return a request with its operation of AWS or Encord, which is found by the services' protocols."""
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    path = unquote(parts.path)
    return Exchange(_operation(method, path, query, headers, body), method, path, query, headers, body, client)


def _operation(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> str:
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if path == "/public":
        return _query_type(body)
    for (verb, name), operation in S3_SUBRESOURCES.items():
        if method == verb and name in query:
            return operation
    return f"{method.capitalize()}Object"


def _query_type(body: bytes) -> str:
    try:
        question: Any = json.loads(body)
    except ValueError:
        question = None
    return str(question.get("query_type", "")) if isinstance(question, dict) else ""
