"""COCO: images, annotations and categories in one JSON document. Pure functions.

Source of the format: https://cocodataset.org/#format-data. File names are those of Encord's own COCO exporter
(encord.utilities.coco.exporter of the SDK 0.1.211): `images/<data hash>.<ending>`, `videos/<data hash>/<frame>.jpg`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from label_catalog.core.classes import ObjectClass
from label_catalog.core.geometry import Figure, GeometryError, figure
from label_catalog.core.labelled_data import Annotation, Image, Labelled, extension, shown
from label_catalog.core.losses import Losses

# Shapes that COCO's readers can use. Lines have no area: a reader would treat them as polygons.
SHAPES = frozenset(
    {"bounding_box", "rotatable_bounding_box", "polygon", "bitmask", "circle", "ellipse", "skeleton", "point"}
)
_DIGITS = 3  # decimal places of a pixel
_SEPARATOR = ",\n"
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps would make one for each item


class Writer:
    """Makes the texts of images and annotations. Ids count from 1 in the order of labels.

    So the same snapshot gives the same document. Categories keep their number as long as no class is put before them in
    the ontology.
    """

    def __init__(self, classes: Sequence[ObjectClass], losses: Losses, images: int = 0, annotations: int = 0) -> None:
        """`images`, `annotations`: the numbers of them in the previous parts."""
        self._classes = {item.feature_hash: item for item in classes}
        self._losses = losses
        self.images = images
        self.annotations = annotations

    def texts(self, label: Labelled) -> tuple[list[str], list[str]]:
        """Return a label's images and annotations as items of `document`, and count what cannot be shown."""
        found = shown(label)
        self._losses.label(len(found.images), found.reason)
        for annotation, reason in found.hidden:
            self._losses.left_out(annotation, reason)
        images: list[str] = []
        annotations: list[str] = []
        for image in found.images:
            self.images += 1
            images.append(_SEPARATOR + _json(_image(label, image, self.images)))
            for annotation in image.annotations:
                if annotation.kind == "classification":
                    self._losses.written(annotation, "image_classification")
                elif (made := self._object(image, annotation)) is not None:
                    annotations.append(_SEPARATOR + _json(made))
        return images, annotations

    def _object(self, image: Image, annotation: Annotation) -> dict[str, Any] | None:
        category = self._classes.get(annotation.feature_hash)
        size = image.unit.width, image.unit.height
        problem = None
        made: Figure | None = None
        if annotation.shape not in SHAPES:
            problem = "shape"
        elif category is None or category.shape not in SHAPES:
            problem = "class_unknown"
        elif size[0] is None or size[1] is None:
            problem = "size_unknown"
        else:
            try:
                made = figure(annotation.shape, annotation.geometry, size[0], size[1])
            except GeometryError:
                problem = "geometry"
            else:
                problem = "shape" if made is None else None
        if problem is not None or made is None or category is None:
            self._losses.left_out(annotation, problem or "shape")
            return None
        self.annotations += 1
        self._losses.written(annotation, *_reduced(annotation, made, category))
        return _annotation(annotation, made, category, self.annotations, self.images)


def document(
    classes: Sequence[ObjectClass], info: Mapping[str, Any], images: Iterable[str], annotations: Iterable[str]
) -> Iterator[str]:
    """Yield the text of the COCO document around the texts that a `Writer` has made, in pieces of any size."""
    yield f'{{"info":{_json(info)},"categories":{_json([_category(item) for item in classes if item.shape in SHAPES])}'
    yield ',"images":['
    yield from _listed(images)
    yield '\n],"annotations":['
    yield from _listed(annotations)
    yield "\n]}\n"


def _listed(pieces: Iterable[str]) -> Iterator[str]:
    """Yield pieces without the comma before the first item."""
    first = True
    for piece in pieces:
        yield piece[1:] if first else piece
        first = first and not piece


def _category(item: ObjectClass) -> dict[str, Any]:
    category: dict[str, Any] = {
        "id": item.position + 1,
        "name": item.name,
        "supercategory": item.shape,
        "feature_hash": item.feature_hash,
    }
    if item.shape == "point":
        category |= {"keypoints": ["point"], "skeleton": []}
    elif item.shape == "skeleton":
        category |= {"keypoints": list(item.points), "skeleton": [list(edge) for edge in item.edges]}
    return category


def _image(label: Labelled, image: Image, number: int) -> dict[str, Any]:
    unit, row = image.unit, label.row
    folder = "images" if image.frame is None else "videos"
    found = {
        "id": number,
        "file_name": f"{folder}/{image.file_name}.{extension(unit, image.frame)}",
        "width": unit.width or 0,
        "height": unit.height or 0,
        "coco_url": unit.link or "",
        "label_hash": row["label_hash"],
        "data_hash": unit.data_hash,
        "title": unit.title or row.get("data_title"),
    }
    if image.frame is not None:
        found |= {"frame": image.frame}
    classifications = [item for item in image.annotations if item.kind == "classification"]
    if classifications:
        found["classifications"] = {item.name or item.feature_hash: item.attributes for item in classifications}
    return found


def _annotation(annotation: Annotation, made: Figure, category: ObjectClass, number: int, image: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": number,
        "image_id": image,
        "category_id": category.position + 1,
        "bbox": [round(value, _DIGITS) for value in made.box],
        "area": round(made.area, _DIGITS),
        "iscrowd": 0,
        "segmentation": _segmentation(made),
    }
    if made.keypoints:
        flat = [value for x, y, seen in made.keypoints for value in (round(x, _DIGITS), round(y, _DIGITS), seen)]
        found |= {"keypoints": flat, "num_keypoints": sum(1 for *_, seen in made.keypoints if seen)}
    attributes = dict(annotation.attributes)
    if made.angle is not None:
        attributes.setdefault("rotation", made.angle)
    found |= {"attributes": attributes, "shape": annotation.shape, "object_hash": annotation.hash}
    found |= {"feature_hash": annotation.feature_hash}
    if annotation.track_hash is not None:
        found["track_hash"] = annotation.track_hash
    return found


def _segmentation(made: Figure) -> Any:
    if made.mask is not None:
        return {"size": [made.mask.height, made.mask.width], "counts": made.mask.counts}
    return [[round(value, _DIGITS) for point in ring for value in point] for ring in made.outline]


def _reduced(annotation: Annotation, made: Figure, category: ObjectClass) -> Iterator[str]:
    if made.angle is not None:
        yield "rotation"
    if made.has_holes:
        yield "holes"
    if annotation.shape in ("circle", "ellipse"):
        yield "approximated"
    if annotation.track_hash is not None:
        yield "track"
    if any(name in category.nested or is_nested(value) for name, value in annotation.attributes.items()):
        yield "nested_attributes"


def is_nested(answer: Any) -> bool:
    """Return whether an attribute's answer is more than a value or a list of values."""
    if isinstance(answer, Mapping):
        return True
    return isinstance(answer, list) and any(isinstance(item, (Mapping, list)) for item in answer)


def _json(value: Any) -> str:
    return _encoder.encode(value)
