"""Extracts a label row from Encord's envelope without changing a byte of it.

The envelope is `{"status":200,"response":{…}}`; errors are `{"status":4xx,"response":["NAME"],…}`, often under HTTP
200. msgspec walks over the whole text (so a truncated or broken answer is found), builds no objects for it, and returns
the row as a view on the received bytes: 44 MB cost 50 ms and no memory, where parsing costs 600 ms and 380 MB.

msgspec refuses some texts that other parsers accept: a byte order mark, halves of surrogate pairs, NaN and Infinity.
While msgspec reads the text, replacements of the same length stand in their places. The row is stored with the original
bytes.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import RetryableError, TerminalError, encord_failure
from label_export.core.ports import Buffer, LabelRow

T = TypeVar("T")

_SLICE = 1 << 20
_BOM = codecs.BOM_UTF8

# Within strings: halves of surrogate pairs, as escapes or as three bytes of CESU-8. Whole pairs and other escapes are
# matched too, so that no match begins in the middle of one.
_SURROGATES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<escape>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\."
    rb"|(?P<bytes>\xed[\xa0-\xbf][\x80-\xbf])",
    re.DOTALL,
)
# Outside of strings: numbers that JSON does not have. Strings are matched too, so that nothing is found inside them.
_NUMBERS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|(?P<nan>NaN)|(?P<infinity>Infinity)', re.DOTALL)
_REPLACEMENTS = {"escape": rb"\ufffd", "bytes": b"\xef\xbf\xbd", "nan": b"100", "infinity": b"10000000"}


class _Envelope(msgspec.Struct):
    status: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")


class RowMembers(msgspec.Struct):
    """The members of a label row that the export needs; the others are ignored."""

    label_hash: Any = None
    project_hash: Any = None
    data_hash: Any = None
    dataset_hash: Any = None
    data_title: Any = None
    data_type: Any = None
    branch_name: Any = None
    last_edited_at: Any = None


class ListedRow(msgspec.Struct):
    """The members of one row in a listing that the export needs."""

    label_hash: Any = None
    data_hash: Any = None
    workflow_graph_node: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def stage(self) -> str | None:
        """The title of the workflow stage that the row is in; None if it is in none."""
        try:
            title = msgspec.json.decode(self.workflow_graph_node, type=_Node).title
        except msgspec.ValidationError:
            return None
        return title if isinstance(title, str) else None


class _Node(msgspec.Struct):
    title: Any = None


def open_envelope(body: Buffer, kind: type[T], retry_after: float | None = None) -> tuple[Buffer, T]:
    """Return the JSON text of the envelope's `response`, and its value as a `kind`.

    For an error envelope, raises the error that `encord_failure` returns. Raises RetryableError("malformed_answer") for
    anything that is not a complete envelope with a response of that kind.
    """
    view = memoryview(body)
    if view.readonly:
        view = memoryview(bytearray(view))
    if view[: len(_BOM)] == _BOM:
        view = view[len(_BOM) :]
    try:
        return _opened(view, kind, retry_after)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise _malformed("its response does not have the requested form") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    try:
        with _read_as_json(view):
            return _opened(view, kind, retry_after)
    except msgspec.ValidationError:
        raise _malformed("its response does not have the requested form") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _malformed("it is not a whole JSON envelope") from None


def error_name(body: Buffer) -> str | None:
    """Return the name of the error in an answer with an error's HTTP status, None if it is not an envelope."""
    try:
        return _name_in(memoryview(msgspec.json.decode(body, type=_Envelope).response))
    except (msgspec.DecodeError, RecursionError):
        return None


def label_row(text: Buffer, members: RowMembers, *, project_hash: str, label_hash: str) -> LabelRow:
    """Return the label row whose JSON text is `text`, after checking that its `label_hash` is the requested one.

    Today neither rows nor listings name their project: the signed request names it. A row that names another project
    is refused.
    Raises RetryableError("wrong_row"), TerminalError("data_deleted").
    """
    if members.label_hash != label_hash:
        raise RetryableError("wrong_row", "Encord returned another label row than the requested one")
    if members.project_hash is not None and members.project_hash != project_hash:
        raise RetryableError("wrong_row", "Encord returned a label row of another project")
    if isinstance(members.data_type, str) and members.data_type.lower() == "deleted":
        raise TerminalError("data_deleted", "the data unit of this label row was deleted")
    return LabelRow(
        label_hash=label_hash,
        data_hash=_text(members.data_hash),
        dataset_hash=_text(members.dataset_hash),
        data_title=_text(members.data_title),
        branch_name=_text(members.branch_name),
        edited_at=parse_edit_time(members.last_edited_at),
        edited_at_text=_text(members.last_edited_at),
        body=text,
        sha256=hashlib.sha256(text).hexdigest(),
    )


def _opened(body: memoryview, kind: type[T], retry_after: float | None) -> tuple[Buffer, T]:
    envelope = msgspec.json.decode(body, type=_Envelope)
    _require_utf8(body)
    status: object = envelope.status
    response = memoryview(envelope.response)
    if isinstance(status, bool) or not isinstance(status, int):
        raise _malformed("it has no status")
    if status != HTTPStatus.OK:
        raise encord_failure(status, _name_in(response), retry_after)
    return response, msgspec.json.decode(response, type=kind)


@contextmanager
def _read_as_json(body: memoryview) -> Iterator[None]:
    """Replace what JSON does not allow by the same number of bytes while the block runs."""
    # Arrays, because a row can have as many of these places as numbers.
    places, lengths, originals = array("Q"), array("B"), bytearray()
    try:
        for pattern in (_SURROGATES, _NUMBERS):
            for found in pattern.finditer(body):
                if found.lastgroup is not None:
                    begin, end = found.span()
                    places.append(begin)
                    lengths.append(end - begin)
                    originals += body[begin:end]
                    body[begin:end] = _REPLACEMENTS[found.lastgroup]
        yield
    finally:
        at = 0
        for begin, length in zip(places, lengths, strict=True):
            body[begin : begin + length] = originals[at : at + length]
            at += length


def _name_in(response: Buffer) -> str | None:
    """Errors are served as a list of one name."""
    try:
        names = msgspec.json.decode(response, type=list[str])
    except (msgspec.DecodeError, RecursionError):
        return None
    return names[0] if len(names) == 1 and names[0].isidentifier() and names[0].isupper() else None


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
