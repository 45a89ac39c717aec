"""The bytes of a label row are the same from both APIs, after every start, and in every form of envelope."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest


def query(label_hash: Any, *, several: bool = False) -> str:
    return json.dumps(
        {
            "query_type": "labelrow",
            "query_method": "GET",
            "values": {"uid": label_hash, "payload": {"get_signed_url": False, "multi_request": several}},
        }
    )


def served(stand_in: Any) -> dict[str, bytes]:
    projects = stand_in.control("GET", "projects")["projects"]
    hashes = [row["label_hash"] for project in projects for row in project["label_rows"] if row["label_hash"]]
    return {label_hash: stand_in.row_bytes(label_hash) for label_hash in hashes}


def test_two_starts_serve_the_same_bytes(stand_in: Any, new_stand_in: Callable[..., Any]) -> None:
    other = new_stand_in()
    assert served(other) == served(stand_in)
    assert other.control("GET", "projects") == stand_in.control("GET", "projects")
    body = {"frames": 7, "objects": 3, "count": 2, "tracked": False}
    made = [process.control("POST", "giant-rows", body)["rows"] for process in (stand_in, other)]
    assert made[0] == made[1]
    assert [stand_in.row_bytes(row["label_hash"]) for row in made[0]] == [
        other.row_bytes(row["label_hash"]) for row in made[1]
    ]


def test_a_start_is_quick(new_stand_in: Callable[..., Any]) -> None:
    """Most of a start is the import of the SDK. Both are measured under the same load, with several tries."""

    def seconds_of_the_import() -> float:
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", "import encord"], check=True)
        return time.monotonic() - started

    assert any(new_stand_in().start_seconds < 3 * seconds_of_the_import() for _ in range(20))


ENVELOPES = list(itertools.product(["status-first", "response-first"], ["compact", "spaced", "indented"]))


@pytest.mark.parametrize(("order", "whitespace"), ENVELOPES)
def test_the_api_serves_the_same_bytes_inside_every_form_of_envelope(
    caller: Any, stand_in: Any, order: str, whitespace: str
) -> None:
    stand_in.control("POST", "settings", {"envelope_key_order": order, "envelope_whitespace": whitespace})
    rows = served(stand_in)
    assert len(rows) == 17
    for label_hash, row in rows.items():
        project = 1 if label_hash in {item["label_hash"] for item in stand_in.project(1)["label_rows"]} else 0
        headers = caller.legacy_headers(query(label_hash), stand_in.project(project)["project_hash"])
        content = caller.legacy(query(label_hash), headers).content
        assert content.count(row) == 1
        around = content.replace(row, b"ROW")
        assert (
            around
            == {
                ("status-first", "compact"): b'{"status":200,"response":ROW}',
                ("status-first", "spaced"): b'{"status": 200, "response": ROW}',
                ("status-first", "indented"): b'{\n  "status": 200,\n  "response": ROW\n}\n',
                ("response-first", "compact"): b'{"response":ROW,"status":200}',
                ("response-first", "spaced"): b'{"response": ROW, "status": 200}',
                ("response-first", "indented"): b'{\n  "response": ROW,\n  "status": 200\n}\n',
            }[order, whitespace]
        )


def test_several_rows_are_served_with_the_same_bytes(caller: Any, stand_in: Any) -> None:
    hashes = [stand_in.row(key)["label_hash"] for key in ("image", "video", "group")]
    content = caller.legacy(query([*hashes, *hashes], several=True)).content
    for label_hash in hashes:
        row = stand_in.row_bytes(label_hash)
        assert content.count(row) == 1
        content = content.replace(row, b"ROW")
    assert content == b'{"status":200,"response":[ROW,ROW,ROW]}'


def test_rows_contain_what_a_parser_and_a_serialiser_would_change(stand_in: Any) -> None:
    row = stand_in.row_bytes(stand_in.row("image")["label_hash"])
    assert b'"oddNumbers":[1.10,1E2,-0.0,1e-07,18446744073709551615,"\\u00e9\\/","\\ud83d\\ude80"]' in row
    assert json.dumps(json.loads(row), ensure_ascii=False, separators=(",", ":")).encode() != row
    assert "電車 🚋".encode() in row


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [("row_whitespace", "spaced", b'{"label_hash": "'), ("row_escapes", "ascii", b"\\u96fb\\u8eca \\ud83d\\ude8b")],
)
def test_the_form_of_a_row_is_a_setting(stand_in: Any, setting: str, value: str, expected: bytes) -> None:
    label_hash = stand_in.row("image")["label_hash"]
    before = stand_in.row_bytes(label_hash)
    stand_in.control("POST", "settings", {setting: value})
    after = stand_in.row_bytes(label_hash)
    assert expected in after
    assert expected not in before
    assert json.loads(after) == json.loads(before)


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_an_answer_is_compressed_when_the_client_accepts_it(caller: Any, stand_in: Any, accepted: str) -> None:
    label_hash = stand_in.row("video")["label_hash"]
    headers = caller.legacy_headers(query(label_hash)) | {"Accept-Encoding": accepted}
    with stand_in.session.post(
        f"{stand_in.url}/public", data=query(label_hash), headers=headers, stream=True, timeout=60
    ) as answer:
        raw = answer.raw.read(decode_content=False)
        encoding = answer.headers.get("Content-Encoding")
    assert (encoding == "gzip") == (accepted == "gzip")
    assert stand_in.row_bytes(label_hash) in (gzip.decompress(raw) if encoding else raw)
    stand_in.control("POST", "settings", {"gzip": False})
    assert "Content-Encoding" not in caller.legacy(query(label_hash), headers).headers


def test_a_compressed_answer_is_not_that_of_an_earlier_edit(caller: Any, stand_in: Any) -> None:
    label_hash = stand_in.row("video")["label_hash"]
    before = caller.legacy(query(label_hash)).content
    stand_in.control("POST", "complete-task", {"label_hash": label_hash})
    after = caller.legacy(query(label_hash)).content
    assert after != before
    assert stand_in.row_bytes(label_hash) in after


def test_a_giant_row_is_served_whole_and_others_meanwhile(caller: Any, stand_in: Any) -> None:
    (giant,) = stand_in.control("POST", "giant-rows", {"frames": 2000, "objects": 20})["rows"]
    assert giant["bytes"] > 15_000_000
    headers = caller.legacy_headers(query(giant["label_hash"])) | {"Accept-Encoding": "identity"}
    with stand_in.session.post(
        f"{stand_in.url}/public", data=query(giant["label_hash"]), headers=headers, stream=True, timeout=60
    ) as answer:
        first = answer.raw.read(1000)
        assert stand_in.control("GET", "health")["status"] == "ok"  # while the giant row waits for its reader
        content = first + answer.raw.read()
    row = stand_in.row_bytes(giant["label_hash"])
    assert content == b'{"status":200,"response":' + row + b"}"
    assert len(json.loads(row)["data_units"].popitem()[1]["labels"]) == 2000
    stand_in.control("POST", "complete-task", {"label_hash": giant["label_hash"]})
    assert b'"answers":"revision 1"' in stand_in.row_bytes(giant["label_hash"])


def test_generated_rows_are_made_once_and_spread_in_time(stand_in: Any) -> None:
    body = {"frames": 1, "objects": 2, "count": 3, "spread_seconds": 60}
    first = stand_in.control("POST", "giant-rows", body)["rows"]
    assert [row["last_edited_at"] for row in first] == [
        f"2025-03-04T08:{minute:02d}:00.123456+00:00" for minute in range(3)
    ]
    assert len({row["label_hash"] for row in first}) == 3
    assert stand_in.control("POST", "giant-rows", body)["rows"] == first
    assert sum(row["key"].startswith("giant-") for row in stand_in.project()["label_rows"]) == 3


def test_an_error_is_enveloped_with_an_http_status_as_set(caller: Any, stand_in: Any) -> None:
    absent = query("00000000-0000-4000-8000-000000000000")
    answer = caller.legacy(absent)
    expected = {"status": 404, "response": ["RESOURCE_NOT_FOUND_ERROR"], "payload": None}
    assert (answer.status_code, answer.json()) == (200, expected)
    stand_in.control("POST", "settings", {"error_http_status": "same"})
    answer = caller.legacy(absent)
    assert (answer.status_code, answer.json()) == (404, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"envelope_key_order": "any"}, "envelope_key_order must be one of status-first, response-first"),
        ({"gzip": "yes"}, "gzip must be a boolean"),
        ({"gzip_level": -1}, "gzip_level must be a whole number of at least 0"),
        ({"colour": 1}, "unknown setting 'colour'"),
    ],
)
def test_an_invalid_setting_is_refused_by_name(stand_in: Any, change: dict[str, Any], message: str) -> None:
    before = stand_in.control("GET", "settings")
    assert message in stand_in.control("POST", "settings", change, status=400)["error"]
    assert stand_in.control("GET", "settings") == before
