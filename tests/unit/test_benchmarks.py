"""The benchmarks run from end to end with their smallest sizes; counts are asserted, times are not."""

from __future__ import annotations

import sys
from pathlib import Path

import catalog
import measure
import pytest
import run
from contenders import PACKAGE, Contender, MeasurementError
from documents import write
from encord_harness import StandInProcess, make_files, private_key_text
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


def test_a_giant_row_is_measured_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with services(tmp_path) as running:
        environment = running.exporter_environment() | {"LABEL_EXPORT_MEMORY_LIMIT_BYTES": str(1 << 20)}
        exporter = Contender(run.EXPORTER, Path(sys.executable), "label_export.handler", PACKAGE.parent, environment)
        who = run.Contenders(exporter, exporter, exporter)
        line = run.giant(running, who, run.Plan(giant_frames=400)).cells()
        assert line[0] == "2 MB row, function of 1,024 MB: peak memory"
        assert line[-2:] == ["≤ 1,024 MB", "met"]
        row = running.rows(400, run.OBJECTS_A_FRAME)[0]
        found = measure.giant(running, exporter, row, running.image_label())
        assert 0 < found.anonymous_bytes < found.peak_bytes
        monkeypatch.setattr(running._stand_in, "row_bytes", lambda _: b"{}")
        with pytest.raises(MeasurementError, match="not stored as it is served"):
            measure.giant(running, exporter, row, running.image_label())


def test_the_report_is_written_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{run.MARK.begin}\nold\n{run.MARK.end}\nafter\n")
    write(document, run.MARK, "new")
    assert document.read_text() == f"before\n{run.MARK.begin}\nnew\n{run.MARK.end}\nafter\n"
    document.write_text("no marks")
    with pytest.raises(MeasurementError, match="to write between"):
        write(document, run.MARK, "new")


def test_the_catalog_is_measured(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    key_file = tmp_path / "key"
    key_file.write_text(private_key_text(files.key))
    stand_in = StandInProcess(files)
    try:
        table = catalog.sizes(stand_in, key_file, [200, 1_000]).splitlines()
    finally:
        stand_in.stop()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 200", "| 1,000"]
    assert all(line.endswith("| met |") for line in table[2:])


def test_a_backfill_is_compared_with_a_script(tmp_path: Path) -> None:
    table = catalog.backfill(tmp_path, 20, 2).splitlines()
    assert [line.split(" | ")[1] for line in table[2:]] == ["2", "20"]


def test_a_live_labels_latency_is_measured_without_a_backfill_and_during_one(tmp_path: Path) -> None:
    table = catalog.live(tmp_path, catalog.TURNS).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| without a backfill", "| during a backfill"]
    assert all("ms" in line for line in table[2:])
