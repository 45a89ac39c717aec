"""A census's result: the report, and its summary in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MOST_LISTED = 1000


@dataclass(slots=True)
class Found:
    """Labels of one kind: all are counted, the first thousand are named."""

    total: int = 0
    labels: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **label: Any) -> None:
        """Count a label, and name it if there is room."""
        self.total += 1
        if len(self.labels) < MOST_LISTED:
            self.labels.append({name: value for name, value in label.items() if value is not None})

    def as_dict(self) -> dict[str, Any]:
        """Return the counts in the form of the report."""
        return {"total": self.total, "labels": self.labels}


def unhealed(previous: Mapping[str, Any] | None, missing: Found, stale: Found, odd: Found) -> int:
    """Return how many labels are missing, stale or of a form that is not known now, and were so in the previous report.

    If a list was cut, labels that are not named count as the same.
    """
    if previous is None:
        return 0
    earlier, cut = _labels(previous, ("missing", "stale", "odd"))
    now = {_name(label) for found in (missing, stale, odd) for label in found.labels}
    not_named = sum(found.total - len(found.labels) for found in (missing, stale, odd))
    return len(earlier & now) + min(cut, not_named)


def _labels(report: Mapping[str, Any], kinds: Iterable[str]) -> tuple[set[Any], int]:
    keys: set[Any] = set()
    cut = 0
    for kind in kinds:
        found = report.get(kind)
        if isinstance(found, dict) and isinstance(found.get("labels"), list):
            keys |= {_name(label) for label in found["labels"] if isinstance(label, dict)}
            cut += max(0, int(found.get("total", 0)) - len(found["labels"]))
    return keys, cut


def _name(label: Mapping[str, Any]) -> Any:
    """Return what identifies a label in two reports: its key; for an odd row, which has none, a hash or the title."""
    return label.get("key") or label.get("label_hash") or label.get("data_hash") or label.get("title")


def line(  # noqa: PLR0913 - a line for people has these parts
    title: str, selected: int, current: int, as_of: datetime, others: Mapping[str, int], *, doubts: Sequence[str] = ()
) -> str:
    """Return one line for people: "project X: Encord 120,431 complete, bucket 120,431, as of 14:05 UTC"."""
    problems = ", ".join(f"{count:,} {name}" for name, count in others.items() if count)
    begin = f"project {title}: Encord {selected:,} complete, bucket {current:,}"
    unproved = f", not proved ({'; '.join(doubts)})" if doubts else ""
    return f"{begin}{', ' + problems if problems else ''}{unproved}, as of {as_of:%Y-%m-%d %H:%M} UTC"
