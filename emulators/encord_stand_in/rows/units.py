"""The data units of the synthetic projects and their labels. Needs the ``encord`` package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    AudioCoordinates,
    CircleCoordinates,
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

from encord_stand_in.rows.labeller import Labeller, box, points
from encord_stand_in.rows.ontology import feature
from encord_stand_in.times import TimeForm


@dataclass(frozen=True)
class Unit:
    """One data unit and its labels."""

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


def _image(on: Labeller) -> None:
    for index, kind in enumerate(("Car", "Lorry", "Straßenbahn")):
        vehicle = on.object("Vehicle", {0: box(index)}, number=index + 1, nth=index)
        on.answer(vehicle, "Kind", kind)
    on.answer(vehicle, "Note", "Zwölf „Türen“ — 電車 🚋 </script>\u2028")
    on.answer(vehicle, "Speed", 13.25)
    on.object("Lane", {0: PolylineCoordinates(points((0.1, 0.9), (0.5, 0.55), (0.9, 0.5)))})
    hole = [points((0.4, 0.3), (0.45, 0.3), (0.45, 0.35))]
    outer = points((0.3, 0.2), (0.6, 0.2), (0.6, 0.5), (0.3, 0.5))
    on.object("Building", {0: PolygonCoordinates(polygons=[[outer, *hole]])})
    on.object("Traffic light", {0: PointCoordinate(x=0.71, y=0.12)})
    on.object(
        "Parking space",
        {0: RotatableBoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.7, theta=33.5)},
    )
    on.object("Wheel", {0: CircleCoordinates(center_x=0.2, center_y=0.8, radius=0.04)})
    on.object("Manhole", {0: EllipseCoordinates(center_x=0.4, center_y=0.85, rx=0.05, ry=0.02, theta=12.0)})
    front = points((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))
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
    tracked = on.object("Vehicle", {0: box(0), 2: box(0, 2)}, nth=0)
    on.answer(tracked, "Kind", "Lorry")
    on.object("Traffic light", {1: PointCoordinate(x=0.5, y=0.1)})
    on.classification("Weather", "Rain", [Range(0, 1)])
    on.classification("Remark", "only the last", [Range(2, 2)])


def _video(on: Labeller) -> None:
    for index in range(2):  # tracked: the same object on many frames, with a gap
        frames = [*range(12), *range(20, 40)]
        vehicle = on.object("Vehicle", {frame: box(index, frame) for frame in frames}, number=index + 1, nth=index)
        on.answer(vehicle, "Kind", "Car" if index else "Lorry")
        on.answer(vehicle, "Motion", "Moving", Range(0, 11))
        on.answer(vehicle, "Motion", "Standing", Range(20, 39))
        on.answer(vehicle, "Lights", ("Brake", "Left"), [Range(5, 8), Range(30, 33)])
    for frame in range(0, 40, 4):  # untracked: a separate object on each frame
        on.object("Traffic light", {frame: PointCoordinate(x=0.01 * frame, y=0.1)}, nth=frame)
    on.object("Lane", {7: PolylineCoordinates(points((0.0, 1.0), (1.0, 0.0)))})
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
    on.object("Vehicle", {1: box(0), 2: box(1)}, nth=0)
    on.object("Building", {0: PolygonCoordinates(points((0.1, 0.1), (0.2, 0.1), (0.2, 0.3)))})
    on.classification("Tags", ("Night",), [Range(0, 2)])


def _slices(on: Labeller) -> None:
    for index in range(2):
        on.object("Vehicle", {frame: box(index, frame) for frame in range(0, 6, index + 1)}, nth=index)
    on.object("Building", {3: PolygonCoordinates(points((0.2, 0.2), (0.4, 0.2), (0.3, 0.5)))})
    on.classification("Weather", "Sunny", [Range(0, 5)])


def _time_series(on: Labeller) -> None:
    on.object("Peak", {0: TimeRangeCoordinates(range=[Range(100, 250), Range(900, 950)])})
    on.classification("Remark", "two peaks", [Range(0, 0)])


def _group(on: Labeller) -> None:
    camera = on.row.get_space(layout_key="front-camera", type_="video")
    on.on_space("Vehicle", camera, [0, 1, 2], box(0), nth=0)
    on.on_space("Vehicle", camera, Range(3, 5), box(1), nth=1)
    on.classification_on_space("Weather", "Rain", camera, Range(0, 9))
    still = on.row.get_space(layout_key="map", type_="image")
    on.on_space("Building", still, PolygonCoordinates(points((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))))
    voice = on.row.get_space(layout_key="cabin-audio", type_="audio")
    on.on_space("Speech", voice, [Range(100, 2000)])
    letter = on.row.get_space(layout_key="report", type_="text")
    on.on_space("Phrase", letter, [Range(0, 24)])


def _scene(on: Labeller) -> None:
    cloud = on.row.get_space(stream_id="lidar", type_="point_cloud")
    on.on_space("Ground points", cloud, [Range(0, 99), Range(250, 300)])
    camera = on.row.get_space(stream_id="camera", type_="image")
    on.on_space("Vehicle", camera, box(0))


def _branch(on: Labeller) -> None:
    on.object("Vehicle", {0: box(0)}, nth=0)


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
