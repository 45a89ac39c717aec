"""COCO, YOLO and JSON Lines: read with pycocotools, and counted against their labels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest
from encord.objects.bitmask import BitmaskCoordinates
from label_catalog.core import coco, jsonl, yolo
from label_catalog.core.classes import ObjectClass, object_classes
from label_catalog.core.geometry import GeometryError, figure
from label_catalog.core.labelled_data import Annotation, Labelled, Unit, modality, units_of
from label_catalog.core.losses import LEFT_OUT, REDUCED, Losses
from pycocotools.coco import COCO

WIDTH, HEIGHT = 40, 20
SHAPES = (
    "bounding_box",
    "polyline",
    "polygon",
    "point",
    "rotatable_bounding_box",
    "bitmask",
    "circle",
    "ellipse",
    "cuboid_2d",
    "audio",
    "skeleton",
)
CLASSES = tuple(
    ObjectClass(
        position,
        f"f-{shape}",
        shape.title(),
        shape,
        ("head", "hand") if shape == "skeleton" else (),
        ((1, 2),) if shape == "skeleton" else (),
    )
    for position, shape in enumerate(SHAPES)
)


def mask() -> tuple[dict[str, Any], numpy.ndarray[Any, Any]]:
    """A mask as Encord serves it, and its pixels."""
    pixels = numpy.zeros((HEIGHT, WIDTH), dtype=bool)
    pixels[3:9, 5:30] = True
    pixels[5, 7:9] = False
    return BitmaskCoordinates(pixels).to_dict(), pixels


GEOMETRIES: dict[str, Any] = {
    "bounding_box": {"x": 0.1, "y": 0.2, "w": 0.5, "h": 0.25},
    "polyline": {"0": {"x": 0.0, "y": 0.0}, "1": {"x": 1.0, "y": 1.0}},
    "polygon": {"0": {"x": 0.1, "y": 0.1}, "1": {"x": 0.6, "y": 0.1}, "2": {"x": 0.1, "y": 0.6}},
    "point": {"0": {"x": 0.5, "y": 0.25}},
    "rotatable_bounding_box": {"x": 0.25, "y": 0.4, "w": 0.5, "h": 0.2, "theta": 90.0},
    "bitmask": mask()[0],
    "circle": {"x": 0.5, "y": 0.5, "r": 0.1, "stretch": 1.0, "theta": 0.0},
    "ellipse": {"x": 0.5, "y": 0.5, "rx": 0.2, "ry": 0.1, "theta": 30.0},
    "cuboid_2d": {"front": [0.1, 0.1, 0.2, 0.1, 0.2, 0.2, 0.1, 0.2], "offset": {"x": 0.1, "y": 0.1}},
    "audio": {"range": [[0, 100]]},
    "skeleton": {
        "0": {"name": "head", "x": 0.2, "y": 0.2, "value": "head"},
        "1": {"name": "hand", "x": 0.4, "y": 0.6, "value": "hand", "occluded": True},
    },
}


def annotation(shape: str, data: str = "data", frame: int = 0, **values: Any) -> Annotation:
    kind = values.pop("kind", "object")
    given = {
        "data_hash": data,
        "frame": frame,
        "kind": kind,
        "hash": f"{shape}-{data}-{frame}",
        "feature_hash": f"f-{shape}",
        "name": shape.title(),
        "shape": shape if kind == "object" else None,
        "geometry": GEOMETRIES.get(shape),
        "attributes": {},
        "track_hash": None,
        "width": WIDTH,
        "height": HEIGHT,
        "data_link": None,
    }
    return Annotation(**{**given, **values})


def label(name: str, data_type: str, units: tuple[Unit, ...] | None, *annotations: Annotation, **row: Any) -> Labelled:
    about = {"label_hash": name, "data_type": data_type, "branch_name": "main", "data_title": name, **row}
    return Labelled(about, units, annotations)


def image(data: str = "data", **values: Any) -> Unit:
    return Unit(
        **{"data_hash": data, "title": f"{data}.jpg", "type": "image/jpeg", "width": WIDTH, "height": HEIGHT} | values
    )


def coco_text(labels: list[Labelled], classes: tuple[ObjectClass, ...], losses: Losses) -> str:
    writer = coco.Writer(classes, losses)
    made = [writer.texts(label) for label in labels]
    images, annotations = ([text for texts in made for text in texts[place]] for place in (0, 1))
    return "".join(coco.document(classes, {"description": "test"}, images, annotations))


def yolo_files(labels: list[Labelled], losses: Losses) -> list[tuple[yolo.File, str]]:
    writer = yolo.Writer(CLASSES, losses)
    return [found for label in labels for found in writer.files(label)]


def json_lines(labels: list[Labelled], losses: Losses) -> list[str]:
    return [line for label in labels for line in jsonl.lines(label, losses)]


def read_coco(labels: list[Labelled], folder: Path) -> tuple[COCO, dict[str, Any]]:
    losses = Losses()
    path = folder / "annotations.json"
    path.write_text(coco_text(labels, CLASSES, losses))
    return COCO(str(path)), losses.as_document("coco")


def every_kind() -> list[Labelled]:
    video = Unit("video", "drive.mp4", "video/mp4", WIDTH, HEIGHT, "files/video")
    return [
        label("all", "image", (image(),), *(annotation(shape) for shape in SHAPES if shape != "audio")),
        label("empty", "image", (image("nothing"),)),
        label(
            "group",
            "img_group",
            (image("first"), image("second"), image("third")),
            annotation("bounding_box", "first", track_hash="t"),
            annotation(
                "bounding_box", "third", attributes={"Kind": "Car", "Lights": [{"value": "Left", "ranges": []}]}
            ),
            annotation("Weather", "third", kind="classification", attributes={"Weather": "Rain"}),
        ),
        label("drive", "video", (video,), *(annotation("bounding_box", "video", frame) for frame in (0, 3, 7))),
        label("branch", "image", (image(),), annotation("bounding_box"), branch_name="model-v2"),
        label("slices", "dicom", (image("d", type="application/dicom"),), annotation("bounding_box", "d", 3)),
        label("page", "pdf", (image("p", type="application/pdf", width=None),), annotation("bounding_box", "p", 1)),
        label("call", "audio", (Unit("a", "call.wav", "audio/wav"),), annotation("audio", "a")),
        label("letter", "plain_text", (Unit("t", "letter.txt", "text/plain"),), annotation("text", "t")),
        label("huge", "image", None),
    ]


def images_expected(labels: list[Labelled]) -> set[tuple[str, str, int | None]]:
    """Every image of the manifest: the units that are images, and the frames of videos with an annotation."""
    found: set[tuple[str, str, int | None]] = set()
    for item in labels:
        for unit in item.units or ():
            if item.row["data_type"] in ("image", "img_group"):
                found.add((item.row["label_hash"], unit.data_hash, None))
            if item.row["data_type"] == "video":
                found |= {(item.row["label_hash"], unit.data_hash, one.frame) for one in item.annotations}
    return found


def test_pycocotools_reads_every_shape_at_its_place(tmp_path: Path) -> None:
    read, _ = read_coco(every_kind(), tmp_path)
    (first,) = (found for found in read.loadImgs(read.getImgIds()) if found["label_hash"] == "all")
    by_shape = {found["shape"]: found for found in read.loadAnns(read.getAnnIds(imgIds=[first["id"]]))}
    assert set(by_shape) == coco.SHAPES
    assert by_shape["bounding_box"]["bbox"] == [4.0, 4.0, 20.0, 5.0]
    assert by_shape["bounding_box"]["area"] == 100.0
    assert by_shape["rotatable_bounding_box"]["bbox"] == [18.0, 0.0, 4.0, 20.0]  # 20 by 4 pixels, rotated by 90 degrees
    assert by_shape["rotatable_bounding_box"]["attributes"] == {"rotation": 90.0}
    assert by_shape["polygon"]["area"] == 100.0
    assert by_shape["point"]["keypoints"] == [20.0, 5.0, 2]
    assert by_shape["skeleton"]["keypoints"] == [8.0, 4.0, 2, 16.0, 12.0, 1]
    assert by_shape["circle"]["area"] == pytest.approx(math.pi * 16, abs=0.001)
    assert numpy.array_equal(read.annToMask(by_shape["bitmask"]).astype(bool), mask()[1])
    assert by_shape["bitmask"]["bbox"] == [5.0, 3.0, 25.0, 6.0]
    assert by_shape["bitmask"]["area"] == int(mask()[1].sum())
    assert read.annToMask(by_shape["circle"]).sum() == pytest.approx(math.pi * 16, rel=0.1)
    for found in by_shape.values():
        assert found["object_hash"].startswith(found["shape"])
        assert read.loadCats(found["category_id"])[0]["feature_hash"] == found["feature_hash"] == f"f-{found['shape']}"


def test_a_polygon_with_a_hole_is_a_mask(tmp_path: Path) -> None:
    outer = [0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9]
    hole = [0.25, 0.2, 0.5, 0.2, 0.5, 0.5, 0.25, 0.5]
    far = [0.0, 0.0, 0.05, 0.0, 0.05, 0.05, 0.0, 0.05]
    holed = annotation("polygon", geometry=[[outer, hole], [far]])
    parts = annotation("polygon", geometry=[[outer], [far]], hash="parts")
    read, report = read_coco([label("all", "image", (image(),), holed, parts)], tmp_path)
    first, second = read.loadAnns(read.getAnnIds())
    pixels = numpy.zeros((HEIGHT, WIDTH), dtype=bool)
    pixels[2:18, 4:36] = True
    pixels[4:10, 10:20] = False
    pixels[0:1, 0:2] = True
    assert numpy.array_equal(read.annToMask(first).astype(bool), pixels)
    assert first["area"] == int(pixels.sum())
    assert len(second["segmentation"]) == 2
    assert second["area"] == pytest.approx(32 * 16 + 2)
    assert report["classes"][0]["reduced"] == {"holes": 1}


def test_masks_of_any_form_stay_the_same_pixels() -> None:
    chance = numpy.random.default_rng(7)
    for height, width in ((1, 1), (1, 9), (9, 1), (13, 37), (64, 64)):
        for share in (0.0, 0.02, 0.5, 1.0):
            pixels = chance.random((height, width)) < share
            made = figure("bitmask", BitmaskCoordinates(pixels).to_dict(), width, height)
            assert made is not None
            assert made.mask is not None
            reader = COCO()
            reader.imgs = {1: {"height": height, "width": width}}
            segmentation = {"size": [height, width], "counts": made.mask.counts}
            assert numpy.array_equal(
                reader.annToMask({"image_id": 1, "segmentation": segmentation}).astype(bool), pixels
            )
            assert made.area == pixels.sum()


def test_no_image_of_the_manifest_is_missing(tmp_path: Path) -> None:
    labels = every_kind()
    read, report = read_coco(labels, tmp_path)
    found = read.loadImgs(read.getImgIds())
    assert {(one["label_hash"], one["data_hash"], one.get("frame")) for one in found} == images_expected(labels)
    assert len(found) == len({one["file_name"] for one in found}) == report["images"]
    losses = Losses()
    files = yolo_files(labels, losses)
    lines = [json.loads(line) for _, line in files]
    assert {(one["label_hash"], one["data_hash"], one["frame"]) for one in lines} == images_expected(labels)
    names = [one["file_name"].removeprefix("images/").rpartition(".")[0] for one in lines]
    assert [file.name for file, _ in files] == [f"labels/{name}.txt" for name in names]
    assert len(set(names)) == len(names) == losses.as_document("yolo")["images"]


def test_a_video_has_its_frames_as_images_with_their_number(tmp_path: Path) -> None:
    read, _ = read_coco(every_kind(), tmp_path)
    frames = [found for found in read.loadImgs(read.getImgIds()) if found["data_hash"] == "video"]
    assert [(found["frame"], found["file_name"]) for found in frames] == [
        (frame, f"videos/video/{frame}.jpg") for frame in (0, 3, 7)
    ]


def test_coco_keeps_attributes_tracks_and_the_classes_of_images(tmp_path: Path) -> None:
    read, _ = read_coco(every_kind(), tmp_path)
    third = next(found for found in read.loadImgs(read.getImgIds()) if found["data_hash"] == "third")
    assert third["classifications"] == {"Weather": {"Weather": "Rain"}}
    (box,) = read.loadAnns(read.getAnnIds(imgIds=[third["id"]]))
    assert box["attributes"]["Kind"] == "Car"
    tracked = [found for found in read.loadAnns(read.getAnnIds()) if "track_hash" in found]
    assert [found["track_hash"] for found in tracked] == ["t"]


def losses_of(name: str, labels: list[Labelled]) -> dict[str, Any]:
    losses = Losses()
    writers: dict[str, Any] = {
        "coco": lambda: coco_text(labels, CLASSES, losses),
        "yolo": lambda: yolo_files(labels, losses),
        "jsonl": lambda: json_lines(labels, losses),
    }
    writers[name]()
    return losses.as_document(name)


@pytest.mark.parametrize("name", ["coco", "yolo", "jsonl"])
def test_every_annotation_is_written_or_left_out_for_a_reason(name: str) -> None:
    labels = every_kind()
    report = losses_of(name, labels)
    assert report["written"] + report["left_out"] == sum(len(item.annotations) for item in labels)
    assert report["labels"] == len(labels)
    for reason, text in report["reasons"].items():
        assert (LEFT_OUT | REDUCED)[reason] == text


@pytest.mark.parametrize("name", ["coco", "yolo", "jsonl"])
def test_a_report_can_be_counted_on(name: str) -> None:
    report = losses_of(name, every_kind())
    assert Losses.from_document(json.loads(json.dumps(report))).as_document(name) == report


def test_coco_reports_what_it_leaves_out() -> None:
    report = losses_of("coco", every_kind())
    by_shape = {item["shape"]: item for item in report["classes"]}
    assert by_shape["polyline"]["left_out"] == {"shape": 1}
    assert by_shape["cuboid_2d"]["left_out"] == {"shape": 1}
    assert by_shape["audio"]["left_out"] == {"audio": 1}
    assert by_shape["text"]["left_out"] == {"text": 1}
    assert by_shape["bounding_box"]["left_out"] == {"dicom": 1, "pdf": 1}
    assert by_shape["bounding_box"]["reduced"] == {"track": 1, "nested_attributes": 1}
    assert by_shape["rotatable_bounding_box"]["reduced"] == {"rotation": 1}
    assert by_shape[None]["reduced"] == {"image_classification": 1}
    assert report["labels_without_image"] == {"audio": 1, "dicom": 1, "not_parsed": 1, "pdf": 1, "text": 1}


def test_yolo_reports_what_it_leaves_out() -> None:
    report = losses_of("yolo", every_kind())
    by_shape = {item["shape"]: item for item in report["classes"]}
    assert by_shape["point"]["left_out"] == {"shape": 1}
    assert by_shape["rotatable_bounding_box"]["reduced"] == {"rotated_box": 1}
    assert by_shape["polygon"]["reduced"] == {"outline": 1}
    assert by_shape["bitmask"]["reduced"] == {"mask": 1}
    assert by_shape["skeleton"]["reduced"] == {"keypoints": 1}
    assert by_shape["bounding_box"]["reduced"] == {"attributes": 1, "no_track": 1}
    assert by_shape[None]["left_out"] == {"classification": 1}


def test_yolo_writes_centres_inside_the_image_and_an_empty_file_for_an_empty_image() -> None:
    over = annotation("bounding_box", geometry={"x": 0.75, "y": -0.5, "w": 0.5, "h": 1.0})
    away = annotation("bounding_box", geometry={"x": 1.5, "y": 0.0, "w": 0.5, "h": 1.0})
    losses = Losses()
    made = yolo_files([label("all", "image", (image(), image("empty")), over, away)], losses)
    first, second = (file for file, _ in made)
    assert first.text == "0 0.875000 0.250000 0.250000 0.500000\n"
    assert (second.name, second.text) == ("labels/empty.txt", "")
    assert losses.as_document("yolo")["classes"][0]["left_out"] == {"outside_image": 1}
    names = [line for line in yolo.data(CLASSES).splitlines() if line.startswith("  ")]
    assert names[:2] == ['  0: "Bounding_Box"', '  1: "Polygon"']


def test_json_lines_leave_nothing_out() -> None:
    labels = every_kind()
    lines = [json.loads(line) for line in json_lines(labels, Losses())]
    wanted = sorted(one.hash for item in labels for one in item.annotations)
    found = [one["object_hash"] for line in lines for one in line["objects"]]
    found += [one["classification_hash"] for line in lines for one in line["classifications"]]
    assert sorted(found) == wanted
    assert {line["modality"] for line in lines} == {"image", "video", "dicom", "pdf", "audio", "text"}
    boxes = [one for line in lines for one in line["objects"] if one["shape"] == "bounding_box"]
    assert all(one["geometry"] == GEOMETRIES["bounding_box"] for one in boxes)


BROKEN = [
    ("bounding_box", {"x": 0.1}),
    ("bounding_box", None),
    ("polygon", {"0": {"x": 0.1, "y": 0.1}}),
    ("polygon", []),
    ("polygon", [[[0.1, 0.1, 0.2]]]),
    ("bitmask", {"top": 0, "left": 0, "height": HEIGHT, "width": WIDTH, "rleString": "not one"}),
    ("bitmask", {"top": 5, "left": 0, "height": HEIGHT, "width": WIDTH, "rleString": ""}),
    ("skeleton", []),
    ("circle", {"x": "left"}),
]


@pytest.mark.parametrize(("shape", "geometry"), BROKEN)
def test_a_broken_geometry_is_left_out_and_counted(shape: str, geometry: Any, tmp_path: Path) -> None:
    with pytest.raises(GeometryError):
        figure(shape, geometry, WIDTH, HEIGHT)
    read, report = read_coco([label("all", "image", (image(),), annotation(shape, geometry=geometry))], tmp_path)
    assert read.getAnnIds() == []
    assert report["classes"][0]["left_out"] == {"geometry": 1}


def test_an_image_without_a_size_is_kept_and_its_boxes_are_counted(tmp_path: Path) -> None:
    read, report = read_coco([label("all", "image", (image(width=None),), annotation("bounding_box"))], tmp_path)
    assert len(read.getImgIds()) == 1
    assert report["classes"][0]["left_out"] == {"size_unknown": 1}


def test_classes_come_from_the_ontology_in_its_order() -> None:
    points = {"0": {"name": "head"}, "1": {"name": "hand"}, "2": {"name": "foot"}}
    edges = {"0": {"1": {"color": "#000000"}}, "1": {"2": {"color": "#000000"}}}
    template = {"name": "Person", "feature_node_hash": "p", "skeleton": points, "skeletonEdges": edges}
    ontology = {
        "objects": [
            {"name": "Vehicle", "shape": "bounding_box", "featureNodeHash": "v"},
            {"name": "Person", "shape": "skeleton", "featureNodeHash": "p"},
        ],
        "skeleton_templates": [{"template": template}],
    }
    vehicle, person = object_classes({"editor": ontology})
    assert (vehicle.position, vehicle.feature_hash, vehicle.shape) == (0, "v", "bounding_box")
    assert (person.points, person.edges) == (("head", "hand", "foot"), ((1, 2), (2, 3)))


def test_types_of_data_have_a_modality() -> None:
    assert modality("video/mp4", "video") == "video"
    assert modality("scene_image", "scene") == "image"
    assert modality("point_cloud", "scene") == "scene"
    assert modality("image/png", "dicom") == "dicom"
    assert modality(None, "img_group") == "image"
    assert modality("application/unheard-of", "novelty") == "other"


def test_units_are_read_from_the_manifest() -> None:
    assert units_of(None) is None
    text = json.dumps([{"data_hash": "d", "title": "t", "type": "image/png", "width": 0, "height": 3, "link": None}])
    assert units_of(text) == (Unit("d", "t", "image/png", None, 3, None),)


def test_spans_of_frames_are_frames_and_spans_of_a_group_are_images(tmp_path: Path) -> None:
    video = Unit("video", "drive.mp4", "video/mp4", WIDTH, HEIGHT)
    rain = annotation("Weather", "video", frame=None, kind="classification", geometry={"range": [[2, 3], [9, 9]]})
    whole = annotation("Tags", "video", frame=None, kind="classification", geometry=None)
    group = (image("first"), image("second"), image("third"))
    last = annotation("Weather", "third", frame=None, kind="classification", geometry={"range": [[0, 1]]})
    labels = [
        label("drive", "video", (video,), annotation("bounding_box", "video", 3), rain, whole),
        label("group", "img_group", group, last),
    ]
    read, report = read_coco(labels, tmp_path)
    found = read.loadImgs(read.getImgIds())
    assert [one["frame"] for one in found if one["data_hash"] == "video"] == [2, 3, 9]
    assert [one["data_hash"] for one in found if "Weather" in one.get("classifications", {})] == [
        *["video"] * 3,
        "first",
        "second",
    ]
    (tags,) = (item for item in report["classes"] if item["name"] == "Tags")
    assert tags["left_out"] == {"no_frame": 1}


def test_nested_attributes_are_counted(tmp_path: Path) -> None:
    inner = {"name": "Make", "options": [{"label": "Any"}]}
    outer = {"name": "Kind", "options": [{"label": "Car", "options": [inner]}, {"label": "Lorry"}]}
    item = {"name": "Vehicle", "shape": "bounding_box", "featureNodeHash": "f-bounding_box", "attributes": [outer]}
    losses = Losses()
    boxes = [annotation("bounding_box", attributes={"Kind": "Car", "Make": "Any"})]
    boxes += [annotation("bounding_box", attributes={"Kind": "Lorry"})]
    labels = [label("all", "image", (image(),), *boxes)]
    text = coco_text(labels, object_classes({"objects": [item]}), losses)
    assert [one["attributes"] for one in json.loads(text)["annotations"]] == [
        {"Kind": "Car", "Make": "Any"},
        {"Kind": "Lorry"},
    ]
    assert losses.as_document("coco")["classes"][0]["reduced"] == {"nested_attributes": 1}
