"""Takes a label row out of the envelope that Encord serves it in, without changing a byte of it.

The envelope is `{"status":200,"response":{…}}`; errors are `{"status":4xx,"response":["NAME"],…}`, often under HTTP
200. msgspec walks over the whole text (so a truncated or broken answer is found), builds no objects for it, and hands
back the row as a view on the received bytes: 44 MB cost 50 ms and no memory, where parsing costs 600 ms and 380 MB.
What it refuses but Python's parser reads (a byte order mark, UTF-16, lone surrogates) is parsed and written again.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import threading
from http import HTTPStatus
from typing import Any, Literal

import msgspec

from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import PermanentError, RetryableError, TerminalError, encord_failure
from label_export.core.ports import Buffer, LabelRow

Way = Literal["spliced", "parsed"]

_SLICE = 1 << 20
_PARSING = threading.Lock()  # one at a time: parsing is what costs memory


class _Envelope(msgspec.Struct):
    status: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")


class _Row(msgspec.Struct):
    label_hash: Any = None
    project_hash: Any = None
    data_hash: Any = None
    dataset_hash: Any = None
    data_title: Any = None
    data_type: Any = None
    branch_name: Any = None
    last_edited_at: Any = None


def open_envelope(body: Buffer, *, parse_limit: int, retry_after: float | None = None) -> tuple[Buffer, Way]:
    """Return the JSON text of the envelope's `response`, and the way it was taken.

    `parse_limit` is the size in bytes up to which a body may be parsed where splicing it fails (memory: about nine
    times as much, for one at a time). Raises what `encord_failure` says for an error envelope,
    RetryableError("malformed_answer") for anything that is not a whole envelope.
    """
    way: Way = "spliced"
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        _require_utf8(body)
        status: object = envelope.status
        response: Buffer = memoryview(envelope.response)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        way = "parsed"
        status, response = _parse_and_dump(body, parse_limit)
    if isinstance(status, bool) or not isinstance(status, int):
        raise _malformed("it has no status")
    if status != HTTPStatus.OK:
        raise encord_failure(status, _name_in(response), retry_after)
    return response, way


def error_name(body: Buffer) -> str | None:
    """Return the name of the error in an answer whose HTTP status is one, None where it is no envelope."""
    try:
        return _name_in(memoryview(msgspec.json.decode(body, type=_Envelope).response))
    except (msgspec.DecodeError, RecursionError):
        return None


def read_row(body: Buffer, *, project_hash: str, label_hash: str) -> LabelRow:
    """Return the label row whose JSON text is `body`, after checking that its `label_hash` is the one asked for.

    Neither rows nor listings name their project, as served today: what binds a row to it is the request, which is
    signed and names it. A row that does name a project is refused where it is another.
    Raises RetryableError("malformed_answer" or "wrong_row"), TerminalError("data_deleted").
    """
    row = _members(body)
    if row.label_hash != label_hash:
        raise RetryableError("wrong_row", "Encord answered with another label row than was asked for")
    if row.project_hash is not None and row.project_hash != project_hash:
        raise RetryableError("wrong_row", "Encord answered with a label row of another project")
    if isinstance(row.data_type, str) and row.data_type.lower() == "deleted":
        raise TerminalError("data_deleted", "the data unit of this label row was deleted")
    return LabelRow(
        label_hash=label_hash,
        data_hash=_text(row.data_hash),
        dataset_hash=_text(row.dataset_hash),
        data_title=_text(row.data_title),
        branch_name=_text(row.branch_name),
        edited_at=parse_edit_time(row.last_edited_at),
        edited_at_text=_text(row.last_edited_at),
        body=body,
        sha256=hashlib.sha256(body).hexdigest(),
    )


def _members(body: Buffer) -> _Row:
    try:
        return msgspec.json.decode(body, type=_Row)
    except (msgspec.ValidationError, RecursionError):
        raise _malformed("its response is no label row") from None
    except msgspec.DecodeError:  # what could not be spliced, and was parsed before
        with _PARSING:
            return msgspec.convert(json.loads(bytes(body)), _Row)


def _name_in(response: Buffer) -> str | None:
    """Errors are served as a list of one name."""
    try:
        names = msgspec.json.decode(response, type=list[str])
    except (msgspec.DecodeError, RecursionError):
        return None
    return names[0] if len(names) == 1 and names[0].isidentifier() and names[0].isupper() else None


def _parse_and_dump(body: Buffer, parse_limit: int) -> tuple[object, bytes]:
    if len(body) > parse_limit:
        problem = f"an answer of {len(body)} bytes is not in a form that can be spliced, and too large to be parsed"
        raise PermanentError("unusual_answer", f"{problem} (export_function_memory_limit_bytes)")
    try:
        with _PARSING:
            envelope = json.loads(bytes(body))
            response = json.dumps(envelope["response"], allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError, TypeError, KeyError):
        raise _malformed("it is not a whole JSON envelope") from None
    return envelope.get("status"), response


def _require_utf8(body: Buffer) -> None:
    """Raise UnicodeDecodeError unless `body` is UTF-8 throughout; a slice at a time, to keep memory flat."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for begin in range(0, len(body), _SLICE):
        decoder.decode(body[begin : begin + _SLICE])
    decoder.decode(b"", final=True)


def _malformed(problem: str) -> RetryableError:
    return RetryableError("malformed_answer", f"Encord's answer cannot be used: {problem}")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
