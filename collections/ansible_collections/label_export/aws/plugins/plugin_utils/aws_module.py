"""The action of modules that call AWS: direct execution, with boto3 imported and its data read once.

Each module of this collection has a link to this file in ``plugins/action``, and ``direct_aws`` is the link for modules
of ``amazon.aws``. Ansible loads an action plugin in the controller, and forks a process for each task, which inherits
the imports and the data.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from ansible_collections.label_export.aws.plugins.plugin_utils.direct_execution import ActionModule

__all__ = ["ActionModule"]


def share_data_of_botocore() -> None:
    """Have all sessions of botocore use one loader, and read the data that each client needs, whatever its service.

    Each session otherwise has its own loader, which reads the endpoints of all services and lists the services again:
    60 ms of CPU for each task that calls AWS.

    Raises:
        AttributeError: this version of botocore makes a session's loader in another way.
    """
    sessions: Any = import_module("botocore.session")
    sessions.create_loader = cache(sessions.create_loader)
    loader = sessions.get_session().get_component("data_loader")
    loader.load_data_with_path("endpoints")
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.list_available_services(kind)


import_module("ansible_collections.amazon.aws.plugins.module_utils.modules")
with suppress(AttributeError):  # A change of botocore may cost seconds here, but never the deploy.
    share_data_of_botocore()
