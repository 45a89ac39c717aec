"""YOLO detection: a text file for each image, with a line for each box. Pure functions.

Source of the format: https://docs.ultralytics.com/datasets/detect/. A data set of Ultralytics has one task. Every shape
with an area can be reduced to a box.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from label_catalog.core.classes import ObjectClass
from label_catalog.core.geometry import Box, Figure, GeometryError, figure
from label_catalog.core.labelled_data import Annotation, Image, Labelled, extension, shown
from label_catalog.core.losses import Losses

# Shapes with a box around them. A detector could not learn the box of a point or a line.
SHAPES = frozenset({"bounding_box", "rotatable_bounding_box", "polygon", "bitmask", "circle", "ellipse", "skeleton"})
_HINT = "# Put the images where images.jsonl says. Divide them into train and val as you need.\n"
_encoder = json.JSONEncoder(ensure_ascii=False)
_REDUCED = {
    "rotatable_bounding_box": "rotated_box",
    "polygon": "outline",
    "bitmask": "mask",
    "circle": "outline",
    "ellipse": "outline",
    "skeleton": "keypoints",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the data set."""

    name: str
    text: str


class Writer:
    """Makes a label file for each image, an empty one too: its absence of objects is a fact."""

    def __init__(self, classes: Sequence[ObjectClass], losses: Losses) -> None:
        self._numbers = {item.feature_hash: number for number, item in enumerate(_boxed(classes))}
        self._losses = losses

    def files(self, label: Labelled) -> Iterator[tuple[File, str]]:
        """Yield an image's label file, and its line of `images.jsonl`, for each image of a label."""
        found, losses = shown(label), self._losses
        losses.label(len(found.images), found.reason)
        for annotation, reason in found.hidden:
            losses.left_out(annotation, reason)
        for image in found.images:
            lines = [_line(image, item, self._numbers, losses) for item in image.annotations]
            text = "".join(f"{line}\n" for line in lines if line is not None)
            yield File(f"labels/{image.file_name}.txt", text), _image_line(label, image)


def _image_line(label: Labelled, image: Image) -> str:
    """Return a JSON line for an image: the name that its file must get, and where it comes from."""
    about = {
        "file_name": f"images/{image.file_name}.{extension(image.unit, image.frame)}",
        "label_hash": label.row["label_hash"],
        "data_hash": image.unit.data_hash,
        "frame": image.frame,
        "title": image.unit.title,
        "width": image.unit.width,
        "height": image.unit.height,
        "link": image.unit.link,
    }
    return _encoder.encode(about) + "\n"


def _boxed(classes: Sequence[ObjectClass]) -> list[ObjectClass]:
    return [item for item in classes if item.shape in SHAPES]


def data(classes: Sequence[ObjectClass]) -> str:
    """Return `data.yaml`. Its strings are JSON, which YAML reads."""
    names = "".join(f"  {number}: {json.dumps(item.name)}\n" for number, item in enumerate(_boxed(classes)))
    return f"{_HINT}path: .\ntrain: images\nval: images\nnames:\n{names}"


def _line(image: Image, annotation: Annotation, numbers: dict[str, int], losses: Losses) -> str | None:
    problem = None
    made: Figure | None = None
    if annotation.kind == "classification":
        problem = "classification"
    elif annotation.shape not in SHAPES:
        problem = "shape"
    elif annotation.feature_hash not in numbers:
        problem = "class_unknown"
    elif image.unit.width is None or image.unit.height is None:
        problem = "size_unknown"
    else:
        try:
            made = figure(annotation.shape, annotation.geometry, image.unit.width, image.unit.height)
        except GeometryError:
            problem = "geometry"
    box = _inside(made.box, image.unit.width or 1, image.unit.height or 1) if made is not None else None
    if made is not None and box is None:
        problem = "outside_image"
    if problem is not None or box is None:
        losses.left_out(annotation, problem or "shape")
        return None
    losses.written(annotation, *_reductions(annotation))
    numbers_text = " ".join(f"{value:.6f}" for value in box)
    return f"{numbers[annotation.feature_hash]} {numbers_text}"


def _reductions(annotation: Annotation) -> Iterator[str]:
    if annotation.shape in _REDUCED:
        yield _REDUCED[annotation.shape]
    if annotation.track_hash is not None:
        yield "no_track"
    if annotation.attributes:
        yield "attributes"


def _inside(box: Box, width: int, height: int) -> Box | None:
    """Return centre and size of a box relative to the image, cut at its edges: readers refuse coordinates outside."""
    left, top = max(0.0, box[0] / width), max(0.0, box[1] / height)
    right, bottom = min(1.0, (box[0] + box[2]) / width), min(1.0, (box[1] + box[3]) / height)
    if right <= left or bottom <= top:
        return None
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
