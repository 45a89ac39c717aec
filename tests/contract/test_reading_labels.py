"""Each recipe in docs/reading-labels.md runs unchanged against a bucket, and prints what the data contains."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS
from moto_process import moto
from own_environments import ROOT, own_environment
from synthetic_index import Row, index_objects, snapshot_objects, street_scenes

PAGE = (ROOT / "docs" / "reading-labels.md").read_text()
RECIPES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
BUCKET, PROJECT, SNAPSHOT = (
    "label-export-dev-111122223333-eu-west-1",
    "00000000-1111-2222-3333-444444444444",
    "street-2026-11",
)


@dataclass
class Reader:
    """A bucket with an index and a snapshot, and the environment of its readers."""

    url: str
    python: Path
    labels: list[Row]
    annotations: list[Row]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, recipe: str, folder: Path) -> str:
        """Return the output of a recipe."""
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "reader",
            "AWS_SECRET_ACCESS_KEY": "reader",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "HF_HOME": str(folder / "hugging-face"),
            "HF_HUB_OFFLINE": "1",
            **self.environment,
        }
        done = subprocess.run(
            [str(self.python), "-c", RECIPES[recipe]],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("index")
    labels, annotations = street_scenes(PROJECT, count=40)
    objects = index_objects(folder, PROJECT, labels, annotations)
    objects |= snapshot_objects(folder, PROJECT, SNAPSHOT, labels)
    with moto(folder / "moto.log") as url:
        nobody = {"aws_access_key_id": "a", "aws_secret_access_key": "a", "region_name": "eu-west-1"}
        s3 = boto3.client("s3", endpoint_url=url, **nobody)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        for key, body in objects.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        yield Reader(url, own_environment("reading"), labels, annotations)


def test_every_recipe_is_run_by_a_test_of_its_name() -> None:
    # The function for saved labels has a test of its own: test_label_saved.py.
    assert sorted(RECIPES.keys() - {"When a label is saved"}) == [
        "Athena",
        "DuckDB",
        "Hugging Face datasets",
        "PyTorch",
        "boto3 alone",
        "pandas",
    ]


def test_boto3_alone(reader: Reader, tmp_path: Path) -> None:
    assert len(RECIPES["boto3 alone"].strip().splitlines()) <= 10
    rows = sorted(reader.labels, key=lambda row: str(row["key"]))[:3]
    assert reader.run("boto3 alone", tmp_path).splitlines() == [
        f"{row['data_title']} {row['label_hash']} ['{row['data_hash']}']" for row in rows
    ]


def test_pandas(reader: Reader, tmp_path: Path) -> None:
    data_sets = {row["label_hash"]: row["dataset_title"] for row in reader.labels if row["stage"] == "Complete"}
    expected = Counter(
        (data_sets[row["label_hash"]], row["name"])
        for row in reader.annotations
        if row["shape"] == "bounding_box" and row["label_hash"] in data_sets
    )
    printed = reader.run("pandas", tmp_path)
    for name in ("Car", "Person"):
        found = [int(line.split()[-1]) for line in printed.splitlines() if f" {name} " in line]
        assert sorted(found) == sorted(count for (_, shown), count in expected.items() if shown == name)


def test_duckdb(reader: Reader, tmp_path: Path) -> None:
    boxes = [row for row in reader.annotations if row["shape"] == "bounding_box"]
    expected = [
        (name, count, len({row["label_hash"] for row in boxes if row["name"] == name}), 0.1)
        for name, count in Counter(row["name"] for row in boxes).most_common()
    ]
    assert reader.run("DuckDB", tmp_path).strip() == str(expected)


def test_the_pytorch_class(reader: Reader, tmp_path: Path) -> None:
    first = min(reader.labels, key=lambda row: str(row["label_hash"]))
    boxes = [
        row for row in reader.annotations if row["label_hash"] == first["label_hash"] and row["shape"] == "bounding_box"
    ]
    shapes = [json.loads(row["geometry"]) for row in boxes]
    printed = reader.run("PyTorch", tmp_path)
    assert printed.startswith("40 ")
    assert f"('{first['data_title']}', {{'boxes': [" in printed
    for box in shapes:
        assert f"[{box['x']}, {box['y']}, " in printed
    assert printed.count(", ") >= len(boxes)


def test_hugging_face_datasets(reader: Reader, tmp_path: Path) -> None:
    cars = sum(1 for row in reader.annotations if row["name"] == "Car")
    assert reader.run("Hugging Face datasets", tmp_path).strip().splitlines()[-1] == f"40 {cars}"


@pytest.mark.parametrize("columns", [LABEL_COLUMNS, ANNOTATION_COLUMNS])
def test_every_column_is_described(columns: dict[str, str]) -> None:
    documented = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|[^|]+\|", PAGE, re.MULTILINE))))
    assert columns.keys() - documented == set()
