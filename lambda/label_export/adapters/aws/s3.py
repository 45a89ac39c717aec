"""Labels as objects in S3: conditional writes with checksums, large ones in parts that become visible at once."""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any

from label_export import __version__
from label_export.adapters.aws.client import AwsClient, AwsRefusalError, Body
from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import ExportError, RetryableError
from label_export.core.ports import Buffer, LabelRow, StoredLabel
from label_export.retry import Retry

EXPORTED_BY = f"encord-label-export/{__version__}"
SINGLE_LIMIT = 64 << 20  # bytes of one request; if the connection breaks, at most these are sent again
PART_BYTES = 16 << 20
GZIP_PART_BYTES = 5 << 20  # S3's minimum for all parts except the last; of a compressed row three may be in memory
_SLICE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS  # zlib's number for gzip's format; it writes no time into it: the same bytes each time
_LOST = {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}  # another write is in progress, or came first
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

Observe = Callable[[str, float], None]
Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How objects are stored: in which bucket, compressed or not, with which KMS key (None: the bucket's default).

    S3 refuses every call if another account than `owner` owns the bucket. With None the owner is not checked.
    """

    bucket: str
    gzip: bool = False
    kms_key_arn: str | None = None
    owner: str | None = None

    @property
    def place(self) -> dict[str, str]:
        """What every call to S3 names."""
        return {"Bucket": self.bucket, **({"ExpectedBucketOwner": self.owner} if self.owner else {})}


class S3Store:
    """The bucket, within one invocation."""

    def __init__(self, aws: AwsClient, layout: Layout, retry: Retry, observe: Observe) -> None:
        """`observe` takes the name of a measure and a number."""
        self._aws = aws
        self._layout = layout
        self._retry = retry
        self._observe = observe

    def look(self, key: str) -> StoredLabel | None:
        """Return what is stored under `key`. See ObjectStore."""

        def once(timeout: float) -> StoredLabel | None:
            try:
                return _stored(self._ask("head_object", {"Key": key}, timeout))
            except AwsRefusalError as refusal:
                if refusal.status == HTTPStatus.NOT_FOUND:
                    return None
                raise refusal.failure() from None

        return self._retry(once)

    def write(self, key: str, project_hash: str, row: LabelRow, replaces: StoredLabel | None) -> bool:
        """Store `row` only if `key` still holds `replaces`. See ObjectStore."""
        parameters = {"Key": key, **self._object_parameters(project_hash, row)}
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces.etag}
        parts = self._parts(row.body)
        first = next(parts)
        second = next(parts, None)
        if second is not None:
            return self._write_parts(key, chain((first, second), parts), parameters, condition)
        if self._layout.gzip:
            parameters["Metadata"] |= {"gzip-bytes": str(len(first))}
        digest = hashlib.sha256(first).hexdigest() if self._layout.gzip else row.sha256
        return self._retry(partial(self._put, first, {**parameters, **condition, "ChecksumSHA256": _checksum(digest)}))

    def prove_writable(self, key: str, project_hash: str, row: LabelRow) -> None:
        """Check that an object could be written under `key`, without writing one; raises like `write`.

        Starting and aborting an upload needs the same permissions as a write: s3:PutObject, and the KMS key's use.
        """
        self.look(key)
        upload_id = self._retry(partial(self._begin, {"Key": key, **self._object_parameters(project_hash, row)}))
        self._retry(partial(self._send_abort, key, upload_id))

    def _parts(self, body: Buffer) -> Iterator[Buffer]:
        """Yield the parts of `body` to store, at least one."""
        if self._layout.gzip:
            yield from _compressed(body)
        elif len(body) <= SINGLE_LIMIT:
            yield body
        else:
            for begin in range(0, len(body), PART_BYTES):
                yield body[begin : begin + PART_BYTES]

    def _put(self, body: Buffer, parameters: Parameters, timeout: float) -> bool:
        return self._conditionally("put_object", {**parameters, "Body": Body(body)}, timeout) is not None

    def _conditionally(self, operation: str, parameters: Parameters, timeout: float) -> dict[str, Any] | None:
        """Return the answer to a conditional write, None if another write came first."""
        try:
            return self._ask(operation, parameters, timeout)
        except AwsRefusalError as refusal:
            if refusal.status in _LOST and refusal.code != "OperationAborted":
                return None
            # NoSuchUpload: an attempt whose response was lost has completed it. The next HEAD shows that.
            if refusal.status == HTTPStatus.NOT_FOUND and refusal.code in ("NoSuchKey", "NoSuchUpload"):
                return None
            raise refusal.failure() from None

    def _object_parameters(self, project_hash: str, row: LabelRow) -> dict[str, Any]:
        metadata = {
            "label-hash": row.label_hash,
            "data-hash": row.data_hash,
            "project-hash": project_hash,
            "last-edited-at": row.edited_at_text,
            "sha256": row.sha256,
            "exported-by": EXPORTED_BY,
        }
        parameters: dict[str, Any] = {
            "ContentType": "application/json",
            "Metadata": {
                name: value for name, value in metadata.items() if value is not None and _PRINTABLE.fullmatch(value)
            },
        }
        if self._layout.gzip:
            parameters["ContentEncoding"] = "gzip"
        if self._layout.kms_key_arn is not None:
            parameters |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._layout.kms_key_arn}
        return parameters

    def _write_parts(self, key: str, parts: Iterator[Buffer], parameters: Parameters, condition: Parameters) -> bool:
        upload_id = self._retry(partial(self._begin, parameters))
        try:
            uploaded = []
            size = 0
            for number, part in enumerate(parts, start=1):
                uploaded.append(self._retry(partial(self._part, key, upload_id, number, part)))
                size += len(part)
            whole = {"MultipartUpload": {"Parts": uploaded}, "MpuObjectSize": size, **condition}
            written = self._retry(partial(self._complete, key, upload_id, whole))
        except BaseException:
            self._abort(key, upload_id)
            raise
        if not written:
            self._abort(key, upload_id)
        return written

    def _begin(self, parameters: Parameters, timeout: float) -> str:
        answer = self._call("create_multipart_upload", {**parameters, "ChecksumAlgorithm": "SHA256"}, timeout)
        upload_id = answer.get("UploadId")
        if not isinstance(upload_id, str) or not upload_id:
            raise RetryableError("malformed_answer", "S3 started an upload and returned no identifier")
        return upload_id

    def _part(self, key: str, upload_id: str, number: int, part: Buffer, timeout: float) -> dict[str, Any]:
        checksum = _checksum(hashlib.sha256(part).hexdigest())
        named = {"Key": key, "UploadId": upload_id, "PartNumber": number}
        answer = self._call("upload_part", {**named, "Body": Body(part), "ChecksumSHA256": checksum}, timeout)
        return {"PartNumber": number, "ETag": answer.get("ETag", ""), "ChecksumSHA256": checksum}

    def _complete(self, key: str, upload_id: str, whole: Parameters, timeout: float) -> bool:
        """Complete the upload, if all parts are there and the condition in `whole` holds.

        S3 can fail after it has sent status 200, so only a response that names the object is a success.
        """
        named = {"Key": key, "UploadId": upload_id}
        answer = self._conditionally("complete_multipart_upload", {**named, **whole}, timeout)
        if answer is None:
            return False
        if answer.get("Key") != key or not answer.get("Bucket") or not answer.get("ETag"):
            raise RetryableError("malformed_answer", "S3 did not confirm that the upload is complete")
        return True

    def _abort(self, key: str, upload_id: str) -> None:
        """Delete the parts; if that fails, the bucket's lifecycle rule for unfinished uploads does it later."""
        try:
            self._retry(partial(self._send_abort, key, upload_id))
        except ExportError:
            self._observe("AbortFailed", 1)

    def _send_abort(self, key: str, upload_id: str, timeout: float) -> None:
        try:
            self._ask("abort_multipart_upload", {"Key": key, "UploadId": upload_id}, timeout)
        except AwsRefusalError as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise refusal.failure() from None

    def _call(self, operation: str, parameters: Parameters, timeout: float) -> dict[str, Any]:
        """Call an operation; every error of the service is a failure."""
        try:
            return self._ask(operation, parameters, timeout)
        except AwsRefusalError as refusal:
            raise refusal.failure() from None

    def _ask(self, operation: str, parameters: Parameters, timeout: float) -> dict[str, Any]:
        began = time.monotonic()
        try:
            return self._aws.ask("s3", operation, {**self._layout.place, **parameters}, timeout)
        finally:
            self._observe("S3Milliseconds", (time.monotonic() - began) * 1000)


def _stored(head: Mapping[str, Any]) -> StoredLabel:
    """Return the facts about an object in a response to HEAD.

    An earlier export stored the hash as metadata. It does not count if the object's length differs from the stored one:
    then its bytes were replaced and its metadata kept. The caller can compare what is stored as served.
    """
    metadata = head.get("Metadata", {})
    length = head.get("ContentLength")
    noted = metadata.get("gzip-bytes")
    intact = noted is None or noted == str(length)
    return StoredLabel(
        etag=head.get("ETag", ""),
        sha256=metadata.get("sha256") if intact else None,
        edited_at=parse_edit_time(metadata.get("last-edited-at")),
        size=None if head.get("ContentEncoding") else length,
    )


def _compressed(body: Buffer) -> Iterator[bytes]:
    """Yield gzip of `body` in parts of a little more than GZIP_PART_BYTES, the last one of what is left."""
    compressor = zlib.compressobj(level=6, wbits=_GZIP)
    part = bytearray()
    for begin in range(0, len(body), _SLICE):
        part += compressor.compress(body[begin : begin + _SLICE])
        if len(part) >= GZIP_PART_BYTES:
            yield bytes(part)
            part.clear()
    yield bytes(part + compressor.flush())


def _checksum(hex_digest: str) -> str:
    return base64.b64encode(bytes.fromhex(hex_digest)).decode()
