"""What a reader of one project's data sets can and cannot do, against the local AWS, which enforces IAM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from encord_harness import make_files
from ministack_process import MiniStackProcess
from rendered_policies import ACCOUNT, REGION, Document, render

PROJECT = "00000000-1111-2222-3333-444444444444"
OTHER = "99999999-1111-2222-3333-444444444444"
BUCKET = f"label-export-dev-{ACCOUNT}-{REGION}"
READABLE = ("index/latest.json", "snapshots/street-1/manifest.parquet", "objects/ab.json", "reports/report.html")
NOT_READABLE = ("labels/label.json", "state/reconcile.json")
OTHER_ACCOUNT = "210987654321"


@dataclass
class Readers:
    """A bucket with two projects, and the readers of one of them."""

    ministack: MiniStackProcess
    documents: dict[str, Document]

    def client(self, access_key: str, secret_key: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.ministack.url,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=self.ministack.certificate,
        )

    def reader(self, name: str, document: Document | None) -> Any:
        """Return the S3 client of a new user who has only this policy."""
        iam = self.ministack.client("iam")
        iam.create_user(UserName=name)
        if document is not None:
            made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))
            iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.client(key["AccessKeyId"], key["SecretAccessKey"])


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    documents = render(tmp_path_factory)["every_setting"]
    ministack = MiniStackProcess(make_files(tmp_path_factory.mktemp("files")), tmp_path_factory.mktemp("ministack"))
    try:
        s3 = ministack.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for project in (PROJECT, OTHER):
            for name in (*READABLE, *NOT_READABLE):
                s3.put_object(Bucket=BUCKET, Key=f"encord/{project}/{name}", Body=b"{}")
        yield Readers(ministack, documents)
    finally:
        ministack.stop()


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(Bucket=BUCKET, **arguments)
    return str(refused.value.response["Error"]["Code"])


def test_a_reader_can_read_only_the_data_sets_of_its_project(readers: Readers) -> None:
    s3 = readers.reader("reader", readers.documents["reader"])
    for name in READABLE:
        assert s3.get_object(Bucket=BUCKET, Key=f"encord/{PROJECT}/{name}")["Body"].read() == b"{}"
        assert refusal(s3.get_object, Key=f"encord/{OTHER}/{name}") == "AccessDenied"
    for name in NOT_READABLE:
        assert refusal(s3.get_object, Key=f"encord/{PROJECT}/{name}") == "AccessDenied"
    below = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"encord/{PROJECT}/snapshots/")
    assert [item["Key"] for item in below["Contents"]] == [f"encord/{PROJECT}/snapshots/street-1/manifest.parquet"]
    for prefix in ("", f"encord/{OTHER}/snapshots/", f"encord/{PROJECT}/labels/"):
        assert refusal(s3.list_objects_v2, Prefix=prefix) == "AccessDenied"
    assert refusal(s3.put_object, Key=f"encord/{PROJECT}/index/latest.json", Body=b"") == "AccessDenied"
    assert refusal(s3.delete_object, Key=f"encord/{PROJECT}/index/latest.json") == "AccessDenied"


def test_without_the_policy_nothing_can_be_read(readers: Readers) -> None:
    s3 = readers.reader("stranger", None)
    assert refusal(s3.get_object, Key=f"encord/{PROJECT}/{READABLE[0]}") == "AccessDenied"


def test_the_key_can_be_used_only_through_s3(readers: Readers) -> None:
    (statement,) = [found for found in readers.documents["reader"]["Statement"] if found["Action"] == "kms:Decrypt"]
    assert statement["Resource"].startswith(f"arn:aws:kms:{REGION}:")
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}


def test_the_bucket_policy_allows_the_named_account_to_read_the_project(readers: Readers) -> None:
    document = readers.documents["reader-of-another-account"]
    assert {statement["Sid"][: len("LabelReaders")] for statement in document["Statement"]} == {"LabelReaders"}
    readers.ministack.client("s3").put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(document))
    s3 = readers.client(OTHER_ACCOUNT, readers.ministack.secret_key)
    for name in READABLE:
        assert s3.get_object(Bucket=BUCKET, Key=f"encord/{PROJECT}/{name}")["Body"].read() == b"{}"
        assert refusal(s3.get_object, Key=f"encord/{OTHER}/{name}") == "AccessDenied"
    assert refusal(s3.list_objects_v2, Prefix=f"encord/{OTHER}/") == "AccessDenied"
