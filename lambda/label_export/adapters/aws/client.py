"""AWS's SDK (botocore): endpoints, signatures, checksums and protocols of S3, SQS and Secrets Manager.

The SDK builds requests and parses responses. This function's own transport sends them, so that they share its
connections, certificates and time-outs, and only retry.py decides on retries. The SDK's event `before-send` makes this
possible: a response that a handler returns replaces sending the request.
Why this SDK, and what it costs: docs/decisions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

from label_export import __version__
from label_export.adapters.transport import Request, Response, Transport
from label_export.core.errors import ExportError, PermanentError, RetryableError, SettingsError, aws_failure
from label_export.core.ports import Buffer

# Seconds without a byte. Secrets Manager and SQS answer in milliseconds, and a webhook waits for both.
READ_TIMEOUTS = {"secretsmanager": 5.0, "sqs": 5.0, "s3": 60.0}
CONNECT_TIMEOUT = 3.0

# At DEBUG, which a setting of Lambda can set for every logger, it logs what it sends and receives, also secrets.
logging.getLogger("botocore").setLevel(logging.WARNING)

_seconds_left: ContextVar[float] = ContextVar("seconds_left")


class AwsRefusalError(Exception):
    """An AWS service responded with an error. Stays within this package: `failure` converts it.

    `code` is the error's name, None if the response has none (a response to HEAD has no body).
    """

    def __init__(self, service: str, status: int, code: str | None, retry_after: float | None) -> None:
        super().__init__(service, status, code)
        self.service = service
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def failure(self) -> ExportError:
        """Return the core's error for it: retryable or permanent."""
        return aws_failure(self.service, self.status, self.code, self.retry_after)


class Body:
    """A request's body for the SDK, which accepts files but no memoryview. The transport sends `buffer` as it is."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self._position = 0

    def __len__(self) -> int:
        return len(self.buffer)

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes."""
        end = len(self.buffer) if size < 0 else self._position + size
        piece = bytes(self.buffer[self._position : end])
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position, as files do."""
        self._position = offset + (0, self._position, len(self.buffer))[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


class _Models(Loader):  # type: ignore[misc]  # botocore has no types
    """The SDK's models, with the endpoints of the services used here only: 6 MB less memory."""

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Return a model and its path."""
        data, path = super().load_data_with_path(name)
        if name == "endpoints":
            for partition in data["partitions"]:
                services = partition["services"]
                partition["services"] = {service: services[service] for service in READ_TIMEOUTS if service in services}
        return data, path


class AwsClient:
    """Calls AWS; safe to share between threads. Each service's part of the SDK is loaded at its first call."""

    def __init__(self, transport: Transport, environment: Mapping[str, str]) -> None:
        """`environment` has the region and the role's credentials, which do not change while the process lives.

        Custom endpoints (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, ...), FIPS and dual-stack endpoints
        (AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT) are read by the SDK from the process's environment.
        """
        self._transport = transport
        self._region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
        if not self._region:
            raise SettingsError("AWS_REGION is not set: the Lambda runtime sets it")
        self._session = botocore.session.Session()
        self._session.register_component("data_loader", _Models())
        try:
            self._session.set_credentials(
                environment["AWS_ACCESS_KEY_ID"],
                environment["AWS_SECRET_ACCESS_KEY"],
                environment.get("AWS_SESSION_TOKEN"),
            )
        except KeyError as error:
            raise SettingsError(f"{error.args[0]} is not set: the Lambda runtime sets it") from None
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, parameters: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Call an operation once and return its answer.

        Args:
            service: the SDK's name of it, like `sqs`.
            operation: the SDK's name of it, like `send_message_batch`.
            parameters: the operation's parameters, as AWS's API reference names them.
            timeout: seconds that the call may take.

        Raises the error that `aws_failure` returns, and the errors of `ask`.
        """
        try:
            return self.ask(service, operation, parameters, timeout)
        except AwsRefusalError as refusal:
            raise refusal.failure() from None

    def ask(self, service: str, operation: str, parameters: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Call an operation once, like `call`, for callers that handle some errors of the service as answers.

        Raises AwsRefusalError for an error of the service, RetryableError for an answer that cannot be read or a
        connection that fails, PermanentError if the SDK cannot build a request from the parameters.
        """
        failure: Exception
        token = _seconds_left.set(timeout)
        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**parameters)
            return answer
        except ClientError as error:
            failure = _refusal(service, error.response)
        except (ResponseParserError, AttributeError, KeyError, TypeError, ValueError):
            # Its parsers fail in all of these ways, for example at JSON that is no object.
            failure = RetryableError("malformed_answer", f"{service} sent a response that cannot be read")
        except BotoCoreError as error:  # its text can contain the request
            failure = PermanentError(f"{service}_sdk", f"the SDK cannot call {service}: {type(error).__name__}")
        finally:
            _seconds_left.reset(token)
        try:
            raise failure  # outside of `except`: not chained to the SDK's error, which can contain the request
        finally:
            del failure  # otherwise it, its traceback and this frame form a cycle, which keeps the caller's row

    def _client(self, service: str) -> Any:
        with self._lock:  # creating clients is not thread-safe, using them is
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def _made(self, service: str) -> Any:
        config = Config(
            region_name=self._region,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # s3.py sends a checksum with everything that is stored. Other requests need none.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # TLS and the checksum protect a body; signing it too would read it a second time.
            s3={"payload_signing_enabled": False},
            user_agent_extra=f"encord-label-export/{__version__}",
        )
        client = self._session.create_client(service, config=config)

        def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
            return self._send(service, request)

        client.meta.events.register("before-send", send)
        return client

    def _send(self, service: str, request: AWSPreparedRequest) -> AWSResponse:
        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if name.lower() != "expect"  # the time-outs cover a server that does not read the body
        }
        body = request.body.buffer if isinstance(request.body, Body) else request.body
        response = self._transport.send(
            Request(request.method, request.url, headers, body),
            peer=service,
            timeout=_seconds_left.get(),
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUTS[service],
        )
        return AWSResponse(request.url, response.status, HeadersDict(response.headers), _Received(response.body))


class _Received:
    """A complete body with the methods that the SDK reads one with."""

    def __init__(self, body: Buffer) -> None:
        self._body = body

    def stream(self, **_: object) -> list[bytes]:
        """Return the body's chunks."""
        return [bytes(self._body)]

    def read(self, _amount: int | None = None) -> bytes:
        """Return the whole body, and nothing from then on."""
        content, self._body = bytes(self._body), b""
        return content


def _refusal(service: str, response: Mapping[str, Any]) -> AwsRefusalError:
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", HTTPStatus.INTERNAL_SERVER_ERROR))
    headers = HeadersDict(metadata.get("HTTPHeaders", {}))
    code = str(response.get("Error", {}).get("Code", ""))[:80]
    # If an answer has no body, the SDK uses the status as the code.
    known = code if code.replace(".", "").isalnum() and not code.isdecimal() else None
    return AwsRefusalError(service, status, known, Response(status, headers, b"").retry_after)
