#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: assert_all
short_description: Assert several conditions in one task, each with its own message
description:
  - Evaluates the assertions in turn. The first one that is false fails the task with its message.
  - Faster than one M(ansible.builtin.assert) for each. Ansible starts a process for each task, and renders the message
    of an assertion even if it is true. This action needs one process, and renders only the message that it shows.
  - This is an action plugin. It runs on the controller and reaches no host.
author: The label-export contributors
options:
  assertions:
    description: The assertions, in the order in which they are evaluated.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What must be true, as a sentence that can be read alone.
        type: str
        required: true
      that:
        description: Conditional expressions, as for O(ansible.builtin.assert#module:that). All must be true.
        type: list
        elements: raw
        required: true
      fail_msg:
        description: What is wrong, where it was set, and what to do. Rendered only if a condition is false.
        type: str
        required: true
      when:
        description: A conditional expression. If it is false, the assertion is left out.
        type: raw
        default: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: Nothing is ever changed.
    support: N/A
  platform:
    description: Runs on the controller.
    platforms: all
    support: full
"""

EXAMPLES = r"""
- name: Refuse settings that SQS would refuse
  label_export.aws.assert_all:
    assertions:
      - name: The queue has a name that SQS accepts
        that:
          - export_queue_name is match('^[A-Za-z0-9_-]{1,80}$')
        fail_msg: "export_queue_name is '{{ export_queue_name }}': 1 to 80 letters, digits, hyphens and underscores."
      - name: Messages are kept for at most 14 days
        that:
          - export_queue_retention_days | int <= 14
        fail_msg: "export_queue_retention_days is {{ export_queue_retention_days }}: at most 14."
        when: label_export_state == 'present'
"""

RETURN = r"""
name:
  description: The name of the assertion that is false.
  returned: failed
  type: str
assertion:
  description: The condition that is false.
  returned: failed
  type: raw
msg:
  description: The message of the assertion that is false.
  returned: always
  type: str
"""
