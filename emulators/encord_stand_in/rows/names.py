"""Identifiers in Encord's forms, derived from names and not random, so that every start has the same ones."""

from __future__ import annotations

import hashlib
import uuid

# The projects in the order of the listing; the first is the main one, the second is for tests of allow lists.
PROJECT_NAMES = ("street-scenes", "small")

_NAMESPACE = uuid.UUID("6f6e2f1e-5b0e-5c52-9a55-1d2f0c1d4b7a")


def identifier(*parts: object) -> str:
    """Return a UUID, the form of Encord's project, dataset, data and label hashes."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(map(str, parts))))


def short(*parts: object) -> str:
    """Return eight characters, the form of Encord's object, classification and feature hashes."""
    return hashlib.sha256(b"short/" + "/".join(map(str, parts)).encode()).hexdigest()[:8]
