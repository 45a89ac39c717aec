"""Make the label rows with the SDK's own classes and write them to ``data/``: ``python -m encord_stand_in.rows.build``.

The server reads the result as plain JSON, so that it starts without the 0.9 s and 54 MB of importing ``encord``; a
test makes the rows again and compares. Everything is derived from names and fixed times: no clock, no randomness.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from encord.constants.enums import is_geometric
from encord.objects import Classification, ClassificationInstance, LabelRowV2, Object, ObjectInstance
from encord.objects.attributes import Attribute, ChecklistAttribute, RadioAttribute
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    AudioCoordinates,
    BoundingBoxCoordinates,
    CircleCoordinates,
    Coordinates,
    Cuboid2DIsometricCoordinates,
    EllipseCoordinates,
    HtmlCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
    TextCoordinates,
    TimeRangeCoordinates,
)
from encord.objects.frames import Range
from encord.objects.html_node import HtmlNode, HtmlRange
from encord.ontology import Ontology
from encord.orm.label_row import LabelRowMetadata
from encord.orm.ontology import Ontology as OrmOntology

from encord_stand_in import times
from encord_stand_in.rows import extras
from encord_stand_in.rows.names import PROJECT_NAMES, identifier, short
from encord_stand_in.rows.ontology import build_structure, editor, feature
from encord_stand_in.times import TimeForm

DATA_FOLDER = Path(__file__).resolve().parent.parent / "data"

_START = datetime(2025, 3, 4, 8, 0, 0, 123456, tzinfo=UTC)
_AUTHOR = "annotator@example.com"
_REVIEWER = "reviewer@example.com"
_STAGES = ("Annotate", "Review", "Complete")


@dataclass(frozen=True)
class Unit:
    """One data unit and what is labelled on it."""

    key: str
    title: str
    data_type: str  # as in the label row; the listing has it in upper case
    file_type: str
    label: Callable[[Labeller], None]
    time_form: TimeForm = "iso"
    frames: int = 1
    width: int | None = 1280
    height: int | None = 720
    fps: float | None = None
    duration: float | None = None
    stage: str = "Annotate"
    status: str = "ASSIGNED"
    branch: str = "main"
    initialised: bool = True
    deleted: bool = False


class Labeller:
    """Puts objects and classifications on a row, each with derived hashes and times."""

    def __init__(self, row: LabelRowV2, ontology: Ontology, key: str, at: datetime) -> None:
        self.row = row
        self._structure = ontology.structure
        self._key = key
        self._at = at
        self._count = 0

    def object(
        self, name: str, coordinates: dict[int, Coordinates], *, number: int | None = None, nth: int = 0
    ) -> ObjectInstance:
        """Add an object with coordinates by frame."""
        ontology_object = self._structure.get_child_by_hash(feature(name), type_=Object)
        instance = ObjectInstance(
            ontology_object, object_hash=short("object", self._key, name, nth), object_number=number
        )
        for frame, value in coordinates.items():
            instance.set_for_frames(value, frame, overwrite=True, **self._stamp())
        self.row.add_object_instance(instance)
        return instance

    def on_space(self, name: str, space: Any, *args: Any, nth: int = 0) -> ObjectInstance:
        """Add an object to a space of a data group."""
        ontology_object = self._structure.get_child_by_hash(feature(name), type_=Object)
        instance = ObjectInstance(ontology_object, object_hash=short("object", self._key, name, nth))
        space.put_object_instance(instance, *args, **self._stamp())
        return instance

    def classification(self, name: str, answer: str | tuple[str, ...], ranges: list[Range], nth: int = 0) -> None:
        """Add a classification on these frames."""
        instance, stamp = self._classification(name, answer, nth)
        instance.set_for_frames(ranges, overwrite=True, confidence=0.75, **stamp)
        self.row.add_classification_instance(instance)

    def classification_on_space(self, name: str, answer: str | tuple[str, ...], space: Any, *args: Any) -> None:
        """Add a classification to a space of a data group."""
        instance, stamp = self._classification(name, answer, 0)
        space.put_classification_instance(instance, *args, **stamp)

    def _classification(
        self, name: str, answer: str | tuple[str, ...], nth: int
    ) -> tuple[ClassificationInstance, dict[str, Any]]:
        item = self._structure.get_child_by_hash(feature(name), type_=Classification)
        instance = ClassificationInstance(
            item,
            classification_hash=short("classification", self._key, name, nth),
            range_only=not is_geometric(self.row.data_type),
        )
        instance.set_answer(_answer(item.attributes[0], answer))
        return instance, self._stamp()

    def answer(self, instance: ObjectInstance, name: str, answer: Any, frames: Any = None) -> None:
        """Answer an attribute of an object; with frames for a dynamic attribute."""
        attribute = next(item for item in instance.ontology_item.attributes if item.name == name)
        instance.set_answer(_answer(attribute, answer), attribute, frames=frames)

    def _stamp(self) -> dict[str, Any]:
        self._count += 1
        edited = self._at + timedelta(seconds=self._count, milliseconds=37 * self._count)
        return {
            "created_at": self._at,
            "created_by": _AUTHOR,
            "last_edited_at": edited,
            "last_edited_by": _REVIEWER if self._count % 3 == 0 else _AUTHOR,
        }


def _answer(attribute: Attribute[Any], answer: Any) -> Any:
    if isinstance(attribute, RadioAttribute):
        return next(option for option in attribute.options if option.label == answer)
    if isinstance(attribute, ChecklistAttribute):
        return [option for option in attribute.options if option.label in answer]
    return answer


def _box(index: int, frame: int = 0) -> BoundingBoxCoordinates:
    shift = 0.0137 * frame
    return BoundingBoxCoordinates(
        height=0.1 + 0.01 * index, width=0.2, top_left_x=0.05 * index + shift / 3, top_left_y=0.1 + 0.2 * shift
    )


def _points(*values: tuple[float, float]) -> list[PointCoordinate]:
    return [PointCoordinate(x=x, y=y) for x, y in values]


def _image(on: Labeller) -> None:
    for index, kind in enumerate(("Car", "Lorry", "Straßenbahn")):
        vehicle = on.object("Vehicle", {0: _box(index)}, number=index + 1, nth=index)
        on.answer(vehicle, "Kind", kind)
    on.answer(vehicle, "Note", "Zwölf „Türen“ — 電車 🚋 </script>\u2028")
    on.answer(vehicle, "Speed", 13.25)
    on.object("Lane", {0: PolylineCoordinates(_points((0.1, 0.9), (0.5, 0.55), (0.9, 0.5)))})
    hole = [_points((0.4, 0.3), (0.45, 0.3), (0.45, 0.35))]
    outer = _points((0.3, 0.2), (0.6, 0.2), (0.6, 0.5), (0.3, 0.5))
    on.object("Building", {0: PolygonCoordinates(polygons=[[outer, *hole]])})
    on.object("Traffic light", {0: PointCoordinate(x=0.71, y=0.12)})
    on.object(
        "Parking space",
        {0: RotatableBoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.7, theta=33.5)},
    )
    on.object("Wheel", {0: CircleCoordinates(center_x=0.2, center_y=0.8, radius=0.04)})
    on.object("Manhole", {0: EllipseCoordinates(center_x=0.4, center_y=0.85, rx=0.05, ry=0.02, theta=12.0)})
    front = _points((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))
    on.object("Crate", {0: Cuboid2DIsometricCoordinates(front=front, offset=PointCoordinate(x=0.05, y=-0.04))})
    on.object(
        "Road surface",
        {
            0: BitmaskCoordinates(
                {"top": 0, "left": 0, "height": 720, "width": 1280, "rleString": "460800`10000`450800"}
            )
        },
    )
    on.object("Person", {0: _skeleton()})
    on.classification("Weather", "雪", [Range(0, 0)])
    on.classification("Tags", ("Night", "Crowded"), [Range(0, 0)])
    on.classification("Remark", 'line one\nline two\t"quoted" \\ back', [Range(0, 0)])


def _skeleton() -> SkeletonCoordinates:
    return SkeletonCoordinates(
        name="Person",
        values=[
            SkeletonCoordinate(
                x=0.3 + 0.01 * index,
                y=0.4 + 0.1 * index,
                name=part,
                color="#000000",
                value=part,
                feature_hash=feature("Person", part),
            )
            for index, part in enumerate(("head", "hand", "foot"))
        ],
    )


def _image_group(on: Labeller) -> None:
    tracked = on.object("Vehicle", {0: _box(0), 2: _box(0, 2)}, nth=0)
    on.answer(tracked, "Kind", "Lorry")
    on.object("Traffic light", {1: PointCoordinate(x=0.5, y=0.1)})
    on.classification("Weather", "Rain", [Range(0, 1)])
    on.classification("Remark", "only the last", [Range(2, 2)])


def _video(on: Labeller) -> None:
    for index in range(2):  # tracked: the same object on many frames, with a gap
        frames = [*range(12), *range(20, 40)]
        vehicle = on.object("Vehicle", {frame: _box(index, frame) for frame in frames}, number=index + 1, nth=index)
        on.answer(vehicle, "Kind", "Car" if index else "Lorry")
        on.answer(vehicle, "Motion", "Moving", Range(0, 11))
        on.answer(vehicle, "Motion", "Standing", Range(20, 39))
        on.answer(vehicle, "Lights", ("Brake", "Left"), [Range(5, 8), Range(30, 33)])
    for frame in range(0, 40, 4):  # untracked: an object of its own on each frame
        on.object("Traffic light", {frame: PointCoordinate(x=0.01 * frame, y=0.1)}, nth=frame)
    on.object("Lane", {7: PolylineCoordinates(_points((0.0, 1.0), (1.0, 0.0)))})
    on.classification("Weather", "Sunny", [Range(0, 19)])
    on.classification("Weather", "Rain", [Range(20, 39)], nth=1)
    on.classification("Tags", ("Blurred",), [Range(3, 3), Range(9, 11)])


def _audio(on: Labeller) -> None:
    first = on.object("Speech", {0: AudioCoordinates(range=[Range(0, 4999), Range(9000, 11000)])}, nth=0)
    on.answer(first, "Words", "Grüße aus Zürich")
    on.object("Speech", {0: AudioCoordinates(range=[Range(6000, 7000)])}, nth=1)
    on.classification("Remark", "background noise", [Range(0, 0)])


def _text(on: Labeller) -> None:
    on.object("Phrase", {0: TextCoordinates(range=[Range(0, 12), Range(40, 55)])}, nth=0)
    on.object("Phrase", {0: TextCoordinates(range=[Range(100, 130)])}, nth=1)
    on.classification("Remark", "a letter", [Range(0, 0)])


def _html(on: Labeller) -> None:
    on.object(
        "Phrase",
        {
            0: HtmlCoordinates(
                range=[
                    HtmlRange(
                        start=HtmlNode(xpath="/html[1]/body[1]/p[1]/text()[1]", offset=3),
                        end=HtmlNode(xpath="/html[1]/body[1]/p[2]/text()[1]", offset=17),
                    )
                ]
            )
        },
    )
    on.classification("Remark", "a page", [Range(0, 0)])


def _pdf(on: Labeller) -> None:
    on.object("Vehicle", {1: _box(0), 2: _box(1)}, nth=0)
    on.object("Building", {0: PolygonCoordinates(_points((0.1, 0.1), (0.2, 0.1), (0.2, 0.3)))})
    on.classification("Tags", ("Night",), [Range(0, 2)])


def _slices(on: Labeller) -> None:
    for index in range(2):
        on.object("Vehicle", {frame: _box(index, frame) for frame in range(0, 6, index + 1)}, nth=index)
    on.object("Building", {3: PolygonCoordinates(_points((0.2, 0.2), (0.4, 0.2), (0.3, 0.5)))})
    on.classification("Weather", "Sunny", [Range(0, 5)])


def _time_series(on: Labeller) -> None:
    on.object("Peak", {0: TimeRangeCoordinates(range=[Range(100, 250), Range(900, 950)])})
    on.classification("Remark", "two peaks", [Range(0, 0)])


def _group(on: Labeller) -> None:
    camera = on.row.get_space(layout_key="front-camera", type_="video")
    on.on_space("Vehicle", camera, [0, 1, 2], _box(0), nth=0)
    on.on_space("Vehicle", camera, Range(3, 5), _box(1), nth=1)
    on.classification_on_space("Weather", "Rain", camera, Range(0, 9))
    still = on.row.get_space(layout_key="map", type_="image")
    on.on_space("Building", still, PolygonCoordinates(_points((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))))
    voice = on.row.get_space(layout_key="cabin-audio", type_="audio")
    on.on_space("Speech", voice, [Range(100, 2000)])
    letter = on.row.get_space(layout_key="report", type_="text")
    on.on_space("Phrase", letter, [Range(0, 24)])


def _scene(on: Labeller) -> None:
    cloud = on.row.get_space(stream_id="lidar", type_="point_cloud")
    on.on_space("Ground points", cloud, [Range(0, 99), Range(250, 300)])
    camera = on.row.get_space(stream_id="camera", type_="image")
    on.on_space("Vehicle", camera, _box(0))


def _branch(on: Labeller) -> None:
    on.object("Vehicle", {0: _box(0)}, nth=0)


def _nothing(_: Labeller) -> None:
    return


UNITS: dict[str, tuple[Unit, ...]] = {
    "street-scenes": (
        Unit("image", "crossing.jpg", "image", "image/jpeg", _image, stage="Complete", status="COMPLETED"),
        Unit("image-group", "walk around the block", "img_group", "image/png", _image_group, "long", 3),
        Unit(
            "video",
            "morning drive.mp4",
            "video",
            "video/mp4",
            _video,
            "iso",
            40,
            fps=20.0,
            duration=2.0,
            stage="Review",
            status="IN_REVIEW",
        ),
        Unit("audio", "radio call.wav", "audio", "audio/wav", _audio, "iso_offset", 529200, None, None, 44100.0, 12.0),
        Unit("text", "witness report.txt", "plain_text", "text/plain", _text, "plain", 1, None, None),
        Unit("html", "news page.html", "plain_text", "text/html", _html, "iso", 1, None, None),
        Unit(
            "pdf",
            "police form.pdf",
            "pdf",
            "application/pdf",
            _pdf,
            "long_utc",
            3,
            None,
            None,
            stage="Complete",
            status="COMPLETED",
        ),
        Unit("dicom", "CT head", "dicom", "application/dicom", _slices, "iso", 6, 512, 512),
        Unit("nifti", "brain.nii.gz", "nifti", "application/octet-stream", _slices, "iso_offset", 6, 256, 256),
        Unit(
            "time-series",
            "accelerometer.csv",
            "time_series",
            "text/csv",
            _time_series,
            "iso",
            1000,
            None,
            None,
            100.0,
            10.0,
        ),
        Unit("group", "ride 17", "group", "application/vnd.encord.group", _group, "iso", 1, None, None),
        Unit("scene", "crossroads.zip", "scene", "application/json", _scene, "iso", 1, None, None),
        Unit(
            "uninitialised", "not opened yet.jpg", "image", "image/jpeg", _nothing, initialised=False, status="QUEUED"
        ),
        Unit(
            "empty",
            "nothing to see.jpg",
            "image",
            "image/jpeg",
            _nothing,
            "plain",
            stage="Complete",
            status="COMPLETED",
        ),
        Unit(
            "deleted",
            "removed.jpg",
            "image",
            "image/jpeg",
            _image,
            "iso",
            deleted=True,
            stage="Complete",
            status="COMPLETED",
        ),
        Unit("branch", "crossing.jpg", "image", "image/jpeg", _branch, "iso", branch="model-v2"),
    ),
    "small": (
        Unit("image", "lot 4.png", "image", "image/png", _image, "iso", stage="Complete", status="COMPLETED"),
        Unit("video", "gate 50%_a.mp4", "video", "video/mp4", _video, "long", 40, fps=20.0, duration=2.0),
    ),
}


def build_project(name: str) -> dict[str, Any]:
    """Return everything that the server knows of a project at its start."""
    structure = build_structure()
    ontology_hash = identifier(name, "ontology")
    orm = OrmOntology(
        title=f"{name} ontology",
        structure=structure,
        ontology_hash=ontology_hash,
        created_at=_START,
        last_edited_at=_START,
        description="synthetic",
    )
    ontology = Ontology(orm, None)  # type: ignore[arg-type]  # no client: nothing is fetched or saved here
    rows = []
    for index, unit in enumerate(UNITS[name]):
        at = _START + timedelta(hours=index, seconds=index, microseconds=index * 1117)
        rows.append(_build_row(name, unit, ontology, at))
    return {
        "project": _project(name, ontology_hash, editor(structure)),
        "ontology": {
            "ontologyUuid": ontology_hash,
            "title": f"{name} ontology",
            "description": "synthetic",
            "editor": editor(structure),
            "createdAt": times.render(_START, "iso"),
            "lastEditedAt": times.render(_START, "iso"),
            "userRole": 0,
        },
        "rows": rows,
    }


def _project(name: str, ontology_hash: str, editor_ontology: dict[str, Any]) -> dict[str, Any]:
    stages = zip(_STAGES, ("ANNOTATION", "REVIEW", "DONE"), strict=True)
    return {
        "projectHash": identifier(name, "project"),
        "projectType": "workflow",
        "status": "inProgress",
        "title": name.replace("-", " ").capitalize(),
        "description": "Synthetic project of the Encord stand-in",
        "createdAt": times.render(_START, "iso"),
        "creatorEmail": _AUTHOR,
        "lastEditedAt": times.render(_START, "iso"),
        "ontologyHash": ontology_hash,
        "editorOntology": editor_ontology,
        "userRole": 0,
        "workflowManagerUuid": identifier(name, "workflow"),
        "workflow": {
            "stages": [
                {"stageType": kind, "uuid": identifier(name, "stage", title), "title": title} for title, kind in stages
            ]
        },
    }


def _build_row(project: str, unit: Unit, ontology: Ontology, at: datetime) -> dict[str, Any]:
    metadata = _metadata(project, unit, at)
    label_row: dict[str, Any] | None = None
    if unit.initialised:
        row = LabelRowV2(LabelRowMetadata.from_dict(metadata), None, ontology)  # type: ignore[arg-type]
        row.from_labels_dict(_empty_labels(project, unit, metadata, at))
        unit.label(Labeller(row, ontology, f"{project}/{unit.key}", at - timedelta(minutes=30)))
        label_row = row.to_encord_dict()
        label_row["last_edited_at"] = times.render(at, unit.time_form)
        label_row["annotation_task_status"] = metadata["annotation_task_status"]
        extras.add(label_row, unit.key, metadata)
        if unit.deleted:
            extras.delete_data_unit(label_row, metadata)
    return {
        "key": unit.key,
        "time_form": unit.time_form,
        "last_edited_at": times.render(times.settled(at, unit.time_form), "iso") if unit.initialised else None,
        "metadata": metadata,
        "label_row": label_row,
    }


def _metadata(project: str, unit: Unit, at: datetime) -> dict[str, Any]:
    """Return the row as the listing gives it; keys as ``LabelRowMetadata.from_dict`` reads them."""
    unit_key = "image" if unit.key == "branch" else unit.key  # the branch is of the same data unit
    data_hash = identifier(project, unit_key, "data")
    created = times.render(at - timedelta(days=1), times.listing_form(unit.time_form)) if unit.initialised else None
    edited = times.render(at, times.listing_form(unit.time_form)) if unit.initialised else None
    linked = unit.data_type not in {"img_group", "dicom", "group"}
    return {
        "label_hash": identifier(project, unit.key, "label") if unit.initialised else None,
        "created_at": created,
        "last_edited_at": edited,
        "branch_name": unit.branch,
        "data_hash": data_hash,
        "group_hash": None,
        "dataset_hash": identifier(project, "dataset"),
        "dataset_title": f"{project} dataset",
        "data_title": unit.title,
        "data_type": unit.data_type.upper(),
        "data_link": f"cord-files-prod/{data_hash}/{unit.key}" if linked else None,
        "label_status": "LABEL_IN_PROGRESS" if unit.initialised else "NOT_LABELLED",
        "annotation_task_status": unit.status,
        "workflow_graph_node": {"uuid": identifier(project, "stage", unit.stage), "title": unit.stage},
        "is_shadow_data": False,
        "frames_per_second": unit.fps,
        "number_of_frames": unit.frames,
        "duration": unit.duration,
        "height": unit.height,
        "width": unit.width,
        "audio_codec": "pcm_s16le" if unit.data_type == "audio" else None,
        "audio_sample_rate": 44100 if unit.data_type == "audio" else None,
        "audio_bit_depth": 16 if unit.data_type == "audio" else None,
        "audio_num_channels": 2 if unit.data_type == "audio" else None,
        "spaces": {"group": _group_spaces, "scene": _scene_spaces}.get(unit.data_type, _no_spaces)(project),
        "task_uuid": identifier(project, unit_key, "task"),
        "priority": 0.5 if unit.status != "COMPLETED" else None,
        "client_metadata": {"site": "north", "run": 17, "key": unit.key},
        "images_data": _images_data(project, unit) if unit.data_type == "img_group" else None,
        "file_type": unit.file_type,
        "is_valid": True,
        "backing_item_uuid": identifier(project, unit_key, "item"),
        "assigned_user_email": _AUTHOR,
        "last_actioned_by_user_email": _AUTHOR if unit.initialised else None,
    }


def _images_data(project: str, unit: Unit) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "title": f"step {index}.png",
            "file_type": unit.file_type,
            "height": unit.height,
            "width": unit.width,
            "image_hash": identifier(project, unit.key, "frame", index),
        }
        for index in range(unit.frames)
    ]


def _no_spaces(_: str) -> dict[str, Any]:
    return {}


def _scene_spaces(project: str) -> dict[str, Any]:
    """Return the spaces of the scene, a point cloud and a camera's image; keys as in ``spaces.types``."""

    def within(stream: str, file_name: str) -> dict[str, Any]:
        uri = f"cord-files-prod/{identifier(project, 'scene', stream)}/{file_name}"
        return {"stream_id": stream, "event_index": 0, "uri": uri}

    return {
        identifier(project, "space", "lidar"): {
            "space_type": "point_cloud",
            "scene_info": within("lidar", "0001.pcd"),
            "labels": {"objects": [], "classifications": []},
        },
        identifier(project, "space", "camera"): {
            "space_type": "scene_image",
            "scene_info": within("camera", "0001.jpg"),
            "width": 1280,
            "height": 720,
            "labels": {"objects": [], "classifications": []},
        },
    }


def _group_spaces(project: str) -> dict[str, Any]:
    """Return the spaces of the data group; keys as in ``encord.objects.spaces.types``."""

    def child(layout_key: str, file_name: str) -> dict[str, Any]:
        link = f"cord-files-prod/{identifier(project, 'group', layout_key)}"
        return {"layout_key": layout_key, "file_name": file_name, "data_link": link}

    return {
        identifier(project, "space", "front-camera"): {
            "space_type": "video",
            "child_info": child("front-camera", "front.mp4"),
            "number_of_frames": 10,
            "width": 1280,
            "height": 720,
            "data_duration": 0.5,
            "data_fps": 20.0,
            "labels": {},
        },
        identifier(project, "space", "map"): {
            "space_type": "image",
            "child_info": child("map", "map.png"),
            "width": 800,
            "height": 600,
            "labels": {},
        },
        identifier(project, "space", "cabin-audio"): {
            "space_type": "audio",
            "child_info": child("cabin-audio", "cabin.wav"),
            "duration_ms": 12000,
            "labels": {},
        },
        identifier(project, "space", "report"): {
            "space_type": "text",
            "child_info": child("report", "report.txt"),
            "labels": {},
        },
    }


def _empty_labels(project: str, unit: Unit, metadata: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Return the label row before anything is labelled, in the form that ``from_labels_dict`` reads."""
    return {
        "label_hash": metadata["label_hash"],
        "branch_name": unit.branch,
        "created_at": times.render(at - timedelta(days=1), "long"),
        "last_edited_at": times.render(at, "long"),
        "data_hash": metadata["data_hash"],
        "dataset_hash": metadata["dataset_hash"],
        "dataset_title": metadata["dataset_title"],
        "data_title": metadata["data_title"],
        "data_type": unit.data_type,
        "annotation_task_status": unit.status,
        "is_shadow_data": False,
        "object_answers": {},
        "classification_answers": {},
        "object_actions": {},
        "label_status": metadata["label_status"],
        "spaces": metadata["spaces"],
        "data_units": {unit_["data_hash"]: unit_ for unit_ in _data_units(project, unit, metadata)},
    }


def _data_units(project: str, unit: Unit, metadata: dict[str, Any]) -> list[dict[str, Any]]:
    if unit.data_type == "img_group":
        return [
            {
                "data_hash": image["image_hash"],
                "data_title": image["title"],
                "data_link": f"cord-files-prod/{image['image_hash']}/{image['title']}",
                "data_type": unit.file_type,
                "data_sequence": str(image["index"]),
                "width": unit.width,
                "height": unit.height,
                "labels": {},
            }
            for image in metadata["images_data"]
        ]
    data_unit: dict[str, Any] = {
        "data_hash": metadata["data_hash"],
        "data_title": unit.title,
        "data_link": metadata["data_link"],
        "data_type": unit.file_type,
        "data_sequence": 0,
        "labels": {},
    }
    data_unit.update({key: value for key, value in metadata.items() if key.startswith("audio_") and value is not None})
    if unit.width is not None:
        data_unit.update(width=unit.width, height=unit.height)
    if unit.data_type == "video":
        data_unit.update(data_duration=unit.duration, data_fps=unit.fps)
    return [data_unit]


def render(project: dict[str, Any]) -> str:
    """Return the text of a data file."""
    return json.dumps(project, ensure_ascii=False, indent=1) + "\n"


def main() -> int:
    """Write the data files."""
    DATA_FOLDER.mkdir(exist_ok=True)
    for name in PROJECT_NAMES:
        (DATA_FOLDER / f"{name}.json").write_text(render(build_project(name)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
