"""The environment that is deployed on the local stack, as the tests of molecule's scenarios see it from outside."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from local_stack import ROOT, LocalStack

# The environment and its inventories are set in tests/molecule/steps/pytest.yml. `make demo` leaves `local`.
ENVIRONMENT = os.environ.get("TESTED_ENVIRONMENT", "local")
NAME = f"label-export-{ENVIRONMENT}"
PATIENCE_SECONDS = 60


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first true value of ``condition``; fail with the awaited ``what`` if there is none in time."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return result


class Deployment:
    """The deployed system, seen from outside as the root user."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.bucket = f"{NAME}-{stack.facts['account_id']}-{stack.facts['region']}"

    @cached_property
    def s3(self) -> Any:
        return self.stack.aws("s3")

    @cached_property
    def sqs(self) -> Any:
        return self.stack.aws("sqs")

    @cached_property
    def functions(self) -> Any:
        return self.stack.aws("lambda")

    @cached_property
    def logs(self) -> Any:
        return self.stack.aws("logs")

    @cached_property
    def webhook_url(self) -> str:
        apis = self.stack.aws("apigatewayv2").get_apis()["Items"]
        (api,) = [api for api in apis if api["Name"] == NAME]
        return f"{self.stack.facts['aws_endpoint_url']}/_aws/execute-api/{api['ApiId']}/$default/webhook"

    def queue_attributes(self, name: str = NAME) -> dict[str, str]:
        url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        return dict(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])

    def messages(self, name: str = NAME) -> int:
        """Return the number of messages in a queue, including those in flight."""
        attributes = self.queue_attributes(name)
        return sum(int(value) for key, value in attributes.items() if key.startswith("ApproximateNumberOfMessages"))

    def mapping(self, queue: str = NAME) -> dict[str, Any]:
        """Return the event source mapping of a queue."""
        found = self.functions.list_event_source_mappings()["EventSourceMappings"]
        (mapping,) = [item for item in found if item["EventSourceArn"].endswith(f":{queue}")]
        return dict(mapping)

    def key(self, project_hash: str, label_hash: str) -> str:
        return f"encord/{project_hash}/labels/{label_hash}.json"

    def versions(self, key: str) -> int:
        """Return the number of versions of an object."""
        listing = self.s3.list_object_versions(Bucket=self.bucket, Prefix=key)
        return len(listing.get("Versions", []))

    def saved(self, project_hash: str, label_hash: str, edited_at: str) -> tuple[bytes, dict[str, str]]:
        """Return body and metadata of a label's object once it has that edit time."""

        key = self.key(project_hash, label_hash)
        try:
            _key, answer = self.stack.saved_label(
                self.bucket, label_hash, edited_at, prefix=key, seconds=PATIENCE_SECONDS
            )
        except TimeoutError as error:
            pytest.fail(str(error))
        return answer["Body"].read(), answer["Metadata"]

    def log_text(self) -> str:
        """Return everything in the environment's log groups, as one text.

        Not in other environments' groups, which other scenarios delete at the same time.
        """
        texts: list[str] = []
        groups = self._pages("describe_log_groups", "logGroups", "logGroupName")
        for name in (group for group in groups if group.rpartition("/")[2].startswith(NAME)):
            for stream in self._pages("describe_log_streams", "logStreams", "logStreamName", logGroupName=name):
                events = self.logs.get_log_events(logGroupName=name, logStreamName=stream, startFromHead=True)
                texts.extend(event["message"] for event in events["events"])
        return "\n".join(texts)

    def _pages(self, operation: str, listed: str, name: str, **request: str) -> list[str]:
        return [item[name] for page in self.logs.get_paginator(operation).paginate(**request) for item in page[listed]]


@contextmanager
def webhook_to(stack: LocalStack, url: str, project_hash: str) -> Iterator[None]:
    """Send the webhooks of one project to this URL too; other scenarios have their own at the same time."""
    hook = stack.encord_json("POST", "webhooks", {"url": url, "project_hash": project_hash})
    try:
        yield
    finally:
        stack.encord_json("DELETE", f"webhooks/{hook['id']}")


def statuses(task: dict[str, Any], url: str) -> list[int]:
    """Return the statuses of a URL's responses to the webhooks that a task caused."""
    return [delivery["status"] for delivery in task["deliveries"] if delivery["url"] == url]


def invoke(functions: Any, payload: dict[str, Any], qualifier: str) -> dict[str, Any]:
    """Invoke the function with an event; return its answer."""
    answer = functions.invoke(FunctionName=NAME, Qualifier=qualifier, Payload=json.dumps(payload).encode())
    return dict(json.loads(answer["Payload"].read()))


def proxy_before(stack: LocalStack, upstream: str) -> FaultProxy:
    """Return a proxy in front of a server of the stack; playbooks and containers trust and reach it like the server."""
    folder = Path(stack.facts["aws_ca_bundle"]).parent
    return FaultProxy(
        upstream,
        certificate=folder / "server-chain.pem",
        key=folder / "server.key",
        ca_file=folder / "ca.pem",
        addresses=[address for address in ("127.0.0.1", stack.facts["bridge_address"]) if address],
    )


def another_handler(directory: Path) -> Path:
    """Return a copy of the handler's source that differs in a comment, so that its image differs."""
    source = directory / "lambda"
    shutil.copytree(ROOT / "lambda", source, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    package = source / "label_export" / "__init__.py"
    package.write_text(package.read_text() + "\n# Another handler.\n")
    return source


def given_secrets(stack: LocalStack) -> list[str]:
    """Return every secret with which an environment is deployed here, in pieces that fit on one line of output."""
    key = Path(stack.facts["encord_private_key_file"]).read_text().splitlines()[1:-1]
    return [*key, *Path(stack.facts["webhook_secret_file"]).read_text().split()]


def as_the_deploy_left_it(secrets: Any, name: str, value: str) -> None:
    """Restore a secret's value, with the tag in which the role encord_secrets records that it wrote it."""
    version = secrets.put_secret_value(SecretId=name, SecretString=value)["VersionId"]
    secrets.tag_resource(SecretId=name, Tags=[{"Key": "written-version", "Value": version}])
