"""The queues: two lanes to the exporter, and the catalog's own queue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from label_export.core.errors import RetryableError
from label_export.core.messages import LabelChange, encode

from label_catalog.adapters.aws.failures import translated

_BATCH = 10  # SQS's limit
_TRIES = 4


class ExportLane:
    """A queue of the exporter. All methods raise RetryableError or PermanentError."""

    def __init__(self, sqs: Any, url: str, threads: ThreadPoolExecutor) -> None:
        self._sqs = sqs
        self._url = url
        self._threads = threads

    def send(self, changes: Sequence[LabelChange]) -> None:
        """Queue one message for each change; return when SQS has all of them."""
        batches = [changes[begin : begin + _BATCH] for begin in range(0, len(changes), _BATCH)]
        for _ in self._threads.map(self._send, batches):
            pass

    def depth(self) -> dict[str, int]:
        """Return the approximate numbers of waiting and in-flight messages."""
        names = {"waiting": "ApproximateNumberOfMessages", "in_flight": "ApproximateNumberOfMessagesNotVisible"}
        with translated("sqs"):
            found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(names.values()))
        attributes = found.get("Attributes", {})
        return {name: int(attributes.get(attribute, 0)) for name, attribute in names.items()}

    def _send(self, changes: Sequence[LabelChange]) -> None:
        entries = [{"Id": str(index), "MessageBody": encode(change)} for index, change in enumerate(changes)]
        for _ in range(_TRIES):
            with translated("sqs"):
                answer = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
            failed = {failure["Id"] for failure in answer.get("Failed", [])}
            entries = [entry for entry in entries if entry["Id"] in failed]
            if not entries:
                return
        raise RetryableError("sqs_unavailable", f"SQS did not accept {len(entries)} of {len(changes)} messages")


class WorkQueue:
    """The catalog's own queue."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(self, message: Mapping[str, Any], *, delay: int = 0) -> None:
        """Queue one message, to be delivered after `delay` seconds (at most 900)."""
        with translated("sqs"):
            self._sqs.send_message(QueueUrl=self._url, MessageBody=json.dumps(message), DelaySeconds=delay)

    def ask(self) -> str:
        """Return the queue's name after a successful request to SQS."""
        with translated("sqs"):
            self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        return self._url.rpartition("/")[2]
