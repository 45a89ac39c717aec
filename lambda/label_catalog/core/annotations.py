"""Reads a label row: one line for the label, and one for each object or classification and frame. Pure.

The form of a label row is documented at https://docs.encord.com/sdk-documentation/sdk-references/LabelRowV2 and read
as Encord serves it: `data_units` with `labels` (of an image `{"objects": [], "classifications": []}`, otherwise one of
these for each frame), `object_answers`, `classification_answers`, `object_actions`, and `spaces` in groups and scenes.
Other parts of a row are ignored; a part of another form is skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from label_export.core.edit_times import parse_edit_time

Kind = Literal["object", "classification"]

# The member with an object's geometry has its shape's name, except for these (encord/objects/types.py).
_GEOMETRY = {"bounding_box": "boundingBox", "rotatable_bounding_box": "rotatableBoundingBox"}
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_RANGES = ("range", "range_html", "spaces")
_FRAME = re.compile(r"(?:.*#)?(\d{1,9})")
_SIGNED = re.compile(r"(?i)(signature|x-amz-|x-goog-|[?&](sig|token|expires|key-pair-id)=)")


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object or classification on one frame. `frame` is None for one that is not on a frame (a span, a whole unit).

    `geometry` is the shape's own value as JSON text, `attributes` a JSON object of answers by attribute name.
    """

    label_hash: str
    data_hash: str | None
    frame: int | None
    kind: Kind
    hash: str | None
    feature_hash: str | None
    name: str | None
    shape: str | None
    geometry: str | None
    attributes: str | None
    track_hash: str | None
    width: int | None
    height: int | None
    data_link: str | None
    created_at: datetime | None
    edited_at: datetime | None
    created_by: str | None
    last_edited_by: str | None


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """The facts about a label in its row."""

    label_hash: str | None
    data_hash: str | None
    dataset_hash: str | None
    data_title: str | None
    data_type: str | None
    dataset_title: str | None
    branch_name: str | None
    status: str | None
    edited_at: datetime | None


@dataclass(slots=True)
class Counts:
    """Counts while a row's annotations are read. Each object and classification is counted once."""

    objects: set[str] = field(default_factory=set)
    classifications: set[str] = field(default_factory=set)


def label_facts(row: Mapping[str, Any]) -> LabelFacts:
    """Return the facts about a label in its row."""
    return LabelFacts(
        label_hash=_text(row.get("label_hash")),
        data_hash=_text(row.get("data_hash")),
        dataset_hash=_text(row.get("dataset_hash")),
        data_title=_text(row.get("data_title")),
        data_type=_text(row.get("data_type")),
        dataset_title=_text(row.get("dataset_title")),
        branch_name=_text(row.get("branch_name")),
        status=_text(row.get("label_status")),
        edited_at=parse_edit_time(row.get("last_edited_at")),
    )


def data_units(row: Mapping[str, Any]) -> str:
    """Return a row's data units as a JSON list in their order, since an image without annotations is an image too.

    Each has `data_hash` (as in the annotations), `title`, `type` (MIME type as served; for a space its type),
    `width`, `height` and `link`; null if it has none.
    """
    units = sorted(
        _items(_mapping(row.get("data_units")).values()), key=lambda one: _whole(one.get("data_sequence")) or 0
    )
    spaces = [item for item in _mapping(row.get("spaces")).items() if isinstance(item[1], Mapping)]
    found = [_unit(unit, _text(unit.get("data_hash")), "data_type", "data_title") for unit in units]
    children = _children(units[-1] if units else {})
    for space_hash, space in spaces:
        data_hash = _space_data(space_hash, space, children)
        found.append(_unit({**_mapping(space.get("child_info")), **space}, data_hash, "space_type", "file_name"))
    return _json(found)


def _unit(unit: Mapping[str, Any], data_hash: str | None, kind: str, title: str) -> dict[str, Any]:
    return {
        "data_hash": data_hash,
        "title": _text(unit.get(title)),
        "type": _text(unit.get(kind)),
        "width": _whole(unit.get("width")) or None,
        "height": _whole(unit.get("height")) or None,
        "link": _link(unit),
    }


def _children(unit: Mapping[str, Any]) -> dict[str | None, str | None]:
    """Return the data units of a group by their place in its layout."""
    listed = _items(_mapping(unit.get("metadata")).get("children"))
    return {_text(child.get("layout_key")): _text(child.get("data_hash")) for child in listed}


def _space_data(space_hash: str, space: Mapping[str, Any], children: Mapping[str | None, str | None]) -> str:
    """Return the data hash of a space of a group or scene, or the space's own hash if it has none."""
    child = _mapping(space.get("child_info"))
    return _text(child.get("data_hash")) or children.get(_text(child.get("layout_key"))) or space_hash


def ontology_names(ontology: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the names of an ontology's objects and classifications by feature hash.

    `ontology` has `objects` (each with `name` and `featureNodeHash`) and `classifications` (each with
    `featureNodeHash` and `attributes`; the name of the first one is that of the classification).
    """
    names: dict[str, str] = {}
    structure = _mapping(ontology)
    for item in _items(structure.get("objects")):
        feature, name = _text(item.get("featureNodeHash")), _text(item.get("name"))
        if feature and name:
            names[feature] = name
    for item in _items(structure.get("classifications")):
        feature = _text(item.get("featureNodeHash"))
        name = next((_text(attribute.get("name")) for attribute in _items(item.get("attributes"))), None)
        if feature and name:
            names[feature] = name
    return names


def read_annotations(
    row: Mapping[str, Any], names: Mapping[str, str], counts: Counts, *, personal: bool = False
) -> Iterator[Annotation]:
    """Yield a row's annotations, and count them in `counts`, which is complete when the iterator has ended.

    Args:
        row: the label row, parsed. `labels` of its units may be mappings that parse a frame on access.
        names: names by feature hash (`ontology_names`); if one is missing, the row's own name is used.
        counts: new for each row.
        personal: whether e-mail addresses of annotators are included.
    """
    reader = _Row(row, names, counts, personal)
    seen: set[tuple[object, ...]] | None = set() if row.get("spaces") else None  # a scene contains its frames twice
    for found in reader.all():
        if seen is not None:
            identity = (found.kind, found.hash, found.frame, found.geometry)
            if identity in seen:
                continue
            seen.add(identity)
        yield found


class _Row:
    def __init__(self, row: Mapping[str, Any], names: Mapping[str, str], counts: Counts, personal: bool) -> None:
        self._row = row
        self._names = names
        self._counts = counts
        self._personal = personal
        self._label = _text(row.get("label_hash")) or ""
        self._object_answers = _mapping(row.get("object_answers"))
        self._classification_answers = _mapping(row.get("classification_answers"))
        self._object_actions = _mapping(row.get("object_actions"))
        self._fixed: dict[str, dict[str, Any]] = {}

    def all(self) -> Iterator[Annotation]:
        unit: Mapping[str, Any] = {}
        for unit in _items(_mapping(self._row.get("data_units")).values()):
            yield from self._frames(unit, _text(unit.get("data_hash")), _whole(unit.get("data_sequence")))
        children = _children(unit)
        for space_hash, space in _mapping(self._row.get("spaces")).items():
            about = _mapping(space)
            data_hash = _space_data(space_hash, about, children)
            frame = _whole(_mapping(about.get("scene_info")).get("event_index"))
            yield from self._frames(about, data_hash, frame)
        # Not on a frame: spans of audio and text, and annotations of a whole unit.
        whole, link = _text(unit.get("data_hash")) or _text(self._row.get("data_hash")), _link(unit)
        for name, answer in self._object_answers.items():
            if name not in self._counts.objects and _has_range(answer):
                yield self._annotation("object", answer, unit, whole, None, link)
        for name, answer in self._classification_answers.items():
            if name not in self._counts.classifications and isinstance(answer, Mapping):
                yield self._annotation("classification", answer, unit, whole, None, link)

    def _frames(self, unit: Mapping[str, Any], data_hash: str | None, sequence: int | None) -> Iterator[Annotation]:
        labels, link = _mapping(unit.get("labels")), _link(unit)
        if "objects" in labels or "classifications" in labels:
            yield from self._frame(labels, unit, data_hash, sequence or 0, link)
            return
        for name in labels:
            number = _FRAME.fullmatch(str(name))
            if number is not None:
                yield from self._frame(_mapping(labels[name]), unit, data_hash, int(number[1]), link)

    def _frame(
        self, frame: Mapping[str, Any], unit: Mapping[str, Any], data_hash: str | None, number: int, link: str | None
    ) -> Iterator[Annotation]:
        for item in _items(frame.get("objects")):
            yield self._annotation("object", item, unit, data_hash, number, link)
        for item in _items(frame.get("classifications")):
            yield self._annotation("classification", item, unit, data_hash, number, link)

    def _annotation(  # noqa: PLR0913, PLR0917 - the row, the unit and the frame meet here, once for each line
        self,
        kind: Kind,
        item: Mapping[str, Any],
        unit: Mapping[str, Any],
        data_hash: str | None,
        frame: int | None,
        link: str | None,
    ) -> Annotation:
        own = _text(item.get("objectHash" if kind == "object" else "classificationHash"))
        if own is not None:
            (self._counts.objects if kind == "object" else self._counts.classifications).add(own)
        feature = _text(item.get("featureHash"))
        name = self._names.get(feature or "") or _text(item.get("name"))
        shape = _text(item.get("shape")) if kind == "object" else None
        attributes = self._attributes(kind, own, frame)
        if name is None and kind == "classification":
            name = next(iter(attributes), None)
        return Annotation(
            label_hash=self._label,
            data_hash=data_hash,
            frame=frame,
            kind=kind,
            hash=own,
            feature_hash=feature,
            name=name,
            shape=shape,
            geometry=_geometry(item, shape, frame),
            attributes=_json(attributes) if attributes else None,
            track_hash=_text(item.get("trackHash")),
            width=_whole(unit.get("width")) or None,  # 0: unknown
            height=_whole(unit.get("height")) or None,
            data_link=link,
            created_at=_time(item.get("createdAt")),
            edited_at=_time(item.get("lastEditedAt")),
            created_by=_text(item.get("createdBy")) if self._personal else None,
            last_edited_by=_text(item.get("lastEditedBy")) if self._personal else None,
        )

    def _attributes(self, kind: Kind, own: str | None, frame: int | None) -> dict[str, Any]:
        if own is None:
            return {}
        fixed = self._fixed.get(own)
        if fixed is None:
            answers = self._object_answers if kind == "object" else self._classification_answers
            fixed = self._fixed[own] = _answers(_mapping(answers.get(own)).get("classifications"))
        actions = self._object_actions.get(own)
        if kind == "classification" or frame is None or not actions:
            return fixed
        moving = [item for item in _items(_mapping(actions).get("actions")) if _covers(item.get("range"), frame)]
        return {**fixed, **_answers(moving)}


def _answers(found: object) -> dict[str, Any]:
    """Return answers by attribute name: a text or number unchanged, options as names (several as a list)."""
    answers: dict[str, Any] = {}
    for item in _items(found):
        name = _text(item.get("name"))
        if name is None:
            continue
        value = item.get("answers")
        if isinstance(value, list):
            chosen = [option.get("name") for option in _items(value)]
            answers[name] = chosen[0] if len(chosen) == 1 else chosen
            for option in _items(value):  # nested attributes, if a row has them in place
                answers |= _answers(option.get("classifications"))
        else:
            answers[name] = value
    return answers


def _geometry(item: Mapping[str, Any], shape: str | None, frame: int | None) -> str | None:
    value = item.get(_GEOMETRY.get(shape, shape)) if shape is not None else None
    if value is None and frame is None:
        value = {name: item[name] for name in _RANGES if item.get(name)} or None
    return None if value is None else _json(value)


def _has_range(answer: object) -> bool:
    return isinstance(answer, Mapping) and any(answer.get(name) for name in _RANGES)


def _covers(spans: object, frame: int) -> bool:
    for span in spans if isinstance(spans, list) else ():
        match span:
            case [int(first), int(last)] if first <= frame <= last:
                return True
    return False


def _time(value: object) -> datetime | None:
    return _parsed(value) if isinstance(value, str) else None


@lru_cache(4096)  # few distinct times in a label, and parsing takes 20 microseconds
def _parsed(text: str) -> datetime | None:
    return parse_edit_time(text)


def _link(unit: Mapping[str, Any]) -> str | None:
    link = _text(unit.get("data_link"))
    if not link or _SIGNED.search(link):
        return None
    return link.partition("?")[0]


def _json(value: object) -> str:
    return _encoder.encode(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    """Return a whole number that fits into a column; Encord serves some as text."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
        return int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    return value if fits and isinstance(value, int) else None


# A row is read a hundred times as often as it has an odd part, and `isinstance` asks an abstract class slowly: so what
# most rows have (dict, list) comes first.
def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) or isinstance(value, Mapping) else {}  # noqa: SIM101 - almost all are a dict


def _items(values: object) -> Iterable[Mapping[str, Any]]:
    if not isinstance(values, list) and (not isinstance(values, Iterable) or isinstance(values, str | Mapping)):
        return ()
    return [item for item in values if isinstance(item, dict) or isinstance(item, Mapping)]  # noqa: SIM101 - almost all are a dict
