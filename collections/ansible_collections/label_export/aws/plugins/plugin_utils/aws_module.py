"""The action of each module of this collection: direct execution, with boto3 imported once.

Each module has a link to this file in ``plugins/action``. Ansible loads an action plugin in the controller, and forks a
process for each task, which inherits the imports.
"""

from __future__ import annotations

from importlib import import_module

from ansible_collections.label_export.aws.plugins.plugin_utils.direct_execution import ActionModule

__all__ = ["ActionModule"]

import_module("ansible_collections.amazon.aws.plugins.module_utils.modules")
