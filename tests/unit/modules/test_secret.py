"""The secret, and who owns its value."""

from __future__ import annotations

import json
import uuid

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0f0f0f0f"
MINIMAL: Values = {"name": "secret", "value": "the first text"}
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
OTHER_READER = f"arn:aws:iam::{ACCOUNT}:role/other"


def only(*readers: str) -> Values:
    """Return the statement that denies reading to everyone except these."""
    condition = {"ArnNotLike": {"aws:PrincipalArn": list(readers)}}
    rest = {"Action": "secretsmanager:GetSecretValue", "Resource": "*", "Condition": condition}
    return {"Effect": "Deny", "Principal": "*", **rest}


THEIRS: Values = {"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": READER}, "Action": "*", "Resource": "*"}
EVERYTHING: Values = {
    **MINIMAL,
    "description": "What it is for",
    "kms_key_arn": KEY,
    "tags": {"owner": "us"},
    "policy_statements": {"OnlyReaders": only(READER, OTHER_READER)},
}


class FakeSecretsManager(Fake):
    """Secrets Manager with one secret."""

    caller = READER

    def denies(self) -> bool:
        """Return whether the policy denies the caller to read the value; only statements of `only` are understood."""
        named = [item["Condition"]["ArnNotLike"] for item in self.statements() if item["Effect"] == "Deny"]
        return any(self.caller not in readers["aws:PrincipalArn"] for readers in named)

    def statements(self) -> list[Values]:
        found = json.loads(self.state.get("policy", "{}")).get("Statement", [])
        return found if isinstance(found, list) else [found]

    def sids(self) -> list[str]:
        return [item["Sid"] for item in self.statements()]

    def get_resource_policy(self, _p: Values) -> Values:
        return {"ResourcePolicy": self.secret()["policy"]} if "policy" in self.secret() else {}

    def put_resource_policy(self, p: Values) -> None:
        assert p["BlockPublicPolicy"] is True
        self.secret()["policy"] = p["ResourcePolicy"]

    def delete_resource_policy(self, _p: Values) -> None:
        del self.secret()["policy"]

    def secret(self) -> Values:
        if not self.state:
            raise RefusedError("ResourceNotFoundException")
        found: Values = self.state
        return found

    def change_elsewhere(self, value: str) -> None:
        self.state |= {"value": value, "version": str(uuid.uuid4())}

    def describe_secret(self, _p: Values) -> Values:
        shown = {
            key: value for key, value in self.secret().items() if key not in ("value", "version", "tags", "policy")
        }
        return {**shown, "Tags": [{"Key": key, "Value": value} for key, value in self.state["tags"].items()]}

    def get_secret_value(self, _p: Values) -> Values:
        if self.secret().get("DeletedDate"):
            raise RefusedError("InvalidRequestException")
        if self.denies():
            raise RefusedError("AccessDeniedException")
        if self.state["value"] is None:
            raise RefusedError("ResourceNotFoundException")
        return {"SecretString": self.state["value"], "VersionId": self.state["version"]}

    def write(self, p: Values) -> Values:
        self.state |= {key: p[key] for key in ("Description", "KmsKeyId") if key in p}
        if "SecretString" not in p:
            return {}
        self.state |= {"value": p["SecretString"], "version": p.get("ClientRequestToken") or str(uuid.uuid4())}
        return {"VersionId": self.state["version"]}

    def create_secret(self, p: Values) -> None:
        self.state = {"Name": p["Name"], "tags": {tag["Key"]: tag["Value"] for tag in p["Tags"]}}
        self.write(p)

    def update_secret(self, p: Values) -> Values:
        self.secret()
        return self.write(p)

    def restore_secret(self, _p: Values) -> None:
        del self.secret()["DeletedDate"]

    def delete_secret(self, p: Values) -> None:
        if p.get("ForceDeleteWithoutRecovery"):
            self.state = {}
        else:
            self.secret()["DeletedDate"] = 1

    def tag_resource(self, p: Values) -> None:
        self.secret()["tags"].update({tag["Key"]: tag["Value"] for tag in p["Tags"]})

    def untag_resource(self, p: Values) -> None:
        for key in p["TagKeys"]:
            del self.secret()["tags"][key]


@pytest.mark.parametrize("given", [MINIMAL, EVERYTHING])
def test_a_secret_is_created_kept_and_deleted(given: Values) -> None:
    fake = FakeSecretsManager()
    result = assert_converges("secret", fake, **given)
    assert fake.state["value"] == given["value"]
    assert fake.state["tags"]["written-version"] == fake.state["version"]
    assert given["value"] not in json.dumps(result["diff"])
    assert_gone("secret", fake, name="secret", recovery_window_days=0)
    assert fake.state == {}


def test_a_value_that_we_wrote_is_replaced_when_the_inventorys_changes() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    assert_converges("secret", fake, **{**EVERYTHING, "value": "the second text"})
    assert fake.state["value"] == "the second text"
    assert fake.state["tags"] == {"owner": "us", "written-version": fake.state["version"]}


@pytest.mark.parametrize("value", ["the first text", "the second text"])
def test_a_value_that_was_changed_elsewhere_stays(value: str) -> None:
    """Rotated by hand: neither the old value nor a newer one of the inventory replaces it."""
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.change_elsewhere("rotated in the console")
    fake.writes()
    result = done("secret", fake, **{**EVERYTHING, "value": value})
    assert (result["changed"], result["changed_elsewhere"]) == (False, True)
    assert fake.writes() == []
    assert fake.state["value"] == "rotated in the console"


def test_beside_a_value_that_stays_other_settings_are_corrected() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.change_elsewhere("rotated in the console")
    assert_converges("secret", fake, **{**EVERYTHING, "description": "new", "tags": {"owner": "they"}})
    assert (fake.state["value"], fake.state["Description"]) == ("rotated in the console", "new")
    assert done("secret", fake, **{**EVERYTHING, "description": "new", "tags": {"owner": "they"}})["changed_elsewhere"]


def test_a_value_that_was_changed_elsewhere_is_replaced_when_told_to() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.change_elsewhere("rotated in the console")
    result = assert_converges("secret", fake, **EVERYTHING, overwrite=True)
    assert "rotated" not in json.dumps(result)
    assert fake.state["value"] == EVERYTHING["value"]
    assert not done("secret", fake, **EVERYTHING)["changed_elsewhere"]


def test_a_value_that_the_inventory_adopts_is_managed_again() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.change_elsewhere("rotated in the console")
    caught_up = {**EVERYTHING, "value": "rotated in the console"}
    assert_converges("secret", fake, **caught_up)
    assert_converges("secret", fake, **{**EVERYTHING, "value": "the third text"})
    assert fake.state["value"] == "the third text"


def test_an_existing_secret_is_kept_unless_its_value_is_the_same() -> None:
    fake = FakeSecretsManager()
    fake.state = {"Name": "secret", "tags": {}, "value": "theirs", "version": "1"}
    assert done("secret", fake, **MINIMAL)["changed_elsewhere"]
    assert fake.state["value"] == "theirs"


@pytest.mark.parametrize("tags", [{}, {"written-version": "a version that is gone"}])
def test_a_secret_without_a_value_gets_one(tags: Values) -> None:
    fake = FakeSecretsManager()
    fake.state = {"Name": "secret", "tags": tags, "value": None, "version": None}
    assert_converges("secret", fake, **MINIMAL)
    assert fake.state["value"] == MINIMAL["value"]


def test_equivalent_json_is_not_a_change() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, name="secret", value='{"a": ["x"], "b": []}')
    assert not done("secret", fake, name="secret", value='{"b":[],"a":["x"]}')["changed"]
    assert_converges("secret", fake, name="secret", value='{"b": [], "a": ["x", "y"]}')


def test_a_deleted_secret_is_restored_with_the_wanted_value() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    done("secret", fake, name="secret", state="absent")
    assert fake.state["DeletedDate"]
    assert_gone_already = done("secret", fake, name="secret", state="absent")
    assert not assert_gone_already["changed"]
    assert_converges("secret", fake, **EVERYTHING)
    assert "DeletedDate" not in fake.state
    done("secret", fake, name="secret", state="absent")
    assert done("secret", fake, **{**EVERYTHING, "value": "the second text"})["changed"]
    assert fake.state["value"] == "the second text"


@pytest.mark.parametrize(
    ("drift", "healed"),
    [
        ({"Description": "theirs"}, "description"),
        ({"KmsKeyId": KEY + "0"}, "kms_key_arn"),
        ({"tags": {}}, "tags"),
        ({"policy": json.dumps({"Version": "2012-10-17", "Statement": THEIRS})}, "policy"),
        ({"policy": json.dumps({"Statement": [{"Sid": "OnlyReaders", **only(READER)}]})}, "policy"),
    ],
)
def test_drift_is_corrected(drift: Values, healed: str) -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.state |= drift
    assert healed in assert_converges("secret", fake, **EVERYTHING)["diff"]["after"]


def test_the_key_is_replaced_by_the_aws_managed_key() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    assert_converges("secret", fake, **{**EVERYTHING, "kms_key_arn": ""})
    assert fake.state["KmsKeyId"] == "alias/aws/secretsmanager"


def test_statements_of_others_stay_and_ours_go_when_they_are_not_wanted() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    policy = json.loads(fake.state["policy"])
    fake.state["policy"] = json.dumps({**policy, "Statement": [*policy["Statement"], THEIRS]})
    assert_converges("secret", fake, **{**EVERYTHING, "policy_statements": {"OnlyReaders": only(READER)}})
    assert fake.sids() == ["Theirs", "OnlyReaders"]
    assert_converges("secret", fake, **{**EVERYTHING, "policy_statements": {"OnlyReaders": {}}})
    assert fake.sids() == ["Theirs"]


def test_a_policy_without_statements_is_deleted() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    assert_converges("secret", fake, **{**EVERYTHING, "policy_statements": {"OnlyReaders": {}}})
    assert "policy" not in fake.state


def test_a_policy_is_left_alone_when_no_statements_are_given() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    assert not done("secret", fake, **{**EVERYTHING, "policy_statements": None})["changed"]
    assert fake.sids() == ["OnlyReaders"]


def test_a_missing_reader_gets_access_with_the_next_run() -> None:
    """The policy is set before the value is read, so naming the reader is enough."""
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.caller = f"arn:aws:iam::{ACCOUNT}:user/new-deployer"
    refused = run("secret", fake, **EVERYTHING)
    assert refused["failed"]
    assert "does not name these credentials among the readers" in refused["msg"]
    assert "aws secretsmanager delete-resource-policy --secret-id secret" in refused["msg"]
    assert_converges("secret", fake, **{**EVERYTHING, "policy_statements": {"OnlyReaders": only(fake.caller)}})
    assert not fake.denies()


def test_a_read_that_no_resource_policy_denies_is_reported_with_where_to_allow_it() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **MINIMAL)
    fake.refusals["get_secret_value"] = ("AccessDeniedException", 1)
    assert "playbooks/policies.yml" in run("secret", fake, **MINIMAL)["msg"]


def test_a_secret_is_deleted_by_those_who_may_not_read_it() -> None:
    fake = FakeSecretsManager()
    done("secret", fake, **EVERYTHING)
    fake.caller = f"arn:aws:iam::{ACCOUNT}:user/administrator"
    assert_gone("secret", fake, name="secret", recovery_window_days=0)
