"""Ansible's action ``copy``, with its modules in the task's process."""

from __future__ import annotations

from ansible.plugins.action.copy import ActionModule as CopyAction
from ansible_collections.label_export.aws.plugins.plugin_utils.direct_execution import DirectExecution


class ActionModule(DirectExecution, CopyAction):
    pass
