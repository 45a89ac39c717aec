#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: export_failures_info
short_description: Read which labels the exporter did not store, and why
description:
  - Reads the lines of the exporter's log about labels that failed, were not queued, or ended without an object, and
    counts the labels by project and reason.
  - Receives the dead letters, without deleting them, and adds them with the last reason that the log has for each.
  - A message that was received is hidden from other receivers for half a minute.
author: The label-export contributors
options:
  log_group:
    description: The name of the exporter's log group.
    type: str
    required: true
  queue:
    description: The dead-letter queue's name.
    type: str
    required: true
  hours:
    description: Number of hours of the log to read, up to now.
    type: float
    default: 168
  limit:
    description: Dead letters to receive at the most.
    type: int
    default: 1000
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
- name: Read what the exporter did not store in the last week
  label_export.aws.export_failures_info:
    log_group: /aws/lambda/label-export-dev
    queue: label-export-dev-dead-letters
"""

RETURN = r"""
failures:
  description: Labels by project, ending and reason, each with up to three of their hashes in C(examples).
  returned: success
  type: list
  elements: dict
dead_letters:
  description: How many messages the dead-letter queue holds, as SQS counts them approximately.
  returned: success
  type: int
"""

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.dead_letters import COUNTS, received
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

# The values of field `event` in the exporter's log, and how a report names the ending.
ENDINGS = {
    "label_failed": "failed",
    "labels_not_queued": "not queued",
    "nothing_to_export": "nothing to export",
    "label_filtered": "filtered",
}
DEAD = "dead letter"
PROBE_PREFIX = "verify-"  # event uids of export_probe
EXAMPLES_SHOWN = 3
UNKNOWN = "not in the log that was read"

Line = dict[str, Any]


def read(logs: Any, group: str, since: float) -> Iterator[Line]:
    """Yield the lines that end a label without an object. CloudWatch searches the event's name as text."""
    pages = logs.get_paginator("filter_log_events")
    for event in ENDINGS:
        for page in pages.paginate(logGroupName=group, startTime=int(since * 1000), filterPattern=f'"{event}"'):
            for found in page["events"]:
                try:
                    line = json.loads(found["message"])
                except ValueError:
                    continue
                if isinstance(line, dict) and line.get("event") == event and not _of_probe(line):
                    yield line


def _of_probe(line: Line) -> bool:
    return str(line.get("event_uid", "")).startswith(PROBE_PREFIX)


def names(line: Line) -> list[str]:
    """Return the hashes that a line or a message names: of labels, or of data units."""
    for name in ("label_hash", "data_hash"):
        many = line.get(f"{name}es")
        if isinstance(many, list) and many:
            return [str(item) for item in many]
        if line.get(name):
            return [str(line[name])]
    return []


def failures(lines: Iterable[Line], letters: Iterable[Line]) -> list[dict[str, Any]]:
    """Count labels by project, ending and reason; a label counts once for each, whatever the number of attempts."""
    labels: dict[tuple[str, str, str], dict[str, None]] = {}
    last: dict[str, str] = {}

    def add(project: object, what: str, reason: str, hashes: list[str]) -> None:
        found = labels.setdefault((str(project or ""), what, reason), {})
        found.update(dict.fromkeys(hashes or [""]))

    for line in lines:
        reason, hashes = str(line.get("reason") or ""), names(line)
        add(line.get("project_hash"), ENDINGS[line["event"]], reason, hashes)
        if line["event"] == "label_failed":
            last.update(dict.fromkeys(hashes, reason))
    for letter in letters:
        for name in names(letter) or [""]:
            add(letter.get("project_hash"), DEAD, last.get(name, UNKNOWN), [name] if name else [])
    return [
        {
            "project_hash": project,
            "what": what,
            "reason": reason,
            "labels": len(found),
            "examples": [name for name in found if name][:EXAMPLES_SHOWN],
        }
        for (project, what, reason), found in sorted(labels.items(), key=lambda item: (item[0][0], -len(item[1])))
    ]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "log_group": {"type": "str", "required": True},
            "queue": {"type": "str", "required": True},
            "hours": {"type": "float", "default": 168},
            "limit": {"type": "int", "default": 1000},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["hours"] <= 0:
        module.fail_json(msg=f"hours is {params['hours']}: it must be above 0, the hours of the log to read")
    decorator = AWSRetry.jittered_backoff()
    logs, sqs = (module.client(service, retry_decorator=decorator) for service in ("logs", "sqs"))
    with reported(module, f"The failures in {params['log_group']} and {params['queue']} could not be read"):
        lines = list(read(logs, params["log_group"], time.time() - params["hours"] * 3600))
        url = sqs.get_queue_url(aws_retry=True, QueueName=params["queue"])["QueueUrl"]
        answer = sqs.get_queue_attributes(aws_retry=True, QueueUrl=url, AttributeNames=COUNTS)
        letters = received(sqs, url, params["limit"])
        module.exit_json(
            changed=False,
            failures=failures(lines, letters),
            dead_letters=sum(int(answer["Attributes"].get(name, 0)) for name in COUNTS),
        )


if __name__ == "__main__":
    main()
