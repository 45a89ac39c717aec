"""Reads the listing of label rows (`labelrowmetadata`/GET) row by row while it arrives.

The SDK decodes the whole response at once, and one odd row breaks it. Here a row that does not have the documented form
is reported, and reading continues. The response is `{"status":200,"response":[ROW,…]}`, in any order and with any white
space; an error has `["NAME"]` in its place (encord/http/querier.py, encord/http/error_utils.py).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import ExportError, RetryableError, encord_failure
from label_export.core.messages import is_hash

from label_catalog.core.model import ListedRow, OddRow

_HEAD = re.compile(rb'\s*\{\s*(?:"status"\s*:\s*(\d+)\s*,\s*)?(?:"payload"\s*:\s*null\s*,\s*)?"response"\s*:\s*\[\s*')
_HEAD_BYTES = 4096
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_COMMA = re.compile(rb"\s*,\s*")
_TOKENS = re.compile(rb'["\\{}]')
_BATCH = 1 << 20
_TAIL = 1 << 16
_LARGEST_ROW = 64 << 20


class _Stage(msgspec.Struct):
    title: str
    uuid: str | None = None


class _Row(msgspec.Struct):
    data_hash: str
    label_hash: str | None = None
    dataset_hash: str | None = None
    data_title: str | None = None
    branch_name: str | None = None
    data_type: str | None = None
    last_edited_at: str | None = None
    dataset_title: str | None = None
    label_status: str | None = None
    assigned_user_email: str | None = None
    last_actioned_by_user_email: str | None = None
    workflow_graph_node: _Stage | None = None


_rows = msgspec.json.Decoder(list[_Row])
_row = msgspec.json.Decoder(_Row)


def read_listing(pieces: Iterable[bytes]) -> Iterator[ListedRow | OddRow]:
    """Yield the rows of a response that arrives in pieces, in constant memory.

    Raises the error that the response names; RetryableError("truncated_answer") for one that ends early.
    """
    source = iter(pieces)
    buffer = bytearray()
    for piece in source:
        buffer += piece
        if len(buffer) >= _HEAD_BYTES:
            break
    head = _HEAD.match(buffer)
    failed = head is not None and head[1] is not None and int(head[1]) >= HTTPStatus.BAD_REQUEST
    if head is None or failed or buffer[head.end() : head.end() + 1] == b'"':
        raise _refusal(bytes(buffer))
    del buffer[: head.end()]
    ended = yield from _read_rows(buffer, source)
    if not ended:
        raise RetryableError("truncated_answer", "Encord's listing ended before its last row")


def _read_rows(buffer: bytearray, source: Iterator[bytes]) -> Generator[ListedRow | OddRow, None, bool]:
    """Yield rows; the generator's value is whether the end of the list was seen."""
    target = _BATCH
    for piece in source:
        buffer += piece
        if len(buffer) < target:
            continue
        if len(buffer) > _LARGEST_ROW:
            raise RetryableError("malformed_answer", "Encord's listing has a row of more than 64 MB")
        cut = _last_boundary(buffer)
        if cut is not None:
            position = yield from _decode(bytes(buffer[: cut + 1]))
            del buffer[: _skip_comma(buffer, position)]
        target = max(_BATCH, 2 * len(buffer))  # the rest is one incomplete row
    end = yield from _decode(bytes(buffer))
    rest = bytes(buffer[end:])
    ended = re.fullmatch(rb"\s*\]\s*(,\s*\"[a-z]+\"\s*:\s*(\d+|null)\s*)*\}\s*", rest) is not None
    status = re.search(rb'"status"\s*:\s*(\d+)', rest)
    if ended and status is not None and int(status[1]) >= HTTPStatus.BAD_REQUEST:
        raise _refusal(b'{"status":%b,"response":[]}' % status[1])
    return ended


def _last_boundary(buffer: bytearray) -> int | None:
    """Return the position of the last `}` that could end a row, or None if there is none."""
    for begin in (max(0, len(buffer) - _TAIL), 0):
        found = deque(_BETWEEN.finditer(buffer, begin), maxlen=1)
        if found:
            return found[0].start()
    return None


def _decode(text: bytes) -> Generator[ListedRow | OddRow, None, int]:
    """Yield the rows at the beginning of `text`; the generator's value is the position after them.

    First all at once, which nearly always succeeds; otherwise row by row.
    """
    if text.endswith(b"}"):
        try:
            rows = _rows.decode(b"[" + text + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            yield from map(_listed, rows)
            return len(text)
    position = 0
    while text[position : position + 1] == b"{":
        end = _end_of_row(text, position)
        if end is None:
            break
        yield _one(text[position:end])
        position = _skip_comma(text, end)
    return position


def _skip_comma(text: bytes | bytearray, position: int) -> int:
    found = _COMMA.match(text, position)
    return found.end() if found is not None else position


def _end_of_row(text: bytes, begin: int) -> int | None:
    """Return the position after the object that begins at `begin`, or None if its end is not in `text`."""
    depth, position, quoted = 0, begin, False
    while (found := _TOKENS.search(text, position)) is not None:
        token, position = found[0], found.end()
        if token == b"\\":
            position += 1
        elif token == b'"':
            quoted = not quoted
        elif not quoted:
            depth += 1 if token == b"{" else -1
            if depth == 0:
                return position
    return None


def _one(text: bytes) -> ListedRow | OddRow:
    try:
        return _listed(_row.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec names the field and the types, never the value.
        problem = str(error) if isinstance(error, msgspec.ValidationError) else "it is not valid JSON"
        return _odd(text, problem)


def _odd(text: bytes, problem: str) -> OddRow:
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = {}
    names = [found.get(name) for name in ("label_hash", "data_hash", "data_title")]
    label, data, title = (name if isinstance(name, str) else None for name in names)
    return OddRow(label if is_hash(label) else None, data, title, problem)


def _listed(row: _Row) -> ListedRow | OddRow:
    if row.label_hash is not None and not is_hash(row.label_hash):
        return OddRow(None, row.data_hash, row.data_title, "label_hash is not a hash")
    return ListedRow(
        label_hash=row.label_hash,
        data_hash=row.data_hash,
        dataset_hash=row.dataset_hash,
        data_title=row.data_title,
        branch_name=row.branch_name,
        data_type=row.data_type or "",
        edited_at=parse_edit_time(row.last_edited_at),
        stage=row.workflow_graph_node.title if row.workflow_graph_node is not None else None,
        dataset_title=row.dataset_title,
        status=row.label_status,
        assignee=row.assigned_user_email,
        last_actor=row.last_actioned_by_user_email,
    )


def _refusal(body: bytes) -> ExportError:
    """Return the error that a response without rows names."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return RetryableError("malformed_answer", "Encord's listing cannot be read: it is not the documented envelope")
    if not isinstance(found, dict):
        return RetryableError("malformed_answer", "Encord's listing cannot be read: it is not the documented envelope")
    names, status = found.get("response"), found.get("status")
    code = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    return encord_failure(status if isinstance(status, int) else 500, code)
