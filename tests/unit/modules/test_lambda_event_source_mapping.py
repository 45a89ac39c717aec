"""The event source mapping of the queue and the function."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from ansible_collections.label_export.aws.plugins.modules.lambda_event_source_mapping import (
    current_settings,
    wanted_settings,
)
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done

QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:queue"
FUNCTION = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:function"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
FILTERS: Values = {"Filters": [{"Pattern": '{"body": {"version": [2]}}'}]}
POLLERS: Values = {"MinimumPollers": 2, "MaximumPollers": 2}
MINIMAL: Values = {"function_name": "function:live", "event_source_arn": QUEUE}
EVERYTHING: Values = {
    **MINIMAL,
    "batch_size": 5,
    "maximum_batching_window": 3,
    "maximum_concurrency": 7,
    "tags": {"owner": "us"},
}


class FakeLambda(Fake):
    """Lambda with mappings, which it returns one on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.state = []
        self.tags: dict[str, dict[str, str]] = {}
        # The states of the mappings, one listing at a time, before they return their actual one.
        self.progress: list[str] = []

    def list_event_source_mappings(self, p: Values) -> Values:
        if p["FunctionName"].startswith("gone"):
            raise RefusedError("ResourceNotFoundException")
        page = int(p.get("Marker", "0"))
        marker = {"NextMarker": str(page + 1)} if page + 1 < len(self.state) else {}
        state = {"State": self.progress.pop(0)} if self.progress else {}
        # Filters that a key encrypts are not returned.
        hidden = ("FilterCriteria",) if self.state and self.state[page].get("KMSKeyArn") else ()
        listed = [
            {key: value for key, value in {**mapping, **state}.items() if key not in hidden}
            for mapping in self.state[page : page + 1]
        ]
        return {"EventSourceMappings": listed, **marker}

    def create_event_source_mapping(self, p: Values) -> Values:
        identifier = str(UUID(int=len(self.state)))
        mapping = {
            "UUID": identifier,
            "EventSourceMappingArn": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:event-source-mapping:{identifier}",
            "FunctionArn": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{p.pop('FunctionName')}",
            "State": "Enabled" if p.pop("Enabled") else "Disabled",
            **p,
        }
        self.tags[mapping["EventSourceMappingArn"]] = p.pop("Tags", {})
        mapping.pop("Tags", None)
        self.state.append(mapping)
        return mapping

    def list_tags(self, p: Values) -> Values:
        return {"Tags": self.tags[p["Resource"]]}

    def tag_resource(self, p: Values) -> None:
        self.tags[p["Resource"]].update(p["Tags"])

    def untag_resource(self, p: Values) -> None:
        for key in p["TagKeys"]:
            del self.tags[p["Resource"]][key]

    def update_event_source_mapping(self, p: Values) -> None:
        mapping = next(m for m in self.state if m["UUID"] == p["UUID"])
        if "Enabled" in p:
            mapping["State"] = "Enabled" if p.pop("Enabled") else "Disabled"
        del p["FunctionName"]
        mapping.update(p)
        # AWS leaves out what a mapping does not have, and does not accept these two together.
        for name in ("FilterCriteria", "KMSKeyArn", "ProvisionedPollerConfig"):
            if not mapping.get(name):
                mapping.pop(name, None)
        if mapping.get("ScalingConfig") and "ProvisionedPollerConfig" in mapping:
            raise RefusedError("InvalidParameterValueException")

    def delete_event_source_mapping(self, p: Values) -> None:
        self.state = [m for m in self.state if m["UUID"] != p["UUID"]]


def params(**given: Any) -> Values:
    defaults = {
        "enabled": True,
        "batch_size": 10,
        "maximum_batching_window": 0,
        "maximum_concurrency": 0,
        "report_batch_item_failures": True,
        "tags": None,
    }
    return {**defaults, **given}


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({}, "Enabled", True),
        ({}, "BatchSize", 10),
        ({}, "MaximumBatchingWindowInSeconds", 0),
        ({}, "ScalingConfig", {}),
        ({"maximum_concurrency": 5}, "ScalingConfig", {"MaximumConcurrency": 5}),
        ({}, "FunctionResponseTypes", ["ReportBatchItemFailures"]),
        ({"report_batch_item_failures": False}, "FunctionResponseTypes", []),
        ({}, "FilterCriteria", {}),
        ({}, "KMSKeyArn", ""),
        ({}, "ProvisionedPollerConfig", {}),
    ],
)
def test_wanted_settings(given: Values, name: str, value: Any) -> None:
    assert wanted_settings(params(**given))[name] == value


@pytest.mark.parametrize(
    ("mapping", "name", "value"),
    [
        ({"State": "Enabled"}, "Enabled", True),
        ({"State": "Enabling"}, "Enabled", True),
        ({"State": "Creating"}, "Enabled", True),
        ({"State": "Updating"}, "Enabled", True),
        ({"State": "Disabled"}, "Enabled", False),
        ({"State": "Disabling"}, "Enabled", False),
        ({}, "MaximumBatchingWindowInSeconds", 0),
        ({}, "ScalingConfig", {}),
        ({"ScalingConfig": None}, "ScalingConfig", {}),
        ({"ScalingConfig": {"MaximumConcurrency": 5}}, "ScalingConfig", {"MaximumConcurrency": 5}),
        ({"FunctionResponseTypes": None}, "FunctionResponseTypes", []),
        ({}, "FilterCriteria", {}),
        ({"FilterCriteria": None}, "FilterCriteria", {}),
        ({"FilterCriteria": {"Filters": []}}, "FilterCriteria", {}),
        ({"FilterCriteria": FILTERS}, "FilterCriteria", FILTERS),
        ({"KMSKeyArn": KEY}, "FilterCriteria", {"Filters": "encrypted"}),
        ({"KMSKeyArn": KEY}, "KMSKeyArn", KEY),
        ({"KMSKeyArn": None}, "KMSKeyArn", ""),
        ({"ProvisionedPollerConfig": None}, "ProvisionedPollerConfig", {}),
        ({"ProvisionedPollerConfig": POLLERS}, "ProvisionedPollerConfig", POLLERS),
    ],
)
def test_current_settings(mapping: Values, name: str, value: Any) -> None:
    assert current_settings({"State": "Enabled", **mapping})[name] == value


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING, {**MINIMAL, "enabled": False}])
def test_a_mapping_is_created_kept_and_deleted(given: Values) -> None:
    fake = FakeLambda()
    assert_converges("lambda_event_source_mapping", fake, **given)
    assert done("lambda_event_source_mapping", fake, **given)["uuid"] == str(UUID(int=0))
    assert_gone("lambda_event_source_mapping", fake, **MINIMAL)
    assert fake.state == []


@pytest.mark.parametrize(
    ("drift", "settings"),
    [
        ({"State": "Disabled"}, ["Enabled"]),
        ({"BatchSize": 10}, ["BatchSize"]),
        ({"MaximumBatchingWindowInSeconds": 0}, ["MaximumBatchingWindowInSeconds"]),
        ({"ScalingConfig": {}}, ["ScalingConfig"]),
        ({"FunctionResponseTypes": []}, ["FunctionResponseTypes"]),
        ({"FilterCriteria": FILTERS}, ["FilterCriteria"]),
        ({"FilterCriteria": FILTERS, "KMSKeyArn": KEY}, ["FilterCriteria", "KMSKeyArn"]),
        ({"ScalingConfig": {}, "ProvisionedPollerConfig": POLLERS}, ["ScalingConfig", "ProvisionedPollerConfig"]),
    ],
)
def test_drift_is_corrected(drift: Values, settings: list[str]) -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **EVERYTHING)
    before = dict(fake.state[0])
    fake.state[0].update(drift)
    result = assert_converges("lambda_event_source_mapping", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == settings
    assert fake.state == [before]


def test_tags_are_corrected_without_touching_the_mapping() -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **EVERYTHING)
    (arn,) = fake.tags
    fake.tags[arn] = {"owner": "them", "extra": "1", "aws:ours": "not"}
    result = assert_converges("lambda_event_source_mapping", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == ["Tags"]
    assert fake.tags[arn] == {"owner": "us", "aws:ours": "not"}


def test_a_limit_is_removed_again() -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **EVERYTHING)
    assert_converges("lambda_event_source_mapping", fake, **MINIMAL, report_batch_item_failures=False)
    assert (fake.state[0]["ScalingConfig"], fake.state[0]["FunctionResponseTypes"]) == ({}, [])


def test_mappings_to_other_aliases_are_not_changed() -> None:
    fake = FakeLambda()
    for name in ("function", "function:other", "function:live-2"):
        done("lambda_event_source_mapping", fake, function_name=name, event_source_arn=QUEUE)
    assert_converges("lambda_event_source_mapping", fake, **MINIMAL)
    assert len(fake.state) == 4
    assert_gone("lambda_event_source_mapping", fake, **MINIMAL)
    assert len(fake.state) == 3


def test_a_mapping_in_transition_is_awaited() -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **MINIMAL)
    fake.refusals["update_event_source_mapping"] = ("ResourceInUseException", 3)
    assert done("lambda_event_source_mapping", fake, **EVERYTHING)["changed"]
    assert fake.state[0]["BatchSize"] == 5


def listings(fake: FakeLambda) -> int:
    return [name for name, _ in fake.calls].count("list_event_source_mappings")


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING], ids=["unchanged", "changed"])
def test_a_mapping_is_stable_when_the_run_ends(given: Values) -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **MINIMAL)
    fake.progress = ["Creating", "Enabling", "Updating", "Updating"]
    fake.calls.clear()
    assert done("lambda_event_source_mapping", fake, **given)["changed"] == (given is EVERYTHING)
    assert (fake.progress, listings(fake)) == ([], 5)


def test_check_mode_does_not_wait() -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **MINIMAL)
    fake.progress = ["Creating"] * 2
    fake.calls.clear()
    done("lambda_event_source_mapping", fake, check=True, **EVERYTHING)
    assert listings(fake) == 1


def test_a_mapping_that_stays_in_transition_gives_a_warning() -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **MINIMAL)
    fake.progress = ["Updating"] * 1000
    result = done("lambda_event_source_mapping", fake, **EVERYTHING)
    assert result["changed"]
    (warning,) = result["warnings"]
    assert "function:live is still Updating. Messages wait in the queue" in str(warning)


def test_a_mapping_that_is_being_deleted_counts_as_missing() -> None:
    fake = FakeLambda()
    done("lambda_event_source_mapping", fake, **MINIMAL)
    fake.state[0]["State"] = "Deleting"
    assert not done("lambda_event_source_mapping", fake, **MINIMAL, state="absent")["changed"]
    # AWS does not accept a second one before the first is deleted.
    fake.refusals["create_event_source_mapping"] = ("ResourceConflictException", 3)
    assert done("lambda_event_source_mapping", fake, **MINIMAL)["uuid"] == str(UUID(int=1))


def test_a_function_that_is_gone_has_no_mapping() -> None:
    result = done(
        "lambda_event_source_mapping", FakeLambda(), function_name="gone:live", event_source_arn=QUEUE, state="absent"
    )
    assert not result["changed"]
