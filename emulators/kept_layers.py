"""Layers of images that a registry of an earlier local stack had, so that an engine need not send them again.

MiniStack's registry is in memory and begins empty. Before an engine sends a layer to a registry that lacks it, it
compresses the layer: for this repository's two images 20 s of CPU, on each new stack. Here each layer that was sent is
also kept in a folder, and a later registry says that it has the layer. ECR does the same for the layers of an account's
other repositories (docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html).

The file of a layer has its digest as its name, and is compared with it when it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
UNUSED_SECONDS = 7 * 24 * 3600


class KeptLayers:
    """The layers in a folder."""

    def __init__(self, folder: Path) -> None:
        """Remove layers that no registry has had for a week."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.stat().st_mtime < time.time() - UNUSED_SECONDS:
                path.unlink(missing_ok=True)

    def keep(self, digest: str, content: bytes) -> None:
        """Keep a layer whose digest was compared with its content."""
        path = self._path(digest)
        if path is None or path.exists():
            return
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(content)
        unfinished.replace(path)

    def get(self, digest: str) -> bytes | None:
        """Return a layer; None if it is not kept, or if its file was changed."""
        path = self._path(digest)
        if path is None or not path.exists():
            return None
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != path.name:
            path.unlink(missing_ok=True)
            return None
        with suppress(FileNotFoundError):
            os.utime(path)  # unlike touch, it makes no empty file where another stack has removed the layer
        return content

    def _path(self, digest: str) -> Path | None:
        match = DIGEST.fullmatch(digest)
        return self._folder / match[1] if match else None


def keep_layers(registry: Any, layers: KeptLayers) -> None:
    """Have MiniStack's registry (its module `ecr`) keep the layers that it gets, and look among the kept ones."""
    complete, look = registry._v2_complete_blob_upload, registry._v2_head_blob

    def completed(name: str, upload: str, query: dict[str, Any], body: Any) -> Any:
        answer = complete(name, upload, query, body)
        digest = registry._query_first(query, "digest")
        if digest in registry._layer_blobs.get(name, {}):
            layers.keep(digest, registry._layer_blobs[name][digest])
        return answer

    def looked(name: str, digest: str) -> Any:
        missing = name in registry._repositories and digest not in registry._layer_blobs.get(name, {})
        if missing and (content := layers.get(digest)) is not None:
            registry._layer_blobs.setdefault(name, {})[digest] = content
        return look(name, digest)

    registry._v2_complete_blob_upload, registry._v2_head_blob = completed, looked
