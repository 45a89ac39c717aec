"""Runs a module in the process that Ansible started for its task.

Ansible normally packs a module and its imports into an archive and starts Python for it. The modules of this collection
have this action through ``aws_module``. The callback ``shared_work`` routes modules of other collections to it, by the
name ``direct_execution``. Where this is not possible, the module runs in its own process as usual: on another host,
with another Python, or with a version of ansible-core that lacks a name used here.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import chdir, suppress
from importlib import import_module
from typing import Any

from ansible import constants
from ansible.module_utils import basic
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as NormalActionModule
from ansible.plugins.loader import module_loader
from ansible.utils.display import Display
from ansible_collections.label_export.aws.plugins.plugin_utils.process_environment import environment_of

# The encoding of arguments and results for every module that does not declare another one.
SERIALIZATION_PROFILE = "legacy"
# Private names in ansible-core from 2.19.4 to at least 2.22.0rc1. A further one, `AnsibleModule._record_module_result`,
# is the hook that core keeps for direct execution; ansible.netcommon uses it too.
REQUIRED_OF_BASIC = ["_ANSIBLE_ARGS", "_ANSIBLE_PROFILE", "_load_params"]

STANDARD_INPUT = 0

display = Display()


class NotSupportedError(Exception):
    """This version of ansible-core lacks something that direct execution needs."""


class DirectExecution(ActionBase):
    """Runs the modules of an action in this process, if they would run on this host, as this user and with this Python.

    The second base of a class is the action, one of Ansible's.
    """

    def _execute_module(
        self,
        module_name: str | None = None,
        module_args: dict[str, Any] | None = None,
        *args: Any,
        task_vars: dict[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        try:
            direct = not args and self._runs_like_this_process(task_vars or {})
            if direct:
                name = module_name or self._task.action
                arguments = dict(self._task.args if module_args is None else module_args)
                ignored = options.get("ignore_unknown_opts", False)
                self._update_module_args(name, arguments, task_vars, ignore_unknown_opts=ignored)
                module, encoded, environment = find_module(name), encode(arguments), self._environment()
        except (AttributeError, ImportError, NotSupportedError, TypeError) as missing:
            # Nothing has run yet: an upgrade of Ansible may cost seconds here, but never the deploy.
            display.vvv(f"Direct execution is not possible with this ansible-core: {missing}")
            direct = False
        if not direct:
            return dict(super()._execute_module(module_name, module_args, *args, task_vars=task_vars, **options))
        display.vvv(f"Running {name} in the task's process")
        with suppress(OSError):
            # In a task's process this is the null device, which does not block. The programs that a module starts
            # inherit it, and some of them, such as Ansible, refuse that.
            os.set_blocking(STANDARD_INPUT, True)
        with environment_of(environment), chdir("."):  # A loop's items share a process, and a module may change both.
            return run_module(module, encoded)

    def _runs_like_this_process(self, task_vars: dict[str, Any]) -> bool:
        interpreter = constants.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not self._task.delegate_to
            and self._templar.template(interpreter) == sys.executable
            and not self._task.async_val
            and not constants.DEFAULT_KEEP_REMOTE_FILES  # set to debug a module, which needs the module's file
            and sys.platform == "linux"  # macOS can end a forked process that looks up the system's proxies
        )

    def _environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        return environment


class ActionModule(DirectExecution, NormalActionModule):
    """For modules without an action plugin of their own."""


def find_module(name: str) -> Any:
    """Return a module, imported.

    Raises:
        ImportError, NotSupportedError: ansible-core does not say which module it is, or it is of no collection.
    """
    found = module_loader.find_plugin_with_context(name)
    if not found.resolved:
        raise NotSupportedError(f"ansible-core does not find {name}")
    collection, _, name = found.resolved_fqcn.rpartition(".")
    return import_module(f"ansible_collections.{collection}.plugins.modules.{name}")


def encode(arguments: dict[str, Any]) -> bytes:
    """Return arguments as Ansible would send them to a module's process.

    Raises:
        AttributeError, ImportError, NotSupportedError: this version of ansible-core cannot give them to a module, or
            take its result, in this process.
    """
    if missing := [name for name in REQUIRED_OF_BASIC if not hasattr(basic, name)]:
        raise NotSupportedError(f"ansible.module_utils.basic has no {', '.join(missing)}")
    if not hasattr(basic.AnsibleModule, "_record_module_result"):
        raise NotSupportedError("AnsibleModule has no _record_module_result")
    codec("decoder", "MODULE_TO_CONTROLLER")
    encoder = codec("encoder", "CONTROLLER_TO_MODULE")
    return json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode()


def codec(kind: str, direction: str) -> Any:
    """Return the class that encodes or decodes what a module receives or returns.

    Args:
        kind: ``encoder`` or ``decoder``.
        direction: name in ansible-core's enumeration ``Direction``.

    Raises:
        AttributeError, ImportError: this version of ansible-core has no such class.
    """
    encodings = import_module("ansible.module_utils.common.json")
    return getattr(encodings, f"get_module_{kind}")(SERIALIZATION_PROFILE, encodings.Direction[direction])


def run_module(module: Any, arguments: bytes) -> dict[str, Any]:
    """Run a module in this process; return its result as if it had come from another process.

    Args:
        module: the imported module.
        arguments: encoded as Ansible sends them; the module reads them with ansible-core's own ``_load_params``.

    An exception that the module does not handle passes through.
    """
    recorded: list[str] = []

    def record(_: basic.AnsibleModule, result: dict[str, Any]) -> None:
        recorded.append(json.dumps(result, cls=codec("encoder", "MODULE_TO_CONTROLLER")))

    basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = arguments, SERIALIZATION_PROFILE
    original = basic.AnsibleModule._record_module_result
    basic.AnsibleModule._record_module_result = record
    try:
        # `exit_json` and `fail_json` both end with SystemExit; the result shows which it was.
        with suppress(SystemExit):
            module.main()
    finally:
        basic.AnsibleModule._record_module_result = original
    if not recorded:
        raise RuntimeError(f"The module {module.__name__} returned without exit_json or fail_json.")
    result = json.loads(recorded[-1], cls=codec("decoder", "MODULE_TO_CONTROLLER"))
    for stream in {"stdout", "stderr"} & result.keys():
        result.setdefault(f"{stream}_lines", (result[stream] or "").splitlines())
    # ansible-core 2.22 passes secrets to the controller in `_ansible_new_secrets`. This process has them already.
    return {key: value for key, value in result.items() if not key.startswith("_ansible_")}
