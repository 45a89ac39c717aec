"""The label bucket: labels are listed and read, never written; everything else in it belongs to the catalog."""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import RetryableError

from label_catalog.adapters.aws.failures import code_of, translated
from label_catalog.core.model import ListedObject, StoredLabel, StoredObject, SupersededError

_LOST = {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_PIECE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS  # zlib's number for gzip's format
_READS = 3
_WRITES = 4


class LabelBucket:
    """The labels' objects. All methods raise RetryableError or PermanentError."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def head(self, key: str) -> StoredObject | None:
        """Return an object's metadata, None if there is no object."""
        with translated("s3"):
            try:
                found = self._s3.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[0] == HTTPStatus.NOT_FOUND:
                    return None
                raise
        noted = found.get("Metadata", {})
        return StoredObject(
            etag=found["ETag"],
            modified_at=found["LastModified"],
            edited_at=parse_edit_time(noted.get("last-edited-at")),
            sha256=noted.get("sha256"),
            project_hash=noted.get("project-hash"),
            label_hash=noted.get("label-hash"),
            version_id=found.get("VersionId"),
        )

    def read(self, key: str, most: int, *, measure: bool = True) -> StoredLabel | None:
        """Return an object with its content; None if there is no object.

        Args:
            key: the object's key.
            most: larger content is not kept in memory.
            measure: read larger content to its end anyway, for its size and digest.
        """
        for attempt in range(1, _READS + 1):
            try:
                return self._read(key, most, measure)
            except RetryableError:
                if attempt == _READS:
                    raise
        raise AssertionError("unreachable")

    def _read(self, key: str, most: int, measure: bool) -> StoredLabel | None:
        with translated("s3"):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[1] in _ABSENT:
                    return None
                raise
            noted = found.get("Metadata", {})
            body, sha256, size = _content(found, most, measure)
        return StoredLabel(
            key=key,
            etag=found["ETag"],
            modified_at=found["LastModified"],
            version_id=found.get("VersionId"),
            project_hash=noted.get("project-hash"),
            label_hash=noted.get("label-hash"),
            sha256=sha256,
            size=size,
            body=body,
        )

    def list(self, prefix: str, after: str = "") -> Iterator[ListedObject]:
        """Yield all objects below a prefix with keys after `after`, in the order of their keys."""
        with translated("s3"):
            begin = {"StartAfter": after} if after else {}
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **begin)
            for page in pages:
                for found in page.get("Contents", []):
                    yield ListedObject(found["Key"], found["ETag"], found["LastModified"], int(found.get("Size", 0)))

    def delete(self, key: str) -> None:
        """Put a delete marker on an object; its versions stay."""
        with translated("s3"):
            self._s3.delete_object(Bucket=self._bucket, Key=key)

    def download(self, key: str, path: Path) -> bool:
        """Copy an object into a file; False if there is none."""
        with translated("s3"):
            try:
                self._s3.download_file(self._bucket, key, str(path))
            except ClientError as error:
                if code_of(error)[1] in _ABSENT:
                    return False
                raise
        return True

    def upload(self, key: str, path: Path) -> None:
        """Copy a file into an object, replacing an existing one."""
        with translated("s3"):
            self._s3.upload_file(str(path), self._bucket, key)

    def upload_new(self, key: str, path: Path) -> bool:
        """Copy a file into a new object. Return False if the object exists."""
        for _ in range(_WRITES):
            with translated("s3"), path.open("rb") as body:
                try:
                    self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*")
                except ClientError as error:
                    status = code_of(error)[0]
                    if status == HTTPStatus.PRECONDITION_FAILED:
                        return False
                    if status == HTTPStatus.CONFLICT:  # another write is in progress, and can still fail
                        continue
                    raise
            return True
        raise RetryableError("s3_unavailable", f"another write to {key} is in progress")

    def erase(self, key: str) -> None:
        """Remove an object permanently: the current version, without a delete marker."""
        with translated("s3"):
            try:
                found = self._s3.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[0] == HTTPStatus.NOT_FOUND:
                    return
                raise
            version = found.get("VersionId")
            named = {"VersionId": version} if version not in (None, "null") else {}
            self._s3.delete_object(Bucket=self._bucket, Key=key, **named)


def read_object(s3: Any, bucket: str, key: str) -> bytes:
    """Return a small object's content; raises RetryableError or PermanentError."""
    with translated("s3"):
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


class StateDocuments:
    """Small JSON documents, written conditionally. All methods raise RetryableError or PermanentError."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def load(self, key: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return a document and its ETag, or None for both if there is none.

        For an object that is not a JSON document only the ETag is returned, so that it can be replaced.
        """
        content, etag = self._current(key)
        if content is None:
            return None, None
        try:
            document = json.loads(content)
        except ValueError:  # a state object that cannot be read is replaced, which needs only its ETag
            document = None
        return (document if isinstance(document, dict) else None), etag

    def save(self, key: str, document: Mapping[str, Any], etag: str | None, *, write: str = "") -> str:
        """Write a document only over the version with this ETag (None: no object); raises SupersededError.

        Each write has a name, `write` in the document: no two writes have the same bytes, so a write whose response was
        lost is recognised when S3 refuses its repetition. By default a new name is generated.
        """
        named = {**document, "write": write or uuid.uuid4().hex}
        return self._save(key, _json(named), "application/json", etag)

    def _save(self, key: str, body: bytes, content_type: str, etag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        for _ in range(_WRITES):
            with translated("s3"):
                try:
                    return str(self._put(key, body, content_type, condition)["ETag"])
                except ClientError as error:
                    status, code = code_of(error)
                    if status not in _LOST and not (etag is not None and code in _ABSENT):
                        raise
            found, current = self._current(key)
            if current is not None and found == body:
                return current
            if status != HTTPStatus.CONFLICT or current != etag:
                raise SupersededError(key)
            # Another write was in progress, and did not take effect.
        raise RetryableError("s3_unavailable", f"another write to {key} is in progress")

    def _current(self, key: str) -> tuple[bytes | None, str | None]:
        with translated("s3"):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[1] in _ABSENT:
                    return None, None
                raise
            return found["Body"].read(), found["ETag"]

    def load_text(self, key: str) -> tuple[str | None, str | None]:
        """Return a text and its ETag, both None where there is none."""
        content, etag = self._current(key)
        return (None if content is None else content.decode("utf-8", "replace")), etag

    def save_text(self, key: str, text: str, etag: str | None) -> None:
        """Write a text only over the version with this ETag (None: nothing); raises SupersededError."""
        self._save(key, text.encode(), "text/plain", etag)

    def put(self, key: str, document: Mapping[str, Any]) -> None:
        """Write a document, replacing an existing one."""
        with translated("s3"):
            self._put(key, _json(document), "application/json", {})

    def put_page(self, key: str, page: bytes) -> None:
        """Write an HTML page, replacing an existing one."""
        with translated("s3"):
            self._put(key, page, "text/html; charset=utf-8", {})

    def load_page(self, key: str) -> bytes | None:
        """Return a page's bytes, or None if there is none."""
        return self._current(key)[0]

    def remove(self, key: str) -> None:
        """Remove a document."""
        with translated("s3"):
            self._s3.delete_object(Bucket=self._bucket, Key=key)

    def _put(self, key: str, body: bytes, content_type: str, condition: Mapping[str, str]) -> Any:
        return self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, **condition)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def _content(found: Mapping[str, Any], most: int, measure: bool) -> tuple[bytes | None, str | None, int | None]:
    """Return the body (None: larger than `most`), its digest and its size (None: not read to its end)."""
    stream = found["Body"]
    unpack = zlib.decompressobj(_GZIP) if found.get("ContentEncoding") == "gzip" else None
    if unpack is None and not measure and int(found.get("ContentLength", 0)) > most:
        stream.close()
        return None, None, None
    digest, size = hashlib.sha256(), 0
    kept: bytearray | None = bytearray()
    try:
        for piece in stream.iter_chunks(_PIECE):
            for part in _unpacked(unpack, piece):
                digest.update(part)
                size += len(part)
                if kept is not None:
                    kept += part
                if size > most:
                    kept = None
                    if not measure:
                        return None, None, None
    except zlib.error:  # declared as gzip, but it is not: its content cannot be read, and its bytes are not a label row
        return None, None, None
    except BotoCoreError as error:
        raise RetryableError("s3_unavailable", f"S3 did not return a complete object: {type(error).__name__}") from None
    finally:
        stream.close()
    return (None if kept is None else bytes(kept)), digest.hexdigest(), size


def _unpacked(unpack: Any, piece: bytes) -> Iterator[bytes]:
    """Yield a piece, decompressed if necessary, in small steps whatever the compression ratio is."""
    if unpack is None:
        yield piece
        return
    while piece:
        part = unpack.decompress(piece, _PIECE)
        piece = unpack.unconsumed_tail
        if part:
            yield part
        elif not piece:
            return
