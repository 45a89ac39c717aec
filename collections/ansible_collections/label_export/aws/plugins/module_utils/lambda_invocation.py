"""Invokes a version of a Lambda function, and waits for one that is inactive.

A version that was not invoked for some weeks is inactive. An invocation then fails, and Lambda prepares the version
again.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError

# Lambda's error codes for a version that is inactive or is being activated (API reference, Invoke).
NOT_READY = ["ResourceNotReadyException", "ResourceConflictException"]
PAUSE = 2  # seconds between two requests
# Seconds without a response: longer than a function may run (Lambda's quota, 900). With botocore's 60 a function that
# takes longer would be invoked again while it runs, several times.
READ_TIMEOUT = 930


def invoking_client(module: Any) -> Any:
    """Return a Lambda client of an AnsibleAWSModule that waits for the response of a long invocation."""
    # The connection is idle meanwhile, which firewalls and NAT gateways end.
    config = {"read_timeout": READ_TIMEOUT, "tcp_keepalive": True}
    return module.client("lambda", retry_decorator=AWSRetry.jittered_backoff(), config=config)


class Version:
    """One version of a function, or what an alias names."""

    def __init__(self, client: Any, params: dict[str, Any], payload: dict[str, Any]) -> None:
        """`params` has C(function_name), C(qualifier), and C(timeout): seconds to wait for an inactive version."""
        self.client = client
        self.named = {"FunctionName": params["function_name"], "Qualifier": params["qualifier"]}
        self.payload = json.dumps(payload)
        self.ends = time.monotonic() + params["timeout"]
        self.timeout: int = params["timeout"]
        self.waited = False

    def invoke(self) -> Any:
        """Return what the function returns. Raises ExplainedError where it fails, or does not become active in time."""
        while True:
            try:
                answer = self.client.invoke(aws_retry=True, Payload=self.payload, **self.named)
            except is_boto3_error_code(NOT_READY):
                self.waited = True
                self.wait()
                continue
            output = json.loads(answer["Payload"].read() or b"null")
            if answer.get("FunctionError"):
                reason = output.get("errorMessage", output) if isinstance(output, dict) else output
                log = f"Its log group /aws/lambda/{self.named['FunctionName']} has more."
                raise ExplainedError(f"{self.text()} was invoked and failed: {reason}. {log}")
            return output

    def wait(self) -> None:
        """Wait until Lambda has activated the version."""
        while True:
            if time.monotonic() > self.ends:
                raise ExplainedError(
                    f"{self.text()} was not active within {self.timeout} s. Lambda may still be preparing it: run this "
                    "again."
                )
            time.sleep(PAUSE)
            configuration = self.client.get_function_configuration(aws_retry=True, **self.named)
            if configuration.get("State") == "Failed":
                reason = f"{configuration.get('StateReason')} ({configuration.get('StateReasonCode')})"
                raise ExplainedError(
                    f"{self.text()} cannot be made active: {reason}. Use another version, or deploy again."
                )
            if configuration.get("State") != "Pending":
                return

    def text(self) -> str:
        return f"Version {self.named['Qualifier']} of {self.named['FunctionName']}"
