"""Where the catalog's own objects are."""

from __future__ import annotations

from string import Formatter

from label_catalog.core.work import Kind


class Places:
    """The keys of one project's state and reports."""

    def __init__(self, project_hash: str) -> None:
        self._base = f"encord/{project_hash}"
        self.reconcile = f"{self._base}/state/reconcile.json"
        self.known = f"{self._base}/state/known.gz"
        self.tombstones = f"{self._base}/state/tombstones/"
        self.latest_report = f"{self._base}/reports/latest.json"

    def work(self, kind: Kind) -> str:
        """Return the key of a work's state."""
        return f"{self._base}/state/work/{kind}.json"

    def tombstone(self, label_hash: str) -> str:
        """Return the key of a label's tombstone."""
        return f"{self.tombstones}{label_hash}.json"

    def report(self, time: str) -> str:
        """Return the key of a report; `time` is like 20261127T140500Z."""
        return f"{self._base}/reports/{time}.json"

    def is_own(self, key: str) -> bool:
        """Say whether a key is one of the catalog's own, and so no label's."""
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
