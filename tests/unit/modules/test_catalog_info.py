"""The catalog's response is read once, or until its work has ended; a failed function is an error with its message."""

from __future__ import annotations

import io
import json

import pytest
from fake_aws import Fake, RefusedError, Values, done, run

REQUEST = {
    "function_name": "label-export-dev-catalog",
    "qualifier": "live",
    "request": {"action": "backfill", "step": "status"},
    "interval": 0,
}


class FakeLambda(Fake):
    """Lambda with one function, which gives one response after the other and repeats the last."""

    def __init__(self, *answers: Values | str, error: str = "") -> None:
        super().__init__()
        self.answers = list(answers)
        self.error = error
        self.inactive = False

    def invoke(self, p: Values) -> Values:
        assert p["FunctionName"] == REQUEST["function_name"]
        assert p["Qualifier"] == "live"
        assert json.loads(p["Payload"]) == REQUEST["request"]
        if self.inactive:
            self.inactive = False
            raise RefusedError("ResourceNotReadyException")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = answer if isinstance(answer, str) else json.dumps(answer)
        found: Values = {"StatusCode": 200, "Payload": io.BytesIO(content.encode())}
        return found | ({"FunctionError": self.error} if self.error else {})

    def get_function_configuration(self, _p: Values) -> Values:
        return {"State": "Active"}


def test_a_function_that_lambda_has_made_inactive_is_waited_for() -> None:
    fake = FakeLambda(state("completed"))
    fake.inactive = True
    assert done("catalog_info", fake, **REQUEST)["answer"] == state("completed")


def test_a_missing_function_is_an_error_unless_it_may_be_missing() -> None:
    fake = FakeLambda({})
    fake.refusals["invoke"] = ("ResourceNotFoundException", 2)
    assert run("catalog_info", fake, **REQUEST)["failed"]
    found = done("catalog_info", fake, missing_ok=True, **REQUEST)
    assert (found["answer"], found["open"]) == ({}, [])


def state(name: str) -> Values:
    return {"projects": [{"project_hash": "p", "state": name}, {"project_hash": "q", "state": "completed"}]}


def test_it_reads_once_and_reports_open_work() -> None:
    fake = FakeLambda(state("running"))
    found = done("catalog_info", fake, **REQUEST)
    assert (found["open"], found["answer"], found["changed"]) == (["p"], state("running"), False)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("ended", ["completed", "failed", None])
def test_it_waits_until_no_work_is_open(ended: str | None) -> None:
    last = state("completed") if ended == "completed" else {"projects": [{"project_hash": "p", "state": ended}]}
    fake = FakeLambda(state("running"), state("waiting"), last)
    found = done("catalog_info", fake, wait=600, **REQUEST)
    assert (found["open"], found["answer"], len(fake.calls)) == ([], last, 3)


def test_a_function_that_fails_is_an_error_with_its_text() -> None:
    failed = run("catalog_info", FakeLambda('{"errorMessage": "no such project"}', error="Unhandled"), **REQUEST)
    assert failed["failed"]
    assert "no such project" in failed["msg"]
    assert "/aws/lambda/label-export-dev-catalog" in failed["msg"]


def test_a_response_that_is_not_an_object_names_the_function() -> None:
    failed = run("catalog_info", FakeLambda("[]"), **REQUEST)
    assert "Check that it is the catalog function" in failed["msg"]
