"""Object Lock of the label bucket and of what snapshots write, on the local AWS, which enforces it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from encord_harness import make_files
from label_catalog.adapters.aws.snapshots import Lock, SnapshotBucket
from label_catalog.adapters.snapshot_tables import Frozen
from label_export.core.errors import PermanentError
from ministack_process import REGION, MiniStackProcess

ROOT = Path(__file__).resolve().parents[2]
LOCKED, PLAIN = "labels-locked", "labels-plain"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStackProcess]:
    ministack = MiniStackProcess(make_files(tmp_path_factory.mktemp("files")), tmp_path_factory.mktemp("ministack"))
    try:
        yield ministack
    finally:
        ministack.stop()


def module(aws: MiniStackProcess, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module s3_bucket and return its result."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": aws.access_key,
        "AWS_SECRET_ACCESS_KEY": aws.secret_key,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_CA_BUNDLE": aws.certificate,
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.oneline",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = ["ansible", "localhost", "--module-name=label_export.aws.s3_bucket", f"--args={json.dumps(options)}"]
    done = subprocess.run(
        [*command, *(["--check"] if check else [])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "=> {" in done.stdout, done.stdout + done.stderr
    return dict(json.loads("{" + done.stdout.partition("=> {")[2].replace("\\n", " ")))


def frozen(version: str) -> Frozen:
    return Frozen(
        sha256="ab", label_hash="label", key="encord/p/labels/label.json", version_id=version, etag='"e"', size=2
    )


def test_a_locked_snapshot_outlives_a_forced_removal_of_its_bucket(aws: MiniStackProcess, tmp_path: Path) -> None:
    s3 = aws.client("s3")
    wanted = {"name": LOCKED, "object_lock": True}
    assert module(aws, check=True, **wanted)["changed"]
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == []
    assert module(aws, **wanted)["changed"]
    assert not module(aws, **wanted)["changed"]
    found = s3.get_object_lock_configuration(Bucket=LOCKED)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}

    label = s3.put_object(Bucket=LOCKED, Key="encord/p/labels/label.json", Body=b"{}")
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    with ThreadPoolExecutor(1) as threads:
        snapshots = SnapshotBucket(s3, LOCKED, threads)
        (tmp_path / "manifest").write_bytes(b"manifest")
        assert snapshots.put_once(
            "encord/p/snapshots/s/manifest.parquet", tmp_path / "manifest", Lock("GOVERNANCE", until)
        )
        assert snapshots.copy(frozen(label["VersionId"]), "encord/p/objects/ab.json", Lock("GOVERNANCE", until))
        later = Lock("GOVERNANCE", until + timedelta(days=1))
        snapshots.retain("encord/p/objects/ab.json", later)
    kept = {
        key: s3.head_object(Bucket=LOCKED, Key=key).get("ObjectLockRetainUntilDate")
        for key in ("encord/p/snapshots/s/manifest.parquet", "encord/p/objects/ab.json", "encord/p/labels/label.json")
    }
    assert list(kept.values()) == [until, later.until, None], "labels are not locked"

    removed = module(aws, name=LOCKED, state="absent", force=True)
    assert "2 versions of objects in labels-locked were not deleted" in removed["msg"]
    assert "destroy again then" in removed["msg"]
    left = s3.list_object_versions(Bucket=LOCKED)["Versions"]
    assert {version["Key"] for version in left} == {key for key, until in kept.items() if until}
    for version in left:  # as a person with the right to
        place = {"Bucket": LOCKED, "Key": version["Key"], "VersionId": version["VersionId"]}
        s3.delete_object(**place, BypassGovernanceRetention=True)
    assert module(aws, name=LOCKED, state="absent", force=True)["changed"]
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=LOCKED)


def test_a_bucket_that_was_made_without_object_lock_is_refused_until_its_owner_enables_it(
    aws: MiniStackProcess, tmp_path: Path
) -> None:
    s3 = aws.client("s3")
    assert module(aws, name=PLAIN)["changed"]
    for check in (True, False):
        refused = module(aws, check=check, name=PLAIN, object_lock=True)
        assert "The bucket labels-plain was created without Object Lock" in refused["msg"]
        assert refused["refused"] == "no Object Lock"
    (tmp_path / "manifest").write_bytes(b"manifest")
    lock = Lock("COMPLIANCE", datetime.now(UTC) + timedelta(days=1))
    with ThreadPoolExecutor(1) as threads, pytest.raises(PermanentError, match="S3 refuses a lock in the bucket"):
        SnapshotBucket(s3, PLAIN, threads).put_once("manifest", tmp_path / "manifest", lock)
    # What the message says.
    s3.put_object_lock_configuration(Bucket=PLAIN, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    assert not module(aws, name=PLAIN, object_lock=True)["changed"]
