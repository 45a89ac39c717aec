"""The index's tests: labels in the bucket, their events, and an oracle that reads the bucket itself."""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from catalog_system import BUCKET, CatalogSystem
from handler_servers import StoredObject
from label_catalog.core.annotations import Counts, read_annotations

_FILES = {"labels": "labels.parquet", "annotations": "annotations.parquet", "ontology": "ontology.json"}


@dataclass
class IndexSystem:
    """A bucket with labels, and the catalog's index of it. `events` are the messages that have not been delivered."""

    system: CatalogSystem
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.system.set(LABEL_CATALOG_INDEX="true")

    @property
    def base(self) -> str:
        """The prefix of the project's objects."""
        return f"encord/{self.system.project}"

    def key(self, label: str) -> str:
        """Return a label's key."""
        return f"{self.base}/labels/{label}.json"

    def save(self, label: str, body: bytes | None = None, **metadata: str) -> dict[str, Any]:
        """Store a label as the exporter does, and return the event's message."""
        content = label_body(label) if body is None else body
        headers = {
            "x-amz-meta-project-hash": self.system.project,
            "x-amz-meta-label-hash": label,
            **{f"x-amz-meta-{name.replace('_', '-')}": value for name, value in metadata.items()},
        }
        return self._put(label, StoredObject(content, headers))

    def put(self, label: str, stored: StoredObject) -> dict[str, Any]:
        """Store an object under a label's key, and return the event's message."""
        return self._put(label, stored)

    def _put(self, label: str, stored: StoredObject) -> dict[str, Any]:
        with self.system.aws.lock:
            path = f"/{BUCKET}/{self.key(label)}"
            self.system.aws.objects[path] = stored
            self.system.aws.modified[path] = datetime.now(UTC)
        return self._event(self.key(label))

    def delete(self, label: str) -> dict[str, Any]:
        """Delete a label's object, and return the event's message."""
        with self.system.aws.lock:
            self.system.aws.objects.pop(f"/{BUCKET}/{self.key(label)}", None)
        return self._event(self.key(label))

    def _event(self, key: str) -> dict[str, Any]:
        message = {"version": 1, "action": "label", "key": key, "at": datetime.now(UTC).isoformat()}
        self.events.append(message)
        return message

    def deliver(self, messages: Iterable[dict[str, Any]] | None = None, seconds: float = 600.0) -> list[dict[str, Any]]:
        """Deliver messages to the function in one batch (default: all that wait); return those that fail."""
        if messages is None:
            messages, self.events = self.events, []
        batch = list(messages)
        records = [{"messageId": str(number), "body": json.dumps(message)} for number, message in enumerate(batch)]
        answer = self.system.catalog({"Records": records}, seconds)
        return [batch[int(failure["itemIdentifier"])] for failure in answer["batchItemFailures"]]

    def settle(self) -> None:
        """Deliver everything that waits until nothing fails and no work is left."""
        for _ in range(20):
            self.events = self.deliver() if self.events else []
            self.system.work_all()
            if not self.events:
                return
        raise AssertionError("the events' queue never becomes empty")

    def rebuild(self) -> None:
        """Build the index from the bucket."""
        answer = self.system.catalog({"action": "index", "step": "rebuild", "project_hash": self.system.project})
        assert answer["started"][0]["outcome"] in ("started", "joined"), answer
        self.system.work_all()

    def compare(self) -> int:
        """Compare the index with the bucket; return the number of differences that it reports."""
        self.system.catalog({"action": "index", "step": "compare", "project_hash": self.system.project})
        self.system.work_all()
        return int(self.system.document(f"{self.base}/state/index.json")["differences"])

    @property
    def pointer(self) -> dict[str, Any] | None:
        """The pointer, or None if there is no index."""
        with self.system.aws.lock:
            stored = self.system.aws.objects.get(f"/{BUCKET}/{self.base}/index/latest.json")
        return None if stored is None else dict(json.loads(stored.body))

    @property
    def in_use(self) -> str:
        """The generation in use."""
        assert self.pointer is not None, "there is no index"
        return str(self.pointer["generation"])

    def table_path(self, table: str) -> str:
        """Return the path of the one file that an Athena table reads."""
        return f"/{BUCKET}/{self.base}/index/{table}-table/symlink.txt"

    def table_reads(self, table: str) -> str:
        """Return the generation that a table reads. Its file has one line, and what the line names is there."""
        with self.system.aws.lock:
            objects = dict(self.system.aws.objects)
        (line,) = objects[self.table_path(table)].body.decode().splitlines()
        key = line.removeprefix(f"s3://{BUCKET}/")
        assert f"/{BUCKET}/{key}" in objects, f"{line} is not there"
        generation, _, file = key.removeprefix(f"{self.base}/index/").partition("/")
        assert file == _FILES[table]
        return generation

    def tables_read(self) -> set[str]:
        """Return the generations that both tables read."""
        return {self.table_reads("labels"), self.table_reads("annotations")}

    def generations(self) -> set[str]:
        """Return the names of the generations in the bucket."""
        begin = f"/{BUCKET}/{self.base}/index/"
        with self.system.aws.lock:
            paths = [path.removeprefix(begin) for path in self.system.aws.objects if path.startswith(begin)]
        return {path.partition("/")[0] for path in paths if "/" in path}

    def read(self) -> Index:
        """Return what a reader gets, who follows the pointer and checks the digests."""
        for _ in range(5):
            pointer = self.pointer
            assert pointer is not None, "there is no index"
            with self.system.aws.lock:
                begin = f"/{BUCKET}/{self.base}/index/{pointer['generation']}/"
                files = {name: self.system.aws.objects.get(begin + file) for name, file in _FILES.items()}
            if any(stored is None for stored in files.values()):
                continue  # a reader that is this late follows the pointer again
            for name, stored in files.items():
                assert stored is not None
                assert hashlib.sha256(stored.body).hexdigest() == pointer["sha256"][name], f"{name} is torn"
            return Index(pointer, {name: stored.body for name, stored in files.items() if stored is not None})
        raise AssertionError("the pointer names files that are gone")

    def differences(self) -> list[str]:
        """Compare the index with the bytes in the bucket, without the catalog's code for any of it."""
        found, index = [], self.read()
        rows = {row["key"]: row for row in index.rows("labels")}
        lines: dict[str, int] = {}
        for line in index.rows("annotations"):
            lines[line["label_hash"]] = lines.get(line["label_hash"], 0) + 1
        begin = f"/{BUCKET}/{self.base}/labels/"
        with self.system.aws.lock:
            found_objects = dict(self.system.aws.objects)
        objects = {
            path: stored
            for path, stored in found_objects.items()
            if path.startswith(begin) and stored.body.startswith(b'{"label_hash"')
        }
        for path, stored in objects.items():
            key = path.removeprefix(f"/{BUCKET}/")
            row = rows.pop(key, None)
            if row is None:
                found.append(f"{key} is not in the index")
                continue
            digest = hashlib.sha256(stored.body).hexdigest()
            if (row["sha256"], row["size"], row["etag"]) != (digest, len(stored.body), stored.etag):
                found.append(f"{key} is another one in the index")
            counts = Counts()
            expected = sum(1 for _ in read_annotations(json.loads(stored.body), {}, counts))
            if lines.pop(row["label_hash"], 0) != expected or row["objects"] != len(counts.objects):
                found.append(f"{key} has other annotations in the index")
        found += [f"{key} is in the index, and has no object" for key in rows]
        found += [f"there are annotations of {label}, which the bucket does not have" for label in lines]
        if index.pointer["rows"] != len(objects):
            found.append("the pointer counts other rows")
        return found


@dataclass
class Index:
    """A generation as a reader sees it."""

    pointer: dict[str, Any]
    files: dict[str, bytes]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows; times are texts."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.parquet"
            path.write_bytes(self.files[table])
            query = f"SELECT * REPLACE ({_texts(path)}) FROM read_parquet('{path}')"  # noqa: S608 - a path of our own
            found = duckdb.execute(query)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _texts(path: Path) -> str:
    described = duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()  # noqa: S608 - our own path
    times = [name for name, kind, *_ in described if "TIME ZONE" in kind]
    return ", ".join(f"{name}::VARCHAR AS {name}" for name in times)


def label_body(label: str, boxes: int = 2, note: str = "") -> bytes:
    """Return a small label row: an image with boxes."""
    data_hash = str(uuid.uuid5(uuid.NAMESPACE_OID, label))
    objects = [
        {
            "objectHash": f"{label[:4]}{number:04d}", "featureHash": "86671a01", "name": "Vehicle",
            "shape": "bounding_box", "boundingBox": {"h": 0.1, "w": 0.2, "x": 0.01 * number, "y": 0.3},
            "createdAt": "Tue, 04 Mar 2025 07:30:00 UTC", "createdBy": "annotator@example.com",
            "lastEditedAt": "2025-03-04T09:00:07.000000+02:00", "lastEditedBy": "annotator@example.com",
        }
        for number in range(boxes)
    ]  # fmt: skip
    unit = {"data_hash": data_hash, "data_sequence": 0, "width": 640, "height": 480,
            "labels": {"objects": objects, "classifications": []}}  # fmt: skip
    row = {
        "label_hash": label, "data_hash": data_hash, "dataset_hash": "d", "dataset_title": "set", "data_type": "image",
        "data_title": f"{label}.jpg", "branch_name": "main", "label_status": "LABELLED", "note": note,
        "last_edited_at": "2025-03-04 09:00:07", "data_units": {data_hash: unit}, "object_answers": {},
        "classification_answers": {}, "object_actions": {}, "spaces": {},
    }  # fmt: skip
    return json.dumps(row).encode()
