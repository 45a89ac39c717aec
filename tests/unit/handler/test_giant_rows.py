"""Rows larger than the memory limit are stored in a file, and uploaded in parts that become visible together."""

from __future__ import annotations

import gc
import gzip
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from handler_deployment import Deployment
from handler_servers import Answer, Fault
from label_export.adapters.aws import s3
from label_export.adapters.encord.spool import Spool
from label_export.core.errors import PermanentError, RetryableError

MEBIBYTE = 1 << 20


@pytest.fixture
def giant(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> str:
    """A row of 3 MiB with a limit of 1 MiB; parts of 1 MiB."""
    deployment.set(LABEL_EXPORT_MEMORY_LIMIT_BYTES=str(MEBIBYTE), LABEL_EXPORT_SPOOL_LIMIT_BYTES=str(4 * MEBIBYTE))
    monkeypatch.setattr(s3, "SINGLE_LIMIT", MEBIBYTE)
    monkeypatch.setattr(s3, "PART_BYTES", MEBIBYTE)
    return deployment.row(data_units={"text": "0123456789abcdef" * (3 * MEBIBYTE // 16)})


def test_a_giant_row_is_whole_and_has_its_metadata(deployment: Deployment, giant: str) -> None:
    assert deployment.export(giant) == []
    stored = deployment.stored(giant)
    assert stored is not None
    assert stored.body == deployment.served(giant)
    assert stored.headers["x-amz-meta-sha256"] == hashlib.sha256(stored.body).hexdigest()
    assert stored.headers["content-type"] == "application/json"
    assert deployment.aws.count("UploadPart") == 4
    assert deployment.aws.uploads == {}
    assert deployment.export(giant) == []
    assert len(deployment.aws.history) == 1


def test_a_giant_row_appears_only_if_whole_and_not_older(deployment: Deployment, giant: str) -> None:
    deployment.export(giant)
    deployment.row(data_units={"text": "x" * (3 * MEBIBYTE)}, last_edited_at="2025-02-01 00:00:00")
    before = deployment.stored(giant)
    deployment.export(giant)
    completes = [call for call in deployment.aws.calls if call.operation == "CompleteMultipartUpload"]
    assert [call.headers.get("if-none-match") for call in completes] == ["*", None]
    assert [call.headers.get("if-match") for call in completes] == [None, before.etag]  # type: ignore[union-attr]
    assert int(completes[0].headers["x-amz-mp-object-size"]) == len(before.body)  # type: ignore[union-attr]
    assert all(call.body.count(b"<ChecksumSHA256>") == 4 for call in completes)
    begun = [call for call in deployment.aws.calls if call.operation == "CreateMultipartUpload"]
    assert all(call.headers["x-amz-checksum-algorithm"] == "SHA256" for call in begun)
    newer = deployment.stored(giant)
    deployment.row(data_units={"text": "y" * (3 * MEBIBYTE)}, last_edited_at="2025-01-15 00:00:00")
    assert deployment.export(giant) == [giant]
    assert deployment.stored(giant) is newer
    assert deployment.aws.count("CreateMultipartUpload") == 2, "an older row is not even begun"


def test_a_part_that_s3_lost_makes_no_object(deployment: Deployment, giant: str) -> None:
    def lose() -> None:
        (upload,) = deployment.aws.uploads.values()
        upload["parts"][2] = b"short"

    deployment.aws.fail("CompleteMultipartUpload", Fault(when=lose))
    assert deployment.export(giant) == [giant]
    assert deployment.aws.objects == {}
    assert deployment.aws.uploads == {}


def test_a_giant_row_that_is_not_json_to_most_parsers_is_stored_as_served(deployment: Deployment, giant: str) -> None:
    """It takes most of the spool, which has no room for a copy."""
    assert isinstance(deployment.encord.rows[giant], dict)
    served = json.dumps(deployment.encord.rows[giant] | {"half": "\ud800"}).encode()
    deployment.encord.rows[giant] = served.replace(
        b'"branch_name"', b'"n":NaN,"price":1.50,"n":-Infinity,"branch_name"'
    )
    assert deployment.export(giant) == []
    assert deployment.stored(giant).body == deployment.served(giant)  # type: ignore[union-attr]


def test_a_giant_row_is_compressed_part_by_part(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the whole spool, which has no room for the compressed data."""
    monkeypatch.setattr(s3, "GZIP_PART_BYTES", MEBIBYTE // 2)
    noise = os.urandom(2 * MEBIBYTE).hex()
    label = deployment.row(data_units={"text": noise})
    deployment.set(
        LABEL_EXPORT_COMPRESSION="gzip",
        LABEL_EXPORT_MEMORY_LIMIT_BYTES=str(MEBIBYTE),
        LABEL_EXPORT_SPOOL_LIMIT_BYTES=str(len(deployment.served(label)) + 100),
    )
    assert deployment.export(label) == []
    stored = deployment.stored(label)
    assert stored is not None
    assert gzip.decompress(stored.body) == deployment.served(label)
    assert stored.headers["content-encoding"] == "gzip"
    parts = [len(call.body) for call in deployment.aws.calls if call.operation == "UploadPart"]
    assert len(parts) > 2
    assert all(size >= MEBIBYTE // 2 for size in parts[:-1]), "S3 refuses smaller parts, but for the last"
    deployment.row(data_units={"text": noise[::-1]}, last_edited_at="2025-02-01 00:00:00")
    assert deployment.export(label) == []
    assert gzip.decompress(deployment.stored(label).body) == deployment.served(label)  # type: ignore[union-attr]


def test_a_lost_race_leaves_no_upload_behind(deployment: Deployment, giant: str) -> None:
    newer = f"/labels-bucket/encord/{'x'}"

    def overtaken() -> None:
        path = next(call.path for call in deployment.aws.calls if call.operation == "CreateMultipartUpload")
        assert newer not in path
        deployment.aws._store(path, b"{}", {"x-amz-meta-last-edited-at": "2030-01-01 00:00:00"})

    deployment.aws.fail("CompleteMultipartUpload", Fault(when=overtaken))
    assert deployment.export(giant) == [giant], "what Encord serves is older now, which a later receive has to confirm"
    assert deployment.stored(giant).body == b"{}"  # type: ignore[union-attr]
    assert deployment.aws.uploads == {}


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("fault", [Fault(Answer(503)), Fault(cut="before"), Fault(cut="after")])
def test_faults_on_the_way_of_parts(deployment: Deployment, giant: str, operation: str, fault: Fault) -> None:
    deployment.aws.fail(operation, fault)
    assert deployment.export(giant) == []
    assert deployment.stored(giant).body == deployment.served(giant)  # type: ignore[union-attr]
    assert len(deployment.aws.history) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html><body>OK</body></html>",
        b"<CompleteMultipartUploadResult/>",
        b"<?xml version='1.0'?>\n<Error><Code>InternalError</Code></Error>",
        b"<?xml version='1.0'?>\n" + b" " * 5000 + b"<Error><Code>InternalError</Code></Error>",
        b"<?xml version='1.0'?><CompleteMultipartUploadResult><Bucket>labels",
    ],
)
def test_an_upload_succeeds_only_if_s3_confirms_the_object(
    deployment: Deployment, giant: str, output: Any, answer: bytes
) -> None:
    deployment.aws.fail("CompleteMultipartUpload", *[Fault(Answer(200, answer))] * 4)
    assert deployment.export(giant) == [giant]
    assert (deployment.stored(giant), output().metric("Exported")) == (None, None)
    deployment.aws.fail("CompleteMultipartUpload", Fault(Answer(200, answer)))
    assert deployment.export(giant) == []
    assert deployment.stored(giant).body == deployment.served(giant)  # type: ignore[union-attr]


def test_an_upload_that_fails_is_aborted(deployment: Deployment, giant: str, output: Any) -> None:
    deployment.aws.fail("UploadPart", Fault(), Fault(Answer(403, b"<Error><Code>AccessDenied</Code></Error>")))
    assert deployment.export(giant) == [giant]
    assert deployment.stored(giant) is None
    assert deployment.aws.uploads == {}
    deployment.aws.fail("UploadPart", Fault(Answer(403)))
    deployment.aws.fail("AbortMultipartUpload", Fault(Answer(403)))
    output()
    assert deployment.export(giant) == [giant]
    assert output().metric("AbortFailed") == 1, "left to the bucket's lifecycle rule"


def test_an_upload_without_an_id(deployment: Deployment, giant: str) -> None:
    deployment.aws.fail("CreateMultipartUpload", *[Fault(Answer(200, b"<x/>"))] * 4)
    assert deployment.export(giant) == [giant]


def test_a_row_beyond_the_limits_is_a_named_failure_and_never_truncated(
    deployment: Deployment, giant: str, output: Any
) -> None:
    deployment.set(LABEL_EXPORT_SPOOL_LIMIT_BYTES=str(2 * MEBIBYTE))
    assert deployment.export(giant) == [giant]
    assert output().metric("Failed", "row_too_large") == 1
    assert deployment.encord.count("labelrow") == 1
    assert deployment.aws.objects == {}


def test_a_truncated_giant_is_never_stored(deployment: Deployment, giant: str) -> None:
    deployment.encord.fail("labelrow", *[Fault(cut="middle")] * 4)
    assert deployment.export(giant) == [giant]
    assert deployment.aws.objects == {}


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage collector: cycles are not freed."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_failed_read_does_not_keep_the_row_in_memory(deployment: Deployment, giant: str, output: Any) -> None:
    deployment.aws.fail("HeadObject", Fault(Answer(403)))
    assert deployment.export(giant) == [giant]
    assert output().metric("Failed", "s3_access_denied") == 1
    assert deployment.export(giant) == [], "the space is free again: there is not enough for two"


@pytest.mark.usefixtures("uncollected")
def test_an_undecided_row_needs_no_room_for_two(deployment: Deployment, giant: str) -> None:
    assert deployment.export(giant) == []
    deployment.row(data_units={"text": "x" * (3 * MEBIBYTE)})
    assert deployment.export(giant) == []
    assert deployment.stored(giant).body == deployment.served(giant)  # type: ignore[union-attr]
    assert deployment.encord.count("labelrow") == 3, "of the same second: fetched again before it was written"


class Collecting(int):
    """A limit that runs the garbage collector at every second comparison: the one inside the spool's lock."""

    comparisons = 0

    def __lt__(self, other: int) -> bool:
        self.comparisons += 1
        if self.comparisons % 2 == 0:
            gc.collect()
        return super().__lt__(other)


@pytest.mark.usefixtures("uncollected")
def test_the_garbage_collector_can_release_space_while_space_is_reserved() -> None:
    spool = Spool(memory_limit=1, spool_limit=Collecting(100))
    ended = threading.Event()

    def take() -> None:
        for _ in range(3):
            kept: list[Any] = [spool.collect(iter([b"x" * 40]))]
            kept.append(kept)  # a cycle: only the garbage collector frees it
            del kept
        ended.set()

    threading.Thread(target=take, daemon=True).start()
    assert ended.wait(60), "it waits for itself"


def test_the_spool_counts_what_is_in_use() -> None:
    spool = Spool(memory_limit=4, spool_limit=20)
    assert bytes(spool.collect(iter([b"ab", b"cd"]))) == b"abcd"
    first = spool.collect(iter([b"ab", b"cdefghij", b"kl"]))
    assert bytes(first) == b"abcdefghijkl"
    with pytest.raises(RetryableError) as busy:
        spool.collect(iter([b"x" * 12]))
    assert busy.value.reason == "spool_busy"
    with pytest.raises(PermanentError) as large:
        spool.collect(iter([b"x" * 21]))
    assert large.value.reason == "row_too_large"
    del first, busy, large
    gc.collect()
    assert len(spool.collect(iter([b"x" * 20]))) == 20


def test_a_full_disk_is_a_named_failure(tmp_path: Any) -> None:
    spool = Spool(memory_limit=1, spool_limit=100, directory=str(tmp_path / "missing"))
    with pytest.raises(PermanentError) as caught:
        spool.collect(iter([b"xx"]))
    assert caught.value.reason == "spool_failed"
    assert "No such file or directory; if it is full, raise export_function_ephemeral_storage" in str(caught.value)

    def broken() -> Any:
        yield b"xx"
        raise RetryableError("timeout", "too slow")

    with pytest.raises(RetryableError):
        Spool(memory_limit=1, spool_limit=100).collect(broken())
