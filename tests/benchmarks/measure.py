"""The measurements. In each one the contenders take turns, so that noise affects both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from contenders import Contender, Took, Worker, cold
from services import Counts, Services

WARM_UP = 2  # events before a kept process is measured


@dataclass(frozen=True)
class Warm:
    """A kept process: the median seconds of an event, and the counts of the last one."""

    seconds: float
    counts: Counts


@dataclass(frozen=True)
class Large:
    """One large row in a process that has exported one small one before, so that imports are not counted.

    Medians: bytes of the row, seconds of CPU of the event, peak bytes of the process.
    """

    row_bytes: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def cpu_per_megabyte(self) -> float:
        """Seconds of CPU for each million bytes of the row."""
        return self.cpu_seconds / (self.row_bytes / 1e6)


@dataclass(frozen=True)
class Giant:
    """One row that does not fit into memory: its bytes, the process's peak bytes, and those that belong to no file."""

    row_bytes: int
    seconds: float
    peak_bytes: int
    anonymous_bytes: int


def warm(
    services: Services, contenders: Sequence[Contender], label_hashes: Sequence[str], repetitions: int
) -> dict[str, Warm]:
    """Measure an event in which each label must be written, in processes that have handled others."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    counts: dict[str, Counts] = {}
    event = services.event(label_hashes)
    with ExitStack() as stack:
        workers = [(contender.name, stack.enter_context(Worker(contender))) for contender in contenders]
        for number in range(WARM_UP + repetitions):
            for name, worker in workers:
                services.edit(label_hashes)
                took = worker.call(event)
                counts[name] = services.counts()
                services.check_stored(label_hashes)
                if number >= WARM_UP:
                    seconds[name].append(took.seconds)
    return {name: Warm(median(values), counts[name]) for name, values in seconds.items()}


def unchanged(services: Services, contender: Contender, label_hash: str, repetitions: int) -> Warm:
    """Measure an event for a label that is stored already, in a kept process."""
    services.edit([label_hash])
    event = services.event([label_hash])
    seconds = []
    with Worker(contender) as worker:
        for _ in range(WARM_UP):
            worker.call(event)
        for _ in range(repetitions):
            services.forget()
            seconds.append(worker.call(event).seconds)
    return Warm(median(seconds), services.counts())


def cold_starts(
    services: Services, contenders: Sequence[Contender], label_hash: str, repetitions: int
) -> dict[str, float]:
    """Return the median seconds from the start of a process to its first label stored."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    event = services.event([label_hash])
    for _ in range(repetitions):
        for contender in contenders:
            services.edit([label_hash])
            seconds[contender.name].append(cold(contender, event)[0])
            services.check_stored([label_hash])
    return {name: median(values) for name, values in seconds.items()}


def large(
    services: Services, contenders: Sequence[Contender], row: tuple[str, int], small_label: str, repetitions: int
) -> dict[str, Large]:
    """Measure one large row in processes that do nothing else but one small row before it."""
    label_hash, row_bytes = row
    seen: dict[str, list[Took]] = {contender.name: [] for contender in contenders}
    event = services.event([label_hash])
    for _ in range(repetitions):
        for contender in contenders:
            services.edit([label_hash, small_label])
            with Worker(contender) as worker:
                worker.call(services.event([small_label]))
                seen[contender.name].append(worker.call(event))
            services.check_stored([label_hash])
    return {
        name: Large(
            row_bytes,
            median(took.seconds for took in all_took),
            median(took.cpu_seconds for took in all_took),
            round(median(took.peak_bytes for took in all_took)),
        )
        for name, all_took in seen.items()
    }


def giant(services: Services, contender: Contender, row: tuple[str, int], small_label: str) -> Giant:
    """Measure one giant row in a process that has exported one small one, and compare the stored object."""
    label_hash, row_bytes = row
    services.edit([label_hash, small_label])
    with Worker(contender) as worker:
        worker.call(services.event([small_label]))
        with worker.anonymous() as seen:
            took = worker.call(services.event([label_hash]))
    services.check_exact(label_hash)
    return Giant(row_bytes, took.seconds, took.peak_bytes, max(seen, default=0))
