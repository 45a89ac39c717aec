"""The ontology of the synthetic projects, built with the SDK's own classes. Needs the ``encord`` package."""

from __future__ import annotations

from typing import Any

from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, NumericAttribute, RadioAttribute, TextAttribute
from encord.objects.skeleton_template import SkeletonTemplate

from encord_stand_in.rows.names import short

# Name and shape of each object class; the feature hash is derived from the name.
OBJECTS: tuple[tuple[str, Shape], ...] = (
    ("Vehicle", Shape.BOUNDING_BOX),
    ("Lane", Shape.POLYLINE),
    ("Building", Shape.POLYGON),
    ("Traffic light", Shape.POINT),
    ("Parking space", Shape.ROTATABLE_BOUNDING_BOX),
    ("Road surface", Shape.BITMASK),
    ("Wheel", Shape.CIRCLE),
    ("Manhole", Shape.ELLIPSE),
    ("Crate", Shape.CUBOID_2D),
    ("Speech", Shape.AUDIO),
    ("Phrase", Shape.TEXT),
    ("Peak", Shape.TIME_RANGE),
    ("Ground points", Shape.SEGMENTATION),
)


def feature(*names: str) -> str:
    """Return the feature hash of an ontology element by its path of names."""
    return short("feature", *names)


def build_structure() -> OntologyStructure:
    """Return the structure that every label row of the main project conforms to."""
    structure = OntologyStructure()
    for name, shape in OBJECTS:
        structure.add_object(name, shape, feature_node_hash=feature(name))
    _add_person(structure)
    vehicle = structure.objects[0]
    kind = vehicle.add_attribute(RadioAttribute, "Kind", feature_node_hash=feature("Vehicle", "Kind"))
    for option in ("Car", "Lorry", "Straßenbahn"):
        kind.add_option(option, feature_node_hash=feature("Vehicle", "Kind", option))
    vehicle.add_attribute(TextAttribute, "Note", feature_node_hash=feature("Vehicle", "Note"))
    vehicle.add_attribute(NumericAttribute, "Speed", feature_node_hash=feature("Vehicle", "Speed"))
    lights = vehicle.add_attribute(
        ChecklistAttribute, "Lights", feature_node_hash=feature("Vehicle", "Lights"), dynamic=True
    )
    for option in ("Brake", "Left", "Right"):
        lights.add_option(option, feature_node_hash=feature("Vehicle", "Lights", option))
    motion = vehicle.add_attribute(
        RadioAttribute, "Motion", feature_node_hash=feature("Vehicle", "Motion"), dynamic=True
    )
    for option in ("Standing", "Moving"):
        motion.add_option(option, feature_node_hash=feature("Vehicle", "Motion", option))
    speech = next(item for item in structure.objects if item.name == "Speech")
    speech.add_attribute(TextAttribute, "Words", feature_node_hash=feature("Speech", "Words"))
    _add_classifications(structure)
    return structure


def _add_person(structure: OntologyStructure) -> None:
    parts = ("head", "hand", "foot")
    template = SkeletonTemplate.from_dict(
        {
            "name": "Person",
            "width": 0.2,
            "height": 0.4,
            "skeleton": {
                str(index): {
                    "x": 0.1 * index,
                    "y": 0.15 * index,
                    "name": part,
                    "color": "#000000",
                    "value": part,
                    "featureHash": feature("Person", part),
                }
                for index, part in enumerate(parts)
            },
            "skeletonEdges": {"0": {"1": {"color": "#00000"}}, "1": {"2": {"color": "#00000"}}},
            "featureNodeHash": feature("Person"),
        }
    )
    structure.add_skeleton_object("Person", template, feature_node_hash=feature("Person"))


def _add_classifications(structure: OntologyStructure) -> None:
    weather = structure.add_classification(feature_node_hash=feature("Weather"))
    radio = weather.add_attribute(RadioAttribute, "Weather", feature_node_hash=feature("Weather", "Weather"))
    for option in ("Sunny", "Rain", "雪"):
        radio.add_option(option, feature_node_hash=feature("Weather", "Weather", option))
    remark = structure.add_classification(feature_node_hash=feature("Remark"))
    remark.add_attribute(TextAttribute, "Remark", feature_node_hash=feature("Remark", "Remark"))
    tags = structure.add_classification(feature_node_hash=feature("Tags"))
    checklist = tags.add_attribute(ChecklistAttribute, "Tags", feature_node_hash=feature("Tags", "Tags"))
    for option in ("Night", "Crowded", "Blurred"):
        checklist.add_option(option, feature_node_hash=feature("Tags", "Tags", option))


def editor(structure: OntologyStructure) -> dict[str, Any]:
    """Return the structure in the form that the REST API serves (``editor``)."""
    return dict(structure.to_dict())
