"""The benchmark runs from end to end, at its smallest, with the Python of the tests; counts are asserted, times not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import run
from contenders import PACKAGE, Contender, MeasurementError
from services import services

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_each_measure_is_reported(tmp_path: Path) -> None:
    plan = run.Plan(cold=1, warm=1, linear=1, untracked=(0.02, 0.04), untracked_doc_style=())
    python = Path(sys.executable)
    with services(tmp_path) as running:
        ours, theirs = running.exporter_environment(), running.doc_style_environment()
        exporter = Contender(run.EXPORTER, python, "label_export.handler", PACKAGE.parent, ours)
        who = run.Contenders(
            Contender(run.DOC_STYLE, python, "doc_style_handler", BENCHMARKS, theirs),
            exporter,
            exporter.with_environment(run.SOURCE),
        )
        lines = [line.cells() for line in run.one_label(running, who, plan)]
        _, sizes = run.untracked(running, who, plan)
    assert ["requests (new connections), warm, one label", "5 (5)", "3 (0)", "", "", ""] in lines
    assert ["… stored already", "", "2 (0)", "", "", ""] in lines
    assert sizes.count("not run: quadratic") == 2


def test_the_report_is_written_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n")
    run.write(document, "new")
    assert document.read_text() == f"before\n{run.BEGIN}\nnew\n{run.END}\nafter\n"
    document.write_text("no marks")
    with pytest.raises(MeasurementError, match="to write between"):
        run.write(document, "new")
