#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sqs_queue
short_description: Ensure an SQS queue and all its settings
description:
  - Creates, changes or deletes a standard SQS queue.
  - Unlike M(community.aws.sqs_queue) it corrects every setting of an existing queue, including encryption, manages
    the redrive-allow policy and SQS-managed encryption, and predicts URL and ARN in check mode.
author: The label-export contributors
options:
  name:
    description: The queue's name.
    type: str
    required: true
  state:
    description: Whether the queue exists.
    type: str
    choices: [present, absent]
    default: present
  visibility_timeout:
    description: Seconds for which a received message is hidden from other receivers.
    type: int
  message_retention_period:
    description: Seconds for which the queue keeps a message.
    type: int
  maximum_message_size:
    description: The largest message in bytes.
    type: int
  receive_message_wait_time:
    description: Seconds for which a receive call waits for a message.
    type: int
  redrive_policy:
    description:
      - The queue for messages after too many receives. Set both parts, or neither.
      - An empty dictionary removes the policy. Not managed when left out.
    type: dict
    suboptions:
      dead_letter_target_arn:
        description: The ARN of the dead-letter queue.
        type: str
      max_receive_count:
        description: Receives after which a message is moved.
        type: int
  redrive_allow_source_queue_arns:
    description: The queues that may use this one as their dead-letter queue. An empty list allows none.
    type: list
    elements: str
  kms_master_key_id:
    description: The KMS key that encrypts messages. Without it SQS encrypts with a key that it manages itself.
    type: str
  policy:
    description: The queue's resource policy.
    type: json
  tags:
    description: The queue's tags. Others are removed. Not managed when left out.
    type: dict
attributes:
  check_mode:
    description: Nothing is changed; the queue is returned as it would be.
    support: full
  diff_mode:
    description: Shows each changed attribute.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the queue moves failed messages to the dead-letter queue
  label_export.aws.sqs_queue:
    name: label-export-dev
    visibility_timeout: 720
    redrive_policy:
      dead_letter_target_arn: arn:aws:sqs:eu-west-1:123456789012:label-export-dev-dead-letters
      max_receive_count: 5
"""

RETURN = r"""
queue_url:
  description: The queue's URL; empty in check mode when the queue does not exist.
  returned: when state is present
  type: str
attributes:
  description: The queue's attributes after the run, as the API returns them; in check mode as they would be.
  returned: when state is present
  type: dict
"""

import json
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import compare_aws_tags
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    comparable_policy,
    difference,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.sqs_queue import DOCUMENTS, find_queue
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

# For a minute after a queue is deleted, SQS refuses to create one with its name.
DELETED_RECENTLY = ["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"]
# ... and for up to a minute the deleted one may still answer (API reference, DeleteQueue).
DYING_SECONDS = 70
PAUSE = 2  # seconds


def wanted_attributes(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into the API's attributes, JSON documents as objects."""
    attributes = {
        "VisibilityTimeout": params["visibility_timeout"],
        "MessageRetentionPeriod": params["message_retention_period"],
        "MaximumMessageSize": params["maximum_message_size"],
        "ReceiveMessageWaitTimeSeconds": params["receive_message_wait_time"],
    }
    attributes = {key: str(value) for key, value in attributes.items() if value is not None}
    if params["redrive_policy"] is not None:
        redrive = {key: value for key, value in params["redrive_policy"].items() if value is not None}
        attributes["RedrivePolicy"] = redrive and {
            "deadLetterTargetArn": redrive["dead_letter_target_arn"],
            "maxReceiveCount": int(redrive["max_receive_count"]),
        }
    if params["redrive_allow_source_queue_arns"] is not None:
        sources = sorted(params["redrive_allow_source_queue_arns"])
        attributes["RedriveAllowPolicy"] = (
            {"redrivePermission": "byQueue", "sourceQueueArns": sources}
            if sources
            else {"redrivePermission": "denyAll"}
        )
    if params["policy"] is not None:
        attributes["Policy"] = comparable_policy(params["policy"])
    # One of the two kinds of encryption is always on. A key switches SQS's own encryption off. Without a key, the
    # existing key is removed, because SQS accepts only one of the two.
    if params["kms_master_key_id"]:
        attributes["KmsMasterKeyId"] = params["kms_master_key_id"]
    else:
        attributes["SqsManagedSseEnabled"] = "true"
        attributes["KmsMasterKeyId"] = ""
    return attributes


def as_text(attributes: dict[str, Any]) -> dict[str, str]:
    """Bring attributes into the API's form: JSON documents as text, an empty document as an empty string."""
    return {
        key: (json.dumps(value) if value else "") if key in DOCUMENTS else value for key, value in attributes.items()
    }


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    params = module.params
    url, current = find_queue(client, params["name"])
    answer = client.list_queue_tags(aws_retry=True, QueueUrl=url) if url else {}
    current_tags = own_tags(answer.get("Tags", {}))
    wanted = wanted_attributes(params)
    changes = changed_values(current, wanted)
    to_set, to_remove = compare_aws_tags(current_tags, current_tags if params["tags"] is None else params["tags"])
    diff = difference(current and {**current, "Tags": current_tags}, {**wanted, "Tags": params["tags"]})
    changed = current is None or bool(changes or to_set or to_remove)
    if changed and not module.check_mode:
        if current is None:
            # An empty document or key is the default, but CreateQueue refuses it.
            attributes = {key: value for key, value in as_text(wanted).items() if value != ""}
            url = client.create_queue(
                aws_retry=True, QueueName=params["name"], Attributes=attributes, tags=params["tags"] or {}
            )["QueueUrl"]
        else:
            if changes:
                client.set_queue_attributes(aws_retry=True, QueueUrl=url, Attributes=as_text(changes))
            if to_remove:
                client.untag_queue(aws_retry=True, QueueUrl=url, TagKeys=to_remove)
            if to_set:
                client.tag_queue(aws_retry=True, QueueUrl=url, Tags=to_set)
    module.exit_json(changed=changed, diff=diff, queue_url=url or "", attributes={**(current or {}), **wanted})


def wait_until_gone(module: AnsibleAWSModule, client: Any) -> None:
    """Wait until SQS no longer finds the queue, or until its deletion must be complete.

    Until then the dying queue answers as if it were kept, and a deploy that follows would find nothing to do.
    """
    for _ in range(DYING_SECONDS // PAUSE):
        if find_queue(client, module.params["name"])[0] is None:
            return
        time.sleep(PAUSE)
    module.warn(
        f"SQS still finds the queue {module.params['name']} {DYING_SECONDS} s after it was deleted. Wait a minute "
        f"before you deploy again."
    )


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    url, current = find_queue(client, module.params["name"])
    if url and not module.check_mode:
        client.delete_queue(aws_retry=True, QueueUrl=url)
        wait_until_gone(module, client)
    module.exit_json(changed=url is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "visibility_timeout": {"type": "int"},
            "message_retention_period": {"type": "int"},
            "maximum_message_size": {"type": "int"},
            "receive_message_wait_time": {"type": "int"},
            "redrive_policy": {
                "type": "dict",
                "options": {"dead_letter_target_arn": {"type": "str"}, "max_receive_count": {"type": "int"}},
                "required_together": [("dead_letter_target_arn", "max_receive_count")],
            },
            "redrive_allow_source_queue_arns": {"type": "list", "elements": "str"},
            "kms_master_key_id": {"type": "str", "no_log": False},
            "policy": {"type": "json"},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    retry = AWSRetry.jittered_backoff(catch_extra_error_codes=DELETED_RECENTLY)
    client = module.client("sqs", retry_decorator=retry)
    ensure_state(module, f"The queue {module.params['name']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
