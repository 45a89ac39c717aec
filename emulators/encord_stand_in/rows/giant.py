"""Label rows of a chosen size, for benchmarks and limits: frames x objects, tracked or not.

An object takes about 440 bytes, as in the fact sheet (10,000 frames x 10 objects are 44 MB). Rows are written as text,
without dictionaries: 44 MB take about half a second. The revisions of a row share the middle part, which is all but a
few hundred bytes; an edit changes the head (the edit time) and the tail (an answer).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from encord_stand_in.rows.names import identifier, short

_OBJECT = (
    '{"name":"Vehicle","color":"#D33115","shape":"bounding_box","value":"vehicle",'
    '"createdAt":"Tue, 04 Mar 2025 08:00:00 GMT","createdBy":"annotator@example.com","confidence":1.0,'
    '"objectHash":"%s","featureHash":"%s","manualAnnotation":true,'
    '"lastEditedAt":"2025-03-04T09:15:07.%06d+02:00","lastEditedBy":"annotator@example.com",'
    '"boundingBox":{"h":0.1,"w":0.2,"x":%.4f,"y":%.4f},"trackHash":"%s","reviews":[]}'
)
_ANSWER = '"%s":{"classifications":[],"objectHash":"%s"}'


@dataclass(frozen=True, slots=True)
class GiantSpec:
    """The size of a row; ``index`` distinguishes rows of the same size."""

    project: str
    frames: int
    objects: int
    tracked: bool
    index: int

    @property
    def key(self) -> str:
        """Key of the row within its project."""
        return f"giant-{self.frames}x{self.objects}-{'tracked' if self.tracked else 'untracked'}-{self.index}"

    @property
    def estimated_bytes(self) -> int:
        """Approximate number of bytes of the row."""
        return self.frames * self.objects * (440 if self.tracked else 500)


def metadata(spec: GiantSpec, *, stage: dict[str, str], dataset: dict[str, str], edited: str) -> dict[str, Any]:
    """Return the row as in the listing."""
    data_hash = identifier(spec.project, spec.key, "data")
    return {
        "label_hash": identifier(spec.project, spec.key, "label"),
        "created_at": edited,
        "last_edited_at": edited,
        "branch_name": "main",
        "data_hash": data_hash,
        "group_hash": None,
        "dataset_hash": dataset["dataset_hash"],
        "dataset_title": dataset["dataset_title"],
        "data_title": f"{spec.key}.mp4",
        "data_type": "VIDEO",
        "data_link": f"cord-files-prod/{data_hash}/{spec.key}.mp4",
        "label_status": "LABEL_IN_PROGRESS",
        "annotation_task_status": "ASSIGNED",
        "workflow_graph_node": stage,
        "is_shadow_data": False,
        "frames_per_second": 25.0,
        "number_of_frames": spec.frames,
        "duration": spec.frames / 25.0,
        "height": 720,
        "width": 1280,
        "audio_codec": None,
        "audio_sample_rate": None,
        "audio_bit_depth": None,
        "audio_num_channels": None,
        "spaces": {},
        "task_uuid": identifier(spec.project, spec.key, "task"),
        "priority": 0.5,
        "client_metadata": {"giant": True},
        "images_data": None,
        "file_type": "video/mp4",
        "is_valid": True,
        "backing_item_uuid": identifier(spec.project, spec.key, "item"),
        "assigned_user_email": None,
        "last_actioned_by_user_email": None,
    }


def head(row: dict[str, Any], *, edited: str | None, label_status: str) -> bytes:
    """Return the beginning of the row, up to the labels of its data unit. ``row`` is its metadata."""
    fields = {
        "label_hash": row["label_hash"],
        "branch_name": row["branch_name"],
        "created_at": row["created_at"],
        **({} if edited is None else {"last_edited_at": edited}),
        "data_hash": row["data_hash"],
        "dataset_hash": row["dataset_hash"],
        "dataset_title": row["dataset_title"],
        "data_title": row["data_title"],
        "data_type": "video",
        "annotation_task_status": row["annotation_task_status"],
        "is_shadow_data": False,
        "label_status": label_status,
        "object_actions": {},
        "classification_answers": {},
        "spaces": {},
    }
    unit = {
        "data_hash": row["data_hash"],
        "data_title": row["data_title"],
        "data_link": row["data_link"],
        "data_type": "video/mp4",
        "data_sequence": 0,
        "width": 1280,
        "height": 720,
        "data_duration": row["duration"],
        "data_fps": 25.0,
    }
    start = json.dumps(fields, separators=(",", ":"))[:-1]
    data_unit = json.dumps(unit, separators=(",", ":"))[:-1]
    return f'{start},"data_units":{{"{row["data_hash"]}":{data_unit},"labels":'.encode()


def middle(spec: GiantSpec) -> bytes:
    """Return the labels of all frames and the answers of all objects except the one in the tail."""
    feature = short("feature", "Vehicle")
    seed = short(spec.project, spec.key)[:2]
    track = identifier(spec.key, "track")
    pieces: list[str] = ["{"]
    for frame in range(spec.frames):
        objects = ",".join(
            _OBJECT
            % (
                seed + format(index if spec.tracked else frame * spec.objects + index, "06x"),
                feature,
                (frame * 7919 + index) % 1000000,
                (index * 37 + frame) % 800 / 1000,
                (index * 53 + frame) % 900 / 1000,
                track,
            )
            for index in range(spec.objects)
        )
        pieces.append(f'{"," if frame else ""}"{frame}":{{"objects":[{objects}],"classifications":[]}}')
    pieces.append('}}},"object_answers":{')
    count = spec.objects if spec.tracked else spec.frames * spec.objects
    hashes = [seed + format(index, "06x") for index in range(1, count)]
    pieces.append(",".join(_ANSWER % (name, name) for name in hashes))
    if hashes:
        pieces.append(",")
    return "".join(pieces).encode()


def tail(spec: GiantSpec, *, revision: int) -> bytes:
    """Return the end of the row: the answer of the first object, which an edit changes."""
    first = short(spec.project, spec.key)[:2] + "000000"
    note = {
        "name": "Note",
        "value": "note",
        "answers": f"revision {revision}",
        "featureHash": short("feature", "Vehicle", "Note"),
        "manualAnnotation": True,
    }
    answer = {first: {"classifications": [note], "objectHash": first}}
    return (json.dumps(answer, separators=(",", ":"))[1:] + "}").encode()
