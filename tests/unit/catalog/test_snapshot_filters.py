"""Filters of snapshots: one condition on the index's columns; nothing that reads, writes or requests more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from label_catalog.adapters.snapshot_tables import matched, read_filter
from label_catalog.core.filters import Filter
from label_catalog.core.index_schema import LABEL_COLUMNS
from label_export.core.errors import PermanentError
from synthetic_index import write_table


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of one label."""
    folder = tmp_path_factory.mktemp("index")
    hash_ = "38136ad7-7770-5bcf-a77b-654eb7680bd0"
    row = {
        "label_hash": hash_,
        "data_title": "morning drive.mp4",
        "data_type": "image",
        "dataset_title": "street-scenes dataset",
        "branch_name": "main",
        "stage": "Complete",
        "key": f"encord/p/labels/{hash_}.json",
        "sha256": "0" * 64,
        "size": 2048,
        "stored_at": datetime(2026, 11, 27, tzinfo=UTC),
        "objects": 4,
        "classifications": 1,
    }
    path = folder / "labels.parquet"
    write_table(path, LABEL_COLUMNS, [row], "key")
    return path


REFUSED = [
    "read_text('/etc/passwd') is not null",
    "label_hash in (select label_hash from labels)",
    "exists (select 1 from read_csv('/etc/passwd'))",
    "label_hash in (select content from read_text('/proc/self/environ'))",
    "1 = 1; drop table labels",
    "1 = 1; copy labels to '/tmp/x.csv'",
    "true) or (true",
    "true) union select * from labels where (true",
    "true union all select * from labels",
    "true limit 1",
    "true order by key",
    "true group by all",
    "getenv('AWS_SECRET_ACCESS_KEY') = 'x'",
    "current_setting('temp_directory') = 'x'",
    "nextval('x') = 1",
    "row_number() over () = 1",
    "count(*) > 1",
    "columns(*) is not null",
    "secret = 'x'",
    "other.stage = 'x'",
    "stage",
    "1",
    "'yes'",
    "stage = ?",
    "stage = $name",
    "repeat('x', 1000000000) = 'x'",
    "lpad('x', 1000000000, 'x') = 'x'",
    # Each level makes the text ten times as long: seven take more memory than the function has.
    "length(replace(replace(data_title, 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa')) > 1",
    "1=1) union select * from read_text('/proc/self/environ') --",
    "true) union select content from read_text('/proc/self/environ') --\x00",
    "true\x00) union select content from read_text('/proc/self/environ') --",
    "true; attach '/tmp/x.db' as other",
    "true; install httpfs; load httpfs",
    "true; pragma database_list",
    "true; set enable_external_access = true",
    "stage = (select content from read_text('/proc/self/environ'))",
    "(from read_csv('/proc/self/environ')) is not null",
    "(with stolen as (from read_text('/proc/self/environ')) select true from stolen)",
    "query_table('labels') is not null",
    "pragma_version() is not null",
    "set_config('enable_external_access', 'true', false) is not null",
    "system.main.lower(stage) = 'x'",
    "stage::json is not null",
    "stage::regclass is not null",
    "stage collate nocase = 'x'",
    "[x for x in [1, 2]] is not null",
    "#1 = 'x'",
    "rowid = 1",
    "true /*",
    "true */ or /* true",
    "true $$",
    "query('select 1') = 1",
    "stage = any (select 1)",
    "list_transform([1], lambda x: x) is null",
    "not",
    "where true",
    "stage = 'a' qualify true",
    "stage = 'a' using sample 1",
    "(" * 400 + "true" + ")" * 400 + " and " + "true or " * 200 + "true",
    "x" * 3000,
]


@pytest.mark.parametrize("where", REFUSED)
def test_a_filter_that_is_more_than_a_condition_is_refused(where: str, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        matched(labels, read_filter(where, tmp_path), labels.parent)
    assert caught.value.reason == "snapshot_where"


ACCEPTED = [
    "stage = 'Complete' and dataset_title like 'street%'",
    "stage in ('Complete', 'Review') -- those that are submitted",
    "data_title ilike '%drive%' or objects > 3",
    "stored_at > now() - interval 3650 days and edited_at is null",
    "stored_at between timestamptz '2020-01-01' and timestamptz '2030-01-01'",
    "coalesce(branch_name, 'main') = 'main' and not (data_type = 'audio')",
    "case when data_type = 'image' then objects > 0 else true end",
    "labels.size / 1024 < 100000 and length(label_hash) = 36",
    "starts_with(key, 'encord/') and regexp_matches(label_hash, '^[0-9a-f-]+$')",
    "try_cast(data_title as integer) is null",
]


@pytest.mark.parametrize("where", ACCEPTED)
def test_conditions_on_columns_are_evaluated(where: str, labels: Path) -> None:
    assert matched(labels, read_filter(where, labels.parent), labels.parent).labels == 1


def test_a_filter_that_passes_the_first_check_cannot_read_other_files(labels: Path, tmp_path: Path) -> None:
    """The second barrier, in case DuckDB changes a function that the list of functions accepts by its name."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    outside = f"read_text('{secret}')", f"read_csv('{secret}')", f"'{secret.with_suffix('.parquet')}'"
    for condition in (f"exists (select 1 from {source})" for source in outside):  # noqa: S608 - the attack itself
        with pytest.raises(PermanentError, match="snapshot_where"):
            matched(labels, Filter(condition, frozenset()), labels.parent)
