"""The input of formats: a frozen label with its data units and annotations, and the images that it shows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

MOST_FRAMES = 1_000_000  # of one annotation with spans
_EXTENSIONS = {"image/jpeg": "jpg", "image/svg+xml": "svg", "image/tiff": "tif"}

# The modality of a data unit's type: the first of these that is in its text. Types of spaces are not MIME types.
_MODALITIES = (
    ("dicom", "dicom"),
    ("nifti", "nifti"),
    ("pdf", "pdf"),
    ("audio", "audio"),
    ("deleted", "deleted"),
    ("point_cloud", "scene"),
    ("scene_image", "image"),
    ("image", "image"),
    ("video", "video"),
    ("html", "text"),
    ("text/csv", "time_series"),
    ("text", "text"),
)
# ... and of a whole label row's type, which is used if its data unit has no type of its own.
_ROW_MODALITIES = {
    "dicom": "dicom",
    "nifti": "nifti",
    "pdf": "pdf",
    "audio": "audio",
    "plain_text": "text",
    "time_series": "time_series",
    "scene": "scene",
    "deleted": "deleted",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A data unit of a label row. `type` is as served; width and height are in pixels, or None."""

    data_hash: str
    title: str | None = None
    type: str | None = None
    width: int | None = None
    height: int | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One row of annotations.parquet. `geometry` and `attributes` are parsed JSON.

    `frame` is None for annotations without a frame: a span of audio or text, or a class of a whole data unit. Then the
    geometry has the spans (`range`).
    """

    data_hash: str
    frame: int | None
    kind: str
    hash: str
    feature_hash: str
    name: str | None
    shape: str | None
    geometry: Any
    attributes: Mapping[str, Any]
    track_hash: str | None
    width: int | None
    height: int | None
    data_link: str | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label of a snapshot with its annotations, in the order of their frames. `row` has the manifest's columns."""

    row: Mapping[str, Any]
    units: tuple[Unit, ...] | None
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """An image, or one frame of a video. `frame` is None for an image."""

    unit: Unit
    frame: int | None
    file_name: str
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What image formats can show of a label: its images, or the reason why there are none."""

    images: tuple[Image, ...]
    hidden: tuple[tuple[Annotation, str], ...]
    reason: str | None  # why the label has no image at all


def units_of(text: str | None) -> tuple[Unit, ...] | None:
    """Return the data units in a manifest's column `units`, or None if the row was not parsed."""
    if text is None:
        return None
    return tuple(
        Unit(
            data_hash=unit["data_hash"],
            title=unit.get("title"),
            type=unit.get("type"),
            width=unit.get("width") or None,
            height=unit.get("height") or None,
            link=unit.get("link"),
        )
        for unit in json.loads(text)
    )


def shown(label: Labelled) -> Shown:
    """Return the images of a label.

    An image is included whether or not it has annotations, since a training run also needs the empty ones. Of a
    video only frames with an annotation are included: the others are not in the label row.
    """
    if label.units is None:
        return Shown((), (), "not_parsed")
    kinds = {unit.data_hash: modality(unit.type, str(label.row.get("data_type") or "")) for unit in label.units}
    by_unit: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in _placed(label, kinds):
        by_unit[annotation.data_hash].append(annotation)
    images: list[Image] = []
    hidden: list[tuple[Annotation, str]] = []
    reasons: list[str] = []
    for unit in label.units:
        found, kind = by_unit.pop(unit.data_hash, []), kinds[unit.data_hash]
        if kind == "image":
            images.append(Image(unit, None, _file_name(label, unit, None), tuple(found)))
        elif kind == "video":
            frames = list(_frames(label, unit, found))
            images += frames
            hidden += [(annotation, "no_frame") for annotation in found if annotation.frame is None]
            reasons += [] if frames else ["video_without_annotations"]
        else:
            hidden += [(annotation, kind) for annotation in found]
            reasons.append(kind)
    hidden += [(annotation, "unknown_unit") for found in by_unit.values() for annotation in found]
    return Shown(tuple(images), tuple(hidden), None if images else next(iter(reasons), "no_data_unit"))


def _placed(label: Labelled, kinds: Mapping[str, str]) -> Iterator[Annotation]:
    """Yield the annotations; those with spans of frames once for each frame.

    The spans of a video count its frames, those of a group of images its images.
    """
    units = label.units or ()
    pictures = [unit for unit in units if kinds[unit.data_hash] == "image"]
    for annotation in label.annotations:
        spans = _spans(annotation)
        kind = kinds.get(annotation.data_hash)
        if spans is None or kind not in ("image", "video"):
            yield annotation
        elif kind == "video":
            yield from (replace(annotation, frame=frame) for first, last in spans for frame in range(first, last + 1))
        else:
            numbers = [number for first, last in spans for number in range(first, min(last + 1, len(pictures)))]
            yield from (replace(annotation, frame=0, data_hash=pictures[number].data_hash) for number in numbers)


def _spans(annotation: Annotation) -> list[tuple[int, int]] | None:
    """Return the spans of an annotation without a frame of its own; None if there are none, or too many."""
    if annotation.frame is not None or not isinstance(annotation.geometry, Mapping):
        return None
    found = []
    listed = annotation.geometry.get("range")
    for span in listed if isinstance(listed, list) else ():
        match span:
            case [int(first), int(last)] if 0 <= first <= last:
                found.append((first, last))
    return found if found and sum(last - first for first, last in found) < MOST_FRAMES else None


def modality(unit_type: str | None, row_type: str) -> str:
    """Return image, video, or the reason in core/losses.py why a data unit is neither."""
    whole = _ROW_MODALITIES.get(row_type.lower())
    if whole is not None and whole != "scene":
        return whole
    text = (unit_type or "").lower()
    for part, name in _MODALITIES:
        if part in text:
            return name
    return whole or {"image": "image", "img_group": "image", "video": "video"}.get(row_type.lower(), "other")


def _frames(label: Labelled, unit: Unit, found: list[Annotation]) -> Iterator[Image]:
    by_frame: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in found:
        if annotation.frame is not None:
            by_frame[annotation.frame].append(annotation)
    for frame in sorted(by_frame):
        yield Image(unit, frame, _file_name(label, unit, frame), tuple(by_frame[frame]))


def _file_name(label: Labelled, unit: Unit, frame: int | None) -> str:
    """Return a file name without extension, unique in a project: two labels of one data unit are two branches."""
    branch = label.row.get("branch_name")
    folder = f"{label.row['label_hash']}/" if branch not in (None, "main") else ""
    return f"{folder}{unit.data_hash}" if frame is None else f"{folder}{unit.data_hash}/{frame}"


def extension(unit: Unit, frame: int | None) -> str:
    """Return the extension of an image's file name. A person who extracts a video's frames usually writes JPEG."""
    if frame is not None:
        return "jpg"
    kind = (unit.type or "").partition(";")[0].lower()
    ending = _EXTENSIONS.get(kind) or (kind.removeprefix("image/") if kind.startswith("image/") else "")
    if not ending and unit.title and "." in unit.title:
        ending = unit.title.rpartition(".")[2].lower()
    return ending if ending.isalnum() else "jpg"
