"""The SDK on this function's transport: where requests go, what they contain, and how responses are classified."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import botocore
import pytest
from label_export.adapters.aws import client as client_module
from label_export.adapters.aws.client import AwsClient, AwsRefusalError, Body
from label_export.adapters.aws.s3 import Layout, S3Store
from label_export.adapters.transport import Request, Response, Transport
from label_export.core.errors import ExportError, PermanentError, RetryableError
from label_export.core.ports import LabelRow
from label_export.retry import Retry

ROLE = {"AWS_ACCESS_KEY_ID": "key-id", "AWS_SECRET_ACCESS_KEY": "secret-key"}


class Recorder(Transport):
    """Records each request, and responds with the next response."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.sent: list[Request] = []
        self.timeouts: list[dict[str, Any]] = []

    def send(self, request: Request, **timeouts: Any) -> Response:  # type: ignore[override]
        self.sent.append(request)
        self.timeouts.append(timeouts)
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)


def client(*answers: Response, region: str = "eu-west-1") -> tuple[AwsClient, Recorder]:
    recorder = Recorder(*answers)
    return AwsClient(recorder, {**ROLE, "AWS_REGION": region}), recorder


def store(aws: AwsClient, bucket: str = "labels", **layout: Any) -> S3Store:
    return S3Store(aws, Layout(bucket, **layout), Retry(lambda: 9), lambda name, value: None)


@pytest.mark.parametrize(
    ("region", "bucket", "variables", "url"),
    [
        ("eu-west-1", "labels", {}, "https://labels.s3.eu-west-1.amazonaws.com/k"),
        ("eu-west-1", "labels.example", {}, "https://s3.eu-west-1.amazonaws.com/labels.example/k"),
        ("cn-north-1", "labels", {}, "https://labels.s3.cn-north-1.amazonaws.com.cn/k"),
        ("us-gov-west-1", "labels", {}, "https://labels.s3.us-gov-west-1.amazonaws.com/k"),
        (
            "us-east-1",
            "labels",
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "https://labels.s3-fips.us-east-1.amazonaws.com/k",
        ),
        (
            "eu-west-1",
            "labels",
            {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "https://labels.s3.dualstack.eu-west-1.amazonaws.com/k",
        ),
        ("eu-west-1", "labels", {"AWS_ENDPOINT_URL": "https://localhost:4566"}, "https://localhost:4566/labels/k"),
    ],
)
def test_addresses(
    monkeypatch: pytest.MonkeyPatch, region: str, bucket: str, variables: dict[str, str], url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    aws, recorder = client(Response(404, {}, b""), region=region)
    assert store(aws, bucket).look("k") is None
    assert recorder.sent[0].url == url
    assert "X-Amz-Security-Token" not in recorder.sent[0].headers


def test_a_message_carries_the_trace_of_the_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQS forwards the header X-Amzn-Trace-Id as AWSTraceHeader (X-Ray's documentation on SQS)."""
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "label-export-dev")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    aws, sent = client(Response(200, {}, b'{"Successful": []}'))
    aws.call("sqs", "send_message_batch", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "Entries": []}, 5)
    assert {name.lower(): value for name, value in sent.sent[0].headers.items()}["x-amzn-trace-id"] == trace


def row(body: bytes) -> LabelRow:
    return LabelRow("l", None, None, None, None, None, None, memoryview(body), hashlib.sha256(body).hexdigest())


def test_a_body_is_sent_unchanged_with_its_checksum_and_read_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Body, "read", lambda *_: pytest.fail("hashed or copied a second time"))
    aws, recorder = client(Response(200, {"ETag": '"e"'}, b""))
    label = row(b'{"a":1}')
    assert store(aws).write("k", "p", label, None)
    (sent,) = recorder.sent
    headers = {name.lower(): value for name, value in sent.headers.items()}
    assert sent.body is label.body
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(bytes.fromhex(label.sha256)).decode()
    assert (headers["if-none-match"], headers["content-length"]) == ("*", "7")
    assert "expect" not in headers
    assert "encord-label-export/" in headers["user-agent"]
    assert recorder.timeouts[0] == {"peer": "s3", "timeout": 8, "connect_timeout": 3.0, "read_timeout": 60.0}


@pytest.mark.parametrize(
    ("response", "kind", "reason"),
    [
        (Response(503, {"Retry-After": "7"}, b""), RetryableError, "sqs_unavailable"),
        (Response(400, {}, b'{"__type":"com.amazonaws.sqs#KmsThrottled"}'), RetryableError, "sqs_unavailable"),
        (Response(403, {}, b'{"__type":"com.amazonaws.sqs#OverLimit"}'), RetryableError, "sqs_unavailable"),
        (Response(400, {}, b'{"__type":"ThrottledException"}'), RetryableError, "sqs_unavailable"),
        (Response(403, {}, b'{"__type":"RequestThrottled"}'), RetryableError, "sqs_unavailable"),
        (
            Response(400, {"x-amzn-query-error": "KMS.ThrottlingException;Sender"}, b'{"__type":"KmsThrottled"}'),
            RetryableError,
            "sqs_unavailable",
        ),
        (Response(403, {}, b'{"__type":"AccessDeniedException"}'), PermanentError, "sqs_access_denied"),
        (Response(400, {}, b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}'), PermanentError, "sqs_refused"),
        (Response(200, {}, b"[]"), RetryableError, "malformed_answer"),
        (Response(200, {}, b'"x"'), RetryableError, "malformed_answer"),
    ],
)
def test_responses_are_classified(response: Response, kind: type[ExportError], reason: str) -> None:
    aws, recorder = client(response)
    parameters = {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/000000000000/q", "AttributeNames": ["QueueArn"]}
    with pytest.raises(kind) as caught:
        aws.call("sqs", "get_queue_attributes", parameters, 4.0)
    assert caught.value.reason == reason
    assert len(recorder.sent) == 1, "the SDK tries nothing again"
    assert recorder.timeouts[0] == {"peer": "sqs", "timeout": 4.0, "connect_timeout": 3.0, "read_timeout": 5.0}
    if isinstance(caught.value, RetryableError) and "Retry-After" in response.headers:
        assert caught.value.retry_after == 7.0


def test_a_request_that_the_sdk_refuses_is_reported_without_its_content() -> None:
    aws, recorder = client()
    with pytest.raises(PermanentError) as caught:
        aws.call("sqs", "send_message_batch", {"QueueUrl": 5, "Entries": "canary"}, 4.0)
    assert (caught.value.reason, str(caught.value)) == ("sqs_sdk", "the SDK cannot call sqs: ParamValidationError")
    assert caught.value.__context__ is None
    assert recorder.sent == []


def test_the_error_name_in_a_refusal_is_valid_or_empty() -> None:
    aws, _ = client(Response(403, {}, b"<Error><Code>Access&lt;b&gt;</Code></Error>"), Response(412, {}, b""))
    for status in (403, 412):
        with pytest.raises(AwsRefusalError) as caught:
            aws.ask("s3", "head_object", {"Bucket": "b", "Key": "k"}, 4.0)
        assert (caught.value.status, caught.value.code) == (status, None)


def test_each_services_part_of_the_sdk_is_loaded_at_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = client_module.botocore.session.Session.create_client

    def watched(self: Any, service: str, **more: Any) -> Any:
        made.append(service)
        return real(self, service, **more)

    monkeypatch.setattr(client_module.botocore.session.Session, "create_client", watched)
    aws, _ = client(Response(404, {}, b""), Response(404, {}, b""))
    assert made == []
    assert (store(aws).look("k"), store(aws).look("k"), made) == (None, None, ["s3"])


def test_a_body_is_a_file_to_the_sdk() -> None:
    body = Body(memoryview(b"abcdef"))
    assert (len(body), body.read(2), body.tell(), body.read(), body.read()) == (6, b"ab", 2, b"cdef", b"")
    assert (body.seek(1), body.read(1), body.seek(-1, 2), body.read()) == (1, b"b", 5, b"f")


@pytest.mark.parametrize("name", ["requirements.lock", "catalog-requirements.lock"])
def test_the_tests_use_the_sdk_version_of_the_images(name: str) -> None:
    lock = Path(__file__).parents[4] / "lambda" / name
    assert f"\nbotocore=={botocore.__version__} " in lock.read_text()
