"""The database and its tables: created, kept, restored after drift and removed; what others own stays."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import ACCOUNT, Fake, RefusedError, Values, assert_converges, assert_gone, done, run

NAME = "label_export_dev"
OWNER = {"application": "label-export", "environment": "dev"}
LABELS: Values = {
    "name": "labels",
    "description": "One row a label",
    "columns": [{"name": "label_hash", "type": "string"}, {"name": "size", "type": "bigint"}],
    "partition_keys": [{"name": "project", "type": "string"}],
    "location": "s3://bucket/encord/",
    "input_format": "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat",
    "output_format": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "serialization_library": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    "parameters": {"projection.enabled": "true"},
}
ANNOTATIONS: Values = {**LABELS, "name": "annotations", "columns": [{"name": "frame", "type": "int"}]}
GIVEN: Values = {
    "arn": f"arn:aws:glue:eu-west-1:{ACCOUNT}:database/{NAME}",
    "tables": [LABELS, ANNOTATIONS],
    "tags": {**OWNER, "team": "vision"},
    "identity_tags": [*OWNER],
}


class FakeGlue(Fake):
    """Glue, which keeps databases with their tags and tables."""

    def database(self, name: str) -> Values:
        found = self.state.get(name)
        if found is None:
            raise RefusedError("EntityNotFoundException")
        database: Values = found
        return database

    def get_database(self, p: Values) -> Values:
        self.database(p["Name"])
        return {"Database": {"Name": p["Name"]}}

    def get_tags(self, p: Values) -> Values:
        return {"Tags": self.database(p["ResourceArn"].rpartition("/")[2])["tags"]}

    def tag_resource(self, p: Values) -> None:
        self.database(p["ResourceArn"].rpartition("/")[2])["tags"] |= p["TagsToAdd"]

    def create_database(self, p: Values) -> None:
        assert p["DatabaseInput"]["Name"] not in self.state
        self.state[p["DatabaseInput"]["Name"]] = {"tags": p["Tags"], "tables": {}}

    def delete_database(self, p: Values) -> None:
        assert not self.database(p["Name"])["tables"], "Glue deletes the tables with it"
        del self.state[p["Name"]]

    def get_table(self, p: Values) -> Values:
        found = self.database(p["DatabaseName"])["tables"].get(p["Name"])
        if found is None:
            raise RefusedError("EntityNotFoundException")
        return {"Table": found}

    def get_tables(self, p: Values) -> Values:
        tables = list(self.database(p["DatabaseName"])["tables"].values())
        place = int(p.get("NextToken", 0))
        more = {"NextToken": str(place + 1)} if place + 1 < len(tables) else {}
        return {"TableList": tables[place : place + 1], **more}

    def create_table(self, p: Values) -> None:
        tables = self.database(p["DatabaseName"])["tables"]
        assert p["TableInput"]["Name"] not in tables
        tables[p["TableInput"]["Name"]] = p["TableInput"]

    def update_table(self, p: Values) -> None:
        assert p["SkipArchive"], "each former version would be kept"
        self.database(p["DatabaseName"])["tables"][p["TableInput"]["Name"]] = p["TableInput"]

    def delete_table(self, p: Values) -> None:
        del self.database(p["DatabaseName"])["tables"][p["Name"]]


@pytest.fixture
def fake() -> FakeGlue:
    return FakeGlue()


def absent(**changes: Any) -> Values:
    return {**GIVEN, **changes}


def test_they_are_created_kept_and_removed(fake: FakeGlue) -> None:
    assert_converges("glue_database", fake, **GIVEN)
    database = fake.state[NAME]
    assert database["tags"] == {**OWNER, "team": "vision"}
    table = database["tables"]["labels"]
    assert table["StorageDescriptor"]["Columns"] == [
        {"Name": "label_hash", "Type": "string"},
        {"Name": "size", "Type": "bigint"},
    ]
    assert table["PartitionKeys"] == [{"Name": "project", "Type": "string"}]
    assert table["Parameters"] == {"EXTERNAL": "TRUE", "projection.enabled": "true", **OWNER}
    assert_gone("glue_database", fake, **GIVEN)
    assert fake.state == {}


def test_a_database_without_a_table_is_created_too(fake: FakeGlue) -> None:
    assert_converges("glue_database", fake, **absent(tables=[]))
    assert_gone("glue_database", fake, **absent(tables=[]))


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("StorageDescriptor", {"Location": "s3://theirs/"}),
        ("StorageDescriptor", {"InputFormat": "theirs"}),
        ("StorageDescriptor", {"OutputFormat": "theirs"}),
        ("StorageDescriptor", {"SerdeInfo": {"SerializationLibrary": "theirs"}}),
        ("StorageDescriptor", {"Columns": [{"Name": "label_hash", "Type": "bigint"}]}),
        ("", {"PartitionKeys": []}),
        ("", {"Description": "theirs"}),
        ("", {"TableType": "VIRTUAL_VIEW"}),
        ("Parameters", {"projection.enabled": "false"}),
    ],
)
def test_drift_of_a_table_is_corrected(fake: FakeGlue, place: str, change: Values) -> None:
    done("glue_database", fake, **GIVEN)
    table = fake.state[NAME]["tables"]["labels"]
    (table[place] if place else table).update(change)
    table["Parameters"]["theirs"] = "kept"
    result = assert_converges("glue_database", fake, **GIVEN)
    assert list(result["diff"]["after"]) == ["table labels"]
    assert fake.state[NAME]["tables"]["labels"]["Parameters"]["theirs"] == "kept"


def test_a_table_that_was_dropped_is_created_again(fake: FakeGlue) -> None:
    done("glue_database", fake, **GIVEN)
    del fake.state[NAME]["tables"]["annotations"]
    result = assert_converges("glue_database", fake, **GIVEN)
    assert list(result["diff"]["after"]) == ["table annotations"]


def test_tags_are_corrected_and_others_stay(fake: FakeGlue) -> None:
    done("glue_database", fake, **GIVEN)
    fake.state[NAME]["tags"] = {"environment": "dev", "team": "other", "theirs": "kept"}
    result = assert_converges("glue_database", fake, **GIVEN)
    assert list(result["diff"]["after"]) == ["tags"]
    assert fake.state[NAME]["tags"] == {**OWNER, "team": "vision", "theirs": "kept"}


def test_a_database_with_other_tables_stays_with_them(fake: FakeGlue) -> None:
    done("glue_database", fake, **GIVEN)
    fake.state[NAME]["tables"]["theirs"] = {"Name": "theirs", "Parameters": {}}
    assert_gone("glue_database", fake, **GIVEN)
    assert list(fake.state[NAME]["tables"]) == ["theirs"]


def test_a_database_that_is_not_ours_is_not_removed(fake: FakeGlue) -> None:
    fake.state[NAME] = {"tags": {}, "tables": {}}
    assert not done("glue_database", fake, **GIVEN, state="absent")["changed"]
    done("glue_database", fake, **GIVEN)
    fake.state[NAME]["tags"] = {}
    assert_gone("glue_database", fake, **GIVEN)
    assert fake.state == {NAME: {"tags": {}, "tables": {}}}


def test_a_table_of_others_is_neither_changed_nor_removed(fake: FakeGlue) -> None:
    theirs = {"Name": "labels", "Parameters": {"EXTERNAL": "TRUE"}}
    fake.state[NAME] = {"tags": dict(OWNER), "tables": {"labels": theirs}}
    for check in (True, False):
        result = run("glue_database", fake, check=check, **GIVEN)
        assert result["failed"]
        assert "a table labels that this environment did not create" in result["msg"]
        assert not done("glue_database", fake, check=check, **GIVEN, state="absent")["changed"]
    assert fake.state == {NAME: {"tags": OWNER, "tables": {"labels": theirs}}}


def test_a_database_of_another_environment_is_refused(fake: FakeGlue) -> None:
    fake.state[NAME] = {"tags": {**OWNER, "environment": "prod"}, "tables": {}}
    result = run("glue_database", fake, **GIVEN)
    assert result["failed"]
    assert "the tags environment prod" in result["msg"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arn": "arn:aws:glue:eu-west-1:1:table/a"}, "is not the ARN of a database"),
        ({"identity_tags": ["owner"]}, "which lacks owner"),
        ({"identity_tags": []}, "which lacks all"),
    ],
)
def test_wrong_options_are_refused(fake: FakeGlue, wrong: Values, message: str) -> None:
    result = run("glue_database", fake, **{**GIVEN, **wrong})
    assert result["failed"]
    assert message in result["msg"]
