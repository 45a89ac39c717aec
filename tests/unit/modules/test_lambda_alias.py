"""The alias: created, moved, and without a share of calls for other versions."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, done, run

MINIMAL: Values = {"function_name": "function", "name": "live", "function_version": "2"}
EVERYTHING: Values = {**MINIMAL, "description": "The version that is in use"}


class FakeLambda(Fake):
    """Lambda with a function's aliases, which leaves out of its responses what an alias does not have."""

    def alias(self, p: Values) -> Values:
        if p["Name"] not in self.state:
            raise RefusedError("ResourceNotFoundException")
        found: Values = self.state[p["Name"]]
        return found

    def get_alias(self, p: Values) -> Values:
        assert p["FunctionName"] == "function"
        return self.alias(p)

    def keep(self, alias: Values, p: Values) -> None:
        if "RoutingConfig" in p and not p["RoutingConfig"]["AdditionalVersionWeights"]:
            del p["RoutingConfig"]
            alias.pop("RoutingConfig", None)
        del p["FunctionName"]
        alias.update(p)
        if alias["FunctionVersion"] in alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}):
            raise RefusedError("InvalidParameterValueException")

    def create_alias(self, p: Values) -> Values:
        alias = {"AliasArn": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:function:{p['Name']}"}
        self.keep(alias, p)
        self.state[p["Name"]] = alias
        return alias

    def update_alias(self, p: Values) -> Values:
        alias = dict(self.alias(p))
        self.keep(alias, p)
        self.state[p["Name"]] = alias
        return alias


def weights(**shares: float) -> Values:
    """Return the routing of an alias that gives shares of the calls to versions ``v1``, ``v2`` …"""
    return {"RoutingConfig": {"AdditionalVersionWeights": {name[1:]: share for name, share in shares.items()}}}


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING])
def test_an_alias_is_created_and_kept(given: Values) -> None:
    fake = FakeLambda()
    result = assert_converges("lambda_alias", fake, **given)
    assert result["settings"]["FunctionVersion"] == fake.state["live"]["FunctionVersion"] == "2"
    assert fake.state["live"].get("Description") == given.get("description")


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"FunctionVersion": "1"}, "FunctionVersion"),
        ({"Description": "somebody's"}, "Description"),
        (weights(v1=0.3), "RoutingConfig"),
    ],
)
def test_drift_is_corrected(drift: Values, setting: str) -> None:
    fake = FakeLambda()
    done("lambda_alias", fake, **EVERYTHING)
    before = dict(fake.state["live"])
    fake.state["live"].update(drift)
    result = assert_converges("lambda_alias", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == [setting]
    assert fake.state == {"live": before}


def test_a_version_that_had_a_share_gets_every_call() -> None:
    """AWS refuses a share for the version that the alias names: both change in one request."""
    fake = FakeLambda()
    done("lambda_alias", fake, **EVERYTHING)
    fake.state["live"].update(weights(v1=0.3, v3=0.1))
    result = assert_converges("lambda_alias", fake, **{**MINIMAL, "function_version": "1"})
    assert result["diff"] == {
        "before": {"FunctionVersion": "2", **weights(v1=0.3, v3=0.1)},
        "after": {"FunctionVersion": "1", **weights()},
    }
    alias = fake.state["live"]
    assert (alias["FunctionVersion"], alias["Description"]) == ("1", EVERYTHING["description"])
    assert "RoutingConfig" not in alias


@pytest.mark.parametrize("routing", [None, {}, {"AdditionalVersionWeights": None}, {"AdditionalVersionWeights": {}}])
def test_no_share_is_no_drift_however_it_is_reported(routing: Any) -> None:
    fake = FakeLambda()
    done("lambda_alias", fake, **EVERYTHING)
    fake.state["live"]["RoutingConfig"] = routing
    assert not done("lambda_alias", fake, **EVERYTHING)["changed"]


def test_other_aliases_are_not_changed() -> None:
    fake = FakeLambda()
    done("lambda_alias", fake, **{**MINIMAL, "name": "other"})
    fake.state["other"].update(weights(v1=0.5))
    assert_converges("lambda_alias", fake, **MINIMAL)
    assert fake.state["other"]["RoutingConfig"] == weights(v1=0.5)["RoutingConfig"]


def test_a_refusal_by_aws_is_reported_with_the_aliass_name() -> None:
    fake = FakeLambda()
    fake.refusals["create_alias"] = ("AccessDeniedException", 1)
    message = run("lambda_alias", fake, **MINIMAL)["msg"]
    assert "The alias live of function could not be ensured" in message
    assert "playbooks/policies.yml" in message
