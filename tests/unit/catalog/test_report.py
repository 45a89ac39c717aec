"""The report's numbers, charts and page; test_report_in_browser.py tests the page in a browser."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from catalog_system import BUCKET, CatalogSystem
from handler_servers import StoredObject
from hypothesis import given
from hypothesis import strategies as st
from label_catalog.adapters.report_queries import index_numbers
from label_catalog.adapters.tables_duckdb import open_tables
from label_catalog.core.index_schema import ANNOTATIONS, LABELS
from label_catalog.core.report_numbers import (
    NOT_KNOWN,
    DayCount,
    Delays,
    ExporterLog,
    Failure,
    Group,
    IndexNumbers,
    ReportNumbers,
    census_point,
    failures,
    folded,
    newest_of_each_day,
)
from label_catalog.core.report_page import page, seconds, size
from label_export.core.errors import UnknownEventError
from synthetic_index import Row, censuses, index_objects, snapshot_objects, write_parquets

HOSTILE = '<script>alert("1")</script><b>&amp;\' onload="x'
NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def label(number: int, **values: Any) -> Row:
    return {
        "label_hash": f"{number:08d}-0000-4000-8000-000000000000",
        "dataset_title": "Street",
        "stage": "Complete",
        "size": 1000,
        "stored_at": NOON,
        "edited_at": NOON - timedelta(seconds=number),
        "key": f"k{number}",
        "parsed": True,
        **values,
    }


def annotation(number: int, name: str | None = "Car", **values: Any) -> Row:
    return {
        "label_hash": f"{number:08d}-0000-4000-8000-000000000000",
        "frame": 0,
        "kind": "object",
        "name": name,
        "shape": "bounding_box",
        **values,
    }


def numbers_of(folder: Path, labels: list[Row], annotations: list[Row]) -> IndexNumbers:
    write_parquets(folder, labels, annotations)
    with open_tables(folder=folder) as tables:
        return index_numbers(
            tables, folder / LABELS, folder / ANNOTATIONS, generation="g", written_at="2026-11-26T12:00:00+00:00"
        )


def test_the_numbers_of_an_empty_index(tmp_path: Path) -> None:
    found = numbers_of(tmp_path, [], [])
    assert (found.labels, found.size, found.annotations, found.delays) == (0, 0, 0, None)
    assert (found.saved, found.growth, found.datasets, found.classes, found.delays_by_day) == ((), (), (), (), ())


def test_labels_are_counted_by_day_data_set_and_stage(tmp_path: Path) -> None:
    before = NOON - timedelta(days=1)
    labels = [
        label(1, stored_at=before),
        label(2, dataset_title="Night", stage="Review"),
        # Half an hour before midnight in UTC is the next day in Zurich: days are UTC.
        label(3, stored_at=datetime(2026, 11, 26, 23, 30, tzinfo=UTC), size=500),
        label(4, dataset_title=None, dataset_hash=None, stage=None, parsed=False, gone_at=NOON, gone_reason="deleted"),
        label(5, stored_at=None, edited_at=None),
    ]
    found = numbers_of(tmp_path, labels, [])
    assert (found.labels, found.size, found.not_parsed, found.gone) == (5, 4500, 1, 1)
    assert found.saved == (
        DayCount("2026-11-25", 1, 1000, "Street"),
        DayCount("2026-11-26", 1, 1000, "Night"),
        DayCount("2026-11-26", 1, 500, "Street"),
        DayCount("2026-11-26", 1, 1000, NOT_KNOWN),
    )
    assert found.growth == (DayCount("2026-11-25", 1, 1000), DayCount("2026-11-26", 4, 3500))
    assert found.datasets == (Group("Street", 3, 2500), Group("Night", 1, 1000), Group(NOT_KNOWN, 1, 1000))
    assert found.stages == (Group("Complete", 3, 2500), Group("Review", 1, 1000), Group(NOT_KNOWN, 1, 1000))


def test_only_the_last_ninety_days_have_their_own_counts_and_the_growth_begins_with_what_was_there(
    tmp_path: Path,
) -> None:
    days = [NOON - timedelta(days=ago) for ago in (400, 90, 89, 0)]
    found = numbers_of(tmp_path, [label(number, stored_at=day) for number, day in enumerate(days)], [])
    assert [day.day for day in found.saved] == ["2026-08-29", "2026-11-26"]
    assert [day.labels for day in found.growth] == [3, 4]


def test_a_chart_has_no_more_data_sets_than_colours(tmp_path: Path) -> None:
    found = numbers_of(tmp_path, [label(number, dataset_title=f"Set {number:02d}") for number in range(20)], [])
    assert {day.group: day.labels for day in found.saved} == {f"Set {number:02d}": 1 for number in range(6)} | {
        "others": 14
    }
    assert sum(group.labels for group in found.datasets) == 20
    assert found.datasets[-1] == Group("8 others", 8, 8000)


def test_classes_are_counted_by_name_and_shape(tmp_path: Path) -> None:
    annotations = [
        *(annotation(number) for number in (1, 1, 2)),
        annotation(1, shape="polygon"),
        annotation(1, None, feature_hash="abc"),
        annotation(2, "Weather", kind="classification", shape=None),
    ]
    found = numbers_of(tmp_path, [label(1), label(2)], annotations)
    assert found.annotations == 6
    assert found.classes == (
        Group("Car", 2, annotations=3, detail="bounding_box"),
        Group("Car", 1, annotations=1, detail="polygon"),
        Group("Weather", 1, annotations=1, detail="classification"),
        Group("abc", 1, annotations=1, detail="bounding_box"),
    )


def test_the_time_from_edit_to_object_is_never_negative(tmp_path: Path) -> None:
    labels = [label(number) for number in range(1, 101)]
    labels.append(label(0, edited_at=NOON + timedelta(seconds=5)))  # Encord's clock is fast
    labels.append(label(200, edited_at=None))
    found = numbers_of(tmp_path, labels, [])
    assert found.delays == Delays(101, 50.0, 90.0, 99.0, 100.0)
    assert found.delays_by_day == (Delays(101, 50.0, 90.0, 99.0, 100.0, "2026-11-26"),)


def test_the_rest_is_one_group_unless_it_is_one() -> None:
    groups = [Group(str(number), 10 - number, 1, 1) for number in range(5)]
    assert folded(groups, 4) == tuple(groups)
    assert folded(groups, 3) == (*groups[:3], Group("2 others", 13, 2, 2))


def test_the_last_census_of_each_day_counts() -> None:
    keys = [f"encord/p/reports/{time}.json" for time in ("20261101T000000Z", "20261102T030000Z", "20261102T110000Z")]
    assert newest_of_each_day(keys) == [keys[0], keys[2]]
    assert newest_of_each_day(keys, 1) == [keys[2]]


@pytest.mark.parametrize("document", [{}, {"missing": 3}, {"missing": {"total": "many"}}, {"as_of": None}])
def test_a_report_of_another_form_is_left_out(document: dict[str, Any]) -> None:
    assert census_point(document) is None


def test_failures_are_listed_by_reason() -> None:
    report = {
        "missing": {"total": 5, "labels": [{"label_hash": "a"}, {"label_hash": "b"}]},
        "stale": {"total": 0, "labels": []},
        "extra": {
            "total": 2,
            "labels": [{"label_hash": "c", "reason": "deleted"}, {"key": "k", "reason": "other_key"}],
        },
        "odd": {"total": 1, "labels": [{"data_hash": "d", "problem": "has no data_type"}]},
    }
    works = [{"kind": "backfill", "state": "failed", "detail": "no access"}, {"kind": "census", "state": "completed"}]
    found = failures(report, works, None)
    assert [(failure.what, failure.count, failure.examples) for failure in found] == [
        ("missing", 2, ("a", "b")),
        ("missing", 3, ()),
        ("extra", 1, ("c",)),
        ("extra", 1, ()),
        ("odd", 1, ("d",)),
        ("backfill", 1, ()),
    ]
    assert found[4].why.endswith("has no data_type")
    assert found[5].why == "no access"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (10**15, "1,000.0 TB")],
)
def test_sizes_are_readable(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("span", "text"), [(0.0, "0.0 s"), (119, "119.0 s"), (600, "10.0 min"), (86_400, "24.0 h"), (864_000, "10.0 days")]
)
def test_durations_are_readable(span: float, text: str) -> None:
    assert seconds(span) == text


class Elements(HTMLParser):
    """Every element's name and attributes, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def hostile_numbers(text: str) -> ReportNumbers:
    index = IndexNumbers(
        generation=text,
        written_at=text,
        labels=1,
        size=1,
        not_parsed=0,
        gone=0,
        annotations=1,
        saved=(DayCount("2026-11-26", 1, 1, text),),
        growth=(DayCount("2026-11-26", 1, 1),),
        datasets=(Group(text, 1, 1),),
        stages=(Group(text, 1, 1),),
        classes=(Group(text, 1, 1, 1, text),),
        class_count=1,
        delays=Delays(1, 1, 1, 1, 1),
        delays_by_day=(Delays(1, 1, 1, 1, 1, "2026-11-26"),),
    )
    failed = (Failure(text, 1, text, (text,)),)
    return ReportNumbers(text, text, text, index, failures=failed, exporter=ExporterLog(24, 1, failed))


def safe_elements(text: str) -> list[str]:
    """Return the elements' names; fail if one runs a script or requests something."""
    found = Elements(text).found
    for name, attributes in found:
        assert name not in ("script", "iframe", "object", "embed", "img", "form", "base")
        assert not [key for key in attributes if key.startswith("on")], (name, attributes)
        for key in ("href", "src", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:,")), (name, attributes)
    return [name for name, _ in found]


@given(st.text(max_size=200))
def test_every_text_is_escaped(text: str) -> None:
    assert safe_elements(page(hostile_numbers(text), {})) == safe_elements(page(hostile_numbers("plain"), {}))


def put(system: CatalogSystem, key: str, body: bytes) -> None:
    system.aws.objects[f"/{BUCKET}/{key}"] = StoredObject(body, {})


def stored_page(system: CatalogSystem) -> str:
    return system.aws.objects[f"/{BUCKET}/encord/{system.project}/reports/report.html"].body.decode()


def test_a_project_without_labels_has_a_report_that_says_so(system: CatalogSystem) -> None:
    (about,) = system.catalog({"action": "report"})["reports"]
    assert about["labels"] is None
    text = stored_page(system)
    assert "has no index yet: run playbooks/index.yml" in text
    assert "No census yet" in text
    assert "No snapshot yet" in text


def test_the_report_shows_the_index_and_the_censuses_and_runs_nothing(system: CatalogSystem, tmp_path: Path) -> None:
    labels = [label(number, dataset_title=HOSTILE, stage=HOSTILE) for number in range(3)]
    annotations = [annotation(1, HOSTILE, shape=HOSTILE)]
    for key, body in index_objects(tmp_path, system.project, labels, annotations).items():
        put(system, key, body)
    reports = censuses(3)
    for time, body in reports.items():
        put(system, f"encord/{system.project}/reports/{time}.json", body)
    put(system, f"encord/{system.project}/reports/latest.json", list(reports.values())[-1])
    (about,) = system.catalog({"action": "report", "project_hash": system.project})["reports"]
    assert about["key"] == f"encord/{system.project}/reports/report.html"
    assert about["labels"] == 3
    text = stored_page(system)
    safe_elements(text)
    assert len(text.encode()) == about["bytes"] < 400_000
    for name in ("completeness", "saved", "delays", "datasets", "stages", "classes", "growth"):
        assert re.search(rf'<figure id="chart-{name}"><svg role="img" aria-label="[^"]+"', text), name
    ids = [attributes["id"] for _, attributes in Elements(text).found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    (read,) = system.catalog({"action": "report", "step": "read"})["reports"]
    assert read["html"] == text
    assert read["sha256"] == about["sha256"]


def put_snapshot(system: CatalogSystem, folder: Path, name: str, labels: list[Row]) -> None:
    folder.mkdir()
    write_parquets(folder, labels, [annotation(1)])
    for key, body in snapshot_objects(folder, system.project, name, labels, f"2026-11-{name}T10:00:00+00:00").items():
        put(system, key, body)


def snapshot_rows(text: str) -> list[list[str]]:
    table = text.partition("The last snapshots")[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2])
    return [re.findall(r">([^<]*)</t[hd]>", row) for row in rows]


def test_each_snapshot_is_compared_with_the_one_before(system: CatalogSystem, tmp_path: Path) -> None:
    put_snapshot(system, tmp_path / "one", "20", [label(number, sha256=f"a{number}") for number in (1, 2, 3)])
    put_snapshot(
        system, tmp_path / "two", "21", [label(1, sha256="b1"), *(label(n, sha256=f"a{n}") for n in (2, 4, 5))]
    )
    system.catalog({"action": "report"})
    newest, oldest = snapshot_rows(stored_page(system))
    assert newest[:8] == ["21", "2026-11-21 10:00 UTC", "4", "all labels", "20", "2", "1", "1"]
    assert oldest[:8] == ["20", "2026-11-20 10:00 UTC", "3", "all labels", "", "", "", ""]


def test_a_damaged_snapshot_leaves_the_others(system: CatalogSystem, tmp_path: Path) -> None:
    put_snapshot(system, tmp_path / "one", "20", [label(1, sha256="a1")])
    put_snapshot(system, tmp_path / "two", "21", [label(1, sha256="a1")])
    del system.aws.objects[f"/{BUCKET}/encord/{system.project}/snapshots/20/manifest.parquet"]
    system.catalog({"action": "report"})
    assert [row[:1] + row[4:8] for row in snapshot_rows(stored_page(system))] == [
        ["21", "20", "–", "–", "–"],  # noqa: RUF001  (a dash)
        ["20", "", "", "", ""],
    ]


def test_reading_leaves_out_a_project_without_a_report(system: CatalogSystem) -> None:
    assert system.catalog({"action": "report", "step": "read"}) == {"reports": []}


def test_another_step_is_refused(system: CatalogSystem) -> None:
    with pytest.raises(UnknownEventError, match="not one of write, read"):
        system.catalog({"action": "report", "step": "draw"})


def failed(project: str, what: str, reason: str, labels: int, *examples: str) -> dict[str, Any]:
    return {"project_hash": project, "what": what, "reason": reason, "labels": labels, "examples": list(examples)}


def test_what_the_exporter_did_not_store_is_in_the_report_with_its_reasons(system: CatalogSystem) -> None:
    failures_found = [
        failed(system.project, "dead letter", "no_access", 1207, "label-a", "label-b"),
        failed(system.project, "nothing to export", "row_deleted", 3, "label-c"),
        failed("another-project", "dead letter", "key_refused", 1),
        failed("", "dead letter", "not ours", 1),
    ]
    exporter = {"hours": 168, "dead_letters": 1210, "failures": failures_found}
    system.catalog({"action": "report", "exporter": exporter})
    section = stored_page(system).partition('<section id="failures"')[2].partition("</section>")[0]
    rows = [re.findall(r">([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", section)]
    assert ["dead letter", "1,207", "no_access", "label-a, label-b"] in rows
    assert ["nothing to export", "3", "row_deleted", "label-c"] in rows
    assert ["dead letter", "1", "not ours", ""] in rows
    assert "key_refused" not in section
    assert "holds 1,210 messages" in section
    assert "the last 7.0 days" in section


def test_a_report_that_does_not_know_the_exporters_failures_says_so(system: CatalogSystem) -> None:
    system.catalog({"action": "report"})
    assert "is not known here: playbooks/report.yml" in stored_page(system)
    system.catalog({"action": "report", "exporter": {"hours": 24.0, "dead_letters": 0, "failures": []}})
    assert "names no label that was not stored" in stored_page(system)


@pytest.mark.parametrize("exporter", [[], {"hours": 1}, {"hours": 1, "dead_letters": 0, "failures": [{}]}])
def test_failures_of_another_form_are_refused(system: CatalogSystem, exporter: object) -> None:
    with pytest.raises(UnknownEventError, match="module export_failures_info"):
        system.catalog({"action": "report", "exporter": exporter})


def test_a_damaged_census_is_left_out(system: CatalogSystem) -> None:
    put(system, f"encord/{system.project}/reports/20261101T000000Z.json", b"{")
    put(system, f"encord/{system.project}/reports/20261102T000000Z.json", json.dumps({"missing": 1}).encode())
    system.catalog({"action": "report"})
    assert "No census yet" in stored_page(system)
