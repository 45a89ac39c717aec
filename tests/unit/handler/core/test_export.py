"""An older row never replaces a newer one, for any interleaving: only the core, between in-memory ports."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from label_export.core.errors import PermanentError, RetryableError, TerminalError, UnconfirmedError
from label_export.core.export import MAX_LOOKS, Exporter, Order, Outcome, Result, order
from label_export.core.messages import LabelChange
from label_export.core.object_keys import DEFAULT_TEMPLATE, KeyTemplate
from label_export.core.ports import LabelRow, StoredLabel

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


def make_row(version: int, edited: int | None, title: str = "title") -> LabelRow:
    body = f"version {version}".encode()
    moment = None if edited is None else EPOCH + timedelta(seconds=edited)
    return LabelRow("label", "data", "dataset", title, "main", moment, None, body, hashlib.sha256(body).hexdigest())


class Turns:
    """Lets several threads run one step at a time, in a given order."""

    def __init__(self) -> None:
        self._waiting: dict[int, threading.Event] = {}
        self._changed = threading.Condition()
        self._local = threading.local()
        self._running = 0

    def run(self, works: Sequence[Callable[[], None]], choose: Callable[[int], int]) -> list[BaseException]:
        errors: list[BaseException] = []

        def body(number: int, work: Callable[[], None]) -> None:
            self._local.number = number
            try:
                self.step()
                work()
            except BaseException as error:  # noqa: BLE001  (shown by the test)
                errors.append(error)
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

        self._running = len(works)
        threads = [threading.Thread(target=body, args=item, daemon=True) for item in enumerate(works)]
        for thread in threads:
            thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) == self._running, timeout=60)
                if not self._waiting:
                    break
                ready = sorted(self._waiting)
                self._waiting.pop(ready[choose(len(ready))]).set()
        for thread in threads:
            thread.join(60)
        return errors

    def step(self) -> None:
        mine = threading.Event()
        with self._changed:
            self._waiting[self._local.number] = mine
            self._changed.notify_all()
        mine.wait(60)


@dataclass
class World:
    """Encord and a bucket: `edit` changes what is served; the bucket keeps its history. Each call is one step."""

    versions: Sequence[LabelRow]
    step: Callable[[], None] = lambda: None
    current: int = 0
    stored: dict[str, tuple[str, LabelRow]] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)
    stage: str | None = None
    projects_read: int = 0

    def edit(self) -> None:
        self.step()
        self.current = min(self.current + 1, len(self.versions) - 1)

    def fetch(self, project_hash: str, label_hash: str) -> LabelRow:
        self.step()
        return self.versions[self.current]

    def labels_of_data(self, project_hash: str, data_hash: str) -> Sequence[str]:
        return []

    def require_project(self, project_hash: str) -> None:
        self.step()
        self.projects_read += 1

    def workflow_stage(self, project_hash: str, label_hash: str) -> str | None:
        return self.stage

    def look(self, key: str) -> StoredLabel | None:
        self.step()
        if key not in self.stored:
            return None
        etag, row = self.stored[key]
        return StoredLabel(etag, row.sha256, row.edited_at)

    def write(self, key: str, project_hash: str, row: LabelRow, replaces: StoredLabel | None) -> bool:
        self.step()
        if (self.stored[key][0] if key in self.stored else None) != (replaces.etag if replaces else None):
            return False
        self.put(key, row)
        return True

    def put(self, key: str, row: LabelRow) -> None:
        self.stored[key] = (row.sha256, row)
        self.history.append([version.sha256 for version in self.versions].index(row.sha256))


def exporter(world: World, *, eager: bool = True, template: str = DEFAULT_TEMPLATE, **changes: Any) -> Exporter:
    def start(work: Callable[[], Any]) -> Callable[[], Any]:
        if not eager:
            return work
        result = work()
        return lambda: result

    nothing: frozenset[str] = frozenset()
    parts = {"source": world, "store": world, "projects": nothing, "stages": nothing, "late_receive": 3} | changes
    return Exporter(key_template=KeyTemplate(template), start=start, **parts)  # type: ignore[arg-type]


def export(made: Exporter, *, late: bool = False) -> Result:
    return made.export("project", "label", late=late)


def naive(world: World) -> Callable[[], object]:
    """A writer that compares edit times but does not write conditionally."""

    def export_naively() -> None:
        row = world.fetch("project", "label")
        stored = world.look("key")
        if order(row, stored) in (Order.NEWER, Order.UNDECIDED, Order.OLDER):
            world.step()
            world.put("key", row)

    return export_naively


# Edit times as Encord may serve them: later, equal (within a second), or missing; never earlier.
edit_steps = st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=4)


def versions(steps: Sequence[int | None]) -> list[LabelRow]:
    rows, seconds = [make_row(0, 0)], 0
    for number, step in enumerate(steps, start=1):
        seconds += step or 0
        rows.append(make_row(number, None if step is None else seconds))
    return rows


def play(
    steps: Sequence[int | None], writers: Sequence[Any], choices: Sequence[int], make: Callable[..., Any]
) -> tuple[World, list[BaseException]]:
    """Let writers run against edits in the order of `choices`; `make` creates each from a world and a writer."""
    turns = Turns()
    world = World(versions(steps), turns.step)
    picks = iter(choices)
    works = [lambda writer=writer: make(world, writer)() for writer in writers]
    works.append(lambda: [world.edit() for _ in steps] and None)
    errors = turns.run(works, lambda ready: next(picks, 0) % ready)
    world.step = lambda: None
    return world, errors


schedules = st.lists(st.integers(0, 5), min_size=10, max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edit_steps, st.lists(st.booleans(), min_size=2, max_size=3), schedules)
def test_history_never_goes_back(steps: list[int | None], writers: list[bool], choices: list[int]) -> None:
    world, errors = play(steps, writers, choices, lambda world, eager: partial(export, exporter(world, eager=eager)))
    assert not errors
    assert world.history == sorted(set(world.history)), "an older version replaced a newer one, or was written twice"
    export(exporter(world))
    assert world.history[-1] == len(world.versions) - 1, "the last export must leave the newest version"
    count = len(world.history)
    assert export(exporter(world)).outcome is Outcome.UNCHANGED
    assert len(world.history) == count, "a replay must write nothing"


def test_the_check_catches_a_naive_writer() -> None:
    def goes_back(example: tuple[list[int | None], list[bool], list[int]]) -> bool:
        steps, writers, choices = example
        world, _ = play(steps, writers, choices, lambda world, _eager: naive(world))
        return world.history != sorted(world.history)

    examples = st.tuples(edit_steps, st.lists(st.booleans(), min_size=2, max_size=3), schedules)
    try:
        find(examples, goes_back, settings=settings(max_examples=2000, deadline=None))
    except NoSuchExample:
        pytest.fail("the property could not catch a writer that is known to be wrong")


@pytest.mark.parametrize(
    ("new", "old", "same", "expected"),
    [
        (2, 1, False, Order.NEWER),
        (1, 2, False, Order.OLDER),
        (1, 1, False, Order.UNDECIDED),
        (None, 1, False, Order.UNDECIDED),
        (1, None, False, Order.UNDECIDED),
        (1, 2, True, Order.SAME),
        (None, None, True, Order.SAME),
    ],
)
def test_order(new: int | None, old: int | None, same: bool, expected: Order) -> None:
    row, before = make_row(1, new), make_row(1 if same else 0, old)
    assert order(row, StoredLabel("e", before.sha256, before.edited_at)) is expected
    assert order(row, None) is Order.NEWER


def test_an_object_that_no_export_wrote_is_replaced_under_condition() -> None:
    world = World([make_row(0, 0)])
    world.look = lambda key: StoredLabel("foreign", None, None)  # type: ignore[method-assign]
    seen: list[StoredLabel | None] = []
    world.write = lambda key, project, row, replaces: bool(seen.append(replaces)) or True  # type: ignore[method-assign]
    assert export(exporter(world)).outcome is Outcome.EXPORTED
    assert seen == [StoredLabel("foreign", None, None)]


# Edit times as an SDK save or a restored version may leave them: earlier than before, too.
any_edit_steps = st.lists(st.sampled_from([0, 1, 3, -2, None]), min_size=1, max_size=4)
# Deliveries of messages about one label, one after the other: each looks first or not, and is late or not.
deliveries = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(any_edit_steps, deliveries, st.lists(st.booleans(), max_size=40))
def test_an_edit_time_goes_back_only_in_a_late_delivery_that_reports_it(
    steps: list[int | None], sent: list[tuple[bool, bool]], edits: list[bool]
) -> None:
    """Before each request of a delivery, Encord may serve the next version."""
    world, edited = World(versions(steps)), iter(edits)

    def step() -> None:
        if next(edited, False):
            world.current = min(world.current + 1, len(world.versions) - 1)

    world.step = step
    went_back = 0
    for eager, late in sent:
        try:
            went_back += export(exporter(world, eager=eager), late=late).outcome is Outcome.WENT_BACK
        except UnconfirmedError:
            assert not late
    times = [world.versions[number].edited_at for number in world.history]
    assert world.history == sorted(set(world.history)), "what Encord served earlier replaced what it served later"
    assert went_back == sum(one is not None and two is not None and two < one for one, two in pairwise(times))
    world.step = lambda: None
    export(exporter(world), late=True)
    assert world.history[-1] == world.current, "a late delivery leaves what Encord serves"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edit_steps, deliveries.filter(lambda sent: 2 <= len(sent) <= 3), schedules)
def test_while_edit_times_go_forward_no_delivery_is_in_doubt(
    steps: list[int | None], sent: list[tuple[bool, bool]], choices: list[int]
) -> None:
    """In parallel and in any order, early and late."""
    results: list[Outcome] = []

    def make(world: World, delivery: tuple[bool, bool]) -> Callable[[], None]:
        eager, late = delivery
        return lambda: results.append(export(exporter(world, eager=eager), late=late).outcome)

    world, errors = play(steps, sent, choices, make)
    assert not errors
    assert Outcome.WENT_BACK not in results
    assert world.history == sorted(set(world.history))


def test_an_older_edit_time_is_returned_and_stored_at_a_late_receive() -> None:
    world = World([make_row(0, 5), make_row(1, 1)])
    export(exporter(world))
    world.edit()
    with pytest.raises(UnconfirmedError) as caught:
        export(exporter(world))
    assert (caught.value.reason, world.history) == ("older_edit_time", [0])
    assert export(exporter(world), late=True).outcome is Outcome.WENT_BACK
    assert world.history == [0, 1]
    assert export(exporter(world)).outcome is Outcome.UNCHANGED


def test_an_older_row_that_a_second_fetch_replaces_is_not_in_doubt() -> None:
    """Encord served a stale row; the second fetch returns the newer one."""
    world = World([make_row(0, 5), make_row(1, 1), make_row(2, 9)])
    export(exporter(world))
    rows = iter([world.versions[1], world.versions[2]])
    world.fetch = lambda project, label: next(rows)  # type: ignore[method-assign]
    assert export(exporter(world)).outcome is Outcome.EXPORTED
    assert world.history == [0, 2]


def gone(world: World, *then: LabelRow) -> list[str]:
    """Let Encord have no such row at first, and then serve those in `then`; return the requests."""
    asked: list[str] = []

    def fetch(project_hash: str, label_hash: str) -> LabelRow:
        asked.append("fetch")
        if len(asked) > 1 and then:
            return then[0]
        raise TerminalError("row_deleted", "no such row")

    world.fetch = fetch  # type: ignore[method-assign]
    world.require_project = lambda project: asked.append("project")  # type: ignore[method-assign]
    return asked


def test_a_negative_response_counts_at_a_late_receive_after_the_project_was_read() -> None:
    world = World([make_row(0, 0)])
    asked = gone(world)
    with pytest.raises(UnconfirmedError) as unconfirmed:
        export(exporter(world))
    assert (unconfirmed.value.reason, asked) == ("row_deleted", ["fetch"])
    with pytest.raises(TerminalError) as terminal:
        export(exporter(world), late=True)
    assert (terminal.value.reason, asked) == ("row_deleted", ["fetch", "fetch", "project", "fetch"])


def test_a_late_negative_answer_that_is_not_repeated_ends_nothing() -> None:
    world = World([make_row(0, 0)])
    gone(world, world.versions[0])
    assert export(exporter(world), late=True).outcome is Outcome.EXPORTED


def test_a_row_of_a_project_that_cannot_be_read_is_never_deleted() -> None:
    world = World([make_row(0, 0)])
    gone(world)

    def refused(project_hash: str) -> None:
        raise PermanentError("no_access", "the project is not ours to read")

    world.require_project = refused  # type: ignore[method-assign]
    with pytest.raises(PermanentError, match="not ours to read"):
        export(exporter(world), late=True)


def test_another_stage_counts_at_a_late_receive_and_no_stage_never() -> None:
    world = World([make_row(0, 0)], stage="Review 1")
    made = exporter(world, stages=frozenset({"Complete"}))
    with pytest.raises(UnconfirmedError) as caught:
        export(made)
    assert caught.value.reason == "stage"
    assert export(made, late=True).outcome is Outcome.FILTERED
    world.stage = None
    for late in (False, True):
        with pytest.raises(PermanentError) as failed:
            export(made, late=late)
        assert failed.value.reason == "stage_unknown"
    world.stage = "Complete"
    assert export(made).outcome is Outcome.EXPORTED


def test_a_storm_of_races_is_left_to_the_queue() -> None:
    world = World([make_row(0, 0)])
    tries: list[str] = []
    world.write = lambda key, project, row, replaces: bool(tries.append(key))  # type: ignore[method-assign]
    with pytest.raises(RetryableError, match="races") as caught:
        export(exporter(world))
    assert (caught.value.reason, len(tries)) == ("contended", MAX_LOOKS)


def test_a_title_that_changes_while_it_is_fetched_again_is_looked_up_again() -> None:
    world = World([make_row(0, 0, "old"), make_row(1, 0, "new")])
    template = "{data_title}/{label_hash}"
    world.put("old/label", make_row(1, 0))
    world.put("new/label", make_row(1, 0))
    fetches = iter([world.versions[0], world.versions[1], world.versions[1]])
    world.fetch = lambda project, label: next(fetches)  # type: ignore[method-assign]
    result = export(exporter(world, template=template))
    assert (result.outcome, result.key) == (Outcome.UNCHANGED, "new/label")


def test_s3_is_read_in_parallel_with_the_fetch_only_if_the_key_is_known() -> None:
    began: list[str] = []

    def start(work: Callable[[], Any]) -> Callable[[], Any]:
        began.append("look")
        return work

    world = World([make_row(0, 0)])
    for template, expected in ((DEFAULT_TEMPLATE, ["look"]), ("{data_title}/{label_hash}", [])):
        began.clear()
        nothing: frozenset[str] = frozenset()
        Exporter(world, world, KeyTemplate(template), nothing, nothing, 3, start).export("project", "label")
        assert began == expected


def test_a_data_unit_without_labels_is_terminal_at_a_late_receive() -> None:
    world = World([make_row(0, 0)])
    change = LabelChange("project", None, "data")
    with pytest.raises(UnconfirmedError):
        exporter(world).labels(change)
    assert world.projects_read == 0
    with pytest.raises(TerminalError) as caught:
        exporter(world).labels(change, late=True)
    assert (caught.value.reason, world.projects_read) == ("never_initialised", 1)
