"""The formats that a snapshot can be written in."""

from __future__ import annotations

from typing import Literal, get_args

FormatName = Literal["coco", "yolo", "jsonl"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
