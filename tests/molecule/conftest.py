"""Fixtures of the tests of a deployed environment, on the local stack that `make demo` or molecule started.

A scenario's tests need the environment that the scenario deploys, so molecule runs them (steps/pytest.yml names the
environment). Otherwise pytest collects only `test_scenarios.py` here, which runs molecule; a file that is named on
the command line is collected in either case (`make integration`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deployed_environment import Deployment, statuses, webhook_to
from local_stack import LocalStack

collect_ignore_glob = [] if "TESTED_ENVIRONMENT" in os.environ else ["*/test_*.py"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print at the end the tests that failed inside failed scenarios (test_scenarios.py)."""
    yield
    for report in terminalreporter.stats.get("failed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name} in {report.nodeid.partition('[')[2].rstrip(']')}: {value}")


@pytest.fixture(scope="session")
def stack() -> LocalStack:
    return LocalStack()


@pytest.fixture(scope="session")
def deployment(stack: LocalStack) -> Deployment:
    return Deployment(stack)


@pytest.fixture(scope="session")
def project(stack: LocalStack) -> dict[str, Any]:
    """The stand-in's first project, which has label rows of every modality."""
    return dict(stack.encord_json("GET", "projects")["projects"][0])


@pytest.fixture(scope="session")
def encord(stack: LocalStack, deployment: Deployment, project: dict[str, Any]) -> Iterator[LocalStack]:
    """The Encord stand-in, which sends the first project's webhooks to the deployed system."""
    with webhook_to(stack, deployment.webhook_url, project["project_hash"]):
        yield stack


@pytest.fixture(scope="session")
def label_rows(encord: LocalStack, project: dict[str, Any]) -> list[dict[str, Any]]:
    """Every label row of the stand-in's first project, with the project's hash."""
    return [{**row, "project_hash": project["project_hash"]} for row in project["label_rows"]]


@pytest.fixture
def complete(encord: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]]) -> Callable[[], None]:
    """Complete a task in Encord, and return when its label is in the bucket."""
    row = next(row for row in label_rows if row["data_type"] == "IMAGE")

    def do() -> None:
        task = encord.encord_json("POST", "complete-task", {"label_hash": row["label_hash"]})
        assert statuses(task, deployment.webhook_url) == [202]
        deployment.saved(task["project_hash"], task["label_hash"], task["last_edited_at"])

    return do
