"""A run ends with a summary that fits on a screen: what changed and what to do next, or why it failed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def play(directory: Path, tasks: list[dict[str, Any]], **variables: str) -> str:
    """Run tasks on this machine with the repository's callbacks; return the output."""
    playbook = directory / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    result = subprocess.run(
        ["ansible-playbook", str(playbook), "-i", "localhost,", "-c", "local"],
        cwd=directory,
        env={
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "playbooks/callback_plugins"),
            "ANSIBLE_NOCOLOR": "1",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout


def said(name: str, message: Any, **keywords: Any) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.debug": {"msg": message}, **keywords}


def test_a_run_ends_with_its_changes_and_its_notes(tmp_path: Path) -> None:
    shown = play(
        tmp_path,
        [
            said("queue : Present | Create the queue", "canary", changed_when=True),
            said("alarms : Present | Create each alarm", "canary", changed_when=True, loop=[str(n) for n in range(50)]),
            said("door : Present | Report what to do next", ["Webhook URL: https://a", "1. Paste it."]),
            {
                "name": "Try it",
                "block": [{"name": "Fail", "ansible.builtin.fail": {"msg": "no"}}],
                "rescue": [said("Go on", "canary")],
            },
        ],
    )
    summary = shown.partition("PLAY RECAP")[2].partition("SUMMARY of ")[2].splitlines()
    assert summary[0] == "play.yml: 51 changes"
    assert summary[1:3] == ["  queue: Create the queue", "  alarms: Create each alarm (0)"]
    assert "  ... and 32 more, above" in summary
    assert summary[-2:] == ["Webhook URL: https://a", "1. Paste it."]
    assert len(summary) <= 40
    assert "canary" not in "".join(summary)


def test_a_message_without_changes_is_complete_in_the_summary(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(30)]
    shown = play(tmp_path, [said("policies : Files | Show how to use the documents", lines)])
    summary = shown.partition("SUMMARY of ")[2].splitlines()
    assert summary[0] == "play.yml: no changes"
    assert summary[-30:] == lines


def test_a_failure_ends_with_its_reason_and_the_command(tmp_path: Path) -> None:
    shown = play(
        tmp_path,
        [
            {
                "name": "role : Preflight | Ensure the inputs are right",
                "ansible.builtin.assert": {"that": ["item == 1"], "fail_msg": "The number is {{ item }}. Set it to 1."},
                "loop": [1, 2],
            }
        ],
    )
    assert shown.rstrip().splitlines()[-3:] == [
        "FAILED: role : Preflight | Ensure the inputs are right",
        "  The number is 2. Set it to 1.",
        "Then run it again, with the same options: ansible-playbook play.yml -i localhost,",
    ]


def test_a_hidden_result_says_how_to_show_it(tmp_path: Path) -> None:
    shown = play(tmp_path, [{"name": "Fail", "ansible.builtin.fail": {"msg": "canary"}, "no_log": True}])
    summary = shown.partition("PLAY RECAP")[2]
    assert "add -e label_export_secure_logging=false" in summary
    assert "canary" not in summary


def test_nothing_is_added_to_machine_readable_output(tmp_path: Path) -> None:
    task = said("door : Present | Report what to do next", "a", changed_when=True)
    assert json.loads(play(tmp_path, [task], ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"))["plays"]
