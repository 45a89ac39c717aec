"""The recipe for Athena in docs/reading-labels.md, as a reader with the policy of role label_readers alone.

The tables are made by role label_catalog_table on the local stack's AWS, which enforces IAM and whose Athena runs SQL.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import yaml
from botocore.exceptions import ClientError
from encord_harness import make_files
from inventory_host import inventory_host
from label_catalog.core.index_schema import new_generation
from label_catalog.core.places import Places
from ministack_process import ACCOUNT, REGION, MiniStackProcess
from playbook_runs import only
from synthetic_index import Row, index_objects, street_scenes
from test_reading_labels import BUCKET, PROJECT, ROOT, Reader

OTHER = "99999999-1111-2222-3333-444444444444"
RESULTS = "query-results-of-yours"
COUNT = "SELECT count(*) FROM labels"
TABLES = ("labels", "annotations")
# What Hive calls DuckDB's types.
TYPES = {
    "VARCHAR": "string",
    "BIGINT": "bigint",
    "INTEGER": "int",
    "BOOLEAN": "boolean",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}
MAY_KEEP_RESULTS = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": ["s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket", "s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{RESULTS}", f"arn:aws:s3:::{RESULTS}/*"],
    },
}


@dataclass
class Stack:
    """A local AWS with the tables, and a reader of one project."""

    ministack: MiniStackProcess
    folder: Path
    key: dict[str, str]

    def publish(self, project: str, labels: list[Row], annotations: list[Row]) -> None:
        """Write a generation of the index, and have both tables read it, as the catalog function does."""
        s3 = self.ministack.client("s3")
        generation = new_generation(datetime.now(UTC))
        objects = index_objects(self.folder, project, labels, annotations, generation=generation)
        for key, body in objects.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        for table in TABLES:
            (file,) = [key for key in objects if key.endswith(f"/{table}.parquet")]
            s3.put_object(Bucket=BUCKET, Key=Places(project).table_file(table), Body=f"s3://{BUCKET}/{file}\n".encode())

    def client(self, service: str) -> Any:
        """Return the reader's client of a service."""
        return boto3.client(
            service,
            endpoint_url=self.ministack.url,
            region_name=REGION,
            aws_access_key_id=self.key["AccessKeyId"],
            aws_secret_access_key=self.key["SecretAccessKey"],
            verify=self.ministack.certificate,
        )


def play(ministack: MiniStackProcess, folder: Path, *arguments: str) -> str:
    """Apply the two roles; return the playbook's output."""
    key = folder / "key"
    key.write_text("not read by these roles")
    settings = {
        **inventory_host(label_export_account_id=ACCOUNT),
        "label_export_aws_endpoint_url": ministack.url,
        "label_export_aws_ca_bundle": ministack.certificate,
        "label_bucket_name": BUCKET,
        "label_catalog_table_enabled": True,
        "label_readers_projects": [{"project_hash": PROJECT}],
        "execution_role_permissions_boundary": "",
        "encord_secrets_private_key_source": "secretsmanager",
        "encord_secrets_private_key_secret_arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:key-abcdef",
        "handler_image_source": str(ROOT / "lambda"),
        "front_door_kind": "none",
        "monitoring_emails": ["operators@example.com"],
    }
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"label_export": {"hosts": {"localhost": settings}}}))
    run = subprocess.run(
        [
            *("ansible-playbook", "-i", str(inventory), str(ROOT / "tests/contract/second_aws.yml"), "--diff"),
            *(*only("label_catalog_table", "label_readers"), *arguments),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "AWS_ACCESS_KEY_ID": ministack.access_key,
            "AWS_SECRET_ACCESS_KEY": ministack.secret_key,
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-6000:]
    return run.stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("athena")
    ministack = MiniStackProcess(make_files(tmp_path_factory.mktemp("files")), tmp_path_factory.mktemp("ministack"))
    try:
        s3, iam = ministack.client("s3"), ministack.client("iam")
        for bucket in (BUCKET, RESULTS):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        play(ministack, folder)
        (policy,) = [found for found in iam.list_policies(Scope="Local")["Policies"] if PROJECT in found["PolicyName"]]
        iam.create_user(UserName="reader")
        iam.attach_user_policy(UserName="reader", PolicyArn=policy["Arn"])
        iam.put_user_policy(UserName="reader", PolicyName="results", PolicyDocument=json.dumps(MAY_KEEP_RESULTS))
        yield Stack(ministack, folder, iam.create_access_key(UserName="reader")["AccessKey"])
    finally:
        ministack.stop()


def expected(labels: list[Row], annotations: list[Row]) -> list[list[str]]:
    complete = {row["label_hash"]: row["dataset_title"] for row in labels if row["stage"] == "Complete"}
    boxes = Counter(
        (complete[row["label_hash"]], row["name"])
        for row in annotations
        if row["shape"] == "bounding_box" and row["label_hash"] in complete
    )
    return [[*names, str(count)] for names, count in sorted(boxes.items(), key=lambda item: (-item[1], item[0]))]


def test_the_recipe_reads_the_generation_in_use(stack: Stack, tmp_path: Path) -> None:
    stack.publish(OTHER, *street_scenes(OTHER, count=5))
    environment = {
        "AWS_ACCESS_KEY_ID": stack.key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": stack.key["SecretAccessKey"],
        "AWS_CA_BUNDLE": stack.ministack.certificate,
    }
    for count in (40, 25):
        labels, annotations = street_scenes(PROJECT, count=count)
        stack.publish(PROJECT, labels, annotations)
        reader = Reader(stack.ministack.url, Path(sys.executable), labels, annotations, environment)
        header, *rows = map(ast.literal_eval, reader.run("Athena", tmp_path).splitlines())
        assert header == ["dataset_title", "name", "boxes"]
        assert rows == expected(labels, annotations)
        assert rows


def test_a_query_that_names_no_project_is_refused(stack: Stack) -> None:
    stack.publish(PROJECT, *street_scenes(PROJECT, count=3))
    assert ask(stack, COUNT).startswith("CONSTRAINT_VIOLATION")
    assert ask(stack, f"{COUNT} WHERE project = '{PROJECT}'") == "3"


def ask(stack: Stack, query: str) -> str:
    """Run a query; return the one value that it finds, or why it fails."""
    athena = stack.client("athena")
    started = {
        "QueryExecutionContext": {"Database": "label_export_dev"},
        "ResultConfiguration": {"OutputLocation": f"s3://{RESULTS}/"},
    }
    named = {"QueryExecutionId": athena.start_query_execution(QueryString=query, **started)["QueryExecutionId"]}
    while (status := athena.get_query_execution(**named)["QueryExecution"]["Status"])["State"] in ("QUEUED", "RUNNING"):
        time.sleep(0.02)
    if status["State"] == "FAILED":
        return str(status["StateChangeReason"])
    (_, row) = athena.get_query_results(**named)["ResultSet"]["Rows"]
    return str(row["Data"][0]["VarCharValue"])


def test_a_reader_changes_no_table_and_queries_in_no_other_workgroup(stack: Stack) -> None:
    glue, athena = stack.client("glue"), stack.client("athena")
    named = {"DatabaseName": "label_export_dev", "Name": "labels"}
    assert glue.get_table(**named)["Table"]["Name"] == "labels"
    stack.ministack.client("athena").create_work_group(Name="others")
    started = {"QueryString": "SELECT 1", "WorkGroup": "others"}
    for refused in (
        lambda: glue.delete_table(**named),
        lambda: glue.get_table(**{**named, "DatabaseName": "others"}),
        lambda: athena.start_query_execution(**started, ResultConfiguration={"OutputLocation": f"s3://{RESULTS}/"}),
    ):
        with pytest.raises(ClientError) as error:
            refused()
        assert error.value.response["Error"]["Code"] == "AccessDeniedException"


def test_the_tables_have_the_columns_and_types_of_the_files(stack: Stack, tmp_path: Path) -> None:
    labels, annotations = street_scenes(PROJECT, count=2)
    objects = index_objects(tmp_path, PROJECT, labels, annotations)
    for table in TABLES:
        (body,) = [content for key, content in objects.items() if key.endswith(f"/{table}.parquet")]
        file = tmp_path / "file.parquet"
        file.write_bytes(body)
        described = duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{file}')").fetchall()  # noqa: S608 - our path
        found = stack.client("glue").get_table(DatabaseName="label_export_dev", Name=table)["Table"]
        columns = [(column["Name"], column["Type"]) for column in found["StorageDescriptor"]["Columns"]]
        assert columns == [(name, TYPES[kind]) for name, kind, *_ in described]


def test_without_the_setting_they_are_removed_as_announced(stack: Stack) -> None:
    glue, off = stack.ministack.client("glue"), ("-e", "label_catalog_table_enabled=false")
    assert "changed=2" in play(stack.ministack, stack.folder, "--check", *off)  # the tables, and the reader's policy
    assert len(glue.get_databases()["DatabaseList"]) == 1
    assert "changed=2" in play(stack.ministack, stack.folder, *off)
    assert glue.get_databases()["DatabaseList"] == []
