"""JSON Lines: one line for each data unit and frame with everything in the index about it. Pure functions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from label_catalog.core.labelled_data import Annotation, Labelled, Unit, modality
from label_catalog.core.losses import Losses

# Characters in a text that Python's str.splitlines treats as line ends; JSON may contain them unescaped.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}

_encoder = json.JSONEncoder(ensure_ascii=False)


def lines(label: Labelled, losses: Losses) -> Iterator[str]:
    """Yield a line for each unit without frames, and one for each frame with an annotation.

    `frame` is null for annotations without a frame: spans of audio and text, and classes of a whole unit. Geometries
    and attributes are as in the index: a parsed label is complete. Every type of data has lines, including
    audio, text and DICOM.
    """
    if label.units is None:
        losses.label(0, "not_parsed")
        return
    count = 0
    by_unit: dict[str, dict[int | None, list[Annotation]]] = defaultdict(lambda: defaultdict(list))
    for annotation in label.annotations:
        by_unit[annotation.data_hash][annotation.frame].append(annotation)
        losses.written(annotation)
    known = {unit.data_hash for unit in label.units}
    units = [*label.units, *(Unit(data_hash) for data_hash in by_unit if data_hash not in known)]
    for unit in units:
        for frame, found in sorted((by_unit.get(unit.data_hash) or {0: []}).items(), key=_order):
            count += 1
            yield _encoder.encode(_line(label.row, unit, frame, found)).translate(_LINE_ENDS) + "\n"
    losses.label(count, None)


def _order(item: tuple[int | None, list[Annotation]]) -> int:
    return -1 if item[0] is None else item[0]


def _line(row: Mapping[str, Any], unit: Unit, frame: int | None, found: list[Annotation]) -> dict[str, Any]:
    return {
        "label_hash": row["label_hash"],
        "data_hash": unit.data_hash,
        "frame": frame,
        "modality": modality(unit.type, str(row.get("data_type") or "")),
        "title": unit.title,
        "dataset_title": row.get("dataset_title"),
        "branch_name": row.get("branch_name"),
        "width": unit.width,
        "height": unit.height,
        "link": unit.link,
        "sha256": row.get("sha256"),
        "objects": [
            {
                "object_hash": item.hash,
                "feature_hash": item.feature_hash,
                "name": item.name,
                "shape": item.shape,
                "geometry": item.geometry,
                "attributes": item.attributes,
                "track_hash": item.track_hash,
            }
            for item in found
            if item.kind == "object"
        ],
        "classifications": [
            {
                "classification_hash": item.hash,
                "feature_hash": item.feature_hash,
                "name": item.name,
                "attributes": item.attributes,
            }
            for item in found
            if item.kind == "classification"
        ],
    }
