"""A layer that one registry got need not be sent to the next one, and only a layer with its own digest counts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kept_layers import UNUSED_SECONDS, KeptLayers, keep_layers

LAYER = b"a compressed layer"
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def registry(folder: Path, *repositories: str) -> Any:
    """Return a registry with MiniStack's names, as a new stack begins with it."""
    blobs: dict[str, dict[str, bytes]] = {}

    def complete(name: str, _upload: str, query: dict[str, Any], body: bytes) -> int:
        blobs.setdefault(name, {})[query["digest"]] = body
        return 201

    made = SimpleNamespace(
        _layer_blobs=blobs,
        _repositories=set(repositories),
        _query_first=lambda query, name: query.get(name),
        _v2_complete_blob_upload=complete,
        _v2_head_blob=lambda name, digest: 200 if digest in blobs.get(name, {}) else 404,
    )
    keep_layers(made, KeptLayers(folder))
    return made


def test_a_later_registry_has_the_layer_in_its_repositories(tmp_path: Path) -> None:
    first = registry(tmp_path, "images")
    assert first._v2_head_blob("images", DIGEST) == 404
    assert first._v2_complete_blob_upload("images", "1", {"digest": DIGEST}, LAYER) == 201
    later = registry(tmp_path, "images")
    assert later._v2_head_blob("images", DIGEST) == 200
    assert later._layer_blobs["images"][DIGEST] == LAYER
    assert later._v2_head_blob("removed", DIGEST) == 404


@pytest.mark.parametrize("digest", ["sha256:../../secret", "", f"sha256:{'0' * 64}"])
def test_only_a_kept_layers_digest_names_a_file(tmp_path: Path, digest: str) -> None:
    assert KeptLayers(tmp_path).get(digest) is None
    KeptLayers(tmp_path / "other").keep("sha256:../escaped", LAYER)
    assert not (tmp_path / "escaped").exists()


def test_a_changed_file_is_not_a_layer(tmp_path: Path) -> None:
    layers = KeptLayers(tmp_path)
    layers.keep(DIGEST, LAYER)
    (file,) = tmp_path.iterdir()
    file.write_bytes(LAYER[:-1])
    assert layers.get(DIGEST) is None
    layers.keep(DIGEST, LAYER)
    assert layers.get(DIGEST) == LAYER


def test_a_layer_that_was_not_used_for_a_week_is_removed(tmp_path: Path) -> None:
    layers = KeptLayers(tmp_path)
    layers.keep(DIGEST, LAYER)
    (file,) = tmp_path.iterdir()
    old = file.stat().st_mtime - UNUSED_SECONDS - 60
    os.utime(file, (old, old))
    layers.get(DIGEST)
    assert KeptLayers(tmp_path).get(DIGEST) == LAYER
    os.utime(file, (old, old))
    assert KeptLayers(tmp_path).get(DIGEST) is None
