"""The listing is read row by row, however it is written and wherever its pieces end."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_catalog.adapters.encord import listing
from label_catalog.adapters.encord.listing import read_listing
from label_catalog.core.model import ListedRow, OddRow
from label_export.core.errors import KeyRefusedError, RetryableError, TerminalError


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "label_hash": f"label-{number}",
        "data_hash": f"data-{number}",
        "data_title": 'odd "}, {" title \\',
        "last_edited_at": "2025-03-04 08:00:00",
        "workflow_graph_node": {"uuid": "u", "title": "Complete"},
        "images_data": [{"index": 0}, {"index": 1}],
        **more,
    }


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[begin : begin + size] for begin in range(0, len(text), size))


def envelope(
    rows: list[Any], separators: tuple[str, str] = (",", ":"), *, last: bool = False, payload: Any = ...
) -> bytes:
    status, response = {"status": 200}, {"response": rows}
    whole = response | status if last else status | response
    return json.dumps(whole if payload is ... else whole | {"payload": payload}, separators=separators).encode()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(
    count=st.integers(0, 30),
    sizes=st.tuples(st.integers(1, 700), st.integers(1, 4000)),
    form=st.tuples(st.sampled_from([(",", ":"), (", ", ": "), (",\n ", " : ")]), st.booleans()),
    odd=st.sets(st.integers(0, 29), max_size=3),
)
def test_every_row_is_read_wherever_a_piece_ends(
    count: int, sizes: tuple[int, int], form: tuple[tuple[str, str], bool], odd: set[int]
) -> None:
    (size, batch), (separators, last) = sizes, form
    rows = [row(number, **({"data_hash": 7} if number in odd else {})) for number in range(count)]
    before, listing._BATCH = listing._BATCH, batch
    try:
        found = list(read_listing(pieces(envelope(rows, separators, last=last), size)))
    finally:
        listing._BATCH = before
    assert [item.label_hash for item in found] == [f"label-{number}" for number in range(count)]
    assert {item.label_hash for item in found if isinstance(item, OddRow)} == {
        f"label-{number}" for number in odd if number < count
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b'{"response": [], "status": 500}', RetryableError),
        (b'{"status": 200, "response": []', RetryableError),
        (b'{"status": 200, "response": []} {', RetryableError),
    ],
)
def test_an_answer_without_rows_is_believed_only_where_it_is_whole_and_no_refusal(
    text: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(read_listing([text]))


def test_a_row_has_what_the_catalog_compares() -> None:
    (found,) = read_listing([envelope([row(1, branch_name="main", data_type="VIDEO")])])
    assert isinstance(found, ListedRow)
    assert (found.label_hash, found.stage, found.branch_name, found.data_type) == (
        "label-1",
        "Complete",
        "main",
        "VIDEO",
    )
    assert found.edited_at is not None


def test_an_odd_row_names_the_field_and_never_the_value() -> None:
    (found,) = read_listing([envelope([row(1, last_edited_at={"canary": "secret"})])])
    assert isinstance(found, OddRow)
    assert "last_edited_at" in found.problem
    assert "secret" not in found.problem
    assert "canary" not in found.problem


@pytest.mark.parametrize("odd", ["../../labels/other", "a b", "", "x" * 65, "line\n"])
def test_an_invalid_label_hash_makes_a_row_odd_and_is_not_passed_on(odd: str) -> None:
    first, second = read_listing([envelope([row(1, label_hash=odd), row(2)])])
    assert first == OddRow(None, "data-1", 'odd "}, {" title \\', "label_hash is not a hash")
    assert isinstance(second, ListedRow)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"status":404,"response":["RESOURCE_NOT_FOUND_ERROR"],"payload":null}', TerminalError),
        (b'{"response":["AUTHENTICATION_ERROR"],"status":401}', KeyRefusedError),
        (b'{"status":429,"response":["RATE_LIMIT_ERROR"]}', RetryableError),
        (b"<html>502</html>", RetryableError),
        (b"", RetryableError),
        (b"[]", RetryableError),
        (envelope([row(1), row(2)])[:-1], RetryableError),
        (envelope([row(1), row(2)])[:-2], RetryableError),
        (envelope([row(1), row(2)])[:-40], RetryableError),
        (envelope([row(1), row(2)])[:30], RetryableError),
    ],
)
def test_an_error_or_a_truncated_response_is_never_an_empty_listing(body: bytes, error: type[Exception]) -> None:
    for size in (1, 7, 100_000):
        with pytest.raises(error):
            list(read_listing(pieces(body, size)))


@pytest.mark.parametrize("payload", [None, ...])
def test_an_empty_listing_is_empty(payload: Any) -> None:
    assert list(read_listing([envelope([], payload=payload)])) == []


def test_memory_stays_constant() -> None:
    """A listing of 50 MB, read in less memory than its rows would take together."""
    one = json.dumps(row(1, data_title="t" * 20_000)).encode()

    def answer(count: int) -> Iterator[bytes]:
        yield b'{"status":200,"response":['
        for number in range(count):
            yield (b"," if number else b"") + one
        yield b"]}"

    tracemalloc.start()
    assert sum(1 for _ in read_listing(answer(2_500))) == 2_500
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
