"""The files that Athena's tables read: they name the generation in use, whatever happens between pointer and file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from index_system import IndexSystem, label_body
from label_catalog.adapters.aws.s3 import StateDocuments


class KilledError(BaseException):
    """The worker ends here, as with kill -9."""


@pytest.fixture
def tables(index: IndexSystem) -> IndexSystem:
    index.system.set(LABEL_CATALOG_TABLE="true")
    return index


def differences(index: IndexSystem) -> int:
    count = index.compare()
    assert index.differences() == []
    return count


def before_save(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act once, before the next time that a table's file is written."""
    save, left = StateDocuments.save_text, [act]

    def saving(self: StateDocuments, *given: Any) -> None:
        if left:
            left.pop()()
        save(self, *given)

    monkeypatch.setattr(StateDocuments, "save_text", saving)


def test_the_tables_follow_every_generation(tables: IndexSystem) -> None:
    for number in range(3):
        event = tables.save(f"label-{number}")
        tables.rebuild() if number == 0 else tables.deliver([event])
        assert tables.tables_read() == {tables.in_use}
    assert len(tables.read().rows("labels")) == 3


def test_without_the_setting_there_is_no_such_file(index: IndexSystem) -> None:
    index.save("label-1")
    index.rebuild()
    assert not [found for found in index.system.aws.objects if "-table/" in found]


def test_a_worker_that_dies_between_pointer_and_tables_is_followed_by_one_that_corrects_them(
    tables: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.save("label-1")
    tables.rebuild()
    before, event = tables.in_use, tables.save("label-1", label_body("label-1", boxes=4))

    def killed() -> None:
        raise KilledError

    before_save(monkeypatch, killed)
    with pytest.raises(KilledError):
        tables.deliver([event])
    after = tables.in_use
    assert after != before
    assert tables.table_reads("labels") == before
    assert tables.deliver([event]) == []  # SQS delivers it again
    assert tables.in_use == after, "the repeat wrote another generation"
    assert tables.tables_read() == {after}


def test_a_slow_worker_never_puts_an_older_generation_over_a_newer_one(
    tables: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.save("label-1")
    tables.rebuild()
    late, first = tables.save("label-2"), tables.save("label-3")
    before_save(monkeypatch, lambda: tables.deliver([late]))
    assert tables.deliver([first]) == []
    assert tables.tables_read() == {tables.in_use}
    assert len(tables.read().rows("labels")) == 3


def test_the_comparison_counts_a_table_that_stayed_behind_and_corrects_it(tables: IndexSystem) -> None:
    tables.save("label-1")
    tables.rebuild()
    older = tables.system.aws.objects[tables.table_path("annotations")]
    tables.events.clear()
    assert tables.deliver([tables.save("label-2")]) == []
    tables.system.aws.objects[tables.table_path("annotations")] = older
    assert tables.table_reads("annotations") != tables.in_use
    tables.system.clock.off = timedelta(minutes=16)  # the worker that moved the pointer has ended by then
    assert "behind: annotations" in line(tables)
    assert differences(tables) == 1
    assert tables.tables_read() == {tables.in_use}
    assert "behind" not in line(tables)
    assert differences(tables) == 0


def line(index: IndexSystem) -> str:
    answer = index.system.catalog({"action": "index", "step": "status", "project_hash": index.system.project})
    return str(answer["projects"][0]["line"])


def test_a_pointer_that_has_just_moved_is_no_difference(tables: IndexSystem) -> None:
    tables.save("label-1")
    tables.rebuild()
    older = tables.system.aws.objects[tables.table_path("labels")]
    tables.deliver([tables.save("label-2")])
    tables.system.aws.objects[tables.table_path("labels")] = older
    assert differences(tables) == 0
    assert tables.table_reads("labels") == tables.in_use


@pytest.mark.parametrize("step", ["compare", "refresh"])
def test_an_index_that_is_older_than_the_setting_gets_its_tables(index: IndexSystem, step: str) -> None:
    index.save("label-1")
    index.rebuild()
    generation = index.in_use
    index.system.set(LABEL_CATALOG_TABLE="true")
    index.system.catalog({"action": "index", "step": step, "project_hash": index.system.project})
    index.system.work_all()
    assert index.tables_read() == {index.in_use}
    if step == "compare":
        assert index.in_use == generation
        assert index.system.document(f"{index.base}/state/index.json")["differences"] == 0
