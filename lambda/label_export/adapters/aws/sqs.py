"""The work queue on SQS."""

from __future__ import annotations

from collections.abc import Sequence

from label_export.adapters.aws.client import AwsClient
from label_export.core.errors import PermanentError, RetryableError
from label_export.core.messages import LabelChange, encode
from label_export.retry import Retry

BATCH = 10  # SQS's limit for one call
AT_A_TIME = 8  # concurrent calls; a webhook of a thousand tasks needs a hundred


class SqsQueue:
    """Queues changes, ten to a call; what SQS did not accept of a call is sent again."""

    def __init__(self, aws: AwsClient, queue_url: str, retry: Retry) -> None:
        self._aws = aws
        self._queue_url = queue_url
        self._retry = retry

    def send(self, changes: Sequence[LabelChange]) -> None:
        """Queue one message for each change.

        Raises RetryableError or PermanentError if SQS did not accept all of them. Some may then be queued, which is
        harmless: a message only makes the function read the label.
        """
        bodies = [encode(change) for change in changes]
        batches = [bodies[begin : begin + BATCH] for begin in range(0, len(bodies), BATCH)]
        if len(batches) == 1:
            self._send_batch(batches[0])
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (most webhooks' cold start does without it)

        with ThreadPoolExecutor(min(AT_A_TIME, len(batches)), thread_name_prefix="queue") as threads:
            for _ in threads.map(self._send_batch, batches):
                pass

    def prove(self) -> None:
        """Check that the queue responds; raises as `send`."""
        request = {"QueueUrl": self._queue_url, "AttributeNames": ["QueueArn"]}
        answer = self._retry(lambda timeout: self._aws.call("sqs", "get_queue_attributes", request, timeout))
        if "Attributes" not in answer:  # the SDK returns an empty answer for a text that is not JSON
            raise RetryableError("malformed_answer", "SQS's response has no attributes of a queue")

    def _send_batch(self, bodies: list[str]) -> None:
        waiting = {str(number): body for number, body in enumerate(bodies)}

        def once(timeout: float) -> None:
            entries = [{"Id": entry_id, "MessageBody": body} for entry_id, body in waiting.items()]
            request = {"QueueUrl": self._queue_url, "Entries": entries}
            answer = self._aws.call("sqs", "send_message_batch", request, timeout)
            for taken in answer.get("Successful", []):
                waiting.pop(taken.get("Id"), None)
            refused = [entry for entry in answer.get("Failed", []) if entry.get("SenderFault") is True]
            if refused:
                raise PermanentError("sqs_refused", f"SQS refused {len(refused)} of {len(bodies)} messages")
            if waiting:
                raise RetryableError("queue_partial", f"SQS did not accept {len(waiting)} of {len(bodies)} messages")

        self._retry(once)
