"""Settings of every role are changed outside the repository: a check names each, and one deploy corrects only these.

One check, one deploy and another check, which finds nothing, serve all rows of the table (disturbances.py) together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from account_resources import KINDS, difference, everything
from deployed_environment import NAME
from disturbances import TABLE, Disturbance, Target
from local_stack import LocalStack
from playbook_runs import Playbook, Run, recorded, run_playbook


@dataclass
class Story:
    """The events in order; each reading includes everything that the environment has."""

    before: dict[str, Any]
    unseen: list[str]
    disturbed: dict[str, Any]
    verify: Playbook
    status: Playbook
    check: Run
    after_check: dict[str, Any]
    heal: Run
    healed: dict[str, Any]
    quiet: Run


@pytest.fixture(scope="module")
def story(stack: LocalStack) -> Story:
    def look(*roles: str) -> dict[str, Any]:
        return everything(stack.aws, NAME, roles or KINDS)

    target = Target(stack.aws, NAME, stack.facts["account_id"], stack.facts["region"])
    before = look()
    unseen = []
    for row in TABLE:
        was = look(row.role)
        row.disturb(target)
        if not difference(was, look(row.role)):
            unseen.append(row.what)
    disturbed = look()
    verify = run_playbook("verify", "-e", "verification_probe=false")
    status = run_playbook("status")
    check = recorded("deploy", "--check", "--diff")
    after_check = look()
    heal = recorded("deploy")
    healed = look()
    quiet = recorded("deploy", "--check", "--diff")
    return Story(before, unseen, disturbed, verify, status, check, after_check, heal, healed, quiet)


def test_the_table_covers_every_role() -> None:
    assert {row.role for row in TABLE} == KINDS.keys()
    assert len({row.what for row in TABLE}) == len(TABLE) >= 20


def test_each_row_changed_something_that_the_api_returns(story: Story) -> None:
    assert story.unseen == []


# What verify reads back and the table changes; image and secrets are not changed.
NOT_SO = {
    "all calls go to the version in use",
    "the queue delivers messages to the alias, and only failed ones return to it",
    "no filter makes Lambda delete messages",
    "the number of concurrent batches matches the setting",
    "the queue's visibility timeout is six times the function's timeout",
    "messages that fail repeatedly move to the dead-letter queue",
    "both queues are encrypted and refuse plain HTTP",
    "the bucket is private, versioned, encrypted and refuses plain HTTP",
    "the retention of the function's log matches the setting",
    "the API sends webhooks to the alias, and is throttled and logged",
    "only this API may invoke the alias",
}


def test_verify_names_every_setting_that_counts(story: Story) -> None:
    assert story.verify.returncode != 0
    assert set(re.findall(r"failed: \[localhost\] \(item=(.+?)\) =>", story.verify.output)) == NOT_SO


def test_status_reports_which_version_gets_a_share_of_the_calls(story: Story) -> None:
    assert story.status.returncode == 0, story.status.output
    (alias,) = story.disturbed[f"function {NAME}"]["aliases"]
    ((version, _share),) = alias["RoutingConfig"]["AdditionalVersionWeights"].items()
    assert f"Version {version} gets 10.0 % of the calls" in " ".join(story.status.output.split())


def test_the_check_passes_and_changes_nothing(story: Story) -> None:
    assert story.check.returncode == 0, story.check.output
    assert difference(story.disturbed, story.after_check) == {}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.role}: {row.what}")
def test_the_check_names_what_was_changed(story: Story, row: Disturbance) -> None:
    assert set(row.tasks) <= story.check.tasks
    if row.shown:
        assert row.shown in story.check.diffs[row.tasks[0]]


def test_the_deploy_changes_exactly_what_the_check_announced(story: Story) -> None:
    assert story.heal.returncode == 0, story.heal.output
    assert story.heal.changes == story.check.changes


def test_the_deploy_changes_only_what_was_disturbed(story: Story) -> None:
    assert story.heal.tasks == {task for row in TABLE for task in row.tasks}


def test_everything_is_restored(story: Story) -> None:
    left = difference(story.before, story.healed)
    # Versions of a function are history: the corrected one is a new version, which the alias names.
    for title in (f"function {NAME}", f"function {NAME}-catalog"):
        function = left.pop(title)
        assert set(function) == {"versions", "aliases"}
        versions = story.disturbed[title]["versions"]
        healed = str(len(versions))
        assert function["versions"][1] == [*versions, healed]
        (alias,) = function["aliases"][1]
        assert alias == {**function["aliases"][0][0], "FunctionVersion": healed}
    assert left == {}


def test_the_next_check_announces_nothing(story: Story) -> None:
    assert story.quiet.returncode == 0, story.quiet.output
    assert story.quiet.changes == []
