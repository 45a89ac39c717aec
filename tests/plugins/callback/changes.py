"""Ansible callback: records what each run of a playbook changes, or would change, in addition to its usual output.

The directory is in LABEL_EXPORT_RUNS; without it, nothing is written. Each run has one file of JSON lines, named
by its start time, the playbook, and ``check`` or ``run``. A line is one event:

- ``{"task": "role : Topic | Intention"}`` when a task begins, so that a reader can follow a run while it runs;
- ``{"changed": "role : Topic | Intention", "item": ..., "diff": ...}`` for each change, one for each item of a loop.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: changes
type: notification
short_description: Record what a run changes
description: One file of JSON lines for each run, in the directory that LABEL_EXPORT_RUNS names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "changes"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.file: Path | None = None
        self.playbook = ""

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.playbook = Path(playbook._file_name).stem

    def v2_playbook_on_play_start(self, play: Any) -> None:
        directory = os.environ.get("LABEL_EXPORT_RUNS")
        if directory and self.file is None and "label_export" in str(play.hosts):
            kind = "check" if play.get_variable_manager()._options_vars["ansible_check_mode"] else "run"
            Path(directory).mkdir(parents=True, exist_ok=True)
            self.file = Path(directory) / f"{time.time_ns()}-{self.playbook}-{kind}.jsonl"
            self.file.touch()

    def write(self, event: dict[str, Any]) -> None:
        if self.file:
            with self.file.open("a") as file:
                file.write(json.dumps(event, default=str) + "\n")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.write({"task": task.get_name()})

    def _one(self, result: Any, item: Any) -> None:
        content = getattr(result, "result", None) or result._result
        task = getattr(result, "task", None) or result._task
        if content.get("changed"):
            self.write({"changed": task.get_name(), "item": item, "diff": content.get("diff")})

    def v2_runner_on_ok(self, result: Any) -> None:
        content = getattr(result, "result", None) or result._result
        # A loop's result repeats those of its items, which were recorded one by one.
        if "results" not in content:
            self._one(result, None)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        content = getattr(result, "result", None) or result._result
        self._one(result, self._get_item_label(content))
