"""Ansible callback: does once, in the controller, what the process of each task would otherwise do for itself.

Ansible forks a process for each task. A process inherits what the controller has loaded, and loads the rest itself.
``ansible.cfg`` enables this callback. Without it, a run takes longer and does the same.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader
from ansible.utils.collection_loader import _collection_finder
from ansible.utils.display import Display

DOCUMENTATION = """
name: shared_work
type: notification
short_description: Load once what the process of each task needs
description:
  - Loads the filters and tests of Jinja templates in the controller.
  - Lets modules of the collection amazon.aws run in the process of their task, as those of label_export.aws do.
"""

# Those of a deploy. They are written in Python alone and end with `exit_json` or `fail_json`.
AMAZON_MODULES = ("iam_managed_policy", "iam_role", "iam_role_info")
ACTION = "label_export.aws.amazon_module"

display = Display()


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "label_export.aws.shared_work"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        for loader in (filter_loader, test_loader):
            list(loader.all())
        try:
            route_amazon_modules()
        except (AttributeError, ImportError, TypeError, ValueError) as missing:
            # An upgrade of Ansible may cost seconds here, but never the deploy.
            display.vvv(f"Modules of amazon.aws run in processes of their own: {missing}")


def route_amazon_modules() -> None:
    """Name our action for Amazon's modules, as a collection names one for its modules in ``plugin_routing``.

    Raises:
        AttributeError, TypeError: this version of ansible-core keeps the routing in another place.
        ValueError: the collection is not installed.
    """
    routing = _collection_finder._get_collection_metadata("amazon.aws").setdefault("plugin_routing", {})
    modules = routing.setdefault("modules", {})
    for name in AMAZON_MODULES:
        modules.setdefault(name, {}).setdefault("action_plugin", ACTION)
