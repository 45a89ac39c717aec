"""Which tests measure coverage."""

from __future__ import annotations

from pathlib import Path

import pytest

# The tests of the two functions. What other tests execute of them is measured here as well, and measuring takes as
# long as the tests themselves. Tests here that repeat a thing many times have the mark too.
MEASURED = (Path(__file__).parent / "unit" / "handler", Path(__file__).parent / "unit" / "catalog")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Switch coverage off for the other tests."""
    for item in items:
        if not any(item.path.is_relative_to(folder) for folder in MEASURED):
            item.add_marker(pytest.mark.no_cover)
