"""Index generations: read the one in use completely, write a new one, remove old ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from label_export.core.errors import RetryableError

from label_catalog.adapters.index_tables import Totals
from label_catalog.core.index_schema import (
    ANNOTATIONS,
    KEPT_FOR,
    LABELS,
    ONTOLOGY,
    Pointer,
    Replaced,
    generation_time,
    new_generation,
)
from label_catalog.core.model import SupersededError
from label_catalog.core.places import Places
from label_catalog.toolbox import Toolbox

FILES = {"labels": LABELS, "annotations": ANNOTATIONS, "ontology": ONTOLOGY}
_TRIES = 5
_PIECE = 1 << 20
_DEAD_AFTER = timedelta(days=1)  # longer than a worker can live between two files
_MOST_REMOVED = 10  # in one update: each costs six requests, and the next update continues


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation's files, copied into a folder. `etag` is the pointer's, for a conditional update."""

    pointer: Pointer
    etag: str
    labels: Path
    annotations: Path
    ontology: Path


def load_pointer(tools: Toolbox, project_hash: str) -> tuple[Pointer | None, str | None]:
    """Return the pointer and its ETag. For a pointer that this version cannot read only the ETag is returned."""
    document, etag = tools.documents.load(Places(project_hash).index_pointer)
    return Pointer.from_document(document), etag


def read_generation(tools: Toolbox, project_hash: str, folder: Path) -> Generation | None:
    """Copy the files of the generation in use into `folder`, and compare them with the pointer's digests.

    Returns None if the project has no index. Raises RetryableError if the files do not match the pointer.
    """
    places = Places(project_hash)
    problem = ""
    for _ in range(_TRIES):
        pointer, etag = load_pointer(tools, project_hash)
        if pointer is None or etag is None:
            return None
        paths = {name: folder / file for name, file in FILES.items()}
        problem = f"generation {pointer.generation} is not complete"
        for name, file in FILES.items():
            tools.check_time()
            found = tools.bucket.download(places.generation(pointer.generation, file), paths[name])
            if not found or file_digest(paths[name]) != pointer.sha256.get(name):
                break  # it was replaced and removed while we read: the pointer now names another one
        else:
            return Generation(pointer, etag, **paths)
    raise RetryableError("index_not_whole", f"project {project_hash}: {problem}; rebuild it (playbooks/index.yml)")


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def publish(  # noqa: PLR0913 - a generation is these files and numbers, over what was there before
    tools: Toolbox,
    project_hash: str,
    paths: Mapping[str, Path],
    totals: Totals,
    *,
    before: Pointer | None,
    etag: str | None,
) -> Pointer | None:
    """Write a generation and update the pointer; None if the pointer has changed since it was read.

    Args:
        tools: the ports.
        project_hash: the project.
        paths: the files by name (labels, annotations, ontology).
        totals: their totals.
        before: the pointer that was read, or None.
        etag: its ETag. `paths` must reflect the bucket's state after it was read.
    """
    places, now = Places(project_hash), tools.now()
    generation = new_generation(now)
    for name, file in FILES.items():
        _upload(tools, places.generation(generation, file), paths[name])
    kept, outdated = _sorted_out(tools, project_hash, before)
    pointer = Pointer(
        generation=generation,
        written_at=now.isoformat(),
        rows=totals.rows,
        annotations=totals.annotations,
        sha256={name: file_digest(path) for name, path in paths.items()},
        watermark=totals.watermark.isoformat() if totals.watermark is not None else None,
        parsed=totals.parsed,
        not_parsed=totals.rows - totals.parsed,
        sequence=before.sequence + 1 if before is not None else 1,
        previous=kept,
    )
    try:
        tools.documents.save(places.index_pointer, pointer.as_document(), etag)
    except SupersededError:
        # An attempt whose response was lost may have moved the pointer before another worker moved it again: then
        # readers of the last hour may use the generation.
        current, _ = load_pointer(tools, project_hash)
        if current is None or generation not in {old.generation for old in current.previous}:
            remove_generation(tools, project_hash, generation)
            return None
    for old in outdated:
        remove_generation(tools, project_hash, old)
    return pointer


def _upload(tools: Toolbox, key: str, path: Path) -> None:
    """Write a file of a generation once. An existing file must be the same: an attempt whose response was lost."""
    if tools.bucket.upload_new(key, path):
        return
    there = path.with_name(f"there-{path.name}")
    same = tools.bucket.download(key, there) and file_digest(there) == file_digest(path)
    there.unlink(missing_ok=True)
    if not same:
        raise RetryableError("index_name_taken", f"{key} has other content: another worker chose the same name")


def remove_generation(tools: Toolbox, project_hash: str, generation: str) -> None:
    """Remove a generation's files permanently."""
    for file in FILES.values():
        tools.bucket.erase(Places(project_hash).generation(generation, file))


def sweep(tools: Toolbox, project_hash: str) -> int:
    """Remove generations that no pointer ever named, because their writer died; return their number."""
    places = Places(project_hash)
    found = {listed.key.removeprefix(places.index).partition("/")[0] for listed in tools.bucket.list(places.index)}
    pointer, _ = load_pointer(tools, project_hash)  # after the listing: its generations were listed, or are newer
    named = {pointer.generation, *(old.generation for old in pointer.previous)} if pointer is not None else set()
    lost = []
    for name in found - named:
        made = generation_time(name)
        if made is not None and tools.now() - made > _DEAD_AFTER:
            lost.append(name)
    lost = [name for name in lost if name not in _in_snapshots(tools, places)] if lost else []
    for name in lost:
        remove_generation(tools, project_hash, name)
    return len(lost)


def _sorted_out(
    tools: Toolbox, project_hash: str, before: Pointer | None
) -> tuple[tuple[Replaced, ...], tuple[str, ...]]:
    """Return the replaced generations that are kept, newest first, and the names of those that are removed."""
    if before is None:
        return (), ()
    now = tools.now()
    replaced = (Replaced(before.generation, now.isoformat()), *before.previous)
    places, most = Places(project_hash), tools.settings.index_generations
    old = [one for place, one in enumerate(replaced) if place >= most and not _is_recent(one, now)]
    if old:
        needed = _in_snapshots(tools, places)
        old = [one for one in old if one.generation not in needed][:_MOST_REMOVED]
    return tuple(one for one in replaced if one not in old), tuple(one.generation for one in old)


def _is_recent(replaced: Replaced, now: datetime) -> bool:
    try:
        since = datetime.fromisoformat(replaced.replaced_at)
    except ValueError:
        return True
    return abs(now - since) <= KEPT_FOR  # another worker's clock may be ahead


def _in_snapshots(tools: Toolbox, places: Places) -> set[str]:
    """Return the generations that snapshots name, including snapshots in progress."""
    documents = [
        tools.documents.load(found.key)[0]
        for found in tools.bucket.list(places.snapshots)
        if found.key.endswith("/snapshot.json")
    ]
    work, _ = tools.documents.load(places.snapshot_work)
    if work is not None:
        documents += [found for found in (work.get("options"), work.get("data")) if isinstance(found, dict)]
    return {str(document["generation"]) for document in documents if document and document.get("generation")}
