"""Ansible callback: fails a run without hosts or tasks, which ansible-playbook itself ends with exit code 0.

Ansible loads it for every playbook of this directory, without a setting in ansible.cfg and whatever options are given.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display

DOCUMENTATION = """
name: empty_run
type: notification
short_description: Fail a run that reached no host or no task
description: Names the environments below inventory/, or the tags of the playbook, and the command to type.
"""

INVENTORIES = Path(__file__).resolve().parents[2] / "inventory"
# The inventory of ansible.cfg, or Ansible's default, if none is named.
NO_INVENTORY = frozenset({"/dev/null", "/etc/ansible/hosts"})
# Special names that are no tags of tasks.
SPECIAL_TAGS = frozenset({"all", "always", "never", "tagged", "untagged"})

display = Display()


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "empty_run"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.playbook = ""
        self.pattern = ""
        self.tags_of_roles: set[str] = set()
        self.tags_of_started_tasks: set[str] = set()
        self.started_tasks = 0

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.playbook = os.path.relpath(playbook._file_name)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.pattern = ", ".join(play.hosts) if isinstance(play.hosts, list) else str(play.hosts)
        self.tags_of_roles.update(tag for role in play.get_roles() for tag in role.tags)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.started_tasks += 1
        self.tags_of_started_tasks.update(task.tags)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        named = [source for source in context.CLIARGS["inventory"] or [] if source not in NO_INVENTORY]
        reason = f"{', '.join(named)} has none" if named else "no inventory was named with -i"
        environments = sorted(path.name for path in INVENTORIES.iterdir() if path.is_dir())
        fail(
            f"Nothing was done: {self.playbook} needs a host in the group {self.pattern}, and {reason}. "
            f"Name an environment: ansible-playbook {self.playbook} -i {os.path.relpath(INVENTORIES)}/<environment>. "
            f"Environments there: {', '.join(environments)}."
        )

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if stats.failures or stats.dark:
            return
        unknown = set(context.CLIARGS["tags"]) - SPECIAL_TAGS - self.tags_of_started_tasks
        if unknown:
            fail(
                f"No task of {self.playbook} with the tag {', '.join(sorted(unknown))}, named with --tags, was run. "
                f"Tags of this playbook: {', '.join(sorted(self.tags_of_roles - SPECIAL_TAGS))}."
            )
        if not self.started_tasks:
            fail(
                f"Nothing was done: the options left no task of {self.playbook} to run. Check --tags, --skip-tags, "
                "--start-at-task and --step."
            )


def fail(message: str) -> NoReturn:
    """Show the message and end the run with exit code 1.

    Ansible turns an `Exception` of a callback into a warning, so this is a `SystemExit`.
    """
    display.error(message, wrap_text=False)
    raise SystemExit(1)
