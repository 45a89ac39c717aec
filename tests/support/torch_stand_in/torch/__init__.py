"""Stands in for PyTorch: the parts that the recipe in docs/reading-labels.md uses, with lists in place of tensors."""

from __future__ import annotations

from typing import Any

float32, int64 = "float32", "int64"


class Tensor(list[Any]):
    """A list with the members of a tensor that the recipe and its test use. `shape` is that of `zeros`."""

    shape: tuple[int, ...]

    def reshape(self, *_shape: int) -> Tensor:
        return self

    def tolist(self) -> list[Any]:
        return list(self)


def tensor(values: list[Any], *, dtype: str) -> Tensor:
    """Return these values. The real function converts them to the type."""
    assert dtype in (float32, int64)
    return Tensor(values)


def zeros(*shape: int) -> Tensor:
    """Return an empty list with this shape."""
    found = Tensor()
    found.shape = shape
    return found
