"""A project with very many completed rows that are generated while they are sent and not stored.

The hashes of row i contain i, and its edit time is i seconds after the first, so every filter of the listing is
arithmetic. In the listing a row has the size of a real one, about 1.1 KB.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, overload

from encord_stand_in import times

_BEGIN = datetime(2025, 3, 5, tzinfo=UTC)
_LABEL = 0x1A << 120
_DATA = 0x2B << 120
_TASK = 0x3C << 120
_ROWS_IN_PIECE = 500


@dataclass(frozen=True, slots=True)
class SyntheticRows:
    """The rows; ``stages`` has the UUIDs of the workflow's stages by title."""

    count: int
    stages: dict[str, str]

    def listing(self, payload: dict[str, Any]) -> Iterator[bytes]:
        """Yield the rows of the listing as pieces of a JSON array, brackets included."""
        template = json.dumps(self._row("@LABEL", "@DATA", "@TASK", "@TIME", "@TITLE"), separators=(",", ":"))
        pieces: list[str] = []
        comma = ""
        yield b"["
        for number in self.numbers(payload):
            text = template.replace("@LABEL", _hash(_LABEL, number)).replace("@DATA", _hash(_DATA, number))
            text = text.replace("@TASK", _hash(_TASK, number)).replace("@TITLE", f"frame {number}.jpg")
            pieces.append(comma + text.replace("@TIME", times.render(edited_at(number), "iso")))
            comma = ","
            if len(pieces) == _ROWS_IN_PIECE:
                yield "".join(pieces).encode()
                pieces = []
        yield "".join(pieces).encode() + b"]"

    def numbers(self, payload: dict[str, Any]) -> Sequence[int]:
        """Return the numbers of the rows that pass the filters."""
        for name, base in (("label_hashes", _LABEL), ("data_hashes", _DATA)):
            if payload.get(name) is not None:
                found = (uuid.UUID(value).int - base for value in payload[name])
                return [number for number in found if 0 <= number < self.count]
        after, before = payload.get("edited_after"), payload.get("edited_before")
        begin = 0 if after is None else int((times.parse(after) - _BEGIN) / timedelta(seconds=1)) + 1
        end = self.count if before is None else -int((_BEGIN - times.parse(before)) / timedelta(seconds=1) // 1)
        return range(max(0, begin), max(0, min(self.count, end)))

    def tasks(self, stage: str) -> Sequence[dict[str, Any]]:
        """Return the tasks of a stage: all are in Complete."""
        return _Tasks(self.count if stage == "Complete" else 0)

    def _row(self, label: str, data: str, task: str, edited: str, title: str) -> dict[str, Any]:
        return {
            "label_hash": label,
            "created_at": "2025-03-04T08:00:00+00:00",
            "last_edited_at": edited,
            "branch_name": "main",
            "data_hash": data,
            "group_hash": None,
            "dataset_hash": _hash(0x4D << 120, 0),
            "dataset_title": "synthetic dataset",
            "data_title": title,
            "data_type": "IMAGE",
            "data_link": f"cord-files-prod/{data}/{title}",
            "label_status": "LABELLED",
            "annotation_task_status": "COMPLETED",
            "workflow_graph_node": {"uuid": self.stages["Complete"], "title": "Complete"},
            "is_shadow_data": False,
            "number_of_frames": 1,
            "height": 720,
            "width": 1280,
            "spaces": {},
            "task_uuid": task,
            "client_metadata": None,
            "images_data": None,
            "file_type": "image/jpeg",
            "is_valid": True,
        }


class _Tasks(Sequence[dict[str, Any]]):
    """The tasks, generated on access."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        moment = times.render(edited_at(index), "iso")
        return {
            "uuid": _hash(_TASK, index),
            "createdAt": moment,
            "updatedAt": moment,
            "dataHash": _hash(_DATA, index),
            "dataTitle": f"frame {index}.jpg",
        }


def edited_at(number: int) -> datetime:
    """Return the edit time of a row."""
    return _BEGIN + timedelta(seconds=number)


def _hash(base: int, number: int) -> str:
    return str(uuid.UUID(int=base + number))
