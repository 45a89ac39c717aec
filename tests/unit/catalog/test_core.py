"""The pure parts: times, windows, selections, tombstones, reports, state."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_catalog.adapters.aws.clients import s3_client
from label_catalog.core.comparison import Verdict, is_current, judge, same_edit_time
from label_catalog.core.model import ListedRow, StoredObject, Window
from label_catalog.core.places import Places, listing_prefix
from label_catalog.core.reports import Found, unhealed
from label_catalog.core.selection import Selection
from label_catalog.core.tombstones import buried, may_delete
from label_catalog.core.windows import SMALLEST, halves
from label_catalog.core.work import Work
from label_catalog.settings import Settings
from label_export.core.errors import SettingsError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
KINDS = {"Annotate": "ANNOTATION", "Review": "REVIEW", "Complete": "DONE"}


def listed(stage: str | None = "Complete", **more: Any) -> ListedRow:
    values = {
        "label_hash": "label", "data_hash": "data", "dataset_hash": None, "data_title": None, "branch_name": None,
        "data_type": "IMAGE", "edited_at": NOW, "stage": stage,
    }  # fmt: skip
    return ListedRow(**{**values, **more})


@pytest.mark.parametrize(
    ("listed_at", "stored_at", "same"),
    [
        ("2025-01-01T10:00:00.123456", "2025-01-01T10:00:00.123456", True),
        ("2025-01-01T10:00:00.123456", "2025-01-01T10:00:00", True),
        ("2025-01-01T10:00:00.123456", "2025-01-01T10:00:00.123", True),
        ("2025-01-01T10:00:00.123456", "2025-01-01T10:00:00.123457", False),
        ("2025-01-01T10:00:00.123456", "2025-01-01T10:00:00.124", False),
        ("2025-01-01T10:00:01.5", "2025-01-01T10:00:00", False),
    ],
)
def test_times_are_compared_at_the_coarser_resolution(listed_at: str, stored_at: str, same: bool) -> None:
    first, second = datetime.fromisoformat(listed_at), datetime.fromisoformat(stored_at)
    assert same_edit_time(first, second) is same
    assert same_edit_time(second, first) is same


def test_an_object_without_an_edit_time_has_every_edit_before_it() -> None:
    assert is_current(NOW, None, NOW + timedelta(minutes=1))
    assert not is_current(NOW, None, NOW - timedelta(minutes=1))
    assert is_current(None, None, NOW)
    assert judge(listed(), None) is Verdict.MISSING
    assert judge(listed(), StoredObject("e", NOW, NOW - timedelta(hours=1))) is Verdict.STALE
    assert judge(listed(), StoredObject("e", NOW, NOW)) is Verdict.CURRENT


@given(
    begin=st.datetimes(datetime(2020, 1, 1), datetime(2026, 1, 1)),
    seconds=st.floats(0, 3e8),
    at=st.floats(0, 1, exclude_min=True, exclude_max=True),
)
def test_two_halves_cover_their_window(begin: datetime, seconds: float, at: float) -> None:
    after = begin.replace(tzinfo=UTC)
    before = after + timedelta(seconds=seconds)
    parts = halves(Window(after, before), earliest=after, latest=before)
    if parts is None:
        assert before - after < SMALLEST
        return
    moment = after + (before - after) * at
    inside = [part for part in parts if (part.after or after) < moment < (part.before or before)]
    assert inside or moment in (after, before)
    assert all((part.before or before) - (part.after or after) < before - after for part in parts)


def test_a_window_is_divided_at_the_median_of_its_rows() -> None:
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    seen = [NOW - timedelta(seconds=number) for number in range(101)]
    parts = halves(Window(), earliest=begin, latest=NOW + timedelta(days=1), seen=seen)
    assert parts is not None
    assert parts[0].before == NOW - timedelta(seconds=49)
    assert parts[1].after == NOW - timedelta(seconds=51)
    at_the_end = halves(Window(), earliest=begin, latest=NOW, seen=[NOW])  # no progress there: the middle of the span
    assert at_the_end is not None
    assert at_the_end[0].before == begin + (NOW - begin) / 2 + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("stages", "events", "wanted"),
    [
        ((), ("task_submitted_event", "task_completed_event"), {"Review", "Complete", None}),
        ((), (), {"Review", "Complete", None}),
        ((), ("task_completed_event",), {"Complete", None}),
        (("Annotate",), ("task_completed_event",), {"Annotate"}),
    ],
)
def test_which_labels_belong_in_the_bucket(
    stages: tuple[str, ...], events: tuple[str, ...], wanted: set[str | None]
) -> None:
    selection = Selection(frozenset(stages), frozenset(events))
    found = {stage for stage in (*KINDS, None) if selection.selects(listed(stage), KINDS)}
    assert found == wanted
    assert not selection.selects(listed("Complete", label_hash=None), KINDS)
    assert not selection.selects(listed("Complete", data_type="DELETED"), KINDS)


def test_a_tombstone_is_confirmed_only_by_a_later_census() -> None:
    def bury(work: str, before: Any = None, reason: Any = "deleted") -> dict[str, Any]:
        return buried(label_hash="l", key="k", reason=reason, version_id="v", work=work, now=work, before=before)

    first = bury("1")
    assert first["confirmed_at"] is None
    assert bury("1", first)["confirmed_at"] is None
    second = bury("2", first)
    assert (second["seen_at"], second["confirmed_at"]) == ("1", "2")
    assert bury("3", second)["confirmed_at"] == "2"
    assert bury("3", second, "moved_back")["confirmed_at"] is None
    assert may_delete(20, 100)
    assert not may_delete(21, 100)
    assert may_delete(100, 1000)


def test_unhealed_counts_by_key_and_counts_labels_of_a_cut_list() -> None:
    missing, stale = Found(), Found()
    for number in range(1500):
        missing.add(key=f"key {number}")
    assert unhealed(None, missing, stale, Found()) == 0
    previous = {"missing": missing.as_dict(), "stale": stale.as_dict()}
    assert unhealed(previous, missing, stale, Found()) == 1500
    assert unhealed(previous, Found(1, [{"key": "key 3"}]), Found(1, [{"key": "other"}]), Found()) == 1
    assert unhealed({"missing": "odd"}, missing, stale, Found()) == 0


def test_a_row_that_stays_odd_is_not_healed() -> None:
    odd = Found()
    odd.add(label_hash="a", data_hash=None)
    odd.add(data_hash="d", title="t")
    previous = {"odd": {"total": 2, "labels": [{"label_hash": "a"}, {"data_hash": "other"}]}}
    assert unhealed(previous, Found(), Found(), odd) == 1


def test_prefixes_and_the_catalogs_own_keys() -> None:
    assert listing_prefix("encord/{project_hash}/labels/{label_hash}.json", "p") == "encord/p/labels/"
    assert listing_prefix("all/{label_hash}", "p") == "all/"
    assert listing_prefix("{data_title}/{label_hash}", "p") == ""
    places = Places("p")
    assert places.is_own(places.known)
    assert places.is_own(places.report("now"))
    assert not places.is_own("encord/p/labels/l.json")


def test_work_of_another_version_is_ignored() -> None:
    work = Work("w", "census", "p", {}, NOW.isoformat(), NOW.isoformat())
    assert Work.from_document(work.as_document()) == work
    assert Work.from_document({**work.as_document(), "version": 2}) is None
    assert Work.from_document({"version": 1}) is None
    assert not work.is_stalled(NOW + timedelta(minutes=19))
    assert work.is_stalled(NOW + timedelta(minutes=21))
    assert work.is_stalled(NOW - timedelta(days=1))  # saved by a clock that was a day fast


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        ("head_object", {"Key": "a"}),
        ("put_object", {"Key": "a"}),
        ("delete_object", {"Key": "a"}),
        ("list_objects_v2", {}),
    ],
)
def test_every_call_to_s3_names_the_account_that_owns_the_bucket(
    operation: str, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 then refuses a bucket of this name that belongs to another account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    url = s3_client("123456789012").generate_presigned_url(operation, {"Bucket": "labels", **names})
    assert parse_qs(urlsplit(url).query)["x-amz-expected-bucket-owner"] == ["123456789012"]
    assert "owner" not in s3_client(None).generate_presigned_url(operation, {"Bucket": "labels", **names})


def test_invalid_settings_are_named_with_their_inventory_variable() -> None:
    right = {
        "LABEL_EXPORT_BUCKET": "labels",
        "LABEL_EXPORT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/labels",
        "LABEL_CATALOG_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/catalog",
        "LABEL_CATALOG_BACKFILL_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/backfill",
        "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:000000000000:secret:key-AbCdEf",
    }
    assert Settings.from_environment(right).overlap == 1800
    wrong = {
        "LABEL_CATALOG_QUEUE_URL": ("", "catalog_queue_name"),
        "LABEL_CATALOG_SAMPLE_PERCENT": ("101", "catalog_function_sample_percent"),
        "LABEL_CATALOG_DELETED_LABELS": ("burn", "catalog_function_deleted_labels"),
        "LABEL_CATALOG_OVERLAP_SECONDS": ("-1", "catalog_function_overlap"),
        "LABEL_EXPORT_KEY_TEMPLATE": ("{nothing}", "export_function_key_template"),
        "LABEL_EXPORT_BUCKET_OWNER": ("me", "label_export_account_id"),
        "LABEL_EXPORT_PROJECTS": ('["a b"]', "export_function_projects"),
        "LABEL_EXPORT_PRIVATE_KEY_SOURCE": ("moon", "encord_secrets_private_key_source"),
    }
    for name, (value, variable) in wrong.items():
        with pytest.raises(SettingsError, match=f"{name} .*{variable}"):
            Settings.from_environment({**right, name: value})
    assert "canary" not in repr(
        Settings.from_environment(
            {**right, "LABEL_EXPORT_PRIVATE_KEY_SOURCE": "environment", "LABEL_EXPORT_PRIVATE_KEY": "canary"}
        )
    )
    assert "LABEL_CATALOG_QUEUE_URL" not in os.environ
