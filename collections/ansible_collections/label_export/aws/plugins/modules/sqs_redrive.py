#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sqs_redrive
short_description: Move messages from a dead-letter queue back to the queue that they came from
description:
  - Receives messages from one queue, sends each to another with its body and attributes, and deletes it only after
    that. So an interrupted run loses no message; it may send one twice.
  - Unlike StartMessageMoveTask, which AWS emulators lack, it returns how many messages were moved.
author: The label-export contributors
options:
  source:
    description: The name of the queue to empty.
    type: str
    required: true
  destination:
    description: The name of the queue that gets the messages.
    type: str
    required: true
  limit:
    description: Maximum number of messages to move.
    type: int
    default: 10000
attributes:
  check_mode:
    description: Nothing is moved; RV(moved) is how many would be, by SQS's approximate count.
    support: full
  diff_mode:
    description: Shows the numbers of messages in both queues.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Retry dead letters
  label_export.aws.sqs_redrive:
    source: label-export-dev-dead-letters
    destination: label-export-dev
"""

RETURN = r"""
moved:
  description: How many messages were moved.
  returned: always
  type: int
remaining:
  description: How many messages the source still has, by SQS's approximate count, including received ones.
  returned: always
  type: int
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

BATCH = 10  # SQS's limit for one call
# Seconds that a received message is hidden: enough to send and delete ten, and short for the next run.
HIDDEN_FOR = 60
# Seconds to wait for a message: SQS then queries all its servers, so that an empty response means an empty queue.
WAIT = 1
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


def entry(number: int, message: dict[str, Any]) -> dict[str, Any]:
    """Return SendMessageBatch's entry for a received message: only its body and attributes."""
    result: dict[str, Any] = {"Id": str(number), "MessageBody": message["Body"]}
    if message.get("MessageAttributes"):
        result["MessageAttributes"] = {
            name: {key: value for key, value in attribute.items() if not key.endswith("ListValues")}
            for name, attribute in message["MessageAttributes"].items()
        }
    # The X-Ray header is the one system attribute that can be sent.
    if header := message.get("Attributes", {}).get("AWSTraceHeader"):
        result["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}
    return result


class Redrive:
    """Moves messages between two queues, by their URLs."""

    def __init__(self, client: Any, source: str, destination: str) -> None:
        self.client = client
        self.source = client.get_queue_url(aws_retry=True, QueueName=source)["QueueUrl"]
        self.destination = client.get_queue_url(aws_retry=True, QueueName=destination)["QueueUrl"]

    def waiting(self, url: str) -> dict[str, int]:
        """Return how many messages a queue holds, by their state."""
        answer = self.client.get_queue_attributes(aws_retry=True, QueueUrl=url, AttributeNames=list(COUNTS))
        return {name: int(answer["Attributes"].get(name, 0)) for name in COUNTS}

    def receive(self, number: int) -> list[dict[str, Any]]:
        answer = self.client.receive_message(
            aws_retry=True,
            QueueUrl=self.source,
            MaxNumberOfMessages=number,
            VisibilityTimeout=HIDDEN_FOR,
            WaitTimeSeconds=WAIT,
            AttributeNames=["AWSTraceHeader"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def move(self, messages: list[dict[str, Any]]) -> list[str]:
        """Send the messages, and delete the ones that SQS accepted. Return a reason for each of the others."""
        entries = [entry(number, message) for number, message in enumerate(messages)]
        sent = self.client.send_message_batch(aws_retry=True, QueueUrl=self.destination, Entries=entries)
        taken = [
            {"Id": item["Id"], "ReceiptHandle": messages[int(item["Id"])]["ReceiptHandle"]}
            for item in sent.get("Successful", [])
        ]
        problems = [f"not sent: {item.get('Code')}" for item in sent.get("Failed", [])]
        if taken:
            deleted = self.client.delete_message_batch(aws_retry=True, QueueUrl=self.source, Entries=taken)
            problems += [f"sent, but not deleted: {item.get('Code')}" for item in deleted.get("Failed", [])]
        return problems


def redrive(module: AnsibleAWSModule, client: Any) -> None:
    limit: int = module.params["limit"]
    queues = Redrive(client, module.params["source"], module.params["destination"])
    before = queues.waiting(queues.source)
    found, total = before["ApproximateNumberOfMessages"], sum(before.values())
    if module.check_mode:
        moved = min(found, limit)
        after = total - moved
        module.exit_json(changed=moved > 0, moved=moved, remaining=after, diff=numbers(total, after))
    moved = 0
    # Messages that fail again while this runs are for the next run: at most as many as there were at the start, or
    # ten if SQS's approximate count is zero.
    limit = min(limit, max(found, BATCH))
    while moved < limit:
        messages = queues.receive(min(BATCH, limit - moved))
        if not messages:
            break
        problems = queues.move(messages)
        moved += len(messages) - len(problems)
        if problems:
            module.fail_json(
                msg=f"{len(problems)} of {len(messages)} messages could not be moved from {module.params['source']} "
                f"({problems[0]}); {moved} were moved before. The others stay there, and none is lost: run this again.",
                moved=moved,
                changed=moved > 0,
            )
    after = sum(queues.waiting(queues.source).values())
    module.exit_json(changed=moved > 0, moved=moved, remaining=after, diff=numbers(after + moved, after))


def numbers(before: int, after: int) -> dict[str, dict[str, int]]:
    return {"before": {"messages": before}, "after": {"messages": after}}


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "destination": {"type": "str", "required": True},
            "limit": {"type": "int", "default": 10000},
        },
        supports_check_mode=True,
    )
    source, destination = module.params["source"], module.params["destination"]
    if source == destination or module.params["limit"] < 1:
        module.fail_json(msg=f"source ({source}) and destination must be two queues, and limit 1 or more")
    client = module.client("sqs", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, f"The messages of {source} could not be moved to {destination}"):
        redrive(module, client)


if __name__ == "__main__":
    main()
