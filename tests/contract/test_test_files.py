"""Test files have unique names, and share code only through tests/support."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_test_files_have_unique_names() -> None:
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_share_code_only_through_tests_support() -> None:
    texts = {path: path.read_text() for path in TESTS.rglob("*.py")}
    assert [str(path) for path, text in texts.items() if "\nfrom conftest import" in text] == []
    scenarios = {path: text for path, text in texts.items() if path.is_relative_to(TESTS / "molecule")}
    assert [str(path) for path, text in scenarios.items() if "\nfrom test_" in text] == []
