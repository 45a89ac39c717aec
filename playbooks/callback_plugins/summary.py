"""Ansible callback: ends a run with a summary: what was changed and what to do next, or why it failed.

Ansible loads it for every playbook of this directory. It writes only below Ansible's usual output, never below another
format's (``ANSIBLE_STDOUT_CALLBACK``), which a program may read.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible import constants, context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: summary
type: notification
short_description: End a run with what was changed and what to do next, or why it failed
description: A summary below the recap that fits on a screen.
"""

USUAL_OUTPUT = ("default", "ansible.builtin.default")
# So that the summary fits on a screen. Notes get the lines that changes leave.
LINES = 36
LINES_OF_CHANGES = 20
# Tasks with such names report something to a person.
NOTE = re.compile(r"\| (Say|Tell|Report|Show) ")
# What Ansible puts before the text of an exception.
FRAMES = (
    re.compile(r".*The lookup plugin '[^']*' failed: ", re.DOTALL),
    re.compile(r"Task failed: ((Module|Action) failed: )?"),
)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "summary"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.playbook = ""
        self.changes: list[str] = []
        self.notes: list[str] = []
        self.failures: dict[str, tuple[str, str]] = {}
        self.failed_items: list[str] = []

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.playbook = os.path.relpath(playbook._file_name)

    def v2_runner_on_ok(self, result: Any) -> None:
        content, task = parts(result)
        if content.get("changed") and "results" not in content:
            self.change(task, "")
        if "msg" in content and NOTE.search(task.get_name()):
            self.notes += [content["msg"]] if isinstance(content["msg"], str) else map(str, content["msg"])

    def v2_runner_item_on_ok(self, result: Any) -> None:
        content, task = parts(result)
        if content.get("changed"):
            item = content.get("_ansible_item_label", content.get("item", ""))
            self.change(task, str(item) if isinstance(item, str | int) else "")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.failed_items = []

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self.failed_items.append(reason(parts(result)[0]))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        content, task = parts(result)
        if not ignore_errors:
            host = getattr(result, "host", None) or result._host
            why = " ".join(dict.fromkeys(self.failed_items)) or reason(content)
            self.failures[host.get_name()] = (task.get_name(), why)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.v2_runner_on_failed(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if constants.DEFAULT_STDOUT_CALLBACK not in USUAL_OUTPUT:
            return
        # A failure that a `rescue` handled is not a failure of the run.
        failed = {host: what for host, what in self.failures.items() if host in {**stats.failures, **stats.dark}}
        for line in self.failed(failed) if failed else self.done():
            self._display.display(line)

    def change(self, task: Any, item: str) -> None:
        """Record a change, once."""
        role, _colon, intention = task.get_name().partition(" : ")
        line = f"  {role}: {intention.rpartition('| ')[2]}{f' ({item})' if item else ''}"
        if line not in self.changes:
            self.changes.append(line)

    def done(self) -> list[str]:
        """Return the summary of a run that did not fail; empty if there is nothing to report."""
        if not self.changes and not self.notes:
            return []
        would = " (nothing was: this is a check)" if context.CLIARGS.get("check") else ""
        number = len(self.changes)
        head = f"SUMMARY of {self.playbook}: {number or 'no'} change{'' if number == 1 else 's'}{would}"
        changes = shortened(self.changes, LINES_OF_CHANGES)
        return ["", head, *changes, "", *shortened(self.notes, LINES - len(changes))]

    def failed(self, failures: dict[str, tuple[str, str]]) -> list[str]:
        """Return the summary of a run that failed."""
        named = [part for source in context.CLIARGS.get("inventory") or [] for part in ("-i", os.path.relpath(source))]
        lines = [""]
        for task, why in dict.fromkeys(failures.values()):
            lines += [f"FAILED: {task}", f"  {why}"]
        command = " ".join(["ansible-playbook", self.playbook, *named])
        return [*lines, f"Then run it again, with the same options: {command}"]


def parts(result: Any) -> tuple[dict[str, Any], Any]:
    """Return a result's content and its task, by the names that ansible-core has for them before and since 2.20."""
    return getattr(result, "result", None) or result._result, getattr(result, "task", None) or result._task


def reason(content: dict[str, Any]) -> str:
    """Return why a task failed, on one line, without what Ansible puts before it."""
    if content.get("censored"):
        return "The reason may contain a secret and is not shown. To see it, add -e label_export_secure_logging=false."
    text = " ".join(str(content.get("msg", "No reason is known.")).split())
    for frame in FRAMES:
        text = frame.sub("", text, count=1)
    return text


def shortened(lines: list[str], limit: int) -> list[str]:
    """Return the lines, or the first of them and how many there are more."""
    return lines if len(lines) <= limit else [*lines[: limit - 1], f"  ... and {len(lines) - limit + 1} more, above"]
