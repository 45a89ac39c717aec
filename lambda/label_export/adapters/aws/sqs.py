"""The work queue on SQS."""

from __future__ import annotations

from collections.abc import Sequence

from label_export.adapters.aws.client import AwsClient
from label_export.core.errors import RetryableError
from label_export.core.messages import LabelChange, encode
from label_export.retry import Retry

BATCH = 10  # SQS's limit for one call


class SqsQueue:
    """Queues changes, ten to a call; what SQS did not take of a call is sent again."""

    def __init__(self, aws: AwsClient, queue_url: str, retry: Retry) -> None:
        self._aws = aws
        self._queue_url = queue_url
        self._retry = retry

    def send(self, changes: Sequence[LabelChange]) -> None:
        """Queue one message for each change.

        Raises RetryableError or PermanentError when SQS did not take all of them; some may then be queued, which is
        harmless: a message is only a hint to look.
        """
        for begin in range(0, len(changes), BATCH):
            self._send_batch([encode(change) for change in changes[begin : begin + BATCH]])

    def _send_batch(self, bodies: list[str]) -> None:
        waiting = {str(number): body for number, body in enumerate(bodies)}

        def once(timeout: float) -> None:
            entries = [{"Id": entry_id, "MessageBody": body} for entry_id, body in waiting.items()]
            request = {"QueueUrl": self._queue_url, "Entries": entries}
            answer = self._aws.call("AmazonSQS.SendMessageBatch", request, timeout)
            for taken in answer.get("Successful", []):
                waiting.pop(taken.get("Id"), None)
            if waiting:
                raise RetryableError("queue_partial", f"SQS did not take {len(waiting)} of {len(bodies)} messages")

        self._retry(once)
