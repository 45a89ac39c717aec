"""Reading label rows: the stand-in's rows, built with Encord's own classes, and rows of other forms."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from encord_stand_in.rows.build import build_project
from encord_stand_in.rows.names import PROJECT_NAMES
from hypothesis import given, settings
from hypothesis import strategies as st
from label_catalog.core.annotations import Annotation, Counts, label_facts, ontology_names, read_annotations


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return build_project(PROJECT_NAMES[0])


def read(project: dict[str, Any], key: str, **options: Any) -> tuple[list[Annotation], Counts]:
    row = next(row["label_row"] for row in project["rows"] if row["key"] == key)
    counts = Counts()
    names = ontology_names(project["ontology"]["editor"])
    return list(read_annotations(json.loads(json.dumps(row)), names, counts, **options)), counts


def test_every_object_and_classification_of_a_frame_is_one_row(project: dict[str, Any]) -> None:
    row = next(row["label_row"] for row in project["rows"] if row["key"] == "video")
    (unit,) = row["data_units"].values()
    expected = Counter()
    for frame, labels in unit["labels"].items():
        expected.update((int(frame), "object", item["objectHash"]) for item in labels["objects"])
        expected.update(
            (int(frame), "classification", item["classificationHash"]) for item in labels["classifications"]
        )
    found, counts = read(project, "video")
    assert Counter((item.frame, item.kind, item.hash) for item in found) == expected
    assert len(counts.objects) == len({name for _, kind, name in expected if kind == "object"})
    assert len(counts.classifications) == len({name for _, kind, name in expected if kind == "classification"})


def test_an_object_has_name_geometry_as_served_and_answers(project: dict[str, Any]) -> None:
    found, _ = read(project, "image")
    vehicle = found[0]
    assert (vehicle.name, vehicle.shape, vehicle.frame) == ("Vehicle", "bounding_box", 0)
    assert json.loads(vehicle.geometry or "") == {"h": 0.1, "w": 0.2, "x": 0.0, "y": 0.1}
    assert json.loads(vehicle.attributes or "") == {"Kind": "Car"}
    assert (vehicle.width, vehicle.height) == (1280, 720)
    assert vehicle.data_link is not None
    assert vehicle.track_hash is not None
    assert all(item.geometry is not None for item in found if item.kind == "object")
    assert {item.shape for item in found if item.kind == "object"} >= {
        "cuboid_2d",
        "skeleton",
        "rotatable_bounding_box",
    }


def test_an_attribute_that_changes_has_the_answer_of_its_frame(project: dict[str, Any]) -> None:
    found, _ = read(project, "video")
    vehicle = {item.frame: json.loads(item.attributes or "{}") for item in found if item.hash == found[0].hash}
    assert vehicle[0]["Motion"] == "Moving"
    assert vehicle[20]["Motion"] == "Standing"
    assert vehicle[5]["Lights"] == ["Brake", "Left"]
    assert "Lights" not in vehicle[0]


@pytest.mark.parametrize("key", ["audio", "text", "html", "time-series"])
def test_an_annotation_without_a_frame_keeps_its_span(project: dict[str, Any], key: str) -> None:
    found, counts = read(project, key)
    assert counts.objects
    assert all(item.frame is None for item in found)
    assert all(json.loads(item.geometry or "{}").keys() & {"range", "range_html"} for item in found)


def test_annotations_of_a_group_belong_to_its_children_and_those_of_a_scene_occur_once(project: dict[str, Any]) -> None:
    row = next(row["label_row"] for row in project["rows"] if row["key"] == "group")
    (unit,) = row["data_units"].values()
    children = {child["data_hash"] for child in unit["metadata"]["children"]}
    found, _ = read(project, "group")
    assert {item.data_hash for item in found if item.frame is not None} <= children
    scene, counts = read(project, "scene")
    assert len(scene) == len(counts.objects) == 2


def test_people_are_included_only_if_the_setting_allows_it(project: dict[str, Any]) -> None:
    quiet, _ = read(project, "image")
    assert {(item.created_by, item.last_edited_by) for item in quiet} == {(None, None)}
    loud, _ = read(project, "image", personal=True)
    assert all(item.created_by for item in loud)


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("cord-files-prod/a/b.jpg", "cord-files-prod/a/b.jpg"),
        ("https://example.com/a.jpg?width=3", "https://example.com/a.jpg"),
        ("https://example.com/a.jpg?X-Amz-Signature=secret&X-Amz-Date=1", None),
        ("https://example.com/a.jpg?sv=2020&sig=secret", None),
        ("", None),
        (None, None),
    ],
)
def test_a_signed_link_is_not_kept(link: str | None, kept: str | None) -> None:
    unit = {"data_hash": "d", "data_link": link, "labels": {"objects": [{"objectHash": "o", "shape": "point"}]}}
    (found,) = read_annotations({"label_hash": "l", "data_units": {"d": unit}}, {}, Counts())
    assert found.data_link == kept


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_PARTS = ("data_units", "object_answers", "classification_answers", "object_actions", "spaces", "label_hash")
_MEMBERS = ("labels", "objects", "classifications", "objectHash", "shape", "range", "answers", "actions", "0", "name")


@settings(deadline=None)  # the first example also pays for imports
@given(
    st.dictionaries(
        st.sampled_from(_PARTS),
        _JSON | st.dictionaries(st.sampled_from(_MEMBERS), _JSON | st.dictionaries(st.sampled_from(_MEMBERS), _JSON)),
    )
)
def test_a_row_of_any_form_is_read_without_an_error(row: dict[str, Any]) -> None:
    label_facts(row)
    for item in read_annotations(row, {}, Counts(), personal=True):
        assert item.kind in ("object", "classification")
