"""Extracting the row from its envelope, byte for byte, for everything that some parser accepts as JSON."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from label_export.adapters.encord.envelope import ListedRow, RowMembers, error_name, label_row, open_envelope
from label_export.core.errors import (
    ExportError,
    KeyRefusedError,
    PermanentError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from label_export.core.ports import LabelRow

# Any JSON that Python can write, including lone surrogates and big numbers.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # NaN is not equal to itself


def spliced(body: bytes) -> bytes:
    """The response in an envelope; the envelope does not change the row's bytes."""
    received = bytearray(body)
    response, _ = open_envelope(memoryview(received), msgspec.Raw)
    assert bytes(received) == body
    return bytes(response)


def row_in(body: bytes) -> LabelRow:
    text, members = open_envelope(body, RowMembers)
    return label_row(text, members, project_hash="p", label_hash="l")


@given(
    value=json_values,
    others=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in ("status", "response")), json_values, max_size=3
    ),
    order=st.permutations(["status", "response", "others"]),
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 3),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig"]),
)
def test_splice_equals_parse(  # noqa: PLR0913, PLR0917  (the parts of an envelope)
    value: Any, others: dict[str, Any], order: list[str], ascii_only: bool, indent: int | None, encoding: str
) -> None:
    members: dict[str, Any] = {}
    for name in order:
        members |= {"status": {"status": 200}, "response": {"response": value}, "others": others}[name]
    text = json.dumps(members, ensure_ascii=ascii_only, indent=indent)
    body = text.encode(encoding, "surrogatepass")
    assert same(json.loads(spliced(body)), json.loads(body)["response"])


@given(value=json_values, ascii_only=st.booleans())
@example(value={"a": "}", "b": ['{"status":200']}, ascii_only=True)
@example(value=["\ud83d\ude00", "\ud800", "\\ud800", float("nan"), "NaN", -float("inf")], ascii_only=True)
@example(value=["\ud83d\ude00", "\ud800", "\\ud800", float("nan"), "NaN", -float("inf")], ascii_only=False)
def test_every_response_is_cut_out_byte_for_byte(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert spliced(b'{"status":200,"response":' + text + b"}") == text
    assert spliced(b' {\n"response" : ' + text + b' , "status":200 }\n') == text


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":200,"response":{"a":1},"x":{"b":2}}',
        b'{"response":{"a":1},"status":200}',
        b'{"status":200,"response":{"a":2},"response":{"a":1}}',
        b'{"status":200,"respons\\u0065":{"a":1}}',
    ],
)
def test_odd_forms_are_spliced_too(body: bytes) -> None:
    assert json.loads(spliced(body)) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"\\ud800","a":"\\uDFFF\\\\ud800","b":1.50}',
        b'{"a":"\xed\xa0\x80","b":1.50,"b":2.0}',
        b'{"a":NaN,"b":[-Infinity,Infinity,"NaN","\\"NaN"],"c":1.50}',
        b'{"a":"\\ud83d\\ude00\\ud83d","b":NaN}',
    ],
)
def test_what_is_not_json_to_msgspec_is_cut_out_as_served(text: bytes) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        assert spliced(mark + b'{"status":200,"response":' + text + b"}") == text


@given(value=json_values, title=st.text(max_size=8))
@example(value="\ud800", title="NaN \u20ac")
def test_a_row_is_read_whatever_text_it_contains(value: Any, title: str) -> None:
    served = {"label_hash": "l", "data_title": title, "data_units": value}
    read = row_in(json.dumps({"status": 200, "response": served}).encode())
    assert read.data_title == title
    assert bytes(read.body) == json.dumps(served).encode()
    assert read.sha256 == hashlib.sha256(json.dumps(served).encode()).hexdigest()


def test_half_a_character_in_a_title_is_one_lost_character() -> None:
    served = json.dumps({"label_hash": "l", "data_title": "a\ud800b"})
    assert row_in(b'{"status":200,"response":' + served.encode() + b"}").data_title == "a\ufffdb"


def test_a_listing_takes_less_memory_than_its_text() -> None:
    """Each row has a hundred members that are not needed."""
    rows = [
        {"label_hash": f"l{number}", "data_hash": "d", "workflow_graph_node": {"title": "Complete", "uuid": "u"}}
        | {f"member {name}": {"x": [number]} for name in range(100)}
        for number in range(3000)
    ]
    body = bytearray(json.dumps({"status": 200, "response": rows}).encode())
    tracemalloc.start()
    try:
        _, listed = open_envelope(body, list[ListedRow])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(row.label_hash, row.data_hash, row.stage) for row in listed[:1]] == [("l0", "d", "Complete")]
    assert peak < len(body) / 2


@pytest.mark.parametrize("node", ["null", '"Complete"', "7", "[]", '{"title":null}', '{"title":{}}', "{}"])
def test_a_row_without_a_readable_stage_has_no_stage(node: str) -> None:
    body = envelope(b'[{"label_hash":"l","workflow_graph_node":' + node.encode() + b"}]")
    assert open_envelope(body, list[ListedRow])[1][0].stage is None


whole = b'{"status":200,"response":{"label_hash":"x","n":[1,2,"\xc3\xa9"]}}'


@pytest.mark.parametrize(
    "body",
    [
        *(whole[:length] for length in range(len(whole))),
        b"<html><body>Bad gateway</body></html>",
        b"null",
        b"[]",
        b'"text"',
        b'{"response":{}}',
        b'{"status":true,"response":{}}',
        b'{"status":"200","response":{}}',
        b'{"status":200,"response":{"a":NaNa}}',
        b'{"status":200,"response":{"a":N}}',
        b'{"status":200,"response":{NaN:1}}',
        b'{"status":200,"response":{"a":"\\ud800}}',
        '{"status":200,"response":{}}'.encode("utf-16"),
        b'{"status":200,"response":{"a":1e400}}' + b"x",
        b'{"status":200,"response":{"a":"\xff"}}',
        whole + b"{}",
        b'{"status":200,"response":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_an_incomplete_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(RetryableError) as caught:
        open_envelope(body, msgspec.Raw)
    assert caught.value.reason == "malformed_answer"


@pytest.mark.parametrize(
    ("status", "response", "kind", "reason"),
    [
        (404, ["RESOURCE_NOT_FOUND_ERROR"], TerminalError, "row_deleted"),
        (401, ["AUTHENTICATION_ERROR"], KeyRefusedError, "key_refused"),
        (401, ["SSH_KEY_NOT_FOUND_ERROR"], KeyRefusedError, "key_refused"),
        (401, "nonsense", KeyRefusedError, "key_refused"),
        (403, ["AUTHORISATION_ERROR"], PermanentError, "no_access"),
        (403, "nonsense", PermanentError, "encord_refused"),
        (429, ["RATE_LIMIT_ERROR"], ThrottledError, "encord_unavailable"),
        (429, "nonsense", ThrottledError, "encord_unavailable"),
        (400, ["UNKNOWN_ERROR"], RetryableError, "encord_unavailable"),
        (500, ["SOMETHING_NEW"], RetryableError, "encord_unavailable"),
        (503, {"html": True}, RetryableError, "encord_unavailable"),
        (400, ["CORRUPTED_LABEL_ERROR"], PermanentError, "encord_refused"),
        (400, ["INVALID_ARGUMENTS_ERROR"], PermanentError, "encord_refused"),
        (404, None, PermanentError, "encord_refused"),
    ],
)
def test_error_envelopes_are_classified(status: int, response: object, kind: type[ExportError], reason: str) -> None:
    body = json.dumps({"status": status, "response": response, "payload": "canary"}).encode()
    with pytest.raises(ExportError) as caught:
        open_envelope(body, RowMembers, retry_after=7.0)
    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert "canary" not in str(caught.value)
    if isinstance(caught.value, RetryableError):
        assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"status":404,"response":["RESOURCE_NOT_FOUND_ERROR"]}', "RESOURCE_NOT_FOUND_ERROR"),
        (b'{"status":404,"response":["<script>"]}', None),
        (b'{"status":404,"response":[]}', None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_error_in_an_http_error(body: bytes, name: str | None) -> None:
    assert error_name(body) == name


def row(**fields: object) -> bytes:
    return json.dumps({"label_hash": "l", "data_units": {"label_hash": "not this"}} | fields).encode()


def envelope(response: bytes) -> bytes:
    return b'{"status":200,"response":' + response + b"}"


def test_a_row_is_read_without_its_data() -> None:
    served = row(data_hash="d", data_title="t", last_edited_at="2025-01-02 03:04:05", project_hash="p", dataset_hash=7)
    read = row_in(envelope(served))
    assert (read.data_hash, read.data_title, read.dataset_hash) == ("d", "t", None)
    assert read.edited_at is not None
    assert read.edited_at.isoformat() == "2025-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (row(label_hash="other"), RetryableError, "wrong_row"),
        (row(label_hash=None), RetryableError, "wrong_row"),
        (row(project_hash="other"), RetryableError, "wrong_row"),
        (row(data_type="deleted"), TerminalError, "data_deleted"),
        (row(data_type="DELETED"), TerminalError, "data_deleted"),
        (b"[]", RetryableError, "malformed_answer"),
        (b"null", RetryableError, "malformed_answer"),
        (b"{}", RetryableError, "wrong_row"),
    ],
)
def test_rows_other_than_the_requested_one_are_refused(body: bytes, kind: type[ExportError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        row_in(envelope(body))
    assert caught.value.reason == reason
