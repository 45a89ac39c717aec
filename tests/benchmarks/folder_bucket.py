"""A bucket in a folder, and the catalog's ports on it, for benchmarks that have the bucket in their process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from label_catalog.core.model import ListedObject, ProjectInfo
from synthetic_rows import PROJECT


class FolderBucket:
    """Bucket, state documents, snapshots and Encord's projects. Shared copies of snapshots are only counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied: set[str] = set()
        self.copies = 0

    def place(self, key: str) -> Path:
        """Return the path of a key."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # LabelBucket

    def download(self, key: str, path: Path) -> bool:
        """Copy an object into a file; False where there is none."""
        if not self.exists(key):
            return False
        shutil.copyfile(self.folder / key, path)
        return True

    def upload(self, key: str, path: Path) -> None:
        """Copy a file into an object."""
        shutil.copyfile(path, self.place(key))

    def upload_new(self, key: str, path: Path) -> bool:
        """Copy a file into a new object."""
        self.upload(key, path)
        return True

    def list(self, prefix: str, after: str = "") -> Iterator[ListedObject]:
        """Yield the files whose keys begin with a prefix."""
        for path in sorted((self.folder / prefix).rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_file() and name > after:
                yield ListedObject(name, '"0"', datetime.now(UTC))

    def erase(self, key: str) -> None:
        """Remove an object."""
        (self.folder / key).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Say whether there is an object."""
        return (self.folder / key).exists()

    # StateDocuments

    def load(self, key: str) -> tuple[Any, str | None]:
        """Return a document and its ETag."""
        if not self.exists(key):
            return None, None
        text = (self.folder / key).read_text()
        return json.loads(text), str(hash(text))

    def save(self, key: str, document: Mapping[str, Any], etag: str | None) -> str:
        """Write a document."""
        del etag
        text = json.dumps(document)
        self.place(key).write_text(text)
        return str(hash(text))

    # SnapshotBucket

    def put_once(self, key: str, path: Path, lock: object) -> bool:
        """Write a file."""
        del lock
        self.upload(key, path)
        return True

    def put_json_once(self, key: str, document: Mapping[str, Any], lock: object) -> bool:
        """Write a document."""
        del lock
        self.place(key).write_text(json.dumps(document))
        return True

    def upload_text(self, key: str, texts: Iterable[str], content_type: str) -> None:
        """Write texts."""
        del content_type
        with self.place(key).open("w") as file:
            file.writelines(texts)

    def digests(self, prefix: str, after: str) -> Iterator[str]:
        """Yield the digests of all copies."""
        del prefix, after
        yield from self.copied

    def copy(self, source: Any, key: str, lock: object) -> bool:
        """Count a copy."""
        del key, lock
        self.copies += 1
        self.copied.add(source.sha256)
        return True

    # EncordFeeds

    def projects(self, hashes: Iterable[str]) -> Sequence[ProjectInfo]:
        """Return the project."""
        del hashes
        return (ProjectInfo(PROJECT, "Street scenes", datetime.now(UTC), ()),)


def timed(act: Callable[[], object]) -> dict[str, float]:
    """Return what an act took: `seconds` by the clock, and `cpu` of this process with all its threads."""
    began, cpu = time.perf_counter(), time.process_time()
    act()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
