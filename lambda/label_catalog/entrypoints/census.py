"""The end of a census: the report, its metrics, and the tombstones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from label_export.core.messages import is_hash

from label_catalog.adapters.table import Line
from label_catalog.core.comparison import Verdict
from label_catalog.core.model import ListedRow, OddRow, StoredObject
from label_catalog.core.reports import Found, line, unhealed
from label_catalog.core.tombstones import Reason, buried, may_delete
from label_catalog.core.work import Work
from label_catalog.entrypoints.survey import Survey, verdict
from label_catalog.toolbox import batched

_STEP = 500
_MOST_TOMBSTONES = 20_000  # in one census; the next one continues


@dataclass(frozen=True, slots=True)
class _Grave:
    label_hash: str
    key: str
    reason: Reason


@dataclass(slots=True)
class Census:
    """The results of a census."""

    survey: Survey
    work: Work
    missing: Found = field(default_factory=Found)
    stale: Found = field(default_factory=Found)
    extra: Found = field(default_factory=Found)
    moved_back: Found = field(default_factory=Found)
    current: int = 0

    def report(self) -> dict[str, Any]:
        """Compare every label, write tombstones and the report, and return the report."""
        survey, tools, table = self.survey, self.survey.tools, self.survey.table
        places, project = survey.places, survey.project
        graves = [*self._judge(), *self._others()]
        tombstones, written = self._bury(graves)
        previous, etag = tools.documents.load(places.latest_report)
        if previous is not None and previous.get("work") == self.work.work:
            again = int(previous.get("unhealed", 0))  # the report of this census, from before its worker died
        else:
            again = unhealed(previous, self.missing, self.stale, survey.odd)
        now = tools.now()
        counts = {
            "missing": self.missing.total,
            "stale": self.stale.total,
            "extra": self.extra.total,
            "moved back": self.moved_back.total,
            "odd rows": survey.odd.total,
        }
        selected = table.count("selected")
        report = {
            "version": 1,
            "project_hash": project.project_hash,
            "title": project.title,
            "work": self.work.work,
            "started_at": self.work.started_at,
            "as_of": now.isoformat(),
            "seconds": round((now - datetime.fromisoformat(self.work.started_at)).total_seconds(), 1),
            "complete": not (self.missing.total or self.stale.total or survey.odd.total or survey.doubts),
            "doubts": survey.doubts,
            "selection": tools.selection.describe(),
            "encord": {
                "rows": table.count("rows"),
                "selected": selected,
                "uninitialised": table.count("uninitialised"),
            },
            "bucket": {"objects": table.count("objects"), "current": self.current},
            "missing": self.missing.as_dict(),
            "stale": self.stale.as_dict(),
            "extra": self.extra.as_dict(),
            "moved_back": self.moved_back.as_dict(),
            "odd": survey.odd.as_dict(),
            "unhealed": again,
            "tombstones": tombstones,
            "to_queue": self.missing.total + self.stale.total,
            "feeds": survey.feeds,
            "line": line(project.title, selected, self.current, now, counts, doubts=survey.doubts),
        }
        tools.documents.put(places.report(f"{now:%Y%m%dT%H%M%SZ}"), report)
        # Only over the report that was read: a worker that was replaced must not write an older one over a newer one.
        tools.documents.save(places.latest_report, report, etag)
        tools.telemetry.metrics(
            {
                "Missing": self.missing.total,
                "Stale": self.stale.total,
                "Extra": self.extra.total,
                "MovedBack": self.moved_back.total,
                "OddRows": survey.odd.total,
                "Unhealed": again,
                "Tombstones": tombstones,
                "TombstonesWritten": written,
            },
            project=project.project_hash,
        )
        return report

    def _judge(self) -> Iterator[_Grave]:
        for label in self.survey.table.lines():
            if label.selected:
                self._count(label)
            elif label.etag is not None:
                reason: Reason = "data_unit_deleted" if label.gone else "moved_back"
                found = self.extra if label.gone else self.moved_back
                found.add(
                    label_hash=label.label_hash, key=label.key, title=label.title, stage=label.stage, reason=reason
                )
                yield _Grave(label.label_hash, label.key, reason)

    def _count(self, label: Line) -> None:
        found = verdict(label)
        if found is Verdict.CURRENT:
            self.current += 1
            return
        into = self.missing if found is Verdict.MISSING else self.stale
        times = (label.edited_at, label.stored_edit)
        edited, stored = (moment.isoformat() if moment is not None else None for moment in times)
        into.add(
            label_hash=label.label_hash,
            data_hash=label.data_hash,
            key=label.key,
            title=label.title,
            stage=label.stage,
            edited_at=edited,
            stored_edited_at=stored,
        )

    def _others(self) -> Iterator[_Grave]:
        """Check objects without a listed row. Each label is requested from Encord: a listing alone proves nothing."""
        tools, project = self.survey.tools, self.survey.project
        for keys in batched(self.survey.table.others(), _STEP):
            tools.check_time()
            found = [(key, stored) for key, stored in tools.heads(keys) if stored is not None]
            ours = {key: stored.label_hash for key, stored in found if self._is_label(stored)}
            rows: dict[str, ListedRow | OddRow] = {}
            hashes = sorted({label for label in ours.values() if label is not None})
            for row in tools.encord.rows(project.project_hash, {"label_hashes": hashes}) if hashes else ():
                if row.label_hash is not None:
                    rows[row.label_hash] = row
            for key, label in ours.items():
                if label is None:
                    continue
                row_now = rows.get(label)
                if isinstance(row_now, OddRow):
                    continue  # Encord has it, in an unknown form: it is reported as odd
                if row_now is not None and tools.key(project, row_now) == key:
                    continue  # it was created while the census listed
                reason: Reason = "deleted" if row_now is None else "other_key"
                self.extra.add(label_hash=label, key=key, reason=reason)
                yield _Grave(label, key, reason)

    def _is_label(self, stored: StoredObject) -> bool:
        """Return whether an exporter wrote this object for a label of this project: anything else is not a label."""
        return is_hash(stored.label_hash) and stored.project_hash == self.survey.project.project_hash

    def _bury(self, graves: list[_Grave]) -> tuple[int, int]:
        """Write, update and remove tombstones; return their number, and the number of new ones."""
        survey, tools = self.survey, self.survey.tools
        places = survey.places
        existing = {
            found.key.removeprefix(places.tombstones).removesuffix(".json"): found.key
            for found in tools.bucket.list(places.tombstones)
        }
        deleting = tools.settings.delete_labels and may_delete(len(graves), survey.table.count("objects"))
        if tools.settings.delete_labels and not deleting:
            tools.telemetry.log(
                "ERROR",
                "deletions_refused",
                project_hash=survey.project.project_hash,
                labels=len(graves),
                detail="more than a tenth of the bucket at once: only tombstones are written, and nothing is deleted",
            )
        if len(graves) > _MOST_TOMBSTONES:
            left = len(graves) - _MOST_TOMBSTONES
            tools.telemetry.log("WARNING", "tombstones_left", project_hash=survey.project.project_hash, labels=left)
        for batch in batched(graves[:_MOST_TOMBSTONES], _STEP):
            tools.check_time()
            list(tools.threads.map(lambda grave: self._bury_one(grave, grave.label_hash in existing, deleting), batch))
        here = {grave.label_hash for grave in graves}
        back = [label for label in existing if label not in here and survey.table.selected_label(label)]
        for label in back:
            tools.documents.remove(existing[label])
            self._log("tombstone_removed", label)
        return len(here | set(existing)) - len(back), len(here - set(existing))

    def _bury_one(self, grave: _Grave, exists: bool, deleting: bool) -> None:
        tools = self.survey.tools
        key, now = self.survey.places.tombstone(grave.label_hash), tools.now().isoformat()
        before = tools.documents.load(key)[0] if exists else None
        stored = tools.bucket.head(grave.key) if before is None else None
        stone = buried(
            label_hash=grave.label_hash,
            key=grave.key,
            reason=grave.reason,
            version_id=stored.version_id if stored is not None else None,
            work=self.work.work,
            now=now,
            before=before,
        )
        if deleting and stone["confirmed_at"] and not stone["deleted_at"]:
            tools.bucket.delete(grave.key)
            stone["deleted_at"] = now
        if stone != before:
            tools.documents.put(key, stone)
            self._log("tombstone_written", grave.label_hash, reason=grave.reason, deleted_at=stone["deleted_at"])

    def _log(self, event: str, label_hash: str, **fields: object) -> None:
        project_hash = self.survey.project.project_hash
        self.survey.tools.telemetry.log("INFO", event, project_hash=project_hash, label_hash=label_hash, **fields)
