"""Each recipe in docs/reading-labels.md runs unchanged against a bucket, and prints what the data contains."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import boto3
import pytest
from label_catalog.core import coco
from label_catalog.core.classes import ObjectClass
from label_catalog.core.index_schema import ANNOTATION_COLUMNS, LABEL_COLUMNS
from label_catalog.core.labelled_data import Annotation, Labelled, units_of
from label_catalog.core.losses import Losses
from moto_process import moto
from own_environments import ROOT, own_environment
from synthetic_index import CLASSES, HEIGHT, WIDTH, Row, index_objects, snapshot_objects, street_scenes

PAGE = (ROOT / "docs" / "reading-labels.md").read_text()
RECIPES = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
BUCKET, PROJECT, SNAPSHOT = (
    "label-export-dev-111122223333-eu-west-1",
    "00000000-1111-2222-3333-444444444444",
    "street-2026-11",
)
TORCH_STAND_IN = ROOT / "tests" / "support" / "torch_stand_in"


@dataclass
class Reader:
    """A bucket with an index and a snapshot, and the environment of its readers."""

    url: str
    python: Path
    labels: list[Row]
    annotations: list[Row]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, recipe: str, folder: Path, more: str = "") -> str:
        """Return the output of a recipe with `more` after it."""
        return self.run_text(RECIPES[recipe] + more, folder)

    def run_text(self, text: str, folder: Path) -> str:
        """Return the output of a program, which is a file, because workers of its own have to find it."""
        script = folder / "recipe.py"
        script.write_text(text)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "reader",
            "AWS_SECRET_ACCESS_KEY": "reader",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "HF_HOME": str(folder / "hugging-face"),
            "HF_HUB_OFFLINE": "1",
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_DISABLE_SERVICES": "true",
            **self.environment,
        }
        done = subprocess.run(
            [str(self.python), str(script)],
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
    # An image without annotations, a video with one frame, and a label that was not parsed.
    empty = {row["label_hash"] for row in (labels[0], labels[2])}
    annotations = [row for row in annotations if row["label_hash"] not in empty]
    units = labels[1]["units"].replace("image/jpeg", "video/mp4")
    labels[1:3] = [{**labels[1], "units": units}, {**labels[2], "units": None, "parsed": False}]
    objects = index_objects(folder, PROJECT, labels, annotations)
    objects |= snapshot_objects(folder, PROJECT, SNAPSHOT, labels)
    with moto(folder / "moto.log") as url:
        nobody = {"aws_access_key_id": "a", "aws_secret_access_key": "a", "region_name": "eu-west-1"}
        s3 = boto3.client("s3", endpoint_url=url, **nobody)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        for key, body in objects.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        yield Reader(url, own_environment("reading"), labels, annotations)


def other_python(variable: str) -> Path:
    """Return the Python that a person names for packages that are too large to install for the tests."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(
            f"NOT TRIED: a recipe of docs/reading-labels.md. Name a Python with its packages: {variable}=<path>"
        )
    return Path(named)


def labelled(row: Row, annotations: list[Row]) -> Labelled:
    """Return a label of the index as formats get it."""
    names = [field.name for field in fields(Annotation)]
    own = [{**one, "geometry": json.loads(one["geometry"]), "attributes": {}} for one in annotations]
    return Labelled(
        row,
        units_of(row["units"]),
        tuple(
            Annotation(**{name: one.get(name) for name in names})
            for one in own
            if one["label_hash"] == row["label_hash"]
        ),
    )


def test_every_recipe_is_run_by_a_test_of_its_name() -> None:
    # The function for saved labels has a test of its own: test_label_saved.py.
    assert sorted(RECIPES.keys() - {"When a label is saved"}) == [
        "Athena",
        "DuckDB",
        "FiftyOne",
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


# Added to the recipe for PyTorch: a data set of chosen classes, and the target of each item of the recipe's own.
SHOW_ITEMS = f"""
    people = Snapshot("{BUCKET}", "{PROJECT}", "{SNAPSHOT}", load_image, classes=["Person"])
    labels = [label for _, item in (people[index] for index in range(len(people))) for label in item["labels"].tolist()]
    print(people.classes, len(people), set(labels), len(labels))
"""
SHOW_ITEMS += """
    items = [snapshot[index][1] for index in range(len(snapshot))]
    print(json.dumps([{name: values.tolist() for name, values in item.items()} for item in items]))
"""
# A worker that is spawned, as on macOS and with Python 3.14, gets the data set by pickle.
SHOW_A_SPAWNED_BATCH = """
    print([str(item["boxes"].dtype) for item in items if tuple(item["boxes"].shape) != (len(item["labels"]), 4)])
    loader = DataLoader(snapshot, 8, num_workers=1, multiprocessing_context="spawn", collate_fn=collate)
    print([tuple(image.shape) for image in next(iter(loader))[0]])
"""


@pytest.mark.parametrize("torch", ["stand-in", "real"])
def test_pytorch(reader: Reader, tmp_path: Path, torch: str) -> None:
    more, real = SHOW_ITEMS, torch == "real"
    if real:
        reader, more = replace(reader, python=other_python("PYTHON_WITH_TORCH")), more + SHOW_A_SPAWNED_BATCH
    else:
        reader = replace(reader, environment={"PYTHONPATH": str(TORCH_STAND_IN)})
    lines = reader.run("PyTorch", tmp_path, more).splitlines()
    assert re.fullmatch(r"snapshot [0-9a-f]{64}: 38 images, classes \['background', 'Car', 'Person'\]", lines[0])
    batches = [[int(number) for number in re.findall(r"\d+", line)] for line in lines[1:6]]
    boxes = [row for row in reader.annotations if row["shape"] == "bounding_box"]
    images = {row["label_hash"]: row for row in reader.labels if "image/jpeg" in (row["units"] or "")}
    assert [count for count, _ in batches] == [8, 8, 8, 8, 6]
    assert sum(count for _, count in batches) == sum(1 for row in boxes if row["label_hash"] in images)
    expected = []
    for _, label in sorted(images.items()):
        drawn = [
            (row["name"], json.loads(row["geometry"])) for row in boxes if row["label_hash"] == label["label_hash"]
        ]
        corners = [(box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]) for _, box in drawn]
        pixels = [(left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT) for left, top, right, bottom in corners]
        expected.append(sorted(zip([("Car", "Person").index(name) + 1 for name, _ in drawn], pixels, strict=True)))
    found = [sorted(zip(item["labels"], item["boxes"], strict=True)) for item in json.loads(lines[7])]
    assert [[number for number, _ in item] for item in found] == [[number for number, _ in item] for item in expected]
    for item, wanted in zip(found, expected, strict=True):
        assert [box for _, box in item] == [pytest.approx(box, abs=0.01) for _, box in wanted]
    people = sum(1 for item in expected for number, _ in item if number == 2)
    assert lines[6] == f"['background', 'Person'] 38 {{1}} {people}"
    assert lines[8:] == (["[]", str([(3, HEIGHT, WIDTH)] * 8)] if real else [])


# FiftyOne's importer with the recipe's own arguments, in place of its database.
WITHOUT_DATABASE = """
from fiftyone.utils.data import build_dataset_importer

class Dataset:
    def from_dir(dataset_type, **arguments):
        importer, unused = build_dataset_importer(dataset_type, **arguments)
        assert not unused, unused
        with importer:
            samples = [(path, labels or {}) for path, _, labels in importer]
        print(json.dumps([[path, [
            [box.label, box.object_hash, *box.bounding_box]
            for box in (labels["detections"].detections if "detections" in labels else [])
        ]] for path, labels in samples]))

fo.Dataset = Dataset
"""


def test_fiftyone(reader: Reader, tmp_path: Path) -> None:
    reader = replace(reader, python=other_python("PYTHON_WITH_FIFTYONE"))
    classes = [ObjectClass(number, f"f{number}", name, shape) for number, (name, shape, _) in enumerate(CLASSES)]
    writer = coco.Writer(classes, Losses())
    made = [writer.texts(labelled(row, reader.annotations)) for row in reader.labels]
    document = coco.document(classes, {}, *([text for texts in made for text in texts[place]] for place in (0, 1)))
    (tmp_path / "annotations.json").write_text("".join(document))
    imports, assignment, rest = RECIPES["FiftyOne"].partition("dataset = ")
    printed = reader.run_text(f"{imports}{WITHOUT_DATABASE}{assignment}{rest}", tmp_path)
    samples = {path: sorted(boxes) for path, boxes in json.loads(printed.splitlines()[-1])}
    assert {box[0] for boxes in samples.values() for box in boxes} == {"Car", "Person", "Traffic light"}
    expected = {}
    for label in reader.labels:
        if label["units"] is None:
            continue
        rows = [row for row in reader.annotations if row["label_hash"] == label["label_hash"]]
        boxes = [(row, json.loads(row["geometry"])) for row in rows if row["shape"] == "bounding_box"]
        expected[str(tmp_path / "images" / label["data_title"])] = sorted(
            [row["name"], row["hash"], *(box[name] for name in ("x", "y", "w", "h"))] for row, box in boxes
        )
    assert samples.keys() == expected.keys()
    for path, wanted in expected.items():
        boxes = [box for box in samples[path] if box[0] != "Traffic light"]  # a point is also a box without a size
        assert [box[:2] for box in boxes] == [box[:2] for box in wanted]
        assert [box[2:] for box in boxes] == [pytest.approx(box[2:], abs=1e-5) for box in wanted]


def test_hugging_face_datasets(reader: Reader, tmp_path: Path) -> None:
    cars = sum(1 for row in reader.annotations if row["name"] == "Car")
    assert reader.run("Hugging Face datasets", tmp_path).strip().splitlines()[-1] == f"40 {cars}"


@pytest.mark.parametrize("columns", [LABEL_COLUMNS, ANNOTATION_COLUMNS])
def test_every_column_is_described(columns: dict[str, str]) -> None:
    documented = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|[^|]+\|", PAGE, re.MULTILINE))))
    assert columns.keys() - documented == set()
