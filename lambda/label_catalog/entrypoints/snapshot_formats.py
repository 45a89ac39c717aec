"""Writes a snapshot's formats in parts. When the time of a run ends, the next run continues after the last part.

A part has a fixed number of labels, so the same snapshot gives the same bytes wherever runs end. Its texts are kept
beside the work's state; the last step puts them together. A format's loss report is its last file.
"""

from __future__ import annotations

import gzip
import json
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from label_export.core.errors import ExportError, PermanentError

from label_catalog import __version__
from label_catalog.adapters.aws.snapshots import Lock
from label_catalog.adapters.snapshot_tables import labelled
from label_catalog.core import coco, jsonl, yolo
from label_catalog.core.classes import ObjectClass, object_classes
from label_catalog.core.index_schema import ANNOTATIONS, ONTOLOGY
from label_catalog.core.labelled_data import Labelled
from label_catalog.core.losses import Losses
from label_catalog.core.places import Places
from label_catalog.core.snapshots import LOSSES, MANIFEST
from label_catalog.core.work import Work
from label_catalog.entrypoints.generations import file_digest
from label_catalog.toolbox import OutOfTimeError, Toolbox

_PART_LABELS = 20_000
_PART_ANNOTATIONS = 100_000  # a part ends early where labels have many
_CHECKED = 500  # labels between two checks of the remaining time
_MOST_RUNS = 3  # runs whose time was not enough for one more part
_PIECE = 1 << 20
_YEAR = (1980, 1, 1, 0, 0, 0)  # of the files in an archive, so that the same snapshot gives the same bytes

Upload = Callable[[str, Path], None]


class SnapshotFormats:
    """Writes the formats of one snapshot. `save` writes the work's state."""

    def __init__(self, tools: Toolbox, work: Work, save: Callable[[], None], folder: Path) -> None:
        self._tools = tools
        self._work = work
        self._save = save
        self._folder = folder
        self._places = Places(work.project_hash)

    def _key(self, file: str) -> str:
        return self._places.snapshot(str(self._work.options["name"]), file)

    def write(self) -> None:
        """Write the requested formats that do not exist; raises OutOfTimeError if another run must continue."""
        tools, work = self._tools, self._work
        formats = work.options["formats"]
        asked = [name for name in formats if not tools.snapshots.exists(self._key(f"formats/{name}/{LOSSES}"))]
        if asked:
            self._have_files()
            work.counts["format_runs"] = work.counts.get("format_runs", 0) + 1
        for name in asked:
            try:
                self._write(name)
            except OutOfTimeError:
                if work.counts["format_runs"] < _MOST_RUNS:
                    raise
                self._remove_parts()
                problem = f"{name} cannot be written: a run is too short for one part of it, or to combine the parts"
                raise ExportError("format_time", f"{problem}: raise catalog_function_timeout") from None
        if formats:
            self._remove_parts()

    def _have_files(self) -> None:
        for name in (MANIFEST, ANNOTATIONS, ONTOLOGY):
            path = self._folder / name
            if not path.exists() and not self._tools.bucket.download(self._key(name), path):
                raise PermanentError("snapshot_broken", f"snapshot {self._work.options['name']} has no {name}")

    def _write(self, name: str) -> None:
        tools, work = self._tools, self._work
        state: dict[str, Any] = work.data.setdefault("formats", {}).setdefault(name, {"cursor": "", "parts": []})
        losses = Losses.from_document(state["losses"]) if "losses" in state else Losses()
        writer = self._writer(name, losses, state)
        for last in () if state.get("read") else self._read_parts(writer, state["cursor"]):
            part = uuid.uuid4().hex[:8]  # a worker that lost the work never overwrites another worker's part
            for file, path in writer.end_part(len(state["parts"])).items():
                tools.bucket.upload(self._places.part(work.work, part, file), path)
                path.unlink()
            state["parts"].append(part)
            state |= {"losses": losses.as_document(name), "counts": writer.counts}
            state |= {"read": True} if last is None else {"cursor": last}
            self._note_progress()
        tools.check_time()
        writer.finish(lambda file: self._kept(state["parts"], file))
        report = losses.as_document(name)
        tools.snapshots.put_json_once(self._key(f"formats/{name}/{LOSSES}"), report, Lock())
        work.counts |= {f"{name}_{what}": report[what] for what in ("images", "written", "left_out")}
        del work.data["formats"][name]
        self._note_progress()

    def _read_parts(self, writer: _Format, after: str) -> Iterator[str | None]:
        """Add the labels after a hash to the part; yield the last label's hash where a part ends, None at the end."""
        count, annotations, last = 0, 0, None
        for label in labelled(self._folder / MANIFEST, self._folder / ANNOTATIONS, self._folder, after):
            label_hash = label.row["label_hash"]
            # A label can have several objects, and the cursor is a label.
            if (count >= _PART_LABELS or annotations >= _PART_ANNOTATIONS) and label_hash != last:
                yield last
                count, annotations = 0, 0
            if count % _CHECKED == 0:
                self._tools.check_time()
            writer.add(label)
            count, annotations, last = count + 1, annotations + len(label.annotations), label_hash
        yield None

    def _note_progress(self) -> None:
        self._work.counts["format_runs"] = 0
        self._save()

    def _kept(self, parts: list[str], file: str) -> Iterator[Path]:
        """Yield the parts' files of a name, each removed when the next one is requested."""
        for part in parts:
            self._tools.check_time()
            path = self._folder / f"kept-{file}"
            if not self._tools.bucket.download(self._places.part(self._work.work, part, file), path):
                problem = f"a part of a format of snapshot {self._work.options['name']} is gone"
                raise ExportError("format_part_gone", f"{problem}: start the formats again (playbooks/snapshot.yml)")
            yield path
            path.unlink()

    def _remove_parts(self) -> None:
        self._work.data.pop("formats", None)
        for found in list(self._tools.bucket.list(self._places.parts(self._work.work))):
            self._tools.bucket.erase(found.key)

    def _writer(self, name: str, losses: Losses, state: dict[str, Any]) -> _Format:
        place, work = f"formats/{name}", self._work
        classes = object_classes(json.loads((self._folder / ONTOLOGY).read_bytes()) or {})

        def upload(file: str, path: Path) -> None:
            self._tools.bucket.upload(self._key(f"{place}/{file}"), path)

        def upload_texts(file: str, texts: Iterator[str], content_type: str) -> None:
            self._tools.snapshots.upload_text(self._key(f"{place}/{file}"), texts, content_type)

        if name == "coco":
            info = {"description": f"snapshot {work.options['name']} of Encord project {work.project_hash}"}
            info |= {"version": file_digest(self._folder / MANIFEST), "contributor": f"label-export {__version__}"}
            return _Coco(self._folder, classes, info, losses, state.get("counts", {}), upload_texts)
        if name == "yolo":
            return _Yolo(self._folder, classes, losses, upload, upload_texts)
        return _Lines(self._folder, losses, upload)


class _Format(Protocol):
    """A format: writes parts one after the other, and combines them."""

    @property
    def counts(self) -> dict[str, int]:
        """The state that the next part needs."""

    def add(self, label: Labelled) -> None:
        """Add a label to the part."""

    def end_part(self, number: int) -> dict[str, Path]:
        """End the part; return the files to keep, by name."""

    def finish(self, kept: Callable[[str], Iterator[Path]]) -> None:
        """Write the format. `kept` yields the files of a name of all parts in their order."""


class _Coco:
    def __init__(  # noqa: PLR0913, PLR0917 - what one document is made of
        self,
        folder: Path,
        classes: tuple[ObjectClass, ...],
        info: dict[str, Any],
        losses: Losses,
        counts: dict[str, int],
        upload_texts: Callable[[str, Iterator[str], str], None],
    ) -> None:
        self._classes, self._info, self._upload = classes, info, upload_texts
        self._writer = coco.Writer(classes, losses, **counts)
        self._paths = {name: folder / f"coco-{name}" for name in ("images", "annotations")}
        self._files: dict[str, IO[str]] = {}

    @property
    def counts(self) -> dict[str, int]:
        return {"images": self._writer.images, "annotations": self._writer.annotations}

    def add(self, label: Labelled) -> None:
        files = self._opened()
        for file, texts in zip(files.values(), self._writer.texts(label), strict=True):
            file.writelines(texts)

    def _opened(self) -> dict[str, IO[str]]:
        if not self._files:
            self._files = {name: path.open("w", encoding="utf-8", newline="") for name, path in self._paths.items()}
        return self._files

    def end_part(self, number: int) -> dict[str, Path]:
        del number
        for file in self._opened().values():
            file.close()
        self._files = {}
        return dict(self._paths)

    def finish(self, kept: Callable[[str], Iterator[Path]]) -> None:
        images, annotations = (_texts(kept(name)) for name in self._paths)
        texts = coco.document(self._classes, self._info, images, annotations)
        self._upload("annotations.json", texts, "application/json")


def _texts(paths: Iterator[Path]) -> Iterator[str]:
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            while text := file.read(_PIECE):
                yield text


class _Yolo:
    """Label files are in an archive for each part, which is a file of the format already."""

    def __init__(
        self,
        folder: Path,
        classes: tuple[ObjectClass, ...],
        losses: Losses,
        upload: Upload,
        upload_texts: Callable[[str, Iterator[str], str], None],
    ) -> None:
        self._classes, self._upload, self._upload_texts = classes, upload, upload_texts
        self._writer = yolo.Writer(classes, losses)
        self._path = folder / "labels.zip"
        self._archive: zipfile.ZipFile | None = None
        self._images = _Compressed(folder / "images.jsonl.gz")
        self.counts: dict[str, int] = {}

    def add(self, label: Labelled) -> None:
        for file, line in self._writer.files(label):
            info = zipfile.ZipInfo(file.name, _YEAR)
            self._opened().writestr(info, file.text, zipfile.ZIP_DEFLATED)
            self._images.write(line)

    def _opened(self) -> zipfile.ZipFile:
        self._archive = self._archive or zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED)
        return self._archive

    def end_part(self, number: int) -> dict[str, Path]:
        self._opened().close()
        self._archive = None
        self._upload(f"labels-{number:03d}.zip", self._path)
        self._path.unlink()
        return self._images.end()

    def finish(self, kept: Callable[[str], Iterator[Path]]) -> None:
        self._upload_texts("data.yaml", iter([yolo.data(self._classes)]), "application/yaml")
        self._images.join(kept, self._upload)


class _Lines:
    def __init__(self, folder: Path, losses: Losses, upload: Upload) -> None:
        self._losses, self._upload = losses, upload
        self._lines = _Compressed(folder / "annotations.jsonl.gz")
        self.counts: dict[str, int] = {}

    def add(self, label: Labelled) -> None:
        for line in jsonl.lines(label, self._losses):
            self._lines.write(line)

    def end_part(self, number: int) -> dict[str, Path]:
        del number
        return self._lines.end()

    def finish(self, kept: Callable[[str], Iterator[Path]]) -> None:
        self._lines.join(kept, self._upload)


class _Compressed:
    """Lines in a gzip file, a member for each part: a sequence of members is a gzip file too (RFC 1952)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: gzip.GzipFile | None = None
        self._raw: IO[bytes] | None = None

    def write(self, line: str) -> None:
        self._opened().write(line.encode())

    def _opened(self) -> gzip.GzipFile:
        if self._file is None:
            self._raw = self._path.open("wb")
            self._file = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)
        return self._file

    def end(self) -> dict[str, Path]:
        self._opened().close()
        if self._raw is not None:
            self._raw.close()
        self._file = self._raw = None
        return {self._path.name: self._path}

    def join(self, kept: Callable[[str], Iterator[Path]], upload: Upload) -> None:
        whole = self._path.with_name(f"whole-{self._path.name}")
        with whole.open("wb") as target:
            for path in kept(self._path.name):
                with path.open("rb") as source:
                    shutil.copyfileobj(source, target, _PIECE)
        upload(self._path.name, whole)
        whole.unlink()
