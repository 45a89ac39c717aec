"""Runs a module of this collection in the process that Ansible started for its task.

Otherwise Ansible packs a module into an archive and starts Python for it, which imports and compiles all that it needs:
most of a module's time, and for nothing where it runs on the machine that the playbook runs on. Each module has a link
to this file in ``plugins/action``.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from typing import Any

from ansible import constants
from ansible.module_utils import basic
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action.normal import ActionModule as NormalActionModule
from ansible.utils.display import Display
from ansible.vars.clean import remove_internal_keys

MODULES = "ansible_collections.label_export.aws.plugins.modules"
# How Ansible's own modules, and those that say nothing else, want arguments and results written.
SERIALIZATION_PROFILE = "legacy"

# Once a run, with boto3: Ansible loads an action in its own process, of which those of the tasks are copies.
import_module("ansible_collections.amazon.aws.plugins.module_utils.modules")

display = Display()


@contextmanager
def environment_of(variables: dict[str, Any]) -> Iterator[None]:
    """Add environment variables to this process, for a while; a loop's items have one process and may have others."""
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class ActionModule(NormalActionModule):
    """A module's action, which needs no other process where the module is to run as this one does."""

    def _execute_module(self, *args: Any, task_vars: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        if not self._is_as_this_process(task_vars or {}):
            return dict(super()._execute_module(*args, task_vars=task_vars, **options))
        display.vvv(f"Running {self._task.action} in the task's process")
        arguments = dict(self._task.args)
        self._update_module_args(self._task.action, arguments, task_vars)
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        with environment_of(environment):
            output = run_module(self._task.resolved_action.rpartition(".")[2], arguments)
        result = dict(self._parse_returned_data({"stdout": output}, SERIALIZATION_PROFILE))
        remove_internal_keys(result)
        return result

    def _is_as_this_process(self, task_vars: dict[str, Any]) -> bool:
        """Tell whether the module is to run on this machine, as this user, with this Python, and to be waited for."""
        interpreter = constants.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not self._task.delegate_to
            and self._templar.template(interpreter) == sys.executable
            and not self._task.async_val
            and not constants.DEFAULT_KEEP_REMOTE_FILES  # who debugs a module wants its file
            and sys.platform == "linux"  # macOS can end a copied process that looks for the system's proxies
        )


def run_module(name: str, arguments: dict[str, Any]) -> str:
    """Run a module of this collection as Ansible's own wrapper does; return what it prints.

    An exception that the module does not handle is the caller's.
    """
    encoder = get_module_encoder(SERIALIZATION_PROFILE, Direction.CONTROLLER_TO_MODULE)
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode()
    basic._ANSIBLE_PROFILE = SERIALIZATION_PROFILE
    # A module ends with SystemExit, well or not: what it printed tells.
    with redirect_stdout(io.StringIO()) as output, suppress(SystemExit):
        import_module(f"{MODULES}.{name}").main()
    return output.getvalue()
