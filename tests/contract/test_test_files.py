"""Tests are found where what they test is found: by unique names, and with shared code in tests/support alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_no_two_test_files_have_one_name() -> None:
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_share_code_through_tests_support_alone() -> None:
    texts = {path: path.read_text() for path in TESTS.rglob("*.py")}
    assert [str(path) for path, text in texts.items() if "\nfrom conftest import" in text] == []
    scenarios = {path: text for path, text in texts.items() if path.is_relative_to(TESTS / "molecule")}
    assert [str(path) for path, text in scenarios.items() if "\nfrom test_" in text] == []
