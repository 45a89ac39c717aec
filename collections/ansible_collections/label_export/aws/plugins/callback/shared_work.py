"""Ansible callback: does work once in the controller that the process of each task would otherwise repeat.

Ansible forks a process for each task. A process inherits what the controller has loaded, and loads the rest itself.
``ansible.cfg`` enables this callback. Without it, a run takes longer and does the same.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.utils.collection_loader import _collection_finder
from ansible.utils.display import Display
from ansible_collections.label_export.aws.plugins.plugin_utils.compiled_templates import (
    compile_templates,
    keep_compiled_templates,
)

DOCUMENTATION = """
name: shared_work
type: notification
short_description: Load once what the process of each task needs
description:
  - Compiles the templates in variables of the play's roles once, instead of each time that a variable is used.
  - Lets modules of other collections run in the process of their task, as those of label_export.aws do.
  - Imports such a module in the controller before the first task that has it.
  - Keeps Python's garbage collector from the objects that the processes inherit.
"""

# The action for each module. The modules are pure Python, end with `exit_json` or `fail_json`, and leave
# nothing in the process that the next item of a loop would see. Not among them:
# - docker_image has the build context, with the private key, in a temporary file, which the end of a process removes;
# - openssh_keypair has a temporary directory, which an exit handler removes. A task's process ends without them.
ACTION = "label_export.aws.direct_execution"
ACTION_OF_AWS = "label_export.aws.direct_aws"
ACTIONS = {
    "amazon.aws": {
        "aws_caller_info": ACTION_OF_AWS,
        "iam_access_key": ACTION_OF_AWS,
        "iam_access_key_info": ACTION_OF_AWS,
        "iam_managed_policy": ACTION_OF_AWS,
        "iam_role": ACTION_OF_AWS,
        "iam_role_info": ACTION_OF_AWS,
        "iam_user": ACTION_OF_AWS,
    },
    "ansible.builtin": {
        "file": ACTION,
        "find": ACTION,
        "setup": ACTION,
        "stat": ACTION,
        # Ansible has actions for these, which run several modules or change a module's arguments.
        "command": "label_export.aws.direct_command",
        "copy": "label_export.aws.direct_copy",
        "uri": "label_export.aws.direct_uri",
    },
    "community.crypto": {
        "openssl_csr_pipe": ACTION,
        "openssl_privatekey": ACTION,
        "x509_certificate": ACTION,
        "x509_certificate_info": ACTION,
    },
    "community.docker": {
        "docker_host_info": ACTION,
        "docker_image_info": ACTION,
        "docker_image_push": ACTION,
        "docker_image_remove": ACTION,
        "docker_login": ACTION,
        "docker_network_info": ACTION,
    },
}

display = Display()


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "label_export.aws.shared_work"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        try:
            keep_compiled_templates()
        except (AttributeError, ImportError) as missing:
            display.vvv(f"Templates are compiled each time that they are used: {missing}")
        for collection, actions in ACTIONS.items():
            try:
                route(collection, actions)
            except (AttributeError, ImportError, TypeError, ValueError) as missing:
                # An upgrade of Ansible may cost seconds here, but never the deploy.
                display.vvv(f"Modules of {collection} run in separate processes: {missing}")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        with suppress(AttributeError, ImportError):  # Then nothing keeps what is compiled here.
            compile_templates(
                variables
                for role in play.get_roles()
                for variables in (role.get_default_vars(), role.get_vars(include_params=False))
            )

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        # Otherwise a task's process collects garbage among all objects that it inherits, and so copies their memory.
        gc.freeze()
        collection, _, name = task.action.rpartition(".")
        if name in ACTIONS.get(collection, ()):
            with suppress(ImportError):  # The task reports it.
                import_module(f"ansible_collections.{collection}.plugins.modules.{name}")


def route(collection: str, actions: dict[str, str]) -> None:
    """Set our actions for modules of another collection, as it could itself in its ``plugin_routing``.

    Raises:
        AttributeError, TypeError: this version of ansible-core keeps the routing in another place.
        ValueError: the collection is not installed.
    """
    routing = _collection_finder._get_collection_metadata(collection).setdefault("plugin_routing", {})
    modules = routing.setdefault("modules", {})
    for name, action in actions.items():
        modules.setdefault(name, {}).setdefault("action_plugin", action)
