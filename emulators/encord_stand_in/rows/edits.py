"""What a person changes in a label between two completions of its task. Pure functions on a label row."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def edited(row: dict[str, Any], *, revision: int, last_edited_at: str | None) -> dict[str, Any]:
    """Return the row after its ``revision``-th edit; the same arguments give the same row.

    An edit moves the first box. In a row without boxes it changes the first answer. Every row contains its revision.
    """
    changed = copy.deepcopy(row)
    if last_edited_at is None:
        changed.pop("last_edited_at", None)
    else:
        changed["last_edited_at"] = last_edited_at
    changed["label_status"] = "LABELLED"
    changed["editorVersion"] = {**changed.get("editorVersion", {}), "revision": revision}
    for label in _labels(changed):
        box = label.get("boundingBox")
        if box is not None:
            box["x"] = round(box["x"] + 0.0001 * revision, 12)
            label["lastEditedAt"] = last_edited_at
            return changed
    for answers in (changed["object_answers"], changed["classification_answers"]):
        for answer in answers.values():
            answer["lastEditedAt"] = last_edited_at
            return changed
    return changed


def _labels(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (*row["data_units"].values(), *row["spaces"].values()):
        labels = holder.get("labels") or {}
        for frame in [labels] if "objects" in labels else labels.values():
            yield from frame["objects"]
