"""The first deploy creates what the check of an account without the environment announces; the next creates nothing.

Reads the records of the scenario's runs by molecule, in this order: check, deploys.
"""

from __future__ import annotations

from playbook_runs import by_molecule


def test_the_first_deploy_created_exactly_what_the_check_of_an_empty_account_announced() -> None:
    announced = by_molecule("check")[0]
    made = next(run for run in by_molecule() if run.changes)  # before it, some may have been refused
    assert len(made.tasks) > 10
    assert announced.changes == made.changes


def test_a_second_deploy_changed_nothing() -> None:
    first, *_others, last = by_molecule()
    assert first is not last
    assert last.changes == []
