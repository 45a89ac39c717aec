"""Settings objects are stored once, and removed when no version of a function names them."""

from __future__ import annotations

import hashlib

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, done, run

PREFIX = "encord/settings/"
OPTIONS: Values = {"bucket": "labels", "expected_owner": ACCOUNT, "prefix": PREFIX}
PURGE: Values = {**OPTIONS, "purge": True, "functions": ["exporter", "catalog"]}


def key_of(content: str) -> str:
    return f"{PREFIX}{hashlib.sha256(content.encode()).hexdigest()}.json"


class FakeS3AndLambda(Fake):
    """A bucket, and functions with their versions' environments; one item on a page."""

    def __init__(self, *keys: str, **versions: list[Values]) -> None:
        super().__init__()
        self.state = {key: {} for key in keys}
        self.versions = versions

    def list_objects_v2(self, p: Values) -> Values:
        assert p["ExpectedBucketOwner"] == ACCOUNT
        keys = sorted(key for key in self.state if key.startswith(p["Prefix"]))
        start = int(p.get("ContinuationToken", "0"))
        rest = {"IsTruncated": True, "NextContinuationToken": str(start + 1)} if keys[start + 1 :] else {}
        return {"Contents": [{"Key": key} for key in keys[start : start + 1]], **rest}

    def put_object(self, p: Values) -> None:
        assert p.pop("ExpectedBucketOwner") == ACCOUNT
        self.state[p.pop("Key")] = p

    def delete_object(self, p: Values) -> None:
        del self.state[p["Key"]]

    def list_versions_by_function(self, p: Values) -> Values:
        if p["FunctionName"] not in self.versions:
            raise RefusedError("ResourceNotFoundException")
        start, found = int(p.get("Marker", "0")), self.versions[p["FunctionName"]]
        rest = {"NextMarker": str(start + 1)} if found[start + 1 :] else {}
        numbered = [{"Version": str(start), **version} for version in found[start : start + 1]]
        return {"Versions": numbered, **rest}


def naming(key: str) -> Values:
    return {"Environment": {"Variables": {"LABEL_EXPORT_SETTINGS_OBJECT": key}}}


def test_an_object_is_stored_once_under_its_digest() -> None:
    fake = FakeS3AndLambda("encord/project/labels/a.json")
    result = assert_converges("settings_object", fake, **OPTIONS, content='{"a": "é"}')
    assert result["key"] == key_of('{"a": "é"}')
    stored = fake.state[result["key"]]
    assert stored == {"Bucket": "labels", "Body": '{"a": "é"}'.encode(), "ContentType": "application/json"}


def test_the_buckets_key_encrypts_it() -> None:
    fake = FakeS3AndLambda()
    key = done("settings_object", fake, **OPTIONS, content="{}", kms_key_arn="arn:key")["key"]
    assert (fake.state[key]["ServerSideEncryption"], fake.state[key]["SSEKMSKeyId"]) == ("aws:kms", "arn:key")


def test_what_no_version_of_either_function_names_is_removed_and_nothing_else() -> None:
    one, two, three, four = (key_of(text) for text in "1234")
    fake = FakeS3AndLambda(*(one, two, three, four, "encord/project/labels/a.json"))
    fake.versions = {"exporter": [naming(one), {}, naming(two)], "catalog": [{"Environment": {}}, naming(two)]}
    result = assert_converges("settings_object", fake, **PURGE, content="3")
    assert result["removed"] == [four]
    assert set(fake.state) == {one, two, three, "encord/project/labels/a.json"}


def test_all_are_removed_with_the_functions_and_a_bucket_that_is_gone_has_none() -> None:
    fake = FakeS3AndLambda(key_of("1"), key_of("2"))
    assert_converges("settings_object", fake, **PURGE)
    assert fake.state == {}
    fake.refusals["list_objects_v2"] = ("NoSuchBucket", 1)
    assert not done("settings_object", fake, **PURGE)["changed"]


def test_functions_are_not_read_if_there_is_nothing_to_remove() -> None:
    fake = FakeS3AndLambda(key_of("1"))
    done("settings_object", fake, **PURGE, content="1")
    assert "list_versions_by_function" not in [name for name, _ in fake.calls]


@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_removed_while_an_environment_cannot_be_read(check: bool) -> None:
    denied = {"Environment": {"Error": {"ErrorCode": "AccessDenied", "Message": "no kms:Decrypt"}}}
    fake = FakeS3AndLambda(key_of("1"), exporter=[denied])
    result = run("settings_object", fake, check=check, **PURGE)
    assert "of exporter cannot be read (no kms:Decrypt)" in result["msg"]
    assert fake.writes() == []
