"""The formats of a snapshot and the modes of its lock. Settings and events are checked against these."""

from __future__ import annotations

from typing import Literal, get_args

FormatName = Literal["coco", "yolo", "jsonl"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)

# S3 Object Lock: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
LockMode = Literal["none", "GOVERNANCE", "COMPLIANCE"]
LOCK_MODES: tuple[LockMode, ...] = get_args(LockMode)
