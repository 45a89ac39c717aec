"""A person's actions with snapshots: plan, start, status, list, diff, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from label_export.core.errors import PermanentError, UnknownEventError

from label_catalog.adapters.snapshot_tables import Objects, difference, freeze, matched, read_filter
from label_catalog.core.index_schema import ANNOTATIONS
from label_catalog.core.model import ProjectInfo
from label_catalog.core.places import Places
from label_catalog.core.snapshots import (
    DOCUMENT,
    LOSSES,
    MANIFEST,
    Asked,
    checked_name,
    incomplete,
    obstacles,
)
from label_catalog.core.work import Work
from label_catalog.entrypoints.generations import load_pointer, read_generation
from label_catalog.entrypoints.work import Works
from label_catalog.toolbox import OutOfTimeError, Toolbox

_MOST_PLANNED = 200_000  # labels whose copies a plan looks for within one invocation


class Snapshots:
    """The snapshots of one project."""

    def __init__(self, tools: Toolbox, works: Works, project: ProjectInfo) -> None:
        self._tools = tools
        self._works = works
        self._project = project
        self._places = Places(project.project_hash)

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an event's step."""
        steps: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "plan": self.plan,
            "start": self.start,
            "list": lambda _: self.listing(),
            "diff": self.diff,
            "verify": self.verify,
        }
        step = steps.get(str(event.get("step")))
        if step is None:
            raise UnknownEventError("the event's step is not one of plan, start, status, list, diff, verify")
        return step(event)

    def plan(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a start would do; write nothing."""
        asked, tools = Asked.from_event(event), self._tools
        existing = self._existing(asked)
        about = {**self._about(asked.name), "where": asked.where, "formats": list(asked.formats)}
        if existing is not None:
            return {**about, "outcome": existing[0], "detail": existing[1], "obstacles": []}
        with tempfile.TemporaryDirectory(prefix="label-catalog-") as place:
            folder = Path(place)
            chosen = read_filter(asked.where, folder)
            generation = read_generation(tools, self._project.project_hash, folder)
            problems = self._obstacles(generation.pointer if generation is not None else None)
            if generation is None:
                return {**about, "outcome": "refused", "detail": problems[0], "obstacles": problems}
            found = matched(generation.labels, chosen, folder)
            to_copy = None
            if found.labels and not found.without_bytes and found.labels <= _MOST_PLANNED:
                manifest = folder / MANIFEST
                freeze(generation.labels, chosen, {}, manifest, folder)
                to_copy = self._to_copy(manifest, folder)
        refused = bool(problems) and not asked.allow_incomplete
        outcome = "refused" if refused or not found.labels or found.without_bytes else "would_start"
        if not found.labels:
            problems = [*problems, "no label matches snapshot_where"]
        if found.without_bytes:
            problems = [*problems, f"the index has no SHA-256 of {found.without_bytes} labels: rebuild it"]
        return {
            **about,
            "outcome": outcome,
            "detail": "; ".join(problems) if outcome == "refused" else "",
            "obstacles": problems,
            "generation": generation.pointer.generation,
            "labels": found.labels,
            "bytes": found.size,
            "objects": found.objects,
            "classifications": found.classifications,
            "to_copy": to_copy,
        }

    def start(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Start a snapshot, or the formats of an existing one, or join work in progress."""
        asked, tools = Asked.from_event(event), self._tools
        existing = self._existing(asked)
        about = self._about(asked.name)
        if existing is not None and existing[0] != "formats":
            return {"started": [{**about, "outcome": existing[0], "detail": existing[1]}]}
        generation = ""
        if existing is None:
            with tempfile.TemporaryDirectory(prefix="label-catalog-") as folder:
                read_filter(asked.where, Path(folder))
            pointer, _ = load_pointer(tools, self._project.project_hash)
            problems = self._obstacles(pointer)
            if pointer is None or (problems and not asked.allow_incomplete):
                raise incomplete(problems)
            generation = pointer.generation
        begun = self._works.start(self._project.project_hash, "snapshot", asked.as_options(generation))
        return {"started": [{**about, **begun}]}

    def listing(self) -> dict[str, Any]:
        """Return the project's snapshots, newest first, incomplete ones last."""
        found = []
        for name in self._tools.snapshots.folders(self._places.snapshots):
            document, _ = self._tools.documents.load(self._places.snapshot(name, DOCUMENT))
            if document is None:
                found.append({"name": name, "completed": False})
                continue
            formats = self._tools.snapshots.folders(self._places.snapshot(name, "formats/"))
            shown = ("name", "id", "created_at", "generation", "where", "counts", "tool", "lock")
            written = [one for one in formats if self._has_format(name, one)]
            found.append({**{key: document.get(key) for key in shown}, "formats": written, "completed": True})
        found.sort(key=lambda one: (one["completed"], str(one.get("created_at"))), reverse=True)
        return {**self._about(), "snapshots": found}

    def diff(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return how the snapshot `name` differs from the snapshot `since`."""
        names = checked_name(event.get("since")), checked_name(event.get("name"))
        with tempfile.TemporaryDirectory(prefix="label-catalog-") as place:
            folder = Path(place)
            paths, ids = [], []
            for side, name in zip(("one", "two"), names, strict=True):
                document = self._document(name)
                ids.append(document["id"])
                paths.append((folder / f"{side}-{MANIFEST}", folder / f"{side}-{ANNOTATIONS}"))
                for file, path in zip((MANIFEST, ANNOTATIONS), paths[-1], strict=True):
                    if not self._tools.bucket.download(self._places.snapshot(name, file), path):
                        raise PermanentError("snapshot_broken", f"snapshot {name} has no {file}")
            found = difference(paths[0], paths[1], folder)
        return {**self._about(names[1]), "since": names[0], "ids": ids, **found}

    def verify(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Start to verify a snapshot's objects: all, or about `sample` of them."""
        name, sample = checked_name(event.get("name")), event.get("sample")
        if sample is not None and (not isinstance(sample, int) or isinstance(sample, bool) or sample < 1):
            raise UnknownEventError("the event's sample is not a whole number of objects, 1 or more")
        self._document(name)
        options = {"step": "verify", "name": name, "sample": sample}
        return {
            "started": [{**self._about(name), **self._works.start(self._project.project_hash, "snapshot", options)}]
        }

    def _about(self, name: str | None = None) -> dict[str, Any]:
        about = {"project_hash": self._project.project_hash, "title": self._project.title}
        return about if name is None else {**about, "name": name}

    def _document(self, name: str) -> dict[str, Any]:
        document, _ = self._tools.documents.load(self._places.snapshot(name, DOCUMENT))
        if document is None:
            raise PermanentError(
                "snapshot_unknown",
                f"there is no snapshot {name} of this project: playbooks/snapshot_list.yml names all",
            )
        return document

    def _existing(self, asked: Asked) -> tuple[str, str] | None:
        """Return what to do if the name is used (`exists`, `formats`, `refused`) and why; None if it is free."""
        document, _ = self._tools.documents.load(self._places.snapshot(asked.name, DOCUMENT))
        if document is None:
            return None
        if asked.where not in ("", document["where"]):
            return "refused", (
                f"snapshot {asked.name} exists since {document['created_at']} with the filter {document['where']!r}: a"
                " name exists once, choose another one"
            )
        if all(self._has_format(asked.name, name) for name in asked.formats):
            return "exists", f"since {document['created_at']}, with {document['counts']['labels']} labels"
        return "formats", "the snapshot exists, formats are to be written"

    def _has_format(self, name: str, kind: str) -> bool:
        return self._tools.snapshots.exists(self._places.snapshot(name, f"formats/{kind}/{LOSSES}"))

    def _obstacles(self, pointer: Any) -> list[str]:
        report, _ = self._tools.documents.load(self._places.latest_report)
        found = obstacles(report, pointer, self._tools.now())
        base = self._places.object("").removesuffix(".json")
        rules = self._tools.snapshots.expiring_rules((base, self._places.snapshots))
        if rules:
            found.append(
                f"the bucket's lifecycle rules {', '.join(rules)} delete or archive objects below {base} or"
                f" {self._places.snapshots}: give them a prefix that leaves these out"
            )
        return found

    def _to_copy(self, manifest: Path, folder: Path) -> int | None:
        base = self._places.object("").removesuffix(".json")
        try:
            with Objects(manifest, folder) as objects:
                objects.note(self._tools.timed(self._tools.snapshots.digests(base, "")))
                return objects.counts()[1]
        except OutOfTimeError:
            return None


def latest_work(tools: Toolbox, project: ProjectInfo) -> dict[str, Any]:
    """Return the state of the project's latest snapshot work, and its snapshot if it is complete."""
    places = Places(project.project_hash)
    document, _ = tools.documents.load(places.work("snapshot"))
    work = Work.from_document(document)
    if work is None or document is None:
        return {"projects": []}
    found = {"title": project.title, **document}
    if work.options.get("step") == "create":
        made, _ = tools.documents.load(places.snapshot(str(work.options["name"]), DOCUMENT))
        found["snapshot"] = made
        found["losses"] = {
            name: report
            for name in work.options.get("formats", ())
            if (report := tools.documents.load(places.snapshot(work.options["name"], f"formats/{name}/{LOSSES}"))[0])
        }
    return {"projects": [found]}
