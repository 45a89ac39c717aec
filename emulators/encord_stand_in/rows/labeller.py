"""Add objects and classifications to a label row with the SDK's classes. Needs the ``encord`` package."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from encord.constants.enums import is_geometric
from encord.objects import Classification, ClassificationInstance, LabelRowV2, Object, ObjectInstance
from encord.objects.attributes import Attribute, ChecklistAttribute, RadioAttribute
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    Coordinates,
    PointCoordinate,
)
from encord.objects.frames import Range
from encord.ontology import Ontology

from encord_stand_in.rows.names import short
from encord_stand_in.rows.ontology import feature

AUTHOR = "annotator@example.com"
REVIEWER = "reviewer@example.com"


class Labeller:
    """Adds objects and classifications to a row, each with derived hashes and times."""

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
        """Answer an attribute of an object; ``frames`` is for a dynamic attribute."""
        attribute = next(item for item in instance.ontology_item.attributes if item.name == name)
        instance.set_answer(_answer(attribute, answer), attribute, frames=frames)

    def _stamp(self) -> dict[str, Any]:
        self._count += 1
        edited = self._at + timedelta(seconds=self._count, milliseconds=37 * self._count)
        return {
            "created_at": self._at,
            "created_by": AUTHOR,
            "last_edited_at": edited,
            "last_edited_by": REVIEWER if self._count % 3 == 0 else AUTHOR,
        }


def _answer(attribute: Attribute[Any], answer: Any) -> Any:
    if isinstance(attribute, RadioAttribute):
        return next(option for option in attribute.options if option.label == answer)
    if isinstance(attribute, ChecklistAttribute):
        return [option for option in attribute.options if option.label in answer]
    return answer


def box(index: int, frame: int = 0) -> BoundingBoxCoordinates:
    shift = 0.0137 * frame
    return BoundingBoxCoordinates(
        height=0.1 + 0.01 * index, width=0.2, top_left_x=0.05 * index + shift / 3, top_left_y=0.1 + 0.2 * shift
    )


def points(*values: tuple[float, float]) -> list[PointCoordinate]:
    return [PointCoordinate(x=x, y=y) for x, y in values]
