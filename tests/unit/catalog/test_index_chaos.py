"""Whatever happens to events and workers, the index ends like the bucket, and readers see only whole generations."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from catalog_system import chance
from handler_servers import Fault
from index_system import IndexSystem, label_body
from kill_points import killed_at_each_write
from label_catalog import toolbox
from label_catalog.adapters.index_tables import IndexTables
from label_catalog.entrypoints import index_update
from label_catalog.entrypoints.index_work import IndexWork
from label_export.core.errors import RetryableError

LABELS = [f"label-{number}" for number in range(8)]


def change(index: IndexSystem, random_: random.Random) -> None:
    """Save a label with changed content, or delete one."""
    label = random_.choice(LABELS)
    if random_.random() < 0.25:
        index.delete(label)
    else:
        index.save(label, label_body(label, boxes=random_.randrange(4), note=str(random_.random())))


def disturbed(events: list[dict[str, object]], random_: random.Random) -> list[dict[str, object]]:
    """Return events in another order, some twice, some late or lost."""
    kept = [event for event in events if random_.random() > 0.2]
    kept += [event for event in kept if random_.random() < 0.3]
    random_.shuffle(kept)
    return kept


def once_after(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, happen: Callable[[], None]) -> list[str]:
    """Let something happen after the first call of a method has done its work; the result says that it did."""
    happened: list[str] = []
    original = getattr(owner, method)

    def followed(itself: Any, *given: Any) -> Any:
        result = original(itself, *given)
        if not happened:
            happened.append(method)
            happen()
        return result

    monkeypatch.setattr(owner, method, followed)
    return happened


@contextmanager
def reader(index: IndexSystem) -> Iterator[list[int]]:
    """Read in a loop; yield the sequence numbers that were seen. Torn and older generations raise an error."""
    seen: list[int] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def loop() -> None:
        try:
            while not stop.wait(0.001):  # without a pause this thread would take half of the processor
                if index.pointer is not None:
                    seen.append(index.read().pointer["sequence"])
        except BaseException as error:  # noqa: BLE001 - raised again by the test's own thread
            failures.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
    assert seen == sorted(seen), "a reader saw an older generation after a newer one"


@pytest.mark.parametrize("seed", range(3))
def test_survives_lost_duplicate_late_and_reordered_events(index: IndexSystem, seed: int) -> None:
    random_ = chance(seed)
    for label in LABELS[:4]:
        index.save(label)
    index.rebuild()
    late: list[dict[str, object]] = []
    with reader(index) as seen:
        for _ in range(4):
            for _ in range(random_.randrange(1, 6)):
                change(index, random_)
            events, index.events = disturbed(index.events, random_), []
            cut = random_.randrange(len(events) + 1)
            assert index.deliver([*events[:cut], *late]) == []
            late = events[cut:]
        assert index.deliver(late) == []
        index.compare()  # finds and repairs the effects of lost events
    assert seen
    assert index.differences() == []
    assert index.compare() == 0


def test_an_update_killed_at_each_write(index: IndexSystem) -> None:
    index.system.set(LABEL_CATALOG_INDEX_GENERATIONS="1", LABEL_CATALOG_TABLE="true")
    for label in LABELS[:3]:
        index.save(label)
    index.rebuild()
    index.deliver([index.save(LABELS[0], label_body(LABELS[0], note="second"))])
    index.system.clock.off += timedelta(hours=2)  # so that old generations are removed, too
    events = [index.save(LABELS[1], label_body(LABELS[1], note="changed")), index.delete(LABELS[2])]
    places = []
    for name, _ in killed_at_each_write(index.system, lambda: index.deliver(events)):
        places.append(name)
        index.read()
        index.events = list(events)  # SQS delivers them again
        index.settle()
        assert index.differences() == [], name
        assert index.tables_read() == {index.in_use}, name
    # Three files, the pointer, and what an older generation had; with the lists of the tables between them.
    assert sum(name.startswith("PutObject") for name in places) > 4
    assert sum(name.startswith("DeleteObject") for name in places) >= 3


def test_a_rebuild_killed_at_each_write(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("label_catalog.entrypoints.index_work._PART", 2)
    for label in LABELS[:3]:
        index.save(label)
    index.rebuild()
    index.events.clear()
    index.save(LABELS[0], label_body(LABELS[0], note="no event of it ever came"))
    index.system.catalog({"action": "index", "step": "rebuild"})
    message = index.system.take("catalog")
    assert message is not None
    places = []
    for name, _ in killed_at_each_write(index.system, lambda: index.system.catalog(message)):
        places.append(name)
        index.read()
        index.system.aws.queues["catalog"].insert(0, message["Records"][0]["body"])  # SQS delivers it again
        index.system.work_all()
        assert index.differences() == [], name
        assert index.system.document(f"{index.base}/state/work/index.json")["state"] == "completed", name
        assert not [path for path in index.system.aws.objects if "/state/index/" in path], name
    # Two parts with two files each, three files of the generation, the pointer; and the state between them.
    assert {"PutObject labels.parquet", "PutObject ontology.json", "PutObject latest.json"} <= set(places)
    assert "PutObject index.json" in places
    assert "DeleteObject annotations.parquet" in places


def test_a_comparison_that_repairs_killed_at_each_write(index: IndexSystem) -> None:
    for label in LABELS[:3]:
        index.save(label)
    index.rebuild()
    index.events.clear()
    index.save(LABELS[0], label_body(LABELS[0], note="its event was lost"))
    index.delete(LABELS[1])
    index.system.catalog({"action": "index", "step": "compare"})
    taken: list[str] = []

    def compare() -> None:
        while (message := index.system.take("catalog")) is not None:
            taken.append(message["Records"][0]["body"])
            index.system.catalog(message)

    for name, _ in killed_at_each_write(index.system, compare):
        index.read()
        index.system.aws.queues["catalog"].insert(0, taken[-1])  # SQS delivers the worker's message again
        taken.clear()
        index.system.work_all()
        assert index.differences() == [], name
        assert index.system.document(f"{index.base}/state/work/compare.json")["state"] == "completed", name
        # The differences were counted, before or after the end of the worker that found them.
        assert index.system.document(f"{index.base}/state/index.json")["differences"] == 2, name
        assert not [path for path in index.system.aws.objects if "/state/index/" in path], name


@pytest.mark.parametrize("seed", range(2))
def test_survives_several_workers_at_once(index: IndexSystem, seed: int) -> None:
    random_ = chance(seed)
    index.system.set(LABEL_CATALOG_TABLE="true")
    for label in LABELS[:4]:
        index.save(label)
    index.rebuild()
    index.events.clear()
    with reader(index), ThreadPoolExecutor(3) as workers:
        for _ in range(3):
            for _ in range(6):
                change(index, random_)
            events, index.events = index.events, []
            random_.shuffle(events)
            parts = [events[begin::2] for begin in range(2)]
            rebuild = workers.submit(index.rebuild)
            failed = [event for found in workers.map(index.deliver, parts) for event in found]
            rebuild.result()
            index.events += failed
        index.settle()
    assert index.differences() == []
    assert index.tables_read() == {index.in_use}
    assert index.compare() == 0


def test_a_worker_that_is_overtaken_reads_again(index: IndexSystem) -> None:
    """The stale worker read the label's first state. Its update must fail, and its second try sees the later one."""
    index.save("label-1")
    index.rebuild()
    index.events.clear()
    first = index.save("label-1", label_body("label-1", boxes=1))

    def overtake() -> None:
        index.system.aws.forget_faults()
        index.deliver([index.save("label-1", label_body("label-1", boxes=3))])

    # The first worker has read everything when it writes its first file: then the other one does all of its work.
    index.system.aws.fail("PutObject", Fault(when=overtake))
    assert index.deliver([first]) == []
    assert index.differences() == []
    assert [row["objects"] for row in index.read().rows("labels")] == [3]


def test_a_rebuild_that_is_overtaken_by_an_event_lists_the_bucket_again(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event comes after the rebuild's last listing, and moves the pointer first."""
    index.save("label-1")
    index.rebuild()
    index.events.clear()

    def overtake() -> None:
        assert index.deliver([index.save("label-2")]) == []

    late = once_after(monkeypatch, IndexWork, "_catch_up", overtake)
    index.rebuild()
    assert late
    assert index.differences() == []


def test_a_worker_that_is_overtaken_after_it_has_read_loses_neither_change(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has merged what it read into the old generation when the other one moves the pointer, with another label."""
    index.save("label-1")
    index.rebuild()
    index.events.clear()

    def overtake() -> None:
        assert index.deliver([index.save("label-2")]) == []

    late = once_after(monkeypatch, IndexTables, "write", overtake)
    assert index.deliver([index.save("label-1", label_body("label-1", boxes=1))]) == []
    assert late
    assert index.differences() == []


def test_a_first_rebuild_that_was_replaced_does_not_move_the_pointer_back(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found no pointer, and stood still. Another worker has built the index, and an event has changed it."""
    index.save("label-1")
    index.events.clear()
    index.system.catalog({"action": "index", "step": "rebuild"})
    message = index.system.take("catalog")
    assert message is not None

    def overtake() -> None:
        index.system.catalog(message)
        assert index.deliver([index.save("label-2")]) == []

    late = once_after(monkeypatch, IndexTables, "write", overtake)
    index.system.catalog(message)
    assert late
    assert index.read().pointer["sequence"] >= 2
    assert index.differences() == []


def test_an_event_before_the_first_pointer_makes_the_rebuild_list_again(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event finds no pointer, and the rebuild has listed the bucket already: the request makes it list again."""
    index.save("label-1")
    index.events.clear()

    def overtake() -> None:
        assert index.deliver([index.save("label-2")]) == []

    late = once_after(monkeypatch, IndexWork, "_catch_up", overtake)
    index.rebuild()
    assert late
    assert index.differences() == []


def test_an_event_whose_request_comes_after_the_first_move_sees_the_pointer(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event finds no pointer. Before it notes its request the rebuild moves the pointer and sees no request."""
    index.save("label-1")
    index.events.clear()
    reached, moved = threading.Event(), threading.Event()
    failed: list[dict[str, object]] = []
    threads: list[threading.Thread] = []
    catch_up, note_rebuilt = IndexWork._catch_up, IndexWork._note_rebuilt
    note_request = index_update.note_request

    def noted(*given: Any, **facts: Any) -> None:
        reached.set()
        assert moved.wait(60)
        note_request(*given, **facts)

    def listed(work: IndexWork, *given: Any) -> None:
        catch_up(work, *given)
        if not threads:
            event = index.save("label-2")
            threads.append(threading.Thread(target=lambda: failed.extend(index.deliver([event]))))
            threads[0].start()
            assert reached.wait(60)

    def rebuilt(work: IndexWork, *given: Any) -> None:
        moved.set()
        threads[0].join(60)
        note_rebuilt(work, *given)

    monkeypatch.setattr(index_update, "note_request", noted)
    monkeypatch.setattr(IndexWork, "_catch_up", listed)
    monkeypatch.setattr(IndexWork, "_note_rebuilt", rebuilt)
    index.rebuild()
    assert not threads[0].is_alive()
    assert failed == []
    assert index.differences() == []


def test_an_update_that_runs_out_of_time_returns_its_messages(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.save("label-1")
    index.rebuild()
    event = index.save("label-2")
    with monkeypatch.context() as patch:
        patch.setattr(toolbox.Toolbox, "is_late", lambda _: True)
        assert index.deliver([event]) == [event]
    assert index.deliver([event]) == []
    assert index.differences() == []


def test_a_service_that_fails_returns_the_messages(index: IndexSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    index.save("label-1")
    index.rebuild()
    event = index.save("label-2")

    def refuse(*_: object, **__: object) -> None:
        raise RetryableError("s3_unavailable", "s3 did not answer")

    with monkeypatch.context() as patch:
        patch.setattr("label_catalog.adapters.aws.s3.LabelBucket.upload_new", refuse)
        assert index.deliver([event]) == [event]
    assert json.loads(index.read().files["ontology"])["version"] == 1
    assert index.deliver([event]) == []
    assert index.differences() == []
