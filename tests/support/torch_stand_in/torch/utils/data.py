"""Stands in for torch.utils.data: batches in the data set's order, made in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Dataset:
    """The base class of a map-style data set."""


class DataLoader:
    """Yields batches."""

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        shuffle: bool,
        num_workers: int,
        collate_fn: Callable[[list[Any]], Any],
    ) -> None:
        del shuffle, num_workers
        self._dataset, self._batch_size, self._collate = dataset, batch_size, collate_fn

    def __iter__(self) -> Iterator[Any]:
        indexes = range(len(self._dataset))
        for first in indexes[:: self._batch_size]:
            yield self._collate([self._dataset[index] for index in indexes[first : first + self._batch_size]])
