"""Several assertions in one task: the first false one fails with its own message, and no other message is rendered."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from test_direct_execution import run

POSITIVE = {
    "name": "The size is positive",
    "that": ["size > 0"],
    # A message that cannot be rendered does not matter while its assertion is true.
    "fail_msg": "{{ not_defined_anywhere }}",
}
SMALL = {
    "name": "The size is small",
    "that": ["size != 7", "size < 10"],
    "fail_msg": "size is {{ size }}: it must be below 10.",
}
EVEN = {
    "name": "The size is even",
    "that": ["size % 2 == 0"],
    "fail_msg": "size is {{ size }}: it is odd.",
    "when": "even_only",
}
# The assertions and the variables of each task.
TASKS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "too large": ([POSITIVE, SMALL, EVEN], {"size": 12, "even_only": True}),
    "seven": ([POSITIVE, SMALL, EVEN], {"size": 7, "even_only": True}),
    "odd": ([POSITIVE, SMALL, EVEN], {"size": 5, "even_only": True}),
    "odd, which is left out": ([POSITIVE, SMALL, EVEN], {"size": 5, "even_only": False}),
    "all true": ([POSITIVE, SMALL, EVEN], {"size": 8, "even_only": True}),
    "no condition": ([{"name": "The size is positive", "fail_msg": "size is {{ size }}."}], {"size": 5}),
    "unknown option": ([{**SMALL, "until": "size > 0"}], {"size": 5}),
    "undefined variable": ([{**SMALL, "that": ["siz > 0"]}], {"size": 5}),
    "no boolean": ([{**SMALL, "that": ["size"]}], {"size": 5}),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the result of each task, from one play."""
    tasks: list[dict[str, Any]] = [
        {
            "label_export.aws.assert_all": {"assertions": assertions},
            "vars": variables,
            "ignore_errors": True,
            "register": f"result_{number}",
        }
        for number, (assertions, variables) in enumerate(TASKS.values())
    ]
    content = f"{{{{ [{', '.join(task['register'] for task in tasks)}] | to_json }}}}"
    saved = {"ansible.builtin.copy": {"content": content, "dest": "{{ results }}", "mode": "0600"}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [*tasks, saved]}
    _, results = run(tmp_path_factory.mktemp("play"), "", sys.executable, [play])
    return dict(zip(TASKS, results, strict=True))


@pytest.mark.parametrize(
    ("task", "name", "condition", "message"),
    [
        ("too large", "The size is small", "size < 10", "size is 12: it must be below 10."),
        ("seven", "The size is small", "size != 7", "size is 7: it must be below 10."),
        ("odd", "The size is even", "size % 2 == 0", "size is 5: it is odd."),
    ],
)
def test_the_first_false_assertion_fails_the_task(
    results: dict[str, dict[str, Any]], task: str, name: str, condition: str, message: str
) -> None:
    result = results[task]
    assert result["failed"]
    assert (result["name"], result["assertion"], result["msg"]) == (name, condition, message)


@pytest.mark.parametrize("task", ["odd, which is left out", "all true"])
def test_true_assertions_change_nothing(results: dict[str, dict[str, Any]], task: str) -> None:
    assert (results[task]["failed"], results[task]["changed"]) == (False, False)


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ("no condition", "missing required arguments: that"),
        ("unknown option", "Unsupported parameters"),
        ("undefined variable", "'siz' is undefined"),
        ("no boolean", "must have a boolean result"),
    ],
)
def test_what_cannot_be_evaluated_fails(results: dict[str, dict[str, Any]], task: str, problem: str) -> None:
    assert results[task]["failed"]
    assert problem in results[task]["msg"]
