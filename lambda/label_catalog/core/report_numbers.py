"""The numbers of a project's report, and how some of them follow from the catalog's own documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DAYS = 90  # of the charts by day; everything older is one number before the first day
MOST_GROUPS = 12  # data sets and stages with their own line; the rest is one group
MOST_CLASSES = 30
MOST_SERIES = 6  # data sets with their own colour in the chart by day
REST = "others"
NOT_KNOWN = "not known"

_WHY = {
    "missing": "Encord has the label, the bucket has no object. It is queued",
    "stale": "the object is older than the label in Encord. It is queued",
    "moved_back": "the task is back in an earlier workflow stage. The object stays",
    "extra": "Encord no longer has the label under this key. The object stays",
    "odd": "Encord's listing has a row of an unknown form",
}


@dataclass(frozen=True, slots=True)
class DayCount:
    """Labels of one day (UTC, ISO 8601) and their bytes. `group` is a data set's title, or empty."""

    day: str
    labels: int
    size: int = 0
    group: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Labels, bytes and annotations with one name: a data set, a stage or a class. `detail` is a class's shape."""

    name: str
    labels: int
    size: int = 0
    annotations: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from a label's edit to its object, within which 50 %, 90 % and 99 % of the labels were stored."""

    labels: int
    p50: float
    p90: float
    p99: float
    longest: float
    day: str = ""


@dataclass(frozen=True, slots=True)
class IndexNumbers:
    """The content of one index generation. `classes` are the largest of `class_count`."""

    generation: str
    written_at: str
    labels: int
    size: int
    not_parsed: int
    gone: int
    annotations: int
    saved: tuple[DayCount, ...]
    growth: tuple[DayCount, ...]
    datasets: tuple[Group, ...]
    stages: tuple[Group, ...]
    classes: tuple[Group, ...]
    class_count: int
    delays: Delays | None
    delays_by_day: tuple[Delays, ...]


@dataclass(frozen=True, slots=True)
class CensusPoint:
    """The counts of one census."""

    as_of: str
    selected: int
    current: int
    missing: int
    stale: int
    extra: int
    moved_back: int
    odd: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Labels, or work, that failed for one reason. `examples` are hashes."""

    what: str
    count: int
    why: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExporterLog:
    """What the exporter did not store, by reason, as read from its log of the last `hours` and its dead letters.

    `dead_letters` are those of all projects.
    """

    hours: float
    dead_letters: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """A snapshot, and its differences from the previous one; None if there is none, or it cannot be read."""

    name: str
    created_at: str
    labels: int
    identity: str
    where: str
    before: str | None = None
    added: int | None = None
    removed: int | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class ReportNumbers:
    """All numbers of a report. Times are ISO 8601 in UTC, sizes are bytes."""

    project_hash: str
    title: str
    made_at: str
    index: IndexNumbers | None
    census: tuple[CensusPoint, ...] = ()
    failures: tuple[Failure, ...] = ()
    exporter: ExporterLog | None = None  # None if the report's event does not contain it
    snapshots: tuple[SnapshotLine, ...] = ()


def exporter_log(found: object, project_hash: str) -> ExporterLog | None:
    """Return a project's part of an event's data about the exporter, as module export_failures_info returns it.

    Messages and lines that name no project are in every project's part. Raises ValueError for another form.
    """
    if found is None:
        return None
    try:
        mine = [one for one in found["failures"] if one["project_hash"] in (project_hash, "")]  # type: ignore[index]
        return ExporterLog(
            hours=float(found["hours"]),  # type: ignore[index]
            dead_letters=int(found["dead_letters"]),  # type: ignore[index]
            failures=tuple(
                Failure(
                    str(one["what"]),
                    int(one["labels"]),
                    str(one["reason"]),
                    tuple(str(name) for name in one["examples"]),
                )
                for one in mine
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("the event's exporter is not in the form that module export_failures_info returns") from error


def folded(groups: Iterable[Group], most: int = MOST_GROUPS) -> tuple[Group, ...]:
    """Return the `most` largest groups, and all others as one more group."""
    ordered = sorted(groups, key=lambda group: (-group.labels, group.name))
    kept, rest = ordered[:most], ordered[most:]
    if len(rest) > 1:
        kept.append(
            Group(
                f"{len(rest)} {REST}",
                sum(group.labels for group in rest),
                sum(group.size for group in rest),
                sum(group.annotations for group in rest),
            )
        )
    else:
        kept += rest
    return tuple(kept)


def census_point(report: Mapping[str, Any]) -> CensusPoint | None:
    """Return the counts of a census's report; None if it has another form."""
    try:
        totals = {kind: int(report[kind]["total"]) for kind in ("missing", "stale", "extra", "moved_back", "odd")}
        return CensusPoint(
            as_of=str(report["as_of"]),
            selected=int(report["encord"]["selected"]),
            current=int(report["bucket"]["current"]),
            complete=bool(report["complete"]),
            **totals,
        )
    except (KeyError, TypeError, ValueError):
        return None


def newest_of_each_day(keys: Iterable[str], days: int = DAYS) -> list[str]:
    """Return the last key of each day, of the last `days` days that have one; keys end with <yyyymmddThhmmssZ>.json."""
    newest: dict[str, str] = {}
    for key in sorted(keys):
        newest[key.rpartition("/")[2][:8]] = key
    return list(newest.values())[-days:]


def failures(
    latest: Mapping[str, Any] | None, works: Iterable[Mapping[str, Any]], index: IndexNumbers | None
) -> tuple[Failure, ...]:
    """Return failures by reason: of the latest census, of the catalog's own work, and of the index."""
    found: list[Failure] = []
    for kind, why in _WHY.items():
        listed = (latest or {}).get(kind)
        if not isinstance(listed, dict) or not listed.get("total"):
            continue
        labels = [label for label in listed.get("labels", []) if isinstance(label, dict)]
        reasons = Counter(str(label.get("reason") or label.get("problem") or "") for label in labels)
        unnamed = int(listed["total"]) - len(labels)
        for reason, count in reasons.most_common():
            examples = [
                str(label.get("label_hash") or label.get("data_hash") or "")
                for label in labels
                if str(label.get("reason") or label.get("problem") or "") == reason
            ]
            found.append(
                Failure(
                    kind.replace("_", " "),
                    count,
                    f"{why}: {reason}" if reason else why,
                    tuple(filter(None, examples[:3])),
                )
            )
        if unnamed > 0:
            found.append(Failure(kind.replace("_", " "), unnamed, f"{why} (not named in the census's report)"))
    for work in works:
        if work.get("state") == "failed":
            found.append(Failure(str(work.get("kind")), 1, str(work.get("detail") or "no detail was saved")))
        elif work.get("failures"):
            found.append(Failure(str(work.get("kind")), int(work["failures"]), "a run failed and was retried"))
    if index is not None and index.not_parsed:
        found.append(Failure("not parsed", index.not_parsed, "too large or not JSON: in the index without annotations"))
    return tuple(found)
