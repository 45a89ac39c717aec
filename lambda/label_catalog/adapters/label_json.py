"""A label row's JSON, parsed on demand: a long video one frame at a time.

msgspec keeps members that are not read as slices of the text. A row of 44 MB that is parsed whole takes 383 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()
_LAZY = {"data_units": 3, "spaces": 3, "object_answers": 1, "classification_answers": 1, "object_actions": 1}
_LARGE = 256 << 10  # below this a row is parsed at once, which is faster


class Lazy(Mapping[str, Any]):
    """A JSON object whose members are parsed on each access. Raises ValueError for text that is not JSON."""

    def __init__(self, text: bytes | msgspec.Raw, depth: int) -> None:
        """`depth`: how many levels of objects below this one are lazy too."""
        try:
            self._found = _members.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError("it is not a JSON object") from error
        self._depth = depth

    def __getitem__(self, name: str) -> Any:
        """Return a member's value."""
        return _value(self._found[name], self._depth)

    def __iter__(self) -> Iterator[str]:
        """Yield the members' names in their order."""
        return iter(self._found)

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._found)


def parse_label(text: bytes) -> Mapping[str, Any]:
    """Return a label row; a large one is a mapping whose members are parsed frame by frame. Raises ValueError.

    A large text that is invalid further inside raises ValueError when that part is read.
    """
    if len(text) < _LARGE:
        found = _value(msgspec.Raw(text), 0)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        return found
    row: dict[str, Any] = {}
    for name, value in Lazy(text, 0)._found.items():
        row[name] = _value(value, _LAZY.get(name, 0))
    return row


def _value(text: msgspec.Raw, depth: int) -> Any:
    # The members of a unit are small except its labels, which are one more level of frames.
    if depth and bytes(memoryview(text)[:64]).lstrip()[:1] == b"{":
        return Lazy(text, depth - 1)
    try:
        return _any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("it is not JSON") from error
