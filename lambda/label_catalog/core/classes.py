"""The classes of an ontology, as formats number them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """A class of objects. `position` counts from 0 in the ontology's order; `points` and `edges` are for skeletons.

    `nested` has the names of the attributes that belong to an option of another attribute.
    """

    position: int
    feature_hash: str
    name: str
    shape: str
    points: tuple[str, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    nested: frozenset[str] = frozenset()


def object_classes(ontology: Mapping[str, Any]) -> tuple[ObjectClass, ...]:
    """Return the object classes of `ontology.json`, which has Encord's `editor` structure, in its order."""
    structure = ontology.get("editor", ontology)
    listed = [item.get("template", item) for item in structure.get("skeleton_templates") or ()]
    templates = {template.get("feature_node_hash", template.get("featureNodeHash")): template for template in listed}
    found = []
    for position, item in enumerate(structure.get("objects") or ()):
        feature = str(item.get("featureNodeHash", item.get("feature_node_hash", "")))
        points, edges = _skeleton(templates.get(feature))
        name, shape = str(item.get("name", "")), str(item.get("shape", ""))
        nested = frozenset(_nested(item.get("attributes") or (), inside=False))
        found.append(ObjectClass(position, feature, name, shape, points, edges, nested))
    return tuple(found)


def _nested(attributes: Iterable[Mapping[str, Any]], *, inside: bool) -> Iterator[str]:
    for attribute in attributes:
        if inside:
            yield str(attribute.get("name", ""))
        for option in attribute.get("options") or ():
            yield from _nested(option.get("options") or (), inside=True)


def _skeleton(template: Mapping[str, Any] | None) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    if template is None:
        return (), ()
    points = template.get("skeleton") or {}
    order = {index: position for position, index in enumerate(points)}
    edges = template.get("skeletonEdges") or {}
    named = tuple(str(point.get("name", index)) for index, point in points.items())
    pairs = [(begin, end) for begin, ends in edges.items() for end in ends if begin in order and end in order]
    return named, tuple((order[begin] + 1, order[end] + 1) for begin, end in pairs)  # COCO counts points from 1
