"""Signed requests to AWS services, with the credentials and the region that Lambda puts into the environment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from label_export.adapters.aws.sigv4 import Credentials, signed
from label_export.adapters.transport import Request, Response, Transport
from label_export.core.errors import RetryableError, SettingsError, aws_failure
from label_export.core.ports import Buffer

# The service and the version of its JSON protocol, by the first part of an operation's target.
_JSON_SERVICES = {"AmazonSQS": ("sqs", "1.0"), "secretsmanager": ("secretsmanager", "1.1")}
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>")
_TYPE = re.compile(r"([A-Za-z0-9.]{1,80})$")


def credentials_from(environment: Mapping[str, str]) -> Credentials:
    """Return the role's credentials that the Lambda runtime gives; they do not change while the process lives."""
    try:
        return Credentials(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], environment.get("AWS_SESSION_TOKEN")
        )
    except KeyError as error:
        raise SettingsError(f"{error.args[0]} is not set: the Lambda runtime gives it") from None


class AwsClient:
    """Sends signed requests; safe to share between threads."""

    def __init__(
        self,
        transport: Transport,
        environment: Mapping[str, str],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transport = transport
        self._credentials = credentials_from(environment)
        self._endpoint = environment.get("AWS_ENDPOINT_URL", "").rstrip("/") or None
        self._now = now
        self.region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
        if not self.region:
            raise SettingsError("AWS_REGION is not set: the Lambda runtime gives it")

    @property
    def endpoint(self) -> str | None:
        """The endpoint that stands in for every service (AWS_ENDPOINT_URL), None on AWS itself."""
        return self._endpoint

    def service_url(self, service: str, prefix: str = "") -> str:
        """Return the address of a service in this region, without a final slash."""
        if self._endpoint is not None:
            return self._endpoint
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"https://{prefix}{service}.{self.region}.{suffix}"

    def send(self, service: str, request: Request, timeout: float) -> Response:
        """Sign and send one request; return its answer, whatever its status."""
        request = signed(request, self._credentials, region=self.region, service=service, now=self._now())
        return self._transport.send(request, peer=service, timeout=timeout)

    def call(self, target: str, parameters: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Call an operation once, with AWS's JSON protocol, and return what it answers.

        `target` is the operation's name for X-Amz-Target, like `AmazonSQS.SendMessageBatch`.

        Raises what `aws_failure` says, and RetryableError for an answer that is not JSON.
        """
        service, version = _JSON_SERVICES[target.partition(".")[0]]
        headers = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": target}
        request = Request("POST", f"{self.service_url(service)}/", headers, json.dumps(parameters).encode())
        response = self.send(service, request, timeout)
        try:
            answer = json.loads(bytes(response.body) or b"{}")
        except (ValueError, RecursionError):
            answer = None
        if response.status != HTTPStatus.OK:
            raise aws_failure(service, response.status, _json_code(answer), response.retry_after)
        if not isinstance(answer, dict):
            raise RetryableError("malformed_answer", f"{service} answered with something that is not a JSON object")
        return answer


def xml_code(body: Buffer) -> str | None:
    """Return the error code in an XML answer of S3, None where there is none."""
    found = _CODE.search(bytes(body[:4096]).decode("utf-8", "replace"))
    return found[1] if found else None


def _json_code(answer: object) -> str | None:
    named = answer.get("__type") if isinstance(answer, dict) else None
    found = _TYPE.search(named) if isinstance(named, str) else None
    return found[1] if found else None
