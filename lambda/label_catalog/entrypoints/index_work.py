"""Index work that takes several runs: a rebuild from the bucket, its comparison with the index, a refresh."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import ExportError, RetryableError

from label_catalog.adapters.index_tables import IndexTables, Totals, identity
from label_catalog.core.annotations import ontology_names
from label_catalog.core.index_schema import ANNOTATIONS, LABELS, ONTOLOGY, Pointer
from label_catalog.core.model import ListedObject, ListedRow
from label_catalog.core.places import Places, listing_prefix
from label_catalog.core.work import Work
from label_catalog.entrypoints.generations import load_pointer, publish, read_generation, sweep
from label_catalog.entrypoints.index_rows import LabelReader
from label_catalog.entrypoints.index_update import note_request, open_index, update
from label_catalog.entrypoints.tables import point_tables, tables_behind
from label_catalog.toolbox import Toolbox, batched

if TYPE_CHECKING:
    from label_catalog.entrypoints.work import Works

_PART = 20_000  # labels between two saves
_PART_ANNOTATIONS = 300_000  # a part ends early where labels have many
_MOVES = 5
_MOST_MERGES = 3  # runs whose time was not enough to merge the parts
_MOST_REPAIRED = 10_000  # labels; if more differ, the index is rebuilt
_LOOK_AGAIN_MARGIN = 120  # seconds above the events' window
_LONGEST_DELAY = 900  # SQS's limit
_NO_ONTOLOGY: dict[str, Any] = {"version": 1, "ontology_hash": None, "objects": [], "classifications": []}


class LaterError(Exception):
    """The work continues in another run, after `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class IndexWork:
    """One run of index work. `save` saves its state."""

    tools: Toolbox
    works: Works
    work: Work
    save: Callable[[], None]

    @property
    def project_hash(self) -> str:
        """The project."""
        return self.work.project_hash

    @property
    def places(self) -> Places:
        """The keys of the project's objects."""
        return Places(self.work.project_hash)

    def run(self) -> None:
        """Continue the work. Raises OutOfTimeError or LaterError if another run must continue it."""
        if self.work.kind == "refresh":
            self._refresh()
        else:
            if not self.work.data.get("done"):
                self._build_or_compare()
                # Before the parts are removed: a worker that is killed between the two must not look for them again.
                self.work.data["done"] = True
                self.save()
            self._remove_parts()
        swept = sweep(self.tools, self.project_hash)
        if swept:
            self.tools.telemetry.log("WARNING", "index_generations_swept", project_hash=self.project_hash, count=swept)

    def _build_or_compare(self) -> None:
        if self.work.data.get("candidates"):
            self._look_again()
            return
        self._read()
        self._count_merge()
        if self.work.kind == "compare":
            self._compare()
        else:
            self._rebuild()

    def _count_merge(self) -> None:
        """Give up after several runs whose time was not enough: the merge of the parts cannot be divided."""
        merges = self.work.counts["merges"] = self.work.counts.get("merges", 0) + 1
        if merges > _MOST_MERGES:
            problem = f"the parts of the index cannot be merged within one run ({merges - 1} attempts)"
            raise ExportError(
                "index_time", f"{problem}: raise catalog_function_timeout or catalog_function_memory_size"
            )
        self.save()

    # Reading the bucket, in parts

    def _read(self) -> None:
        """Read every object after the cursor, in parts that the next run finds."""
        work, tools = self.work, self.tools
        ontology = self._ontology()
        while not work.data.get("read"):
            tools.check_time()
            with open_index(tools) as tables:
                reader = LabelReader(tools, self.project_hash, tables, ontology_names(ontology))
                keys, last = self._keys(work.cursor), ""
                for step in reader.read_steps(keys):
                    last = step
                    if tools.is_late() or reader.annotations > _PART_ANNOTATIONS:
                        break
                if last:
                    self._keep_part(tables)
                    work.cursor = last
                    for name, count in (("read", reader.read), ("not_parsed", reader.not_parsed)):
                        work.counts[name] = work.counts.get(name, 0) + count
                if not last or (last == keys[-1] and len(keys) < _PART):
                    work.data["read"] = True
                self.save()

    def _keys(self, after: str) -> list[str]:
        return [found.key for found in islice(self._listed(after), _PART)]

    def _listed(self, after: str = "") -> Iterator[ListedObject]:
        prefix = listing_prefix(self.tools.settings.key_template, self.project_hash)
        found = self.tools.timed(self.tools.bucket.list(prefix, after))
        return (one for one in found if not self.places.is_own(one.key))

    def _keep_part(self, tables: IndexTables) -> None:
        part = uuid.uuid4().hex[:8]  # a worker that lost the work never overwrites another worker's part
        files = {file: tables.folder / file for file in (LABELS, ANNOTATIONS)}
        tables.write_part(files[LABELS], files[ANNOTATIONS])
        for file, path in files.items():
            self.tools.bucket.upload(self.places.part(self.work.work, part, file), path)
        self.work.data.setdefault("parts", []).append(part)

    def _load_parts(self, tables: IndexTables) -> None:
        paths: dict[str, list[Path]] = {LABELS: [], ANNOTATIONS: []}
        for part in self.work.data.get("parts", ()):
            self.tools.check_time()
            for file, found in paths.items():
                path = tables.folder / f"{part}-{file}"
                if not self.tools.bucket.download(self.places.part(self.work.work, part, file), path):
                    problem = f"part {part} of the rebuild {self.work.work} is gone"
                    raise ExportError("index_part_gone", f"{problem}: start another (playbooks/index.yml)")
                found.append(path)
        tables.set_base(paths[LABELS], paths[ANNOTATIONS])

    def _remove_parts(self, *, but: str = "") -> None:
        for found in list(self.tools.bucket.list(self.places.parts(self.work.work))):
            if found.key != but:
                self.tools.bucket.erase(found.key)

    def _catch_up(self, tables: IndexTables, ontology: dict[str, Any]) -> None:
        """Bring the tables to the bucket's current state: read what differs from the parts again."""
        tables.forget()
        tables.add_bucket(self._listed())
        LabelReader(self.tools, self.project_hash, tables, ontology_names(ontology)).read_keys(
            tables.keys_that_differ()
        )

    # The rebuild

    def _rebuild(self) -> None:
        """Merge the parts, and update the pointer.

        Changes before the last listing are included. A change after it updates the pointer first, so that our update
        fails, or it finds our generation. If there was no pointer, such a worker leaves a request instead: see
        index_update._begin.
        """
        tools = self.tools
        ontology = self._ontology()
        with open_index(tools) as tables:
            self._load_parts(tables)
            self._add_listing(tables)
            tables.add_names(ontology_names(ontology))
            path = tables.folder / ONTOLOGY
            path.write_text(json.dumps(ontology), "utf-8")
            for _ in range(_MOVES):
                requests = self._requests()
                before, etag = load_pointer(tools, self.project_hash)
                tools.check_time()
                self._catch_up(tables, ontology)
                pointer = self._write(tables, path, before, etag)
                if pointer is None:
                    tools.telemetry.log("INFO", "index_move_lost", project_hash=self.project_hash)
                elif self._requests() == requests:
                    point_tables(tools, self.project_hash)
                    self._note_rebuilt(pointer)
                    return
        raise RetryableError(
            "index_contended", f"other workers moved the index of project {self.project_hash} {_MOVES} times"
        )

    def _write(self, tables: IndexTables, ontology: Path, before: Pointer | None, etag: str | None) -> Pointer | None:
        paths = self._new_paths(tables, ontology)
        totals = tables.write(paths["labels"], paths["annotations"])
        return publish(self.tools, self.project_hash, paths, totals, before=before, etag=etag)

    @staticmethod
    def _new_paths(tables: IndexTables, ontology: Path) -> dict[str, Path]:
        return {
            "labels": tables.folder / f"new-{LABELS}",
            "annotations": tables.folder / f"new-{ANNOTATIONS}",
            "ontology": ontology,
        }

    def _note_rebuilt(self, pointer: Pointer) -> None:
        self.work.counts |= {"rows": pointer.rows, "annotations": pointer.annotations, "not_parsed": pointer.not_parsed}
        self.tools.telemetry.metrics(
            {"IndexRebuilt": 1, "IndexNotParsed": pointer.not_parsed}, project=self.project_hash
        )

    def _requests(self) -> int:
        document, _ = self.tools.documents.load(self.places.index_requests)
        return int((document or {}).get("requests", 0))

    # The comparison

    def _compare(self) -> None:
        """Compare the parts with the index. Differences are checked once more after the events had time to arrive."""
        tools = self.tools
        self._compare_tables()
        ontology = self._ontology()
        with open_index(tools) as tables:
            folder = tables.folder / "index"
            folder.mkdir()
            self._load_parts(tables)
            generation = read_generation(tools, self.project_hash, folder)
            if generation is None:
                self.works.start(self.project_hash, "index", {})
                return
            self._catch_up(tables, ontology)
            labels, annotations = tables.folder / f"new-{LABELS}", tables.folder / f"new-{ANNOTATIONS}"
            tables.write(labels, annotations)
            count, rows = tables.differences(
                (labels, annotations), (generation.labels, generation.annotations), _MOST_REPAIRED
            )
        self.work.counts |= {"differing": count}
        if not count:
            self._report(0)
            return
        tools.documents.put(self._candidates, {"version": 1, "count": count, "rows": rows})
        self.work.data |= {"candidates": count}
        self.save()
        self._remove_parts(but=self._candidates)
        raise LaterError(min(tools.settings.index_window + _LOOK_AGAIN_MARGIN, _LONGEST_DELAY))

    def _compare_tables(self) -> None:
        """Count the tables that read an older generation, and correct them."""
        behind = tables_behind(self.tools, self.project_hash)
        if behind:
            self.tools.telemetry.log("ERROR", "index_tables_behind", project_hash=self.project_hash, tables=behind)
            self.work.data["tables_behind"] = len(behind)
            self.save()  # before they are corrected: another run would count none
        point_tables(self.tools, self.project_hash)

    @property
    def _candidates(self) -> str:
        return f"{self.places.parts(self.work.work)}candidates.json"

    def _look_again(self) -> None:
        """Count keys that still differ although the object has not changed: their events were lost. Repair them."""
        tools = self.tools
        document, _ = tools.documents.load(self._candidates)
        rows: list[tuple[str, str | None, str | None]] = [tuple(row) for row in (document or {}).get("rows", ())]
        with open_index(tools) as tables:
            generation = read_generation(tools, self.project_hash, tables.folder)
            if generation is not None:
                tables.set_base([generation.labels], [generation.annotations])
            confirmed = []
            for batch in batched(rows, _PART):
                now = dict(tools.heads(key for key, _, _ in batch))
                indexed = dict(tables.rows_of([key for key, _, _ in batch]))
                for key, ours, theirs in batch:
                    found = now[key]
                    current = identity(found.etag, found.modified_at) if found is not None else None
                    # The object is the same as at the first check, so its event had time. The index still has another,
                    # or has this one with other content.
                    if current == ours and (indexed.get(key) != ours or theirs == ours):
                        confirmed.append(key)
        more = int((document or {}).get("count", 0)) - len(rows)
        differences = len(confirmed) + (more if confirmed else 0)
        # Before the repair: a worker that is killed between the two would find no difference afterwards.
        if "differences" not in self.work.data:
            self._report(differences)
            self.work.data["differences"] = differences
            self.save()
        if differences > _MOST_REPAIRED:
            self.works.start(self.project_hash, "index", {})
        elif confirmed:
            self._repair(confirmed)

    def _repair(self, keys: list[str]) -> None:
        update(self.tools, self.works, self.project_hash, keys, repair=True)

    def _report(self, differences: int) -> None:
        now = self.tools.now()
        differences += int(self.work.data.get("tables_behind", 0))
        self.work.counts["differences"] = differences
        note_request(self.tools, self.project_hash, compared_at=now.isoformat(), differences=differences)
        self.tools.telemetry.log(
            "ERROR" if differences else "INFO",
            "index_compared",
            project_hash=self.project_hash,
            differences=differences,
        )
        self.tools.telemetry.metrics({"IndexDifferences": differences, "IndexCompared": 1}, project=self.project_hash)

    # Data that only Encord and the tombstones have

    def _refresh(self) -> None:
        """Update stages, people, tombstones and names in the index; no object is read."""
        tools = self.tools
        ontology = self._ontology()
        for _ in range(_MOVES):
            with open_index(tools) as tables:
                generation = read_generation(tools, self.project_hash, tables.folder)
                if generation is None:
                    self.works.start(self.project_hash, "index", {})
                    return
                tables.set_base([generation.labels], [generation.annotations])
                if not self._add_listing(tables):
                    raise RetryableError("encord_unavailable", "Encord did not return the listing")
                tables.add_names(ontology_names(ontology))
                path = tables.folder / f"new-{ONTOLOGY}"
                path.write_text(json.dumps(ontology), "utf-8")
                paths = self._new_paths(tables, path)
                totals: Totals = tables.write(paths["labels"], paths["annotations"])
                same = (
                    tables.same(paths["labels"], generation.labels)
                    and path.read_bytes() == generation.ontology.read_bytes()
                )
                if same or publish(
                    tools, self.project_hash, paths, totals, before=generation.pointer, etag=generation.etag
                ):
                    point_tables(tools, self.project_hash)
                    self._note_age()
                    return
        raise RetryableError(
            "index_contended", f"other workers moved the index of project {self.project_hash} {_MOVES} times"
        )

    def _note_age(self) -> None:
        """Report the time since the last comparison of the index."""
        document, _ = self.tools.documents.load(self.places.index_requests)
        compared = parse_edit_time((document or {}).get("compared_at"))
        if compared is not None:
            age = (self.tools.now() - compared).total_seconds()
            self.tools.telemetry.metrics({"IndexComparedAgeSeconds": max(age, 0)}, project=self.project_hash)

    def _add_listing(self, tables: IndexTables) -> bool:
        """Record Encord's listing and the tombstones; False if Encord did not answer, so that stages are unknown."""
        tools = self.tools
        tables.add_graves(self._graves())
        try:
            for batch in batched(tools.encord.rows(self.project_hash, {}), _PART):
                tools.check_time()
                tables.add_listed([row for row in batch if isinstance(row, ListedRow)], whole=True)
        except ExportError as error:
            about = {"project_hash": self.project_hash, "reason": error.reason, "detail": str(error)}
            tools.telemetry.log("WARNING", "index_without_listing", **about)
            return False
        return True

    def _graves(self) -> Iterator[tuple[str, datetime | None, str | None]]:
        tools = self.tools
        stones = tools.bucket.list(self.places.tombstones)
        for batch in batched(stones, _PART):
            tools.check_time()
            for document, _ in tools.threads.map(lambda stone: tools.documents.load(stone.key), batch):
                if document is not None and isinstance(document.get("key"), str):
                    reason = document.get("reason")
                    gone_at = parse_edit_time(document.get("seen_at"))
                    yield document["key"], gone_at, reason if isinstance(reason, str) else None

    def _ontology(self) -> dict[str, Any]:
        """Return the ontology from Encord; if it does not answer, the index's own, or one without names."""
        tools = self.tools
        try:
            return tools.encord.ontology(self.project_hash)
        except ExportError as error:
            about = {"project_hash": self.project_hash, "reason": error.reason, "detail": str(error)}
            tools.telemetry.log("WARNING", "index_without_ontology", **about)
        pointer, _ = load_pointer(tools, self.project_hash)
        if pointer is not None:
            document, _ = tools.documents.load(self.places.generation(pointer.generation, ONTOLOGY))
            if document is not None:
                return document
        return _NO_ONTOLOGY
