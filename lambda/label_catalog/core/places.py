"""The keys of the catalog's own objects."""

from __future__ import annotations

import re
from string import Formatter

from label_catalog.core.work import Kind

PROJECTS = "encord/"
"""Below it each project has a folder, and the settings have one."""


class Places:
    """The keys of one project's state and reports."""

    def __init__(self, project_hash: str) -> None:
        self._base = f"encord/{project_hash}"
        self.reconcile = f"{self._base}/state/reconcile.json"
        self.known = f"{self._base}/state/known.gz"
        self.tombstones = f"{self._base}/state/tombstones/"
        self.reports = f"{self._base}/reports/"
        self.latest_report = f"{self._base}/reports/latest.json"
        self.report_html = f"{self._base}/reports/report.html"
        self.index = f"{self._base}/index/"
        self.index_pointer = f"{self._base}/index/latest.json"
        self.index_requests = f"{self._base}/state/index.json"
        self.snapshot_work = f"{self._base}/state/work/snapshot.json"
        self.snapshots = f"{self._base}/snapshots/"

    def work(self, kind: Kind) -> str:
        """Return the key of the state of some work."""
        return f"{self._base}/state/work/{kind}.json"

    def tombstone(self, label_hash: str) -> str:
        """Return the key of a label's tombstone."""
        return f"{self.tombstones}{label_hash}.json"

    def report(self, time: str) -> str:
        """Return the key of a report; `time` is like 20261127T140500Z."""
        return f"{self._base}/reports/{time}.json"

    def generation(self, name: str, file: str) -> str:
        """Return the key of a file of an index generation."""
        return f"{self.index}{name}/{file}"

    def table_file(self, table: str) -> str:
        """Return the key of the one file that a table of the Glue catalog reads; `table` is labels or annotations."""
        return f"{self.index}{table}-table/symlink.txt"

    def part(self, work: str, part: str, file: str) -> str:
        """Return the key of a file of a part of work: what a rebuild has read, or a format's text."""
        return f"{self.parts(work)}{part}-{file}"

    def parts(self, work: str) -> str:
        """Return the prefix of a work's parts, which are removed at its end."""
        return f"{self._base}/state/index/{work}/"

    def snapshot(self, name: str, file: str) -> str:
        """Return the key of a file of a snapshot."""
        return f"{self.snapshots}{name}/{file}"

    def object(self, sha256: str) -> str:
        """Return the key of the copy of this content, which all snapshots share."""
        return f"{self._base}/objects/{sha256}.json"

    def is_census(self, key: str) -> bool:
        """Return whether a key is that of a census's report, as `report` returns it."""
        return re.fullmatch(r"\d{8}T\d{6}Z\.json", key.removeprefix(self.reports)) is not None

    def is_own(self, key: str) -> bool:
        """Return whether a key belongs to the catalog, and so not to a label."""
        return key.startswith(
            (f"{self._base}/state/", f"{self._base}/reports/", f"{self._base}/index/")
        ) or key.startswith((f"{self._base}/snapshots/", f"{self._base}/objects/"))


def listing_prefix(template: str, project_hash: str) -> str:
    """Return the longest prefix that all keys of a project share."""
    prefix = ""
    for literal, field, _, _ in Formatter().parse(template):
        prefix += literal
        if field == "project_hash":
            prefix += project_hash
        elif field is not None:
            break
    return prefix
