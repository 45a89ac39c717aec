"""A census finds missing, stale, extra, moved-back and odd labels; it names, counts and queues them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from catalog_system import BUCKET, CatalogSystem, differences
from handler_servers import StoredObject
from label_catalog.adapters.encord.source import EncordFeeds
from label_catalog.core.model import ListedRow, OddRow


def metrics(text: str) -> dict[str, float]:
    """Sum the metrics that were written, by name."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        found: dict[str, Any] = json.loads(line)
        for directive in found.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                value = found[metric["Name"]]
                if not isinstance(value, list):
                    sums[metric["Name"]] = sums.get(metric["Name"], 0) + value
    return sums


def labels(report: dict[str, Any], kind: str) -> set[str]:
    return {label["label_hash"] for label in report[kind]["labels"]}


def test_a_census_of_an_empty_bucket_queues_everything(system: CatalogSystem) -> None:
    first = system.census()
    assert not first["complete"]
    assert first["missing"]["total"] == first["encord"]["selected"] > 0
    assert differences(system) == []

    second = system.census()
    assert second["complete"], second
    assert second["bucket"]["current"] == second["encord"]["selected"]
    assert f"Encord {second['encord']['selected']} complete, bucket {second['bucket']['current']}" in second["line"]
    assert system.stand_in.counts()["total"]["writes"] == 0


def test_one_of_each_is_found_named_and_counted(system: CatalogSystem, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in = system.stand_in
    for key in ("audio", "text", "html", "nifti"):
        stand_in.control("POST", "complete-task", {"label_hash": stand_in.row(key)["label_hash"], "deliver": False})
    assert system.census()["missing"]["total"] > 4
    assert system.census()["complete"]
    missing, stale, extra, back, odd = (
        stand_in.row(key)["label_hash"] for key in ("audio", "text", "html", "nifti", "pdf")
    )
    system.aws.objects.pop(system.path(missing))
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    stand_in.control("PATCH", f"label-rows/{stale}", {"edited_at": later})
    stand_in.control("DELETE", f"label-rows/{extra}")
    stand_in.control("POST", "move-task", {"label_hash": back, "stage": "Annotate", "action": "reject"})
    stand_in.control("PATCH", f"label-rows/{odd}", {"listing": {"data_hash": 17, "data_title": "odd one"}})
    capsys.readouterr()

    report = system.census()

    assert {kind: labels(report, kind) for kind in ("missing", "stale", "moved_back", "odd")} == {
        "missing": {missing},
        "stale": {stale},
        "moved_back": {back},
        "odd": {odd},
    }
    assert extra in labels(report, "extra")
    assert report["odd"]["labels"][0]["title"] == "odd one"
    assert not report["complete"]
    seen = metrics(capsys.readouterr().out)
    assert {name: seen[name] for name in ("Missing", "Stale", "MovedBack", "OddRows", "Unhealed")} == {
        "Missing": 1, "Stale": 1, "MovedBack": 1, "OddRows": 1, "Unhealed": 0,
    }  # fmt: skip
    assert differences(system) == []
    tombstone = system.document(f"encord/{system.project}/state/tombstones/{back}.json")
    assert (tombstone["reason"], tombstone["confirmed_at"], tombstone["deleted_at"]) == ("moved_back", None, None)
    assert system.aws.deleted == []


def test_an_object_of_an_odd_row_is_not_extra(system: CatalogSystem) -> None:
    system.census()
    odd = system.stand_in.row("pdf")["label_hash"]
    system.stand_in.control("PATCH", f"label-rows/{odd}", {"listing": {"data_hash": 17}})
    report = system.census()
    assert labels(report, "odd") == {odd}
    assert odd not in labels(report, "extra")


def test_a_label_that_stays_missing_is_unhealed_at_the_second_census(
    system: CatalogSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    for _ in range(2):
        capsys.readouterr()
        system.catalog({"action": "census"})
        system.work_all()
        system.aws.queues["backfill"].clear()  # the exporter never receives them
        seen.append(metrics(capsys.readouterr().out)["Unhealed"])
    assert seen == [0, system.report()["missing"]["total"]]
    assert seen[1] > 0


def test_deleted_labels_keep_their_objects_by_default(system: CatalogSystem) -> None:
    system.census()
    gone = system.stand_in.row("pdf")["label_hash"]
    system.stand_in.control("DELETE", f"label-rows/{gone}")
    for _ in range(3):
        system.census()
    tombstone = system.document(f"encord/{system.project}/state/tombstones/{gone}.json")
    assert tombstone["reason"] == "deleted"
    assert tombstone["confirmed_at"] is not None
    assert system.aws.deleted == []
    assert system.path(gone) in system.aws.objects


def test_with_delete_a_second_census_writes_a_delete_marker(system: CatalogSystem) -> None:
    system.set(LABEL_CATALOG_DELETED_LABELS="delete")
    system.census()
    stand_in = system.stand_in
    gone, back = stand_in.row("pdf")["label_hash"], stand_in.row("video")["label_hash"]
    stand_in.control("DELETE", f"label-rows/{gone}")
    stand_in.control("POST", "move-task", {"label_hash": back, "stage": "Annotate", "action": "reject"})
    system.census()
    assert system.aws.deleted == []
    system.census()
    assert set(system.aws.deleted) == {system.path(gone), system.path(back)}
    system.census()
    assert system.document(f"encord/{system.project}/state/tombstones/{gone}.json")["deleted_at"] is not None

    stand_in.control("POST", "move-task", {"label_hash": back, "stage": "Complete", "action": "approve"})
    system.census()
    assert f"/{BUCKET}/encord/{system.project}/state/tombstones/{back}.json" not in system.aws.objects
    assert differences(system) == []


def test_nothing_is_deleted_if_access_to_labels_seems_lost(system: CatalogSystem) -> None:
    system.set(LABEL_CATALOG_DELETED_LABELS="delete")
    made = system.stand_in.control("POST", "giant-rows", {"frames": 1, "objects": 1, "count": 40, "stage": "Complete"})
    system.census()
    for row in made["rows"][:30]:
        system.stand_in.control("DELETE", f"label-rows/{row['label_hash']}")
    for _ in range(2):
        report = system.census()
    assert report["extra"]["total"] == 30
    assert system.aws.deleted == []


def test_a_listing_that_is_too_large_is_requested_in_windows(system: CatalogSystem) -> None:
    system.set(LABEL_CATALOG_LISTING_BYTES="20000")
    made = system.stand_in.control(
        "POST", "giant-rows", {"frames": 1, "objects": 1, "count": 60, "stage": "Complete", "spread_seconds": 86400}
    )
    report = system.census()
    assert {row["label_hash"] for row in made["rows"]} <= labels(report, "missing")
    assert "answered in 1 listing" not in report["feeds"]["labelrowmetadata"]
    assert differences(system) == []


def test_a_burst_of_edits_takes_few_listings(system: CatalogSystem) -> None:
    made = system.stand_in.control("POST", "synthetic-project", {"rows": 6000})["project_hash"]
    system.set(LABEL_EXPORT_PROJECTS=f'["{made}"]', LABEL_CATALOG_LISTING_BYTES="2800000")
    system.catalog({"action": "census"})
    system.work_all()
    report = system.document(f"encord/{made}/reports/latest.json")
    assert report["missing"]["total"] == 6000
    count = int(report["feeds"]["labelrowmetadata"].split()[2])
    assert 3 <= count <= 9  # halving the project's whole time would take more than twenty


def test_many_rows_with_one_edit_time_are_read_whole(system: CatalogSystem) -> None:
    system.set(LABEL_CATALOG_LISTING_BYTES="20000")
    made = system.stand_in.control(
        "POST", "giant-rows", {"frames": 1, "objects": 1, "count": 60, "stage": "Complete", "spread_seconds": 0}
    )
    system.stand_in.control("POST", "faults", {"path": "*/tasks", "status": 403})
    report = system.census()
    assert report["feeds"]["tasks"] == "unavailable: no_access"
    assert {row["label_hash"] for row in made["rows"]} <= labels(report, "missing")

    # Everything that was listed is there. A row without an edit time would not have been listed: that is no proof.
    report = system.census()
    assert (report["missing"]["total"], report["stale"]["total"]) == (0, 0)
    assert not report["complete"]
    assert "the stages' tasks are unavailable: no_access" in report["doubts"][0]
    assert "not proved (the listing was read in windows" in report["line"]
    system.stand_in.control("DELETE", "faults")
    report = system.census()
    assert (report["complete"], report["doubts"]) == (True, [])


def test_a_task_whose_label_row_is_not_listed_is_odd(system: CatalogSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    system.census()
    hidden = system.stand_in.row("pdf")
    rows = EncordFeeds.rows

    def without(feeds: EncordFeeds, *given: Any, **named: Any) -> Iterator[ListedRow | OddRow]:
        return (row for row in rows(feeds, *given, **named) if row.data_hash != hidden["data_hash"])

    monkeypatch.setattr(EncordFeeds, "rows", without)
    report = system.census()
    assert not report["complete"]
    assert [label["data_hash"] for label in report["odd"]["labels"]] == [hidden["data_hash"]]
    assert system.census()["unhealed"] == 1


def test_an_older_report_never_replaces_a_newer_one(system: CatalogSystem) -> None:
    """The worker was replaced before it wrote its report, and another has written one meanwhile."""
    system.census()
    latest = f"/{BUCKET}/encord/{system.project}/reports/latest.json"
    system.catalog({"action": "census"})
    event = system.take("catalog")
    assert event is not None
    newer = StoredObject(json.dumps({"as_of": "2999-01-01T00:00:00+00:00", "work": "another"}).encode(), {})

    def overtake(path: str) -> None:
        if "/reports/2" in path:  # the report's own object, before reports/latest.json
            system.aws.objects[latest] = newer

    system.aws.after_save = overtake
    system.catalog(event)
    assert system.aws.objects[latest] is newer


def test_a_row_without_an_edit_time_is_found_by_its_task(system: CatalogSystem) -> None:
    system.set(LABEL_CATALOG_LISTING_BYTES="1024")
    hidden = system.stand_in.row("pdf")["label_hash"]
    system.stand_in.control("PATCH", f"label-rows/{hidden}", {"listing": {"last_edited_at": None}})
    system.stand_in.control("POST", "settings", {"page_size": 2})
    assert hidden in labels(system.census(), "missing")
    assert differences(system) == []


def test_only_completed_labels_are_selected_if_the_settings_say_so(system: CatalogSystem) -> None:
    system.set(LABEL_EXPORT_EVENT_TYPES='["task_completed_event"]')
    report = system.census()
    assert report["selection"] == "final stages"
    assert differences(system, ("Complete",)) == []
    video = system.stand_in.row("video")
    assert video["workflow_stage"] == "Review"
    assert system.path(video["label_hash"]) not in system.aws.objects

    system.set(LABEL_EXPORT_WORKFLOW_STAGES='["Review"]')
    system.census()
    assert system.path(video["label_hash"]) in system.aws.objects


def test_keys_with_a_title_follow_a_rename(system: CatalogSystem) -> None:
    system.set(LABEL_EXPORT_KEY_TEMPLATE="titles/{project_hash}/{data_title}/{label_hash}.json")
    system.census()
    row = system.stand_in.row("image")
    system.stand_in.control("PATCH", f"label-rows/{row['label_hash']}", {"data_title": "renamed.jpg"})
    report = system.census()
    assert labels(report, "missing") == {row["label_hash"]}
    assert [label["reason"] for label in report["extra"]["labels"]] == ["other_key"]
    assert any("renamed.jpg" in path for path in system.aws.objects)
    assert system.census()["complete"]


def test_a_deep_sample_and_a_deep_backfill_find_what_times_do_not_show(system: CatalogSystem) -> None:
    system.census()
    video = system.stand_in.row("video")
    system.stand_in.control("POST", "save-labels", {"label_hash": video["label_hash"]})
    assert system.census()["complete"]
    assert differences(system) == ["video is stale"]

    system.set(LABEL_CATALOG_SAMPLE_PERCENT="100")
    system.catalog({"action": "sample"})
    system.work_all()
    system.export_all()
    assert differences(system) == []

    system.stand_in.control("POST", "save-labels", {"label_hash": video["label_hash"]})
    system.catalog({"action": "backfill", "step": "start", "project_hash": "all", "deep": True})
    system.work_all()
    system.export_all()
    assert differences(system) == []


def test_a_sample_is_a_sample(system: CatalogSystem) -> None:
    system.stand_in.control("POST", "giant-rows", {"frames": 1, "objects": 1, "count": 200, "stage": "Complete"})
    system.census()
    system.set(LABEL_CATALOG_SAMPLE_PERCENT="10")
    system.catalog({"action": "sample"})
    system.work_all()
    assert 5 <= len(system.aws.waiting("backfill")) <= 50
