"""The demo's last step: the index is built, its first rows are shown, and the report is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
import show_the_data_set
from catalog_system import BUCKET, CatalogSystem


class Stack:
    """The local stack as the script uses it, backed by the test's AWS and Encord."""

    def __init__(self, system: CatalogSystem) -> None:
        self._system = system

    def aws(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self._system.aws.url, verify=str(self._system.bundle))

    def encord_json(self, _method: str, _path: str) -> dict[str, Any]:
        return {"projects": [{"project_hash": self._system.project}]}


def test_it_shows_the_first_rows_and_where_the_report_is(
    system: CatalogSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def invoke(_stack: Stack, _function: str, event: dict[str, Any]) -> dict[str, Any]:
        answer = system.catalog(event)
        system.work_all()
        return answer

    system.census()
    monkeypatch.setattr(show_the_data_set, "has_index", lambda _stack, _function: True)
    monkeypatch.setattr(show_the_data_set, "LocalStack", lambda: Stack(system))
    monkeypatch.setattr(show_the_data_set, "invoke", invoke)
    monkeypatch.setattr(show_the_data_set, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(sys, "argv", ["show_the_data_set.py", "catalog", BUCKET])
    capsys.readouterr()
    show_the_data_set.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]
    assert len(lines) == 1 + show_the_data_set.ROWS + 1
    assert "labels.parquet" in lines[0]
    report = tmp_path / "reports" / f"{system.project}.html"
    assert lines[-1].endswith(f": {report}")
    assert "labels in the index" in report.read_text()
