#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: glue_database
short_description: Ensure a database of the Glue Data Catalog with its tables
description:
  - Creates, changes or deletes a database of the Glue Data Catalog and the tables that are named.
    No module of amazon.aws or community.aws does.
  - Other tables of the database stay. A database that has other tables is not deleted.
  - A table belongs to an environment if it has the tags of O(identity_tags) among its parameters, since Glue has no
    tags for tables. Other tables of these names are neither changed nor deleted.
  - A database belongs to an environment if it has these tags. A database without them gets them, but is not deleted. A
    database with other values of them belongs to another environment and is refused.
author: The label-export contributors
options:
  arn:
    description: The database's ARN, such as V(arn:aws:glue:eu-west-1:123456789012:database/label_export_dev).
    type: str
    required: true
  state:
    description: Whether the database and its tables exist.
    type: str
    choices: [present, absent]
    default: present
  tables:
    description: The tables. With O(state=absent) only their names are used.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The table's name.
        type: str
        required: true
      description:
        description: The table's description.
        type: str
        default: ""
      columns:
        description: The columns, in their order.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The column's name.
            type: str
            required: true
          type:
            description: The column's type, as Hive writes it.
            type: str
            required: true
      partition_keys:
        description: Columns that are no columns of the files, by which they are divided.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The key's name.
            type: str
            required: true
          type:
            description: The key's type, as Hive writes it.
            type: str
            required: true
      location:
        description: Address of the folder with the table's files, such as V(s3://bucket/folder/).
        type: str
        default: ""
      input_format:
        description: Hive's class that finds the files.
        type: str
        default: ""
      output_format:
        description: Hive's class that writes files.
        type: str
        default: ""
      serialization_library:
        description: Hive's class that reads rows.
        type: str
        default: ""
      parameters:
        description: Parameters to set. Others stay.
        type: dict
        default: {}
  tags:
    description: Tags to set on the database. Others stay.
    type: dict
    default: {}
  identity_tags:
    description: Keys of the tags in O(tags) that identify the owner of the database and its tables.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Nothing is changed; the database is returned as it would be.
    support: full
  diff_mode:
    description: Shows each table that changes, and the tags.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure a table of Parquet files
  label_export.aws.glue_database:
    arn: arn:aws:glue:eu-west-1:123456789012:database/label_export_dev
    tables:
      - name: labels
        columns: [{name: label_hash, type: string}]
        location: s3://labels/tables/labels/
        input_format: org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat
        output_format: org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat
        serialization_library: org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe
    tags: {environment: dev}
    identity_tags: [environment]
"""

RETURN = r"""
settings:
  description: The tables and tags after the run; in check mode as they would be.
  returned: when state is present
  type: dict
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.comparison import changed_values, difference
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

EXTERNAL = "EXTERNAL_TABLE"


def identity(params: dict[str, Any]) -> dict[str, str]:
    """Return the tags that identify the owner of a database or table."""
    return {key: str(params["tags"][key]) for key in params["identity_tags"]}


def has_identity(found: dict[str, str], wanted: dict[str, str]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())


def title(name: str) -> str:
    return f"table {name}"


def table_settings(table: dict[str, Any], owner: dict[str, str], current: dict[str, Any] | None) -> dict[str, Any]:
    """Translate a table's options into comparable settings, keeping parameters that others have set."""
    kept = current["parameters"] if current else {}
    # Hive's own mark of a table whose files stay when it is dropped.
    own = {"EXTERNAL": "TRUE", **{key: str(value) for key, value in table["parameters"].items()}, **owner}
    names = ("description", "location", "input_format", "output_format", "serialization_library")
    return {
        **{name: table[name] for name in names},
        "columns": columns(table["columns"]),
        "partition_keys": columns(table["partition_keys"]),
        "table_type": EXTERNAL,
        "parameters": {**kept, **own},
    }


def columns(given: list[dict[str, str]]) -> list[str]:
    """Return columns as texts, which a diff shows in a line each."""
    return [f"{column['name']} {column['type']}" for column in given]


def current_settings(table: dict[str, Any]) -> dict[str, Any]:
    """Bring a table of GetTable into the form of table_settings."""
    storage = table.get("StorageDescriptor") or {}

    def listed(found: list[dict[str, str]]) -> list[str]:
        return [f"{column['Name']} {column.get('Type', '')}" for column in found]

    return {
        "description": table.get("Description", ""),
        "location": storage.get("Location", ""),
        "input_format": storage.get("InputFormat", ""),
        "output_format": storage.get("OutputFormat", ""),
        "serialization_library": (storage.get("SerdeInfo") or {}).get("SerializationLibrary", ""),
        "columns": listed(storage.get("Columns", [])),
        "partition_keys": listed(table.get("PartitionKeys", [])),
        "table_type": table.get("TableType", ""),
        "parameters": dict(table.get("Parameters") or {}),
    }


def as_input(name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the table for CreateTable and UpdateTable, which replaces all of it."""

    def split(found: list[str]) -> list[dict[str, str]]:
        return [dict(zip(("Name", "Type"), column.split(" ", 1), strict=True)) for column in found]

    return {
        "Name": name,
        "Description": wanted["description"],
        "TableType": wanted["table_type"],
        "Parameters": wanted["parameters"],
        "PartitionKeys": split(wanted["partition_keys"]),
        "StorageDescriptor": {
            "Columns": split(wanted["columns"]),
            "Location": wanted["location"],
            "InputFormat": wanted["input_format"],
            "OutputFormat": wanted["output_format"],
            "SerdeInfo": {
                "SerializationLibrary": wanted["serialization_library"],
                "Parameters": {"serialization.format": "1"},
            },
        },
    }


class Database:
    """The thin layer over the API for one database."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        # The error is another change of the same database or table that is not finished.
        retry = AWSRetry.jittered_backoff(catch_extra_error_codes=["ConcurrentModificationException"])
        self.client = module.client("glue", retry_decorator=retry)
        self.arn: str = module.params["arn"]
        self.name = name_in(self.arn)

    def tags(self) -> dict[str, str] | None:
        """Return the database's tags, None where there is no database."""
        try:
            self.client.get_database(aws_retry=True, Name=self.name)
        except is_boto3_error_code("EntityNotFoundException"):
            return None
        return dict(self.client.get_tags(aws_retry=True, ResourceArn=self.arn).get("Tags", {}))

    def table(self, name: str) -> dict[str, Any] | None:
        """Return a table's settings, None where there is no such table."""
        try:
            found = self.client.get_table(aws_retry=True, DatabaseName=self.name, Name=name)["Table"]
        except is_boto3_error_code("EntityNotFoundException"):
            return None
        return current_settings(found)

    def table_names(self) -> set[str]:
        """Return the names of all tables."""
        names: set[str] = set()
        following: dict[str, str] = {}
        while True:
            answer = self.client.get_tables(aws_retry=True, DatabaseName=self.name, **following)
            names |= {table["Name"] for table in answer["TableList"]}
            if not answer.get("NextToken"):
                return names
            following = {"NextToken": answer["NextToken"]}

    def put(self, current: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
        """Write what differs."""
        changes = changed_values(current, wanted)
        if current is None:
            self.client.create_database(aws_retry=True, DatabaseInput={"Name": self.name}, Tags=wanted["tags"])
        elif "tags" in changes:
            self.client.tag_resource(aws_retry=True, ResourceArn=self.arn, TagsToAdd=wanted["tags"])
        for key, settings in changes.items():
            if key == "tags":
                continue
            table = as_input(key.removeprefix(title("")), settings)
            if current is None or key not in current:
                self.client.create_table(aws_retry=True, DatabaseName=self.name, TableInput=table)
            else:
                # By default Glue keeps each former version of a table.
                self.client.update_table(aws_retry=True, DatabaseName=self.name, TableInput=table, SkipArchive=True)

    def delete(self, tables: list[str], whole: bool) -> None:
        """Delete tables, and the database if `whole`."""
        for name in tables:
            self.client.delete_table(aws_retry=True, DatabaseName=self.name, Name=name)
        if whole:
            self.client.delete_database(aws_retry=True, Name=self.name)


def name_in(arn: str) -> str:
    return arn.partition(":database/")[2]


def refuse_others(module: AnsibleAWSModule, name: str, tags: dict[str, str], tables: dict[str, Any]) -> None:
    """Raise ExplainedError for a database of another environment, and for tables that are not this environment's."""
    ours = identity(module.params)
    other = {key: tags[key] for key in ours if tags.get(key, ours[key]) != ours[key]}
    if other:
        named = ", ".join(f"{key} {value}" for key, value in other.items())
        raise ExplainedError(
            f"The database {name} belongs to another environment: it has the tags {named}.", refused=name
        )
    for table, settings in tables.items():
        if settings is not None and not has_identity(settings["parameters"], ours):
            raise ExplainedError(
                f"The database {name} has a table {table} that this environment did not create: it lacks the "
                f"parameters {', '.join(ours)} of this environment. Nothing was changed.",
                refused=name,
            )


def ensure_present(module: AnsibleAWSModule, database: Database) -> None:
    params, owner = module.params, identity(module.params)
    tags = database.tags()
    tables = {table["name"]: None if tags is None else database.table(table["name"]) for table in params["tables"]}
    current = None
    if tags is not None:
        refuse_others(module, database.name, tags, tables)
        found = {title(name): settings for name, settings in tables.items() if settings is not None}
        current = {"tags": tags, **found}
    wanted: dict[str, Any] = {"tags": {**(tags or {}), **{key: str(value) for key, value in params["tags"].items()}}}
    for table in params["tables"]:
        wanted[title(table["name"])] = table_settings(table, owner, tables[table["name"]])
    changed = current is None or bool(changed_values(current, wanted))
    if changed and not module.check_mode:
        database.put(current, wanted)
    module.exit_json(changed=changed, diff=difference(current, wanted), settings=wanted)


def ensure_absent(module: AnsibleAWSModule, database: Database) -> None:
    owner, tags = identity(module.params), database.tags()
    ours: dict[str, dict[str, Any]] = {}
    whole = False
    if tags is not None:
        for table in module.params["tables"]:
            settings = database.table(table["name"])
            if settings is not None and has_identity(settings["parameters"], owner):
                ours[table["name"]] = settings
        whole = has_identity(tags, owner) and not database.table_names() - ours.keys()
    if (ours or whole) and not module.check_mode:
        database.delete(sorted(ours), whole)
    before = {title(name): settings for name, settings in ours.items()} | ({"tags": tags} if whole else {})
    module.exit_json(changed=bool(ours) or whole, diff={"before": before, "after": {}})


def main() -> None:
    column = {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "type": {"type": "str", "required": True}},
    }
    texts = ("description", "location", "input_format", "output_format", "serialization_library")
    module = AnsibleAWSModule(
        argument_spec={
            "arn": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "tables": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    **{name: {"type": "str", "default": ""} for name in texts},
                    "columns": column,
                    "partition_keys": column,
                    "parameters": {"type": "dict", "default": {}},
                },
            },
            "tags": {"type": "dict", "default": {}},
            "identity_tags": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if not name_in(module.params["arn"]):
        module.fail_json(msg=f"'{module.params['arn']}' is not the ARN of a database")
    missing = sorted(set(module.params["identity_tags"]) - module.params["tags"].keys())
    if missing or not module.params["identity_tags"]:
        module.fail_json(msg=f"identity_tags must name tags in tags, which lacks {', '.join(missing) or 'all'}.")
    database = Database(module)
    ensure_state(module, f"The database {database.name}", database, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
