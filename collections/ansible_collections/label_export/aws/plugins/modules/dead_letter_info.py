#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dead_letter_info
short_description: Read how many dead letters there are, and which labels they name
description:
  - Reads the number of messages of a dead-letter queue. With O(limit) it also receives messages, without deleting them,
    and returns the labels that they name.
  - A message that was received is hidden from other receivers for half a minute.
  - No module of M(amazon.aws) or M(community.aws) receives messages.
author: The label-export contributors
options:
  queue:
    description: The dead-letter queue's name.
    type: str
    required: true
  limit:
    description: Messages to receive at the most. 0 for the number alone.
    type: int
    default: 0
  event_uids:
    description: Return the labels of messages with these event uids alone. Empty for all.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: It only reads, so it does the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Read which labels of a backfill failed
  label_export.aws.dead_letter_info:
    queue: label-export-dev-dead-letters
    limit: 1000
    event_uids: [backfill-0123456789ab]
"""

RETURN = r"""
messages:
  description: How many messages the queue holds, as SQS counts them approximately, those being received included.
  returned: success
  type: int
labels:
  description: The labels (or data units) that the received messages name, each with C(project_hash) and C(label_hash).
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.dead_letters import COUNTS, received
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "queue": {"type": "str", "required": True},
            "limit": {"type": "int", "default": 0},
            "event_uids": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    client = module.client("sqs", retry_decorator=AWSRetry.jittered_backoff())
    with reported(module, f"The dead letters of {params['queue']} could not be read"):
        url = client.get_queue_url(aws_retry=True, QueueName=params["queue"])["QueueUrl"]
        answer = client.get_queue_attributes(aws_retry=True, QueueUrl=url, AttributeNames=COUNTS)
        labels = received(client, url, params["limit"])
        if params["event_uids"]:
            labels = [label for label in labels if label.get("event_uid") in params["event_uids"]]
        messages = sum(int(answer["Attributes"].get(name, 0)) for name in COUNTS)
        module.exit_json(changed=False, messages=messages, labels=labels)


if __name__ == "__main__":
    main()
