"""Ansible's action ``uri``, with its modules in the task's process."""

from __future__ import annotations

from ansible.plugins.action.uri import ActionModule as UriAction
from ansible_collections.label_export.aws.plugins.plugin_utils.direct_execution import DirectExecution


class ActionModule(DirectExecution, UriAction):
    pass
