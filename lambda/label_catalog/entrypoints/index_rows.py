"""Reads labels from the bucket into the index's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from label_export.core.messages import is_hash

from label_catalog.adapters.index_tables import IndexTables
from label_catalog.adapters.label_json import parse_label
from label_catalog.core.annotations import Counts, LabelFacts, data_units, label_facts, read_annotations
from label_catalog.core.label_events import ProjectOfKey
from label_catalog.core.model import StoredLabel
from label_catalog.core.places import listing_prefix
from label_catalog.toolbox import Toolbox, batched

_SMALL = 1 << 20  # bytes of content that is read in parallel with others; larger content is read alone
_STEP = 64
_NO_FACTS = LabelFacts(None, None, None, None, None, None, None, None, None)


@dataclass(slots=True)
class LabelReader:
    """Reads objects, and adds their content to the tables. `not_parsed` counts labels whose content was not read."""

    tools: Toolbox
    project_hash: str
    tables: IndexTables
    names: Mapping[str, str]
    read: int = 0
    annotations: int = 0
    not_parsed: int = 0
    _key: ProjectOfKey = field(init=False)
    _prefix: str = field(init=False)

    def __post_init__(self) -> None:
        """Determine which keys can belong to this project."""
        template = self.tools.settings.key_template
        self._key, self._prefix = ProjectOfKey(template), listing_prefix(template, self.project_hash)

    def read_keys(self, keys: Iterable[str]) -> None:
        """Read the current state of these keys: a fresh row for each object, none for a deleted one."""
        for _ in self.read_steps(keys):
            self.tools.check_time()

    def read_steps(self, keys: Iterable[str]) -> Iterator[str]:
        """Read like `read_keys`, in steps; yield the last key of each, after which reading can stop."""
        most = min(_SMALL, self.tools.settings.index_label_bytes)
        for batch in batched(keys, _STEP):
            small = self.tools.threads.map(lambda key: self.tools.bucket.read(key, most, measure=False), batch)
            for key, found in zip(batch, small, strict=True):
                self._add(key, found)
            self.tables.touch(batch)
            yield batch[-1]

    def _add(self, key: str, found: StoredLabel | None) -> None:
        if found is not None and found.sha256 is None:  # large, so it is read alone
            found = self.tools.bucket.read(key, self.tools.settings.index_label_bytes)
        if found is None:
            return
        self.read += 1
        facts, counts, units, label_hash = _NO_FACTS, None, None, self._label_hash(found)
        if found.body is not None:
            try:
                row = parse_label(found.body)
                facts = label_facts(row)
                label_hash = label_hash or self._label_of_body(found, facts)
                if label_hash is not None:
                    counts, units = Counts(), data_units(row)
                    for annotation in read_annotations(
                        {**row, "label_hash": label_hash},
                        self.names,
                        counts,
                        personal=self.tools.settings.personal_data,
                    ):
                        self.tables.add_annotation(key, annotation)
                        self.annotations += 1
            except (ValueError, RecursionError):
                facts, counts, units = _NO_FACTS, None, None
        if label_hash is not None and counts is None:
            self.not_parsed += 1
            self.tools.telemetry.log(
                "WARNING",
                "label_not_parsed",
                project_hash=self.project_hash,
                label_hash=label_hash,
                bytes=found.size,
                detail="larger than catalog_function_index_label_limit_bytes" if found.body is None else "no JSON",
            )
        self.tables.add_label(
            (
                label_hash, facts.data_hash, facts.dataset_hash, self.project_hash, facts.data_title, facts.data_type,
                facts.dataset_title, facts.branch_name, None, facts.status, None, None, facts.edited_at, key,
                found.version_id, found.sha256, found.size, found.modified_at, found.etag,
                len(counts.objects) if counts is not None else None,
                len(counts.classifications) if counts is not None else None,
                counts is not None, None, None, units,
            )
        )  # fmt: skip

    def _label_hash(self, found: StoredLabel) -> str | None:
        """Return the label's hash from the metadata that an exporter wrote."""
        if found.project_hash == self.project_hash and is_hash(found.label_hash):
            return found.label_hash
        return None

    def _label_of_body(self, found: StoredLabel, facts: LabelFacts) -> str | None:
        """Return the label's hash of an object that was copied without its metadata.

        Its key must be one that the template can have for this label, under a prefix that only this project has.
        """
        label = facts.label_hash
        own = self.project_hash in self._prefix and found.project_hash is None
        if own and is_hash(label) and label in found.key and self._key.matches(found.key):
            return label
        return None
