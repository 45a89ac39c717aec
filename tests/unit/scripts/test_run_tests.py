"""`make test` runs all its steps, whatever fails, and ends with a list of what failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_tests import LANES, run_lanes, summary

MAKEFILE = """
.PHONY: install fine linted tested interrupted elsewhere untried here there newcomer other-node
install:
\t@touch was-installed
fine linted tested interrupted: install
fine:
\t@echo all is well
linted:
\t@echo style.py: too long; echo lint: failed: style; false
tested:
\t@cp report.xml $(REPORTS)/tested.xml; echo "1 failed"; false
elsewhere:
\t@echo "FAILED tests/unit/test_one.py::test_broken - assert"; echo "elsewhere: failed: unit-tests"; false
untried:
\t@echo "untried: NOT TRIED: there is no other Python"
interrupted:
\t@echo started; kill -9 $$$$
here there:
\t@touch $@.began; for i in $$(seq 600); do [ -e here.began -a -e there.began ] && exit 0; sleep 0.1; done; false
newcomer:
\t@sleep 1; touch newcomer.ended; false
other-node:
\t@[ -e newcomer.ended ]
"""
REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase file="tests/molecule/test_scenarios.py" name="test_scenario_passes[drift]">
<properties><property name="failed" value="tests/molecule/drift/test_drift.py::test_healed"/></properties>
<failure message="assert 1 == 0"/></testcase>
<testcase file="tests/unit/test_one.py" name="test_broken"><error message="setup"/></testcase>
<testcase file="tests/unit/test_one.py" name="test_fine"/>
</testsuite></testsuites>"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "report.xml").write_text(REPORT)
    return tmp_path


def test_the_steps_after_a_failed_one_run_and_the_end_names_what_failed(directory: Path) -> None:
    results = run_lanes([("linted", "tested", "elsewhere"), ("fine",)], directory, directory / "logs")
    assert [(result.step, result.passed) for result in results] == [
        ("linted", False), ("tested", False), ("elsewhere", False), ("fine", True),
    ]  # fmt: skip
    end = summary(results, directory / "logs")
    assert "    lint: failed: style\n" in end
    assert "    tests/molecule/test_scenarios.py::test_scenario_passes[drift]\n" in end
    assert "      tests/molecule/drift/test_drift.py::test_healed\n" in end
    assert "    tests/unit/test_one.py::test_broken\n" in end
    assert "test_fine" not in end
    assert "test: failed: linted, tested, elsewhere." in end.splitlines()[-1]


def test_the_lanes_run_in_parallel(directory: Path) -> None:
    results = run_lanes([("here",), ("there",)], directory, directory / "logs")
    assert all(result.passed for result in results), "each waits for the other"


def test_the_other_node_begins_when_the_newcomers_engine_is_no_longer_used(directory: Path) -> None:
    results = run_lanes([("other-node",), ("newcomer",)], directory, directory / "logs")
    assert [(result.step, result.passed) for result in results] == [("other-node", True), ("newcomer", False)]


def test_a_step_that_is_killed_fails(directory: Path) -> None:
    (result,) = run_lanes([("interrupted",)], directory, directory / "logs")
    assert not result.passed
    assert "started" in result.failures


def test_a_failed_test_is_named_without_a_report_too(directory: Path) -> None:
    (result,) = run_lanes([("elsewhere",)], directory, directory / "logs")
    assert result.failures == ["FAILED tests/unit/test_one.py::test_broken - assert"]


def test_steps_that_could_not_run_are_listed_at_the_end(directory: Path) -> None:
    results = run_lanes([("untried",)], directory, directory / "logs")
    assert results[0].passed
    assert "    untried: NOT TRIED: there is no other Python" in summary(results, directory / "logs")


def test_a_report_of_an_earlier_run_is_ignored(directory: Path) -> None:
    logs = directory / "logs"
    logs.mkdir()
    (logs / "linted.xml").write_text(REPORT)
    (result,) = run_lanes([("linted",)], directory, logs)
    assert not [failure for failure in result.failures if "test_broken" in failure]


def test_when_all_pass_nothing_is_named(directory: Path) -> None:
    results = run_lanes([("fine",)], directory, directory / "logs")
    assert "failed" not in summary(results, directory / "logs").lower()


def test_the_environment_is_not_installed_again_by_each_step(directory: Path) -> None:
    run_lanes([("fine",), ("linted",)], directory, directory / "logs")
    assert not (directory / "was-installed").exists()


def test_every_step_is_a_target_that_is_run_once() -> None:
    steps = [step for lane in LANES for step in lane]
    assert len(steps) == len(set(steps))
    makefile = (Path(__file__).resolve().parents[3] / "Makefile").read_text()
    assert [step for step in steps if f"\n{step}: install" not in makefile] == []
