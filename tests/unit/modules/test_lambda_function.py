"""The function: every setting, its versions, and that hidden values of its environment are never shown."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.modules.lambda_function import (
    HIDDEN,
    current_settings,
    same_version,
    shown,
    wanted_settings,
)
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/images"
IMAGE = f"{REGISTRY}@sha256:{'1' * 64}"
OTHER_IMAGE = f"{REGISTRY}@sha256:{'2' * 64}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/role"
ARN = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:function"
MINIMAL: Values = {"name": "function", "image_uri": IMAGE, "role": ROLE}
EVERYTHING: Values = {
    **MINIMAL,
    "architecture": "arm64",
    "description": "What it does",
    "memory_size": 1024,
    "timeout": 120,
    "ephemeral_storage": 1024,
    "environment": {"PLAIN": "plain-value"},
    "secret_environment": {"SECRET": "secret-value"},
    "kms_key_arn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f",
    "tracing_mode": "PassThrough",
    "log_group": "/functions/function",
    "log_format": "JSON",
    "vpc_subnet_ids": ["subnet-b", "subnet-a"],
    "vpc_security_group_ids": ["sg-a"],
    "reserved_concurrency": 5,
    "tags": {"owner": "us"},
}
CONFIGURATION: Values = {
    "PackageType": "Image",
    "Role": ROLE,
    "MemorySize": 512,
    "Timeout": 60,
    "State": "Active",
    "LastUpdateStatus": "Successful",
}


class FakeLambda(Fake):
    """Lambda with one function, its versions and its reserved concurrency."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {}
        # The states of the function, one response to GetFunction at a time, before everything is complete.
        self.progress: list[Values] = []
        self.aliases: dict[str, str] = {}
        # Whether a new image repairs a failed function.
        self.heals = True

    def function(self) -> Values:
        if not self.state:
            raise RefusedError("ResourceNotFoundException")
        found: Values = self.state
        return found

    def get_function(self, p: Values) -> Values:
        if "Qualifier" in p:
            return self.function()["versions"][int(p["Qualifier"]) - 1]  # type: ignore[no-any-return]
        latest = deepcopy(self.function()["latest"])
        latest["Tags"] = self.state["tags"]
        if self.progress:
            latest["Configuration"].update(self.progress.pop(0))
        return latest  # type: ignore[no-any-return]

    def get_function_configuration(self, p: Values) -> Values:
        return self.get_function(p)["Configuration"]  # type: ignore[no-any-return]

    def list_versions_by_function(self, p: Values) -> Values:
        # One version on a page; the newest is neither first nor last.
        numbers = ["$LATEST", *(version["Configuration"]["Version"] for version in self.function()["versions"])]
        numbers.sort(reverse=True)
        page = int(p.get("Marker", "0"))
        marker = {"NextMarker": str(page + 1)} if page + 1 < len(numbers) else {}
        return {"Versions": [{"Version": numbers[page]}], **marker}

    def create_function(self, p: Values) -> None:
        if self.state:
            raise RefusedError("ResourceConflictException")
        tags, code = p.pop("Tags"), p.pop("Code")
        del p["FunctionName"]
        configuration = {
            **deepcopy(CONFIGURATION),
            "FunctionArn": ARN,
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/function"},
            **p,
            "CodeSha256": code["ImageUri"][-64:],
        }
        latest = {"Configuration": configuration, "Code": {**code, "ResolvedImageUri": code["ImageUri"]}}
        self.state = {"latest": latest, "versions": [], "tags": tags, "concurrency": None}

    def refuse_while_at_work(self) -> None:
        if self.progress:
            raise RefusedError("ResourceConflictException")

    def get_alias(self, p: Values) -> Values:
        if p["Name"] not in self.aliases:
            raise RefusedError("ResourceNotFoundException")
        return {"FunctionVersion": self.aliases[p["Name"]]}

    def update_function_code(self, p: Values) -> None:
        self.refuse_while_at_work()
        latest = self.function()["latest"]
        if self.heals:
            latest["Configuration"].update(State="Active", LastUpdateStatus="Successful")
        latest["Code"] = {"ImageUri": p["ImageUri"], "ResolvedImageUri": p["ImageUri"]}
        latest["Configuration"].update(CodeSha256=p["ImageUri"][-64:], Architectures=p["Architectures"])
        self.progress = [{"LastUpdateStatus": "InProgress"}] * 2

    def update_function_configuration(self, p: Values) -> None:
        self.refuse_while_at_work()
        del p["FunctionName"]
        if "ImageConfig" in p:
            p["ImageConfigResponse"] = {"ImageConfig": p.pop("ImageConfig")}
            if not p["ImageConfigResponse"]["ImageConfig"]:
                del p["ImageConfigResponse"]
                self.function()["latest"]["Configuration"].pop("ImageConfigResponse", None)
        self.function()["latest"]["Configuration"].update(p)
        self.progress = [{"LastUpdateStatus": "InProgress"}] * 2

    def publish_version(self, _p: Values) -> Values:
        self.refuse_while_at_work()
        version = deepcopy(self.function()["latest"])
        version["Configuration"]["Version"] = str(len(self.state["versions"]) + 1)
        self.state["versions"].append(version)
        return version["Configuration"]  # type: ignore[no-any-return]

    def get_function_concurrency(self, _p: Values) -> Values:
        reserved = self.function()["concurrency"]
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def put_function_concurrency(self, p: Values) -> None:
        self.function()["concurrency"] = p["ReservedConcurrentExecutions"]

    def delete_function_concurrency(self, _p: Values) -> None:
        self.function()["concurrency"] = None

    def tag_resource(self, p: Values) -> None:
        assert p["Resource"] == ARN
        self.function()["tags"].update(p["Tags"])

    def untag_resource(self, p: Values) -> None:
        for key in p["TagKeys"]:
            del self.function()["tags"][key]

    def delete_function(self, _p: Values) -> None:
        self.state = {}


def options(**given: Any) -> Values:
    """Return the module's options as Ansible completes them."""
    defaults = {
        "architecture": "x86_64",
        "description": "",
        "memory_size": 512,
        "timeout": 60,
        "ephemeral_storage": 512,
        "environment": {},
        "secret_environment": {},
        "kms_key_arn": "",
        "tracing_mode": "Active",
        "log_group": None,
        "log_format": "Text",
        "vpc_subnet_ids": [],
        "vpc_security_group_ids": [],
    }
    return {**defaults, **MINIMAL, **given}


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({}, "ImageUri", IMAGE),
        ({"architecture": "arm64"}, "Architectures", ["arm64"]),
        ({"ephemeral_storage": 600}, "EphemeralStorage", {"Size": 600}),
        (
            {"environment": {"A": "1", "B": "1"}, "secret_environment": {"B": "2"}},
            "Environment",
            {"Variables": {"A": "1", "B": "2"}},
        ),
        ({}, "LoggingConfig", None),
        ({"log_format": "JSON"}, "LoggingConfig", None),
        (
            {"log_format": "JSON", "log_group": "/g"},
            "LoggingConfig",
            {"LogFormat": "JSON", "LogGroup": "/g"},
        ),
        ({}, "ImageConfig", {}),
        ({}, "VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}),
        ({"vpc_subnet_ids": ["b", "a"]}, "VpcConfig", {"SubnetIds": ["a", "b"], "SecurityGroupIds": []}),
    ],
)
def test_wanted_settings(given: Values, name: str, value: Any) -> None:
    assert wanted_settings(options(**given))[name] == value


@pytest.mark.parametrize(
    ("configuration", "name", "value"),
    [
        # Values that AWS leaves out are at their default.
        ({}, "Architectures", ["x86_64"]),
        ({}, "Description", ""),
        ({}, "EphemeralStorage", {"Size": 512}),
        ({}, "Environment", {"Variables": {}}),
        ({}, "KMSKeyArn", ""),
        ({}, "TracingConfig", {"Mode": "PassThrough"}),
        ({}, "LoggingConfig", {"LogFormat": "Text", "LogGroup": ""}),
        ({}, "VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}),
        ({}, "ImageConfig", {}),
        ({"KMSKeyArn": None, "VpcConfig": None}, "KMSKeyArn", ""),
        ({"ImageConfigResponse": None}, "ImageConfig", {}),
        ({"ImageConfigResponse": {"ImageConfig": {}}}, "ImageConfig", {}),
        (
            {"ImageConfigResponse": {"ImageConfig": {"EntryPoint": [], "Command": ["c"], "WorkingDirectory": ""}}},
            "ImageConfig",
            {"Command": ["c"]},
        ),
        # Values that AWS adds do not count.
        (
            {"LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/g", "SystemLogLevel": "INFO"}},
            "LoggingConfig",
            {"LogFormat": "JSON", "LogGroup": "/g"},
        ),
        (
            {"VpcConfig": {"SubnetIds": ["b", "a"], "SecurityGroupIds": ["s"], "VpcId": "vpc-1"}},
            "VpcConfig",
            {"SubnetIds": ["a", "b"], "SecurityGroupIds": ["s"]},
        ),
    ],
)
def test_current_settings(configuration: Values, name: str, value: Any) -> None:
    assert current_settings({"Configuration": {**CONFIGURATION, **configuration}})[name] == value


@pytest.mark.parametrize(
    ("code", "wanted", "image"),
    [
        ({"ImageUri": IMAGE}, IMAGE, IMAGE),
        ({"ImageUri": f"{REGISTRY}:tag", "ResolvedImageUri": IMAGE}, IMAGE, IMAGE),
        ({"ImageUri": f"{REGISTRY}:tag", "ResolvedImageUri": IMAGE}, OTHER_IMAGE, f"{REGISTRY}:tag"),
        ({"ImageUri": f"{REGISTRY}:tag", "ResolvedImageUri": IMAGE}, None, f"{REGISTRY}:tag"),
        ({}, IMAGE, ""),
    ],
)
def test_an_image_is_known_by_tag_or_digest(code: Values, wanted: str | None, image: str) -> None:
    assert current_settings({"Configuration": CONFIGURATION, "Code": code}, wanted)["ImageUri"] == image


@pytest.mark.parametrize(
    ("difference", "same"),
    [
        ({}, True),
        ({"Version": "7", "LastModified": "today", "RevisionId": "r"}, True),
        ({"CodeSha256": "other"}, False),
        ({"MemorySize": 1024}, False),
        ({"ImageConfigResponse": {"ImageConfig": {"EntryPoint": ["/bin/true"]}}}, False),
        ({"Environment": {"Variables": {"A": "1"}}}, False),
    ],
)
def test_same_version(difference: Values, same: bool) -> None:
    latest = {**CONFIGURATION, "CodeSha256": "a"}
    assert same_version({"Configuration": latest}, {"Configuration": {**latest, **difference}}) is same


def test_shown_hides_every_value_but_those_that_are_visible() -> None:
    settings = {"Timeout": 1, "Environment": {"Variables": {"A": "1", "B": "2"}}}
    assert shown(settings, {"A"}) == {"Timeout": 1, "Environment": {"Variables": {"A": "1", "B": HIDDEN}}}
    assert settings["Environment"] == {"Variables": {"A": "1", "B": "2"}}
    assert shown({"Timeout": 1}, set()) == {"Timeout": 1}


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING])
def test_a_function_is_created_kept_and_deleted(given: Values) -> None:
    fake = FakeLambda()
    result = assert_converges("lambda_function", fake, **given)
    assert (result["version"], result["published"]) == ("1", True)
    again = done("lambda_function", fake, **given)
    assert (again["version"], again["published"]) == ("1", False)
    assert fake.state["concurrency"] == given.get("reserved_concurrency")
    assert_gone("lambda_function", fake, name="function")


@pytest.mark.parametrize(
    ("drift", "setting"),
    [
        ({"Role": ROLE + "-2"}, "Role"),
        ({"Description": ""}, "Description"),
        ({"MemorySize": 128}, "MemorySize"),
        ({"Timeout": 3}, "Timeout"),
        ({"EphemeralStorage": {"Size": 512}}, "EphemeralStorage"),
        ({"Environment": {"Variables": {"PLAIN": "other"}}}, "Environment"),
        ({"KMSKeyArn": None}, "KMSKeyArn"),
        ({"TracingConfig": {"Mode": "Active"}}, "TracingConfig"),
        ({"LoggingConfig": {"LogFormat": "Text", "LogGroup": "/other"}}, "LoggingConfig"),
        ({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""}}, "VpcConfig"),
        ({"Architectures": ["x86_64"]}, "Architectures"),
        ({"ImageConfigResponse": {"ImageConfig": {"Command": ["other.handler"]}}}, "ImageConfig"),
        ({"ImageConfigResponse": {"ImageConfig": {"WorkingDirectory": "/elsewhere"}}}, "ImageConfig"),
    ],
)
def test_drift_is_corrected_and_published(drift: Values, setting: str) -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **EVERYTHING)
    before = deepcopy(fake.state["latest"])
    fake.state["latest"]["Configuration"].update(drift)
    result = assert_converges("lambda_function", fake, **EVERYTHING)
    assert result["diff"]["after"].keys() == {setting, "Version"}
    assert result["version"] == "2"
    assert fake.state["latest"] == before


def test_a_new_image_is_a_new_version_and_the_old_one_another() -> None:
    fake = FakeLambda()
    images = [IMAGE, OTHER_IMAGE, IMAGE]
    versions = [
        assert_converges("lambda_function", fake, **{**EVERYTHING, "image_uri": image})["version"] for image in images
    ]
    assert versions == ["1", "2", "3"]
    assert [version["Code"]["ImageUri"] for version in fake.state["versions"]] == images


def test_a_run_that_was_interrupted_before_publishing_is_completed() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["versions"].clear()
    result = assert_converges("lambda_function", fake, **MINIMAL)
    assert (result["version"], len(fake.state["versions"])) == ("1", 1)


def test_a_change_that_was_never_published_is_published() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["latest"]["Configuration"]["Timeout"] = 5
    result = assert_converges("lambda_function", fake, **MINIMAL, timeout=5)
    assert (result["version"], result["diff"]) == ("2", {"before": {"Version": "1"}, "after": {"Version": "2"}})


def test_the_newest_version_is_that_of_the_highest_number_on_any_page() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    for timeout in range(2, 12):
        done("lambda_function", fake, **MINIMAL, timeout=timeout)
    again = done("lambda_function", fake, **MINIMAL, timeout=11)
    assert (again["version"], again["changed"]) == ("11", False)


@pytest.mark.parametrize(
    "progress",
    [
        [{"State": "Pending"}] * 3,
        [{"LastUpdateStatus": "InProgress"}] * 3,
        [{"State": "Pending"}, {"State": "Pending"}, {"LastUpdateStatus": "InProgress"}],
    ],
)
def test_an_update_by_somebody_else_is_awaited(progress: list[Values]) -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.progress = progress
    assert done("lambda_function", fake, **MINIMAL, timeout=5)["version"] == "2"
    assert fake.state["latest"]["Configuration"]["Timeout"] == 5


@pytest.mark.parametrize(
    ("reserved", "wanted", "left"), [(None, 5, 5), (5, 7, 7), (5, -1, None), (5, 0, 0), (None, -3, None)]
)
def test_reserved_concurrency(reserved: int | None, wanted: int, left: int | None) -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["concurrency"] = reserved
    if reserved == left:
        assert not done("lambda_function", fake, **MINIMAL, reserved_concurrency=wanted)["changed"]
    else:
        result = assert_converges("lambda_function", fake, **MINIMAL, reserved_concurrency=wanted)
        assert (result["version"], result["published"]) == ("1", False)
    assert fake.state["concurrency"] == left


@pytest.mark.parametrize(("wanted", "left"), [({"a": "1"}, {"a": "1"}), ({}, {}), (None, {"a": "2", "b": "2"})])
def test_tags_are_the_wanted_ones_and_those_of_aws(wanted: dict[str, str] | None, left: dict[str, str]) -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    theirs = {"aws:cloudformation:stack-name": "s"}
    fake.state["tags"] = {"a": "2", "b": "2", **theirs}
    done("lambda_function", fake, **MINIMAL, tags=wanted)
    assert fake.state["tags"] == {**left, **theirs}
    again = done("lambda_function", fake, **MINIMAL, tags=wanted)
    assert (again["changed"], again["diff"]) == (False, {"before": {}, "after": {}})


def test_a_function_from_a_zip_archive_is_refused() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["latest"]["Configuration"]["PackageType"] = "Zip"
    assert "was created from a Zip archive" in run("lambda_function", fake, **MINIMAL)["msg"]


def test_a_role_that_lambda_does_not_know_yet_is_reported_in_awss_words() -> None:
    fake = FakeLambda()
    fake.refusals["create_function"] = ("cannot be assumed by Lambda", 1)
    result = run("lambda_function", fake, **MINIMAL)
    # The role retries the task on this text only.
    assert "cannot be assumed by Lambda" in result["msg"]
    assert fake.state == {}


def test_the_version_that_an_alias_names_is_reported() -> None:
    fake = FakeLambda()
    assert done("lambda_function", fake, **MINIMAL, alias="live")["alias_version"] == ""
    fake.aliases = {"live": "1"}
    assert done("lambda_function", fake, **MINIMAL, alias="live", timeout=5)["alias_version"] == "1"
    assert done("lambda_function", fake, **MINIMAL, timeout=5)["alias_version"] == ""


CANNOT_BE_PULLED = {
    status: {status: "Failed", f"{status}Reason": "the image cannot be pulled", f"{status}ReasonCode": "ImageDeleted"}
    for status in ("State", "LastUpdateStatus")
}


def test_a_function_that_could_not_be_created_is_deleted_and_created_again_while_nothing_serves() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **EVERYTHING)
    fake.state["versions"] = []
    fake.state["latest"]["Configuration"].update(CANNOT_BE_PULLED["State"])
    fake.writes()
    checked = done("lambda_function", fake, check=True, **EVERYTHING)
    assert (checked["changed"], checked["version"], fake.writes()) == (True, "1", [])
    result = done("lambda_function", fake, **EVERYTHING)
    assert result["diff"] == checked["diff"]
    assert (result["version"], fake.state["concurrency"]) == ("1", 5)
    assert [name for name in fake.writes() if name in ("delete_function", "create_function")] == [
        "delete_function",
        "create_function",
    ]
    assert not done("lambda_function", fake, **EVERYTHING)["changed"]


def test_a_function_whose_creation_fails_while_it_is_waited_for_is_created_again() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["versions"] = []
    fake.state["latest"]["Configuration"].update(CANNOT_BE_PULLED["State"])
    fake.progress = [{"State": "Pending"}] * 2
    assert done("lambda_function", fake, **MINIMAL)["version"] == "1"


def test_a_failed_function_that_still_serves_is_neither_updated_nor_deleted() -> None:
    """AWS: a function whose state is Failed cannot be updated, only deleted and created again."""
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["latest"]["Configuration"].update(CANNOT_BE_PULLED["State"])
    fake.writes()
    for check in (True, False):
        message = run("lambda_function", fake, check=check, **MINIMAL)["msg"]
        assert "the image cannot be pulled (ImageDeleted). AWS lets such a function only be deleted" in message
    assert fake.writes() == []


def test_a_deleted_function_that_does_not_go_is_reported() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    fake.state["versions"] = []
    fake.state["latest"]["Configuration"].update(CANNOT_BE_PULLED["State"])
    fake.delete_function = lambda _p: None  # type: ignore[method-assign,assignment]
    assert "is not gone after 60 s. Run this again." in run("lambda_function", fake, **MINIMAL)["msg"]


def test_a_role_that_was_created_again_gets_a_new_version() -> None:
    """Lambda's grant on the environment's key belongs to the role's unique identifier, not to its name."""
    fake = FakeLambda()
    given = {**EVERYTHING, "role_id": "AROAOLD"}
    assert_converges("lambda_function", fake, **given)
    assert fake.state["tags"] == {"owner": "us", "execution-role-id": "AROAOLD"}
    fake.calls.clear()
    result = assert_converges("lambda_function", fake, **{**given, "role_id": "AROANEW"})
    assert result["version"] == "2"
    assert fake.state["tags"]["execution-role-id"] == "AROANEW"
    assert len(fake.state["versions"]) == 2


def test_the_update_for_a_new_role_sends_what_the_grant_is_made_from() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **EVERYTHING, role_id="AROAOLD")
    fake.calls.clear()
    done("lambda_function", fake, **EVERYTHING, role_id="AROANEW")
    (update,) = [params for name, params in fake.calls if name == "update_function_configuration"]
    assert (update["Role"], update["KMSKeyArn"]) == (ROLE, EVERYTHING["kms_key_arn"])
    assert update["Environment"]["Variables"] == {**EVERYTHING["environment"], **EVERYTHING["secret_environment"]}


@pytest.mark.parametrize("tags", [{"owner": "us"}, None])
def test_the_kept_role_stays_where_none_is_given_and_its_first_record_publishes_nothing(tags: Values | None) -> None:
    fake = FakeLambda()
    given = {**MINIMAL, **({"tags": tags} if tags else {})}
    done("lambda_function", fake, **given)
    result = done("lambda_function", fake, **given, role_id="AROAOLD")
    assert (result["changed"], result["published"]) == (True, False)
    assert not done("lambda_function", fake, **given)["changed"]
    assert fake.state["tags"]["execution-role-id"] == "AROAOLD"


def test_a_function_whose_change_failed_gets_its_image_once_more() -> None:
    fake = FakeLambda()
    done("lambda_function", fake, **MINIMAL)
    failed = CANNOT_BE_PULLED["LastUpdateStatus"]
    fake.state["latest"]["Configuration"].update(failed)
    fake.heals = True
    checked = done("lambda_function", fake, check=True, **MINIMAL)
    assert (checked["changed"], checked["version"]) == (True, "2")
    result = done("lambda_function", fake, **MINIMAL)
    assert (result["version"], len(fake.state["versions"])) == ("2", 2)
    fake.heals = False
    fake.state["latest"]["Configuration"].update(failed)
    result = run("lambda_function", fake, **MINIMAL)
    assert "Lambda could not change the function" in result["msg"]
    assert "the image cannot be pulled (ImageDeleted)" in result["msg"]
    assert len(fake.state["versions"]) == 2, "what failed is not published"


SECRETS = ("first-secret", "second-secret", "set-by-hand", "in-both-places")


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_hidden_values_are_never_shown(check: bool, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the values that Ansible itself removes from a result, so that the module must hide them.
    monkeypatch.setattr("ansible.module_utils.basic.remove_values", lambda value, _no_log: value)
    fake = FakeLambda()
    given = {**MINIMAL, "environment": {"PLAIN": "seen", "BOTH": "x"}}
    secrets = {"KEY": "first-secret", "BOTH": "in-both-places"}
    results = [run("lambda_function", fake, **given, secret_environment=secrets)]
    variables = fake.state["latest"]["Configuration"]["Environment"]["Variables"]
    assert variables == {"PLAIN": "seen", "KEY": "first-secret", "BOTH": "in-both-places"}
    variables["BY_HAND"] = "set-by-hand"
    given["environment"]["PLAIN"] = "seen-too"
    secrets = {"KEY": "second-secret", "BOTH": "in-both-places"}
    results.append(run("lambda_function", fake, check=check, state=state, **given, secret_environment=secrets))
    assert all(result["changed"] for result in results)
    for result in results:
        # Ansible hides it because of no_log. Since ansible-core 2.21, it is only there with INJECT_INVOCATION.
        result.pop("invocation", None)
        assert [secret for secret in SECRETS if secret in json.dumps(result)] == []
    if state == "present":
        assert results[1]["diff"]["before"]["Environment"]["Variables"] == {
            "PLAIN": "seen",
            "KEY": HIDDEN,
            "BOTH": HIDDEN,
            "BY_HAND": HIDDEN,
        }


def test_ansible_hides_the_secret_option_itself() -> None:
    fake = FakeLambda()
    result = run("lambda_function", fake, **EVERYTHING)
    assert "secret-value" not in json.dumps(result)
    assert "plain-value" in json.dumps(result)
