"""Whatever happens to events and workers, the index ends like the bucket, and readers see only whole generations."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from catalog_system import chance
from handler_servers import Fault
from index_system import IndexSystem, label_body
from label_catalog import toolbox
from label_catalog.adapters.aws.s3 import LabelBucket, StateDocuments
from label_catalog.adapters.aws.sqs import WorkQueue
from label_export.core.errors import RetryableError

LABELS = [f"label-{number}" for number in range(8)]


class KilledError(BaseException):
    """The worker ends here, as with kill -9."""


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


@contextmanager
def reader(index: IndexSystem) -> Iterator[list[int]]:
    """Read in a loop; yield the sequence numbers that were seen. Torn and older generations raise an error."""
    seen: list[int] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def loop() -> None:
        try:
            while not stop.is_set():
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


STEPS = [
    (LabelBucket, "upload"), (LabelBucket, "upload_new"), (LabelBucket, "erase"), (LabelBucket, "download"),
    (StateDocuments, "save"), (StateDocuments, "save_text"), (StateDocuments, "put"), (WorkQueue, "send"),
]  # fmt: skip


def killed(count: int, act: Callable[[], object], *, after: bool) -> bool:
    """Act, and kill the worker before or after its nth step in bucket or queue; return whether it reached the step."""
    calls = [0]

    def counting(step: Callable[..., object]) -> Callable[..., object]:
        def counted(*given: object, **named: object) -> object:
            calls[0] += 1
            if calls[0] == count and not after:
                raise KilledError
            answer = step(*given, **named)
            if calls[0] == count:
                raise KilledError
            return answer

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for holder, name in STEPS:
            patch.setattr(holder, name, counting(getattr(holder, name)))
        try:
            act()
        except KilledError:
            return True
    return False


@pytest.mark.parametrize("after", [False, True])
def test_survives_an_update_that_is_killed_at_any_step(index: IndexSystem, after: bool) -> None:
    for label in LABELS[:3]:
        index.save(label)
    index.rebuild()
    index.system.set(LABEL_CATALOG_INDEX_GENERATIONS="1", LABEL_CATALOG_TABLE="true")
    for step in range(1, 30):
        index.system.clock.off += timedelta(hours=2)  # so that old generations are removed, too
        index.events = [index.save(LABELS[step % 8], label_body(LABELS[step % 8], note=str(step)))]
        kept = list(index.events)
        came_there = killed(step, index.deliver, after=after)
        index.read()
        if not came_there:
            break
        index.system.restart()
        index.events = kept  # SQS redelivers them
        index.settle()
        assert index.differences() == []
        assert index.tables_read() == {index.in_use}
    assert 6 < step < 29


@pytest.mark.parametrize("after", [False, True])
def test_survives_a_rebuild_that_is_killed_at_any_step(
    index: IndexSystem, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr("label_catalog.entrypoints.index_work._PART", 2)
    for label in LABELS[:3]:
        index.save(label)
    for step in range(4 if after else 1, 60, 7):  # each takes two rebuilds; both tests together try every fourth
        index.system.catalog({"action": "index", "step": "rebuild"})
        message = index.system.take("catalog")
        assert message is not None
        if not killed(step, lambda event=message: index.system.catalog(event), after=after):  # type: ignore[misc]
            break
        index.system.restart()
        index.system.aws.queues["catalog"].insert(0, message["Records"][0]["body"])  # SQS redelivers it
        index.system.work_all()
        assert index.differences() == []
        index.save(LABELS[step % 8], label_body(LABELS[step % 8], note=str(step)))
    assert step > 20
    index.events.clear()
    index.system.work_all()
    index.rebuild()
    assert index.differences() == []


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


def test_an_event_while_the_first_rebuild_ends_is_not_lost(index: IndexSystem) -> None:
    """The event finds no pointer, and the rebuild has listed the bucket already: the request makes it list again."""
    index.save("label-1")
    index.events.clear()
    late: list[str] = []

    def save_late(path: str) -> None:
        if path.endswith("ontology.json") and not late:  # all files exist, the pointer does not
            late.append(path)
            index.system.aws.after_save = None
            event = index.save("label-2")
            thread = threading.Thread(target=lambda: failed.extend(index.deliver([event])))
            threads.append(thread)
            thread.start()

    failed: list[dict[str, object]] = []
    threads: list[threading.Thread] = []
    index.system.aws.after_save = save_late
    index.rebuild()
    for thread in threads:
        thread.join()
    index.events = failed  # type: ignore[assignment]
    index.settle()
    assert late
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
