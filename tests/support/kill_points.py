"""Ends a worker at every one of its writes: each request to AWS that changes something, as the worker made them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from botocore.client import BaseClient
from catalog_system import CatalogAws, CatalogSystem

_READS = ("Get", "Head", "List")
_STATE = ("objects", "modified", "versions", "queues", "messages", "deleted", "retained", "history")


class KilledError(Exception):
    """The worker has ended, as with kill -9: no request of it reaches AWS any more, whatever its code still does."""


def killed_at_each_write(
    system: CatalogSystem, act: Callable[[], object], most: int | None = None
) -> Iterator[tuple[str, bool]]:
    """Act once undisturbed, and then again from the same state for each write that was seen, ended just before it.

    Nothing but writes can be seen from outside, so that the end before a write is also the end after the one before it.
    The last time the worker ends after its last write. Yields the write's name each time, with whether it is the last
    one; the caller then does what follows, and looks.

    Args:
        system: the functions, whose AWS is set back for each time.
        act: what the worker does.
        most: how many writes at most; fails where there are more.
    """
    before = _kept(system.aws)
    with _watched(None) as writes:
        act()
    names = [*writes, "the end"]
    assert len(names) > 1, "it writes nothing"
    assert most is None or len(names) <= most, names
    for place, name in enumerate(names):
        _set_back(system.aws, before)
        with _watched(place) as seen, suppress(KilledError):
            act()
        assert seen == writes[:place], f"not the same writes: {seen}, {writes}"
        yield name, place == len(writes)


@contextmanager
def _watched(place: int | None) -> Iterator[list[str]]:
    """Note the writes; refuse all requests from the write at `place` on."""
    writes: list[str] = []
    dead = False
    call = BaseClient._make_api_call

    def watched(self: BaseClient, operation: str, named: dict[str, Any]) -> Any:
        nonlocal dead
        is_write = not operation.startswith(_READS)
        dead = dead or (is_write and len(writes) == place)
        if dead:
            raise KilledError
        if is_write:
            writes.append(f"{operation} {_short(named)}".strip())
        return call(self, operation, named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", watched)
        yield writes


def _short(named: dict[str, Any]) -> str:
    """Return what a write is to, without the parts of its name that another run has otherwise."""
    key = str(named.get("Key") or named.get("QueueUrl", ""))
    return re.sub(r"^[0-9a-f]{8}-", "", key.rpartition("/")[2])


def _kept(aws: CatalogAws) -> dict[str, Any]:
    with aws.lock:
        return {name: _copied(getattr(aws, name)) for name in _STATE}


def _set_back(aws: CatalogAws, kept: dict[str, Any]) -> None:
    with aws.lock:
        for name, value in kept.items():
            setattr(aws, name, _copied(value))


def _copied(value: Any) -> Any:
    """Copy a collection and the collections in it; the objects themselves stay, since versions are known by them."""
    found = copy.copy(value)
    if isinstance(found, dict):
        for key, inner in found.items():
            found[key] = copy.copy(inner) if isinstance(inner, dict | list) else inner
    return found
