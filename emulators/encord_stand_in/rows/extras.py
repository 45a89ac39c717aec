"""Data that the real service sends, and that the SDK neither writes nor keeps when it reads. Plain dictionaries.

Source: the fact sheet on Encord's API: track hashes, classifications per frame, DICOM links and metadata,
``child_info`` of a group's spaces, reviews, unknown keys at any level, empty frames, orphaned answers, times with
sub-seconds and offset.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from encord_stand_in.rows.names import identifier, short

# A string with this prefix is served as the JSON text after it: forms of numbers and strings that no serialiser writes.
RAW_PREFIX = "@raw:"


def add(row: dict[str, Any], key: str, metadata: dict[str, Any]) -> None:
    """Add data to a label row that a client must keep when it stores the row."""
    _tracks_and_reviews(row)
    _frame_classifications(row)
    _spaces(row, metadata)
    if metadata["data_type"] in {"VIDEO", "DICOM", "NIFTI", "PDF"}:
        for unit in row["data_units"].values():
            unit["labels"][str(metadata["number_of_frames"] - 1)] = unit["labels"].get(
                str(metadata["number_of_frames"] - 1), {"objects": [], "classifications": []}
            )
            unit["labels"]["4" if "4" not in unit["labels"] else "15"] = {"objects": [], "classifications": []}
    if metadata["data_type"] == "DICOM":
        _dicom(row, metadata)
    if metadata["data_type"] == "GROUP":
        for unit in row["data_units"].values():
            unit["metadata"] = {"children": _children(metadata)}
    if metadata["data_type"] != "PLAIN_TEXT" and metadata["data_type"] not in {"AUDIO", "TIME_SERIES"}:
        orphan = short("orphan", key)
        row["object_answers"][orphan] = {"objectHash": orphan, "classifications": []}
    row["editorVersion"] = {"build": "synthetic", "flags": [True, None, {"nested": []}]}
    if key == "image":
        row["oddNumbers"] = [
            f"{RAW_PREFIX}{text}"
            for text in ("1.10", "1E2", "-0.0", "1e-07", "18446744073709551615", '"\\u00e9\\/"', '"\\ud83d\\ude80"')
        ]


def delete_data_unit(row: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Mark the data unit as deleted after it was labelled (as documented, ``data_type`` is ``deleted``)."""
    row["data_type"] = "deleted"
    for unit in row["data_units"].values():
        unit["data_type"] = "deleted"
        unit["data_link"] = None
    metadata["data_type"] = "DELETED"
    metadata["data_link"] = None


def _labels(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (*row["data_units"].values(), *row["spaces"].values()):
        labels = holder.get("labels") or {}
        yield from ([labels] if "objects" in labels else labels.values())


def _tracks_and_reviews(row: dict[str, Any]) -> None:
    for index, labels in enumerate(_labels(row)):
        for label in labels["objects"]:
            label["trackHash"] = identifier("track", label["objectHash"])
            label["reviews"] = []
            if index % 2 == 0 and "lastEditedAt" in label:
                label["lastEditedAt"] = f"2025-03-04T09:{index % 60:02d}:07.{(index * 7919) % 1000000:06d}+02:00"
    for action in row["object_actions"].values():
        for item in action["actions"]:
            item["trackHash"] = identifier("track", action["objectHash"])
    for answer in row["classification_answers"].values():
        answer["reviews"] = []


def _frame_classifications(row: dict[str, Any]) -> None:
    """Add classifications to their frames too. The service does this; the SDK no longer does since 0.1.205."""
    for position, (unit_hash, unit) in enumerate(row["data_units"].items()):
        labels = unit.get("labels") or {}
        for answer in row["classification_answers"].values():
            if answer.get("spaces"):
                continue
            for start, end in answer.get("range") or []:
                for frame in range(start, min(end, start + 50) + 1):
                    target = labels.get(str(frame)) if "objects" not in labels else labels
                    if target is None or ("objects" in labels and frame != position):
                        continue
                    target["classifications"].append(_frame_classification(answer, unit_hash))


def _frame_classification(answer: dict[str, Any], unit_hash: str) -> dict[str, Any]:
    first = answer["classifications"][0]
    return {
        "name": first["name"],
        "value": first["value"],
        "createdAt": answer["createdAt"],
        "createdBy": answer["createdBy"],
        "confidence": answer["confidence"],
        "featureHash": answer["featureHash"],
        "lastEditedAt": answer["lastEditedAt"],
        "lastEditedBy": answer["lastEditedBy"],
        "classificationHash": answer["classificationHash"],
        "manualAnnotation": answer["manualAnnotation"],
        "reviews": [],
        "dataUnit": unit_hash,
    }


def _spaces(row: dict[str, Any], metadata: dict[str, Any]) -> None:
    for space_id, space in row["spaces"].items():
        for key, value in metadata["spaces"][space_id].items():
            space.setdefault(key, copy.deepcopy(value))


def _children(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "data_hash": identifier(space_id, "data"),
            "label_hash": None,
            "name": space["child_info"]["file_name"],
            "layout_key": space["child_info"]["layout_key"],
        }
        for space_id, space in metadata["spaces"].items()
    ]


def _dicom(row: dict[str, Any], metadata: dict[str, Any]) -> None:
    for unit in row["data_units"].values():
        study = "1.2.826.0.1.3680043.8.498.1"
        unit["metadata"] = {"patient_id": "P-0017", "study_uid": study, "series_uid": f"{study}.2"}
        unit["data_links"] = [
            f"cord-files-prod/{metadata['data_hash']}/slice-{index}.dcm"
            for index in range(metadata["number_of_frames"])
        ]
        for frame, labels in unit["labels"].items():
            labels["metadata"] = {
                "dicom_instance_uid": f"{study}.2.{frame}",
                "multiframe_frame_number": None,
                "file_uri": unit["data_links"][int(frame) % len(unit["data_links"])],
                "width": metadata["width"],
                "height": metadata["height"],
            }
