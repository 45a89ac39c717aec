"""Brings the index up to date with the current state of the keys that events name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from label_export.core.errors import ExportError, RetryableError, where
from label_export.core.messages import is_hash

from label_catalog.adapters.index_tables import IndexTables
from label_catalog.core.annotations import ontology_names
from label_catalog.core.index_schema import ANNOTATIONS, LABELS, Pointer
from label_catalog.core.label_events import LabelEvent, ProjectOfKey
from label_catalog.core.model import ListedRow, SupersededError
from label_catalog.core.places import Places, listing_prefix
from label_catalog.entrypoints.generations import load_pointer, publish, read_generation
from label_catalog.entrypoints.index_rows import LabelReader
from label_catalog.entrypoints.tables import point_tables
from label_catalog.toolbox import OutOfTimeError, Toolbox, batched

if TYPE_CHECKING:
    from label_catalog.entrypoints.work import Works

_TRIES = 5  # updates of the pointer that another worker may win
_LISTED = 500  # labels in one request to Encord
_MEMORY_SHARE = 0.3  # of the function's memory for DuckDB
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
_MEGABYTES_PER_PROCESSOR = 1769


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an update: keys read, rows changed, and the generation in use after it."""

    keys: int
    changed: int
    generation: str | None


def open_index(tools: Toolbox) -> IndexTables:
    """Return empty tables within the function's memory."""
    memory = tools.settings.memory_megabytes
    limit = f"{max(int(memory * _MEMORY_SHARE), 100)}MB"
    return IndexTables(limit, personal=tools.settings.personal_data, threads=max(1, memory // _MEGABYTES_PER_PROCESSOR))


def update(tools: Toolbox, works: Works, project_hash: str, keys: Iterable[str], *, repair: bool = False) -> Outcome:
    """Bring the index to the current state of these keys. Raises RetryableError if other workers were always faster.

    `repair`: write the rows even if the index has the same object under a key.

    The order makes it correct for any interleaving: the pointer is read, then the objects, then the pointer is
    updated if it has not changed. So of two workers the later one has seen at least what the earlier one saw.
    """
    wanted = sorted(set(keys))
    for _ in range(_TRIES):
        outcome = _update_once(tools, works, project_hash, wanted, repair)
        if outcome is not None:
            point_tables(tools, project_hash)
            return outcome
        tools.telemetry.log("INFO", "index_move_lost", project_hash=project_hash)
    raise RetryableError("index_contended", f"other workers moved the index of project {project_hash} {_TRIES} times")


def _update_once(tools: Toolbox, works: Works, project_hash: str, keys: Sequence[str], repair: bool) -> Outcome | None:
    with open_index(tools) as tables:
        seen, _ = load_pointer(tools, project_hash)
        try:
            generation = read_generation(tools, project_hash, tables.folder)
        except RetryableError as error:
            if error.reason != "index_not_whole":
                raise
            tools.telemetry.log("ERROR", "index_not_whole", project_hash=project_hash, detail=str(error))
            return _begin(tools, works, project_hash, seen, len(keys))
        if generation is None:
            return _begin(tools, works, project_hash, seen, len(keys))
        tables.set_base([generation.labels], [generation.annotations])
        ontology = json.loads(generation.ontology.read_text("utf-8"))
        reader = LabelReader(tools, project_hash, tables, ontology_names(ontology))
        reader.read_keys(keys)
        reader.read_keys(tables.keys_of_the_same_labels())
        changed = tables.changes()
        if not changed and not repair:
            return Outcome(len(keys), 0, generation.pointer.generation)
        add_listed(tools, tables, project_hash, tables.touched_labels())
        tools.check_time()
        paths = {
            "labels": tables.folder / f"new-{LABELS}",
            "annotations": tables.folder / f"new-{ANNOTATIONS}",
            "ontology": generation.ontology,
        }
        totals = tables.write(paths["labels"], paths["annotations"])
        pointer = publish(tools, project_hash, paths, totals, before=generation.pointer, etag=generation.etag)
    return None if pointer is None else Outcome(len(keys), changed, pointer.generation)


def _begin(tools: Toolbox, works: Works, project_hash: str, seen: Pointer | None, keys: int) -> Outcome | None:
    """Request a build of the index from the bucket; None if the pointer has changed meanwhile.

    The request is recorded before the pointer is read again, and a rebuild reads the requests after it has updated the
    pointer. So either this run sees the update, or the rebuild sees the request and lists the bucket once more.
    """
    note_request(tools, project_hash)
    current, _ = load_pointer(tools, project_hash)
    if current != seen:
        return None
    works.start(project_hash, "index", {})
    return Outcome(keys, 0, None)


def note_request(tools: Toolbox, project_hash: str, **facts: Any) -> None:
    """Count a request in the index's state, and store `facts` there. Another worker's change is never lost."""
    key = Places(project_hash).index_requests
    while True:
        document, etag = tools.documents.load(key)
        state = {"version": 1, **(document or {}), **facts}
        state["requests"] = int(state.get("requests", 0)) + 1
        try:
            tools.documents.save(key, state, etag)
        except SupersededError:
            tools.check_time()
            continue
        return


def add_listed(tools: Toolbox, tables: IndexTables, project_hash: str, labels: Sequence[str]) -> None:
    """Record Encord's listing of these labels. If Encord does not answer, their stage stays unknown."""
    try:
        for batch in batched(labels, _LISTED):
            tools.check_time()
            rows = tools.encord.rows(project_hash, {"label_hashes": batch})
            tables.add_listed([row for row in rows if isinstance(row, ListedRow)], whole=False)
    except ExportError as error:
        tools.telemetry.log(
            "WARNING", "index_without_listing", project_hash=project_hash, reason=error.reason, detail=str(error)
        )


def update_from_events(tools: Toolbox, works: Works, events: Sequence[tuple[str, LabelEvent]]) -> list[str]:
    """Bring the index up to date with events, each with its message's id; return the ids to be redelivered."""
    failed: list[str] = []
    projects: dict[str, dict[str, datetime | None]] = {}
    messages: dict[str, list[str]] = {}
    of_key = ProjectOfKey(tools.settings.key_template)
    for message_id, event in events:
        try:
            owners = _owners(tools, of_key, event)
        except ExportError as error:
            failed.append(message_id)
            tools.telemetry.log("ERROR", "index_event_failed", reason=error.reason, detail=str(error))
            continue
        for project_hash in owners:
            oldest = projects.setdefault(project_hash, {}).get(event.key)
            times = [moment for moment in (oldest, event.at) if moment is not None]
            projects[project_hash][event.key] = min(times, default=None)
            messages.setdefault(project_hash, []).append(message_id)
    for project_hash, keys in projects.items():
        if not _updated(tools, works, project_hash, keys):
            failed += messages[project_hash]
    return sorted(set(failed))


def _updated(tools: Toolbox, works: Works, project_hash: str, keys: Mapping[str, datetime | None]) -> bool:
    try:
        outcome = update(tools, works, project_hash, keys)
    except (ExportError, OutOfTimeError) as error:
        reason = error.reason if isinstance(error, ExportError) else "time"
        about = {"project_hash": project_hash, "keys": len(keys), "reason": reason}
        tools.telemetry.log("ERROR", "index_not_updated", **about, detail=where(error))
        tools.telemetry.metrics({"IndexNotUpdated": len(keys)}, project=project_hash)
        return False
    times = [moment for moment in keys.values() if moment is not None]
    values: dict[str, float] = {"IndexUpdated": outcome.changed}
    if times and outcome.generation is not None:
        values["IndexFreshnessSeconds"] = max((tools.now() - min(times)).total_seconds(), 0)
    tools.telemetry.metrics(values, project=project_hash)
    about = {"keys": outcome.keys, "changed": outcome.changed, "generation": outcome.generation}
    tools.telemetry.log("INFO", "index_updated", project_hash=project_hash, **about)
    return True


def _owners(tools: Toolbox, of_key: ProjectOfKey, event: LabelEvent) -> list[str]:
    """Return the projects whose index has a key: one, or all if neither key nor object names it."""
    allowed = tools.settings.projects
    if of_key.named:
        named = of_key(event.key)
        known = is_hash(named) and not Places(named).is_own(event.key) and (not allowed or named in allowed)
        return [named] if known and named is not None else []
    found = tools.bucket.head(event.key)
    if found is not None:
        named = found.project_hash
        return [named] if is_hash(named) and (not allowed or named in allowed) else []
    projects = allowed or {project.project_hash for project in tools.encord.projects(())}
    template = tools.settings.key_template
    return [name for name in sorted(projects) if event.key.startswith(listing_prefix(template, name))]
