"""Snapshots: the request, whether it may be carried out, and the document that completes one. Pure.

A snapshot is a folder of files that are written once. `manifest.parquet` determines its content: the first one that is
written under a name counts, and all later steps follow from it. `snapshot.json` is last: without it there is no
snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from label_export.core.errors import PermanentError, UnknownEventError

from label_catalog.core.formats import FORMATS
from label_catalog.core.index_schema import Pointer

MANIFEST, MANIFEST_LINES, DOCUMENT = "manifest.parquet", "manifest.jsonl.gz", "snapshot.json"
LOSSES = "losses.json"
PROVED_FOR = timedelta(days=1)
MOST_LISTED = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for a snapshot."""

    name: str
    where: str
    formats: tuple[str, ...]
    allow_incomplete: bool

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Asked:
        """Read an event; raises UnknownEventError if it is malformed."""
        where = event.get("where") or ""
        formats = event.get("formats") or []
        if not isinstance(where, str) or "\0" in where:
            raise UnknownEventError("the event's where is not a text")
        unknown = [name for name in formats if name not in FORMATS] if isinstance(formats, list) else formats
        if unknown:
            raise UnknownEventError(f"the event's formats are {formats}: a list of {', '.join(FORMATS)} is expected")
        ordered = tuple(name for name in FORMATS if name in formats)
        return cls(checked_name(event.get("name")), where.strip(), ordered, event.get("allow_incomplete") is True)

    def as_options(self, generation: str) -> dict[str, Any]:
        """Return the options of the work that creates it."""
        return {
            "step": "create",
            "name": self.name,
            "where": self.where,
            "formats": list(self.formats),
            "generation": generation,
        }


def checked_name(name: object) -> str:
    """Return a snapshot's name; raises UnknownEventError if it is invalid."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UnknownEventError(
            f"the snapshot's name is {name!r}: it has 1 to 63 letters, digits, dots, hyphens and underscores, and"
            " begins with a letter or digit"
        )
    return name


def obstacles(report: Mapping[str, Any] | None, pointer: Pointer | None, now: datetime) -> list[str]:
    """Return why the index is not proved to be complete now; empty if it is.

    `report` is that of the latest census. The census compares Encord with the bucket, so it proves only that; the
    number of rows shows whether the index has caught up with the bucket.
    """
    if pointer is None:
        return ["the index has not been built yet: run playbooks/index.yml -e index_rebuild=true"]
    if report is None:
        return ["no census has run yet: run playbooks/census.yml"]
    found = []
    missing, stale = (int((report.get(kind) or {}).get("total", 0)) for kind in ("missing", "stale"))
    if missing or stale:
        found.append(
            f"the last census found {missing} labels missing and {stale} stale: run playbooks/census.yml again"
        )
    odd = int((report.get("odd") or {}).get("total", 0))
    if odd:
        found.append(f"the last census could not read {odd} rows of Encord's listing: the census's report names them")
    found += [f"the last census proves nothing: {doubt}" for doubt in report.get("doubts") or ()]
    try:
        age = now - datetime.fromisoformat(str(report.get("as_of")))
    except (ValueError, TypeError):
        age = PROVED_FOR * 2
    if age > PROVED_FOR:
        found.append(f"the last census is of {report.get('as_of')}, more than a day ago: run playbooks/census.yml")
    current = int((report.get("bucket") or {}).get("current", 0))
    if pointer.rows < current:
        found.append(
            f"the index has {pointer.rows} labels, and the last census saw {current} in the bucket: wait until it has"
            " caught up, or run playbooks/index.yml -e index_rebuild=true"
        )
    return found


def incomplete(reasons: Sequence[str]) -> PermanentError:
    """Return the refusal of a snapshot whose completeness is not proved."""
    return PermanentError(
        "snapshot_incomplete", f"{'; '.join(reasons)}. To take a snapshot in any case set snapshot_allow_incomplete"
    )


def document(  # noqa: PLR0913 - a snapshot has these parts
    *,
    name: str,
    project_hash: str,
    title: str,
    fixed: Mapping[str, str],
    created_at: str,
    counts: Mapping[str, Any],
    classes: Sequence[Mapping[str, Any]],
    files: Mapping[str, Mapping[str, Any]],
    census: Mapping[str, Any] | None,
    lock: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return `snapshot.json`. Its `id` is the SHA-256 of `manifest.parquet`, for model cards.

    `fixed` is the manifest's own metadata: generation, filter, version of the tool.
    """
    return {
        "version": 1,
        "name": name,
        "id": files[MANIFEST]["sha256"],
        "project_hash": project_hash,
        "title": title,
        "created_at": created_at,
        "generation": fixed["generation"],
        "where": fixed["where"],
        "tool": {"name": "label-export", "version": fixed["tool_version"]},
        "counts": dict(counts),
        "classes": list(classes),
        "files": {file: dict(about) for file, about in files.items()},
        "census": dict(census) if census is not None else None,
        "lock": dict(lock) if lock is not None else None,
    }


def census_facts(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the facts of the preceding census that a snapshot records."""
    if report is None:
        return None
    totals = {kind: (report.get(kind) or {}).get("total") for kind in ("missing", "stale", "odd")}
    return {"as_of": report.get("as_of"), **totals}
