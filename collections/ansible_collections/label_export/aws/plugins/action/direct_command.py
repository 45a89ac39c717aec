"""Ansible's action ``command``, with its modules in the task's process."""

from __future__ import annotations

from ansible.plugins.action.command import ActionModule as CommandAction
from ansible_collections.label_export.aws.plugins.plugin_utils.direct_execution import DirectExecution


class ActionModule(DirectExecution, CommandAction):
    pass
