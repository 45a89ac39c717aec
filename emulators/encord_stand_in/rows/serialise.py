"""The one place where a label row becomes bytes."""

from __future__ import annotations

import json
import re
from typing import Any

from encord_stand_in.settings import Settings

_RAW = re.compile(r'"@raw:((?:[^"\\]|\\.)*)"')


def row_bytes(row: dict[str, Any], settings: Settings) -> bytes:
    """Serialise a label row; strings that start with ``@raw:`` become the JSON text after it (``rows.extras``)."""
    separators = (",", ":") if settings.row_whitespace == "compact" else (", ", ": ")
    text = json.dumps(row, ensure_ascii=settings.row_escapes == "ascii", separators=separators)
    if "@raw:" in text:
        text = _RAW.sub(lambda match: str(json.loads(f'"{match[1]}"')), text)
    return text.encode("utf-8")
