#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: label_requeue
short_description: Queue the labels that, according to a function's log, were not queued or not exported
description:
  - Reads the lines of a time span that have one of the given values in field C(event), and queues one message for
    each label and data unit that they name. A message only makes the function read the label, so repeated runs leave
    the same objects.
  - Lines of C(playbooks/verify.yml), whose labels do not exist, are left out.
author: The label-export contributors
options:
  log_group:
    description: The name of the function's log group.
    type: str
    required: true
  queue:
    description: The name of the queue that gets the messages.
    type: str
    required: true
  hours:
    description: Number of hours of the log to read, up to now.
    type: float
    default: 24
  events:
    description: The values of field C(event) of the lines to read.
    type: list
    elements: str
    default: [labels_not_queued, label_filtered]
  reasons_left_out:
    description: The values of field C(reason) of lines to leave out.
    type: list
    elements: str
    default: [not_selected, no_labels]
attributes:
  check_mode:
    description: Nothing is queued; RV(queued) is how many messages would be.
    support: full
  diff_mode:
    description: Shows the number of messages by project.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Queue what was not queued in the last six hours
  label_export.aws.label_requeue:
    log_group: /aws/lambda/label-export-dev
    queue: label-export-dev
    hours: 6
"""

RETURN = r"""
queued:
  description: How many messages were queued.
  returned: always
  type: int
projects:
  description: How many of them, by the project's hash.
  returned: always
  type: dict
lines:
  description: How many lines of the log named them.
  returned: always
  type: int
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

BATCH = 10  # SQS's limit for one call
MESSAGE_VERSION = 1  # of lambda/label_export/core/messages.py
PROBE_PREFIX = "verify-"  # event uids of export_probe

Line = dict[str, Any]
# The content of a message: the project, "label_hash" or "data_hash", and that hash.
Target = tuple[str, str, str]


def is_wanted(line: object, params: dict[str, Any]) -> bool:
    """Return whether a line of the log is one of those to read."""
    return (
        isinstance(line, dict)
        and line.get("event") in params["events"]
        and line.get("reason") not in params["reasons_left_out"]
        and isinstance(line.get("project_hash"), str)
        and not str(line.get("event_uid", "")).startswith(PROBE_PREFIX)
    )


def targets(line: Line) -> Iterator[Target]:
    """Yield the hashes in a line: the lists of a webhook, or the label or data unit of a message."""
    for name in ("label_hash", "data_hash"):
        many = line.get(f"{name}es")
        for item in many if isinstance(many, list) else []:
            yield line["project_hash"], name, str(item)
    if line.get("label_hash"):
        yield line["project_hash"], "label_hash", str(line["label_hash"])
    elif line.get("data_hash"):
        yield line["project_hash"], "data_hash", str(line["data_hash"])


def message(target: Target, event_uid: str) -> str:
    """Return the text of a queue message, in the form of lambda/label_export/core/messages.py."""
    project, name, item = target
    about = {"event_uid": event_uid, "event_type": ""}
    return json.dumps({"version": MESSAGE_VERSION, "project_hash": project, name: item, **about})


def read(logs: Any, params: dict[str, Any], now: float) -> Iterator[Line]:
    """Yield the lines to read. CloudWatch searches the event's name as text; the line's fields decide."""
    pages = logs.get_paginator("filter_log_events")
    for event in params["events"]:
        for page in pages.paginate(
            logGroupName=params["log_group"],
            startTime=int((now - params["hours"] * 3600) * 1000),
            filterPattern=f'"{event}"',
        ):
            for found in page["events"]:
                try:
                    line = json.loads(found["message"])
                except ValueError:
                    continue
                if is_wanted(line, params) and line["event"] == event:
                    yield line


def send(sqs: Any, queue: str, bodies: list[str]) -> int:
    """Queue up to ten messages; return how many SQS accepted."""
    url = sqs.get_queue_url(aws_retry=True, QueueName=queue)["QueueUrl"]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    answer = sqs.send_message_batch(aws_retry=True, QueueUrl=url, Entries=entries)
    return len(answer.get("Successful", []))


def requeue(module: AnsibleAWSModule, logs: Any, sqs: Any) -> None:
    lines = list(read(logs, module.params, time.time()))
    wanted = list(dict.fromkeys(target for line in lines for target in targets(line)))
    projects = dict(Counter(project for project, _, _ in wanted))
    event_uid = f"requeue-{uuid.uuid4()}"
    queued = 0
    for begin in range(0, 0 if module.check_mode else len(wanted), BATCH):
        bodies = [message(target, event_uid) for target in wanted[begin : begin + BATCH]]
        taken = send(sqs, module.params["queue"], bodies)
        queued += taken
        if taken < len(bodies):
            module.fail_json(
                msg=f"SQS accepted {queued} of {len(wanted)} messages and refused {len(bodies) - taken}. Run this "
                "again: a label that is queued twice is exported once.",
                queued=queued,
                changed=queued > 0,
            )
    module.exit_json(
        changed=bool(wanted),
        queued=len(wanted),
        projects=projects,
        lines=len(lines),
        diff={"before": {}, "after": projects},
    )


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "log_group": {"type": "str", "required": True},
            "queue": {"type": "str", "required": True},
            "hours": {"type": "float", "default": 24},
            "events": {"type": "list", "elements": "str", "default": ["labels_not_queued", "label_filtered"]},
            "reasons_left_out": {"type": "list", "elements": "str", "default": ["not_selected", "no_labels"]},
        },
        supports_check_mode=True,
    )
    if module.params["hours"] <= 0:
        module.fail_json(msg=f"hours is {module.params['hours']}: it must be above 0, the hours of the log to read")
    with reported(module, f"The labels in {module.params['log_group']} could not be queued"):
        decorator = AWSRetry.jittered_backoff()
        requeue(
            module,
            module.client("logs", retry_decorator=decorator),
            module.client("sqs", retry_decorator=decorator),
        )


if __name__ == "__main__":
    main()
