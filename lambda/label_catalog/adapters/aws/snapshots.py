"""Snapshots in the bucket: files that are written once, and copies of labels that all snapshots share."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from label_export.core.errors import PermanentError, RetryableError

from label_catalog.adapters.aws.failures import code_of, translated
from label_catalog.adapters.snapshot_tables import Frozen
from label_catalog.core.formats import LockMode

_ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchVersion"}
_PIECE = 1 << 20
_TRIES = 4
_TRANSFER = TransferConfig(multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=2)
_HEX = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Lock:
    """How long S3 protects a snapshot's objects from deletion. `until` is None without a lock."""

    mode: LockMode = "none"
    until: datetime | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the additional parameters of a write."""
        if self.until is None:
            return {}
        return {"ObjectLockMode": self.mode, "ObjectLockRetainUntilDate": self.until}


class SnapshotBucket:
    """All methods raise RetryableError or PermanentError."""

    def __init__(self, s3: Any, bucket: str, threads: ThreadPoolExecutor) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._threads = threads

    def put_once(self, key: str, path: Path, lock: Lock) -> bool:
        """Write a file to a new object. Return False if the object exists."""
        digest = _checked(path)
        for _ in range(_TRIES):
            with path.open("rb") as body:
                written = self._put_new(key, lock, Body=body, **digest)
            if written is not None:
                return written
        raise _under_way(key)

    def put_json_once(self, key: str, document: Mapping[str, Any], lock: Lock) -> bool:
        """Write a document to a new object. Return False if the object exists."""
        body = json.dumps(document, indent=1, ensure_ascii=False).encode()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        about = {"ContentType": "application/json", "ChecksumSHA256": digest}
        for _ in range(_TRIES):
            written = self._put_new(key, lock, Body=body, **about)
            if written is not None:
                return written
        raise _under_way(key)

    def _put_new(self, key: str, lock: Lock, **named: Any) -> bool | None:
        """Write a new object. Return False if it exists, None if another write is in progress: nothing was written."""
        with translated("s3"):
            try:
                self._s3.put_object(Bucket=self._bucket, Key=key, IfNoneMatch="*", **named, **lock.parameters)
            except ClientError as error:
                status, code = code_of(error)
                if status == HTTPStatus.PRECONDITION_FAILED:
                    return False
                if status == HTTPStatus.CONFLICT:
                    return None
                if code == "InvalidRequest" and lock.until is not None:
                    raise _not_lockable(self._bucket, lock) from None
                raise
        return True

    def exists(self, key: str) -> bool:
        """Return whether there is an object."""
        with translated("s3"):
            try:
                self._s3.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[0] == HTTPStatus.NOT_FOUND:
                    return False
                raise
        return True

    def upload_text(self, key: str, texts: Iterable[str], content_type: str) -> None:
        """Write texts in their order while they arrive, without a file, and with only one part in memory."""
        with translated("s3"):
            self._s3.upload_fileobj(
                _Texts(texts), self._bucket, key, ExtraArgs={"ContentType": content_type}, Config=_TRANSFER
            )

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly below a prefix."""
        with translated("s3"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                for found in page.get("CommonPrefixes", []):
                    yield found["Prefix"].removeprefix(prefix).rstrip("/")

    def digests(self, prefix: str, after: str) -> Iterator[str]:
        """Yield the digests of all shared copies after a digest, listed in parallel by their first character."""
        firsts = [first for first in _HEX if first >= after[:1]]
        for found in self._threads.map(lambda first: list(self._listed(prefix, first, after)), firsts):
            yield from found

    def _listed(self, prefix: str, first: str, after: str) -> Iterator[str]:
        begin = {"StartAfter": f"{prefix}{after}.json"} if after and after[0] == first else {}
        with translated("s3"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{prefix}{first}", **begin
            )
            for page in pages:
                for found in page.get("Contents", []):
                    yield found["Key"].removeprefix(prefix).removesuffix(".json")

    def copy(self, source: Frozen, key: str, lock: Lock) -> bool:
        """Copy a version of a label on the server unless the copy exists; return whether it was made.

        The condition is S3's own (`If-None-Match` of CopyObject), so only one of two copies is made. If a label was
        replaced since it was indexed, its version still exists; without versions its ETag must be the indexed one.
        """
        versioned = source.version_id not in (None, "", "null")
        origin = {"Bucket": self._bucket, "Key": source.key}
        condition = {} if versioned else {"CopySourceIfMatch": source.etag}
        for _ in range(_TRIES):
            with translated("s3"):
                try:
                    self._s3.copy_object(
                        Bucket=self._bucket,
                        Key=key,
                        CopySource={**origin, "VersionId": source.version_id} if versioned else origin,
                        IfNoneMatch="*",
                        TaggingDirective="REPLACE",  # with no tags: the copy does not inherit the label's
                        **condition,
                        **lock.parameters,
                    )
                except ClientError as error:
                    status, code = code_of(error)
                    if status == HTTPStatus.CONFLICT:  # two copies at the same moment
                        continue
                    if status == HTTPStatus.PRECONDITION_FAILED and self.exists(key):
                        return False
                    if code in _ABSENT or status == HTTPStatus.PRECONDITION_FAILED:
                        raise _gone(source) from None
                    raise
            return True
        raise RetryableError("s3_unavailable", "another copy of the same label is being made")

    def retain(self, key: str, lock: Lock) -> None:
        """Lock an existing copy for as long as this snapshot needs it."""
        if lock.until is None:
            return
        retention = {"Mode": lock.mode, "RetainUntilDate": lock.until}
        with translated("s3"):
            try:
                self._s3.put_object_retention(Bucket=self._bucket, Key=key, Retention=retention)
            except ClientError as error:
                # A lock in COMPLIANCE mode can only be extended: a refusal means that it is already longer.
                if code_of(error)[0] != HTTPStatus.FORBIDDEN or not self._kept(key, lock):
                    raise

    def _kept(self, key: str, lock: Lock) -> bool:
        found = self._s3.head_object(Bucket=self._bucket, Key=key).get("ObjectLockRetainUntilDate")
        return found is not None and lock.until is not None and found >= lock.until

    def digest(self, key: str) -> str | None:
        """Return the SHA-256 of the bytes that Encord served, computed from an object; None if there is none.

        A compressed object is decompressed, since its name is the digest of its content. For bytes that cannot be
        decompressed the digest is empty.
        """
        with translated("s3"):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[1] in _ABSENT:
                    return None
                raise
            body: Any = found["Body"]
            if found.get("ContentEncoding") == "gzip":
                body = gzip.GzipFile(fileobj=body)
            digest = hashlib.sha256()
            try:
                while piece := body.read(_PIECE):
                    digest.update(piece)
            except (gzip.BadGzipFile, EOFError, zlib.error):
                return ""
        return digest.hexdigest()

    def expiring_rules(self, prefixes: Iterable[str]) -> list[str]:
        """Return the IDs of the bucket's lifecycle rules that delete or archive current objects below the prefixes."""
        asked = list(prefixes)
        with translated("s3"):
            try:
                rules = self._s3.get_bucket_lifecycle_configuration(Bucket=self._bucket).get("Rules", [])
            except ClientError as error:
                if code_of(error)[1] == "NoSuchLifecycleConfiguration":
                    return []
                raise
        return [str(rule.get("ID", "")) for rule in rules if _ends(rule) and _touches(rule, asked)]


def _ends(rule: Mapping[str, Any]) -> bool:
    """Return whether a rule deletes current objects, or moves them to a class that must be restored before a read."""
    expires = {name for name in rule.get("Expiration") or {} if name in ("Days", "Date")}
    archives = {move.get("StorageClass") for move in rule.get("Transitions") or ()} & {"GLACIER", "DEEP_ARCHIVE"}
    return rule.get("Status") == "Enabled" and bool(expires or archives)


def _touches(rule: Mapping[str, Any], prefixes: Iterable[str]) -> bool:
    """Return whether a rule applies to objects below a prefix. A rule with a tag does not: copies have no tags."""
    chosen = rule.get("Filter") or {}
    every = chosen.get("And") or chosen
    if "Tag" in every or every.get("Tags"):
        return False
    own = str(every.get("Prefix", rule.get("Prefix") or "") or "")
    return any(prefix.startswith(own) or own.startswith(prefix) for prefix in prefixes)


def _under_way(key: str) -> RetryableError:
    return RetryableError("s3_unavailable", f"another write to {key} is in progress")


def _gone(source: Frozen) -> PermanentError:
    return PermanentError(
        "snapshot_version_gone",
        f"label {source.label_hash} no longer has the version that the index names (its key is {source.key}): wait"
        " until the index has caught up, and create the snapshot under another name",
    )


def _not_lockable(bucket: str, lock: Lock) -> PermanentError:
    return PermanentError(
        "snapshot_lock",
        f"S3 refuses a lock in the bucket {bucket}, and catalog_function_snapshot_lock_mode is {lock.mode}: deploy with"
        " label_bucket_object_lock (see its role's README), or set the mode to none",
    )


def _checked(path: Path) -> dict[str, str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return {"ChecksumSHA256": base64.b64encode(digest.digest()).decode()}


class _Texts(io.RawIOBase):
    """Texts as a file that can be read once."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = iter(texts)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next((text.encode() for text in self._texts if text), b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
