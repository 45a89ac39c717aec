"""Work that takes several runs: its state, and how it continues."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

Kind = Literal["census", "sample", "backfill", "index", "compare", "refresh", "snapshot"]
KINDS: tuple[Kind, ...] = ("census", "sample", "backfill", "index", "compare", "refresh", "snapshot")
# Build the index from the bucket, compare it with the bucket, add the data of Encord's listing.
INDEX_KINDS: tuple[Kind, ...] = ("index", "compare", "refresh")

MAX_HOPS = 8  # Lambda stops a function that sends to its own queue after about 16 invocations
STALLED_AFTER = timedelta(minutes=20)  # longer than an invocation can be without saving

RUNNING = "running"
WAITING = "waiting"  # for the next reconcile, which continues it
COMPLETED = "completed"
FAILED = "failed"


@dataclass(slots=True)
class Work:
    """One piece of work for a project. Times are ISO 8601 in UTC.

    `cursor` is the last key that was processed, in the order of keys. `counts` are for people, `data` is what a kind
    needs to continue.
    """

    work: str
    kind: Kind
    project_hash: str
    options: dict[str, Any]
    started_at: str
    updated_at: str
    state: str = RUNNING
    cursor: str = ""
    queued: int = 0
    to_queue: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    failures: int = 0
    data: dict[str, Any] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any]:
        """Return the state object's content."""
        return {"version": 1, **asdict(self)}

    @classmethod
    def from_document(cls, document: dict[str, Any] | None) -> Work | None:
        """Return the work in a state object; None if there is none that this version can read."""
        if document is None or document.get("version") != 1:
            return None
        try:
            # Version 0.1 had no data.
            return cls(**{name: document[name] for name in cls.__slots__ if name != "data" or name in document})
        except (KeyError, TypeError):
            return None

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self.state in (RUNNING, WAITING)

    def is_stalled(self, now: datetime) -> bool:
        """Whether no worker is active: it waits, or its worker has not saved for longer than a worker can live."""
        if self.state == WAITING:
            return True
        try:
            updated = datetime.fromisoformat(self.updated_at)
        except ValueError:
            return True
        # A time in the future was written by another clock: it must not block the work until then.
        return self.state == RUNNING and abs(now - updated) > STALLED_AFTER


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two sets of options request the same work. A snapshot's generation is the one at its start."""
    return {**one, "generation": None} == {**other, "generation": None}


def describe(options: dict[str, Any]) -> str:
    """Return options in words, for a refusal."""
    if "name" in options:
        return f"{options['step']} {options['name']}"
    since = options.get("since")
    return f"since {since or 'the beginning'}, {'deep' if options.get('deep') else 'not deep'}"
