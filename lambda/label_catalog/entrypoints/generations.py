"""Index generations: read the one in use as a whole, write a new one, remove old ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from label_export.core.errors import RetryableError

from label_catalog.core.index_schema import ANNOTATIONS, LABELS, ONTOLOGY, Pointer
from label_catalog.core.places import Places
from label_catalog.toolbox import Toolbox

FILES = {"labels": LABELS, "annotations": ANNOTATIONS, "ontology": ONTOLOGY}
_TRIES = 5
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation's files, copied into a folder. `etag` is the pointer's, for a conditional move."""

    pointer: Pointer
    etag: str
    labels: Path
    annotations: Path
    ontology: Path


def load_pointer(tools: Toolbox, project_hash: str) -> tuple[Pointer | None, str | None]:
    """Return the pointer and its ETag. Of a pointer that this version cannot read only the ETag is returned."""
    document, etag = tools.documents.load(Places(project_hash).index_pointer)
    return Pointer.from_document(document), etag


def read_generation(tools: Toolbox, project_hash: str, folder: Path) -> Generation | None:
    """Copy the files of the generation in use into `folder`, and compare them with the pointer's digests.

    None where the project has no index. Raises RetryableError where the files are not those that the pointer names.
    """
    places = Places(project_hash)
    problem = ""
    for _ in range(_TRIES):
        pointer, etag = load_pointer(tools, project_hash)
        if pointer is None or etag is None:
            return None
        paths = {name: folder / file for name, file in FILES.items()}
        problem = f"generation {pointer.generation} is not whole"
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
