#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: validate_roles
short_description: Validate the inputs of several roles against their argument specs, in one task
description:
  - Validates the inputs of each role as Ansible does when the role starts, before any role starts. All errors of all
    roles are reported together.
  - Ansible would do it in a task, and so in a process, for each role.
  - The specs are those of the roles' entry point C(main), in C(meta/argument_specs.yml).
  - This is an action plugin. It runs on the controller and reaches no host.
author: The label-export contributors
options:
  roles:
    description:
      - The names of the roles. Their defaults must be loaded.
      - In these defaults, C(role_path) is that of the task's own role.
    type: list
    elements: str
    required: true
  roles_directory:
    description: The directory of the roles.
    type: path
    required: true
  inputs_directory:
    description: The directory in which each role's inputs are set in a file of the role's name. Messages show it.
    type: str
    required: true
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
seealso:
  - module: ansible.builtin.validate_argument_spec
"""

EXAMPLES = r"""
- name: Refuse inputs of the wrong type
  label_export.aws.validate_roles:
    roles: [label_bucket, export_queue]
    roles_directory: "{{ role_path | dirname }}"
    inputs_directory: inventory/dev/group_vars/label_export
"""

RETURN = r"""
argument_errors:
  description: The errors by role.
  returned: failed
  type: dict
msg:
  description: The errors, with the files in which the inputs are set.
  returned: always
  type: str
"""
