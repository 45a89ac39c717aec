"""Taking the row out of its envelope: splicing gives what parsing gives, for every JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from label_export.adapters.encord.envelope import error_name, open_envelope, read_row
from label_export.core.errors import ExportError, KeyRefusedError, PermanentError, RetryableError, TerminalError

LIMIT = 1 << 20

# Any JSON that Python can write, lone surrogates and big numbers included.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def spliced(body: bytes) -> bytes:
    response, _ = open_envelope(memoryview(body), parse_limit=LIMIT)
    return bytes(response)


@given(
    value=json_values,
    others=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in ("status", "response")), json_values, max_size=3
    ),
    order=st.permutations(["status", "response", "others"]),
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 3),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]),
)
def test_splice_equals_parse(  # noqa: PLR0913, PLR0917  (the parts of an envelope)
    value: Any, others: dict[str, Any], order: list[str], ascii_only: bool, indent: int | None, encoding: str
) -> None:
    members: dict[str, Any] = {}
    for name in order:
        members |= {"status": {"status": 200}, "response": {"response": value}, "others": others}[name]
    text = json.dumps(members, ensure_ascii=ascii_only, indent=indent)
    body = text.encode(encoding, "replace")
    assert json.loads(spliced(body)) == json.loads(body)["response"]


@given(value=json_values)
@example(value={"a": "}", "b": ['{"status":200']})
def test_the_known_form_is_cut_out_byte_for_byte(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
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
    assert open_envelope(body, parse_limit=LIMIT)[1] == "spliced"
    assert json.loads(spliced(body)) == {"a": 1}


def test_what_cannot_be_spliced_is_parsed_and_counted_as_such() -> None:
    body = b'{"status":200,"response":{"a":"\\ud800","b":1.50}}'
    response, way = open_envelope(body, parse_limit=LIMIT)
    assert way == "parsed"
    assert json.loads(bytes(response)) == {"a": "\ud800", "b": 1.5}


@given(value=json_values, title=st.text(st.characters(codec=None, exclude_categories=()), max_size=8))
@example(value="\ud800", title="\udfff")
def test_a_row_is_read_whichever_way_it_was_taken(value: Any, title: str) -> None:
    served = {"label_hash": "l", "data_title": title, "data_units": value}
    body, _ = open_envelope(json.dumps({"status": 200, "response": served}).encode(), parse_limit=LIMIT)
    read = read_row(body, project_hash="p", label_hash="l")
    assert (read.data_title, json.loads(bytes(read.body))) == (title, served)


def test_a_giant_that_cannot_be_spliced_is_a_named_failure() -> None:
    with pytest.raises(PermanentError) as caught:
        open_envelope(b'{"status":200,"response":{"a":"\\ud800"}}', parse_limit=10)
    assert caught.value.reason == "unusual_answer"


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
        b'{"status":200,"response":{"a":NaN}}',
        b'{"status":200,"response":{"a":1e400}}' + b"x",
        b'{"status":200,"response":{"a":"\xff"}}',
        whole + b"{}",
        b'{"status":200,"response":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_anything_but_a_whole_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(RetryableError) as caught:
        open_envelope(body, parse_limit=LIMIT)
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
        (429, ["RATE_LIMIT_ERROR"], RetryableError, "encord_unavailable"),
        (400, ["UNKNOWN_ERROR"], RetryableError, "encord_unavailable"),
        (500, ["SOMETHING_NEW"], RetryableError, "encord_unavailable"),
        (503, {"html": True}, RetryableError, "encord_unavailable"),
        (400, ["CORRUPTED_LABEL_ERROR"], PermanentError, "encord_refused"),
        (400, ["INVALID_ARGUMENTS_ERROR"], PermanentError, "encord_refused"),
        (404, None, PermanentError, "encord_refused"),
    ],
)
def test_error_envelopes_are_sorted(status: int, response: object, kind: type[ExportError], reason: str) -> None:
    body = json.dumps({"status": status, "response": response, "payload": "canary"}).encode()
    with pytest.raises(ExportError) as caught:
        open_envelope(body, parse_limit=LIMIT, retry_after=7.0)
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


def test_a_row_is_read_without_its_data() -> None:
    read = read_row(
        row(data_hash="d", data_title="t", last_edited_at="2025-01-02 03:04:05", project_hash="p", dataset_hash=7),
        project_hash="p",
        label_hash="l",
    )
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
def test_other_rows_than_the_one_asked_for_are_refused(body: bytes, kind: type[ExportError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        read_row(body, project_hash="p", label_hash="l")
    assert caught.value.reason == reason
