"""The report as a reader sees it, in headless Chromium: drawn without a request, with the numbers of the index."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from catalog_system import BUCKET, CatalogAws, CatalogSystem
from encord_harness import Files, StandInProcess
from handler_servers import StoredObject
from own_environments import ROOT, own_environment
from synthetic_index import Row, censuses, index_objects, street_scenes

CHARTS = {"completeness", "saved", "delays", "datasets", "stages", "classes", "growth"}


@dataclass
class Seen:
    """What the browser saw, and the rows of the report's index."""

    page: dict[str, Any]
    file: Path
    labels: list[Row]
    annotations: list[Row]

    def table(self, caption: str) -> list[list[str]]:
        found: list[list[str]] = self.page["tables"][caption]
        return found


@pytest.fixture(scope="module")
def seen(certificate: Path, running: StandInProcess, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    chromium = subprocess.run(["scripts/browser", "--find"], cwd=ROOT, capture_output=True, text=True, check=False)
    if chromium.returncode:
        pytest.skip("no Chromium on this machine: scripts/browser, which make unit runs, says why")
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as monkeypatch:
        server = CatalogAws(certificate)
        with server.running():
            system = CatalogSystem(server, running, files, monkeypatch, files.certificate)
            labels, annotations = street_scenes(system.project)
            objects = index_objects(folder, system.project, labels, annotations)
            reports = censuses()
            objects |= {f"encord/{system.project}/reports/{time}.json": body for time, body in reports.items()}
            for key, body in objects.items():
                server.objects[f"/{BUCKET}/{key}"] = StoredObject(body, {})
            system.catalog({"action": "report"})
            page = server.objects[f"/{BUCKET}/encord/{system.project}/reports/report.html"].body
    file = folder / "report.html"
    file.write_bytes(page)
    looking = [str(own_environment("browser")), "tests/support/look_at_page.py", chromium.stdout.strip(), str(file)]
    done = subprocess.run(looking, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Seen(json.loads(done.stdout), file, labels, annotations)


def test_it_loads_without_messages_and_requests(seen: Seen) -> None:
    assert seen.page["messages"] == []
    assert seen.page["requests"] == [seen.file.resolve().as_uri()]


def test_every_chart_has_its_marks(seen: Seen) -> None:
    marks = {name: len(found) for name, found in seen.page["light"]["marks"].items()}
    assert marks.keys() == CHARTS
    days = {(row["stored_at"].date(), row["dataset_title"]) for row in seen.labels}
    assert marks["saved"] == len(days)
    assert (marks["datasets"], marks["stages"], marks["classes"]) == (3, 3, 4)
    # A line for each series and a point for each census.
    assert marks["completeness"] == 2 + 2 * len(censuses())
    assert min(marks["delays"], marks["growth"]) > 30


def test_light_and_dark_mode_have_different_colours(seen: Seen) -> None:
    light, dark = seen.page["light"], seen.page["dark"]
    assert light["paper"] != dark["paper"]
    for name in CHARTS:
        for one, other in zip(light["marks"][name], dark["marks"][name], strict=True):
            colours = [colour for colour in (*one, *other) if colour != "none"]
            assert one != other
            assert "rgb(0, 0, 0)" not in colours


def test_the_numbers_are_those_of_the_index(seen: Seen) -> None:
    saved = {(day, group): int(count) for day, group, count in seen.table("Labels saved by day and data set")}
    assert saved == Counter((f"{row['stored_at']:%Y-%m-%d}", row["dataset_title"]) for row in seen.labels)
    for caption, column in (("Labels by data set", "dataset_title"), ("Labels by workflow stage", "stage")):
        counts = {name: int(count) for name, count, _ in seen.table(caption)}
        assert counts == Counter(row[column] for row in seen.labels)
    classes = {
        name: (int(count.replace(",", "")), int(labels))
        for name, _, count, labels in seen.table("Annotations by class")
    }
    assert classes == {
        name: (count, len({row["label_hash"] for row in seen.annotations if row["name"] == name}))
        for name, count in Counter(row["name"] for row in seen.annotations).items()
    }
    assert seen.table("Size of all labels, day by day")[0][1] == str(len(seen.labels))
    (total, *_) = seen.table("Time from edit to object by day, within which 50, 90 and 99 % came")
    assert total[:2] == ["all", str(len(seen.labels))]


def test_the_censuses_are_in_the_table(seen: Seen) -> None:
    rows = seen.table("Labels missing and stale at the last census of each day")
    assert [[int(value.replace(",", "")) for value in row[1:]] for row in reversed(rows)] == [
        [
            report["encord"]["selected"],
            report["bucket"]["current"],
            *(report[kind]["total"] for kind in ("missing", "stale", "extra", "moved_back")),
        ]
        for report in map(json.loads, censuses().values())
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violations(seen: Seen, scheme: str) -> None:
    assert seen.page[scheme]["violations"] == []


def test_each_chart_is_described_and_its_table_opens_by_keyboard(seen: Seen) -> None:
    assert len(seen.page["images"]) == len(CHARTS)
    assert all(seen.page["images"])
    assert seen.page["details"] == len(CHARTS)
    assert seen.page["opened"] == len(CHARTS)


def test_the_tables_are_printed_and_fit_on_a_narrow_screen(seen: Seen) -> None:
    assert seen.page["closed_tables"] < seen.page["printed_tables"] == len(seen.page["tables"])
    assert seen.page["overflow"] <= 0
