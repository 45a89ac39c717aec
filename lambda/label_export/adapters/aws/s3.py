"""Labels as objects in S3: conditional writes with checksums, giant ones in parts that become visible all at once."""

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
from urllib.parse import urlencode

from label_export import __version__
from label_export.adapters.aws.client import AwsClient, xml_code
from label_export.adapters.aws.sigv4 import quote_path
from label_export.adapters.transport import Collect, Request, Response
from label_export.core.edit_times import parse_edit_time
from label_export.core.errors import ExportError, RetryableError, aws_failure
from label_export.core.ports import Buffer, LabelRow, StoredLabel
from label_export.retry import Retry

EXPORTED_BY = f"encord-label-export/{__version__}"
PART_BYTES = 16 << 20
_SLICE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to be told gzip's format; it writes no time into it: the same bytes each time
_S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_LOST = {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}  # another write is under way, or came first
_UPLOAD_ID = re.compile(r"<UploadId>([^<]{1,2000})</UploadId>")
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

Observe = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """How objects are kept: in which bucket, compressed or not, under which KMS key (None: as the bucket says).

    Bodies larger than `single_limit` bytes go up in parts.
    """

    bucket: str
    gzip: bool = False
    kms_key_arn: str | None = None
    single_limit: int = 64 << 20


class S3Store:
    """The bucket, within one invocation."""

    def __init__(self, aws: AwsClient, layout: Layout, collect: Collect, retry: Retry, observe: Observe) -> None:
        """`collect` keeps a compressed body within the bounds, `observe` takes the name of a measure and a number."""
        self._aws = aws
        self._layout = layout
        self._collect = collect
        self._retry = retry
        self._observe = observe
        # A dot in the bucket's name does not fit the wildcard certificate of its host name.
        if aws.endpoint is not None or "." in layout.bucket:
            self._base = f"{aws.service_url('s3')}/{layout.bucket}"
        else:
            self._base = aws.service_url("s3", prefix=f"{layout.bucket}.")

    def look(self, key: str) -> StoredLabel | None:
        """Return what is stored under `key`. See ObjectStore."""

        def once(timeout: float) -> StoredLabel | None:
            response = self._send(Request("HEAD", self._url(key), {}), timeout)
            if response.status == HTTPStatus.NOT_FOUND:
                return None
            _require_ok(response)
            edited_at = parse_edit_time(response.headers.get("x-amz-meta-last-edited-at"))
            return StoredLabel(response.headers.get("ETag", ""), response.headers.get("x-amz-meta-sha256"), edited_at)

        return self._retry(once)

    def write(self, key: str, project_hash: str, row: LabelRow, replaces: StoredLabel | None) -> bool:
        """Store `row` only if `key` still holds `replaces`. See ObjectStore."""
        body, digest = row.body, row.sha256
        headers = self._object_headers(project_hash, row)
        if self._layout.gzip:
            body = self._collect(_compressed(body))
            digest = hashlib.sha256(body).hexdigest()
        condition = {"If-None-Match": "*"} if replaces is None else {"If-Match": replaces.etag}
        if len(body) > self._layout.single_limit:
            return self._write_parts(key, body, headers, condition)
        headers |= condition | {"x-amz-checksum-sha256": _checksum(digest)}
        return self._retry(partial(self._put, key, body, digest, headers))

    def prove_writable(self, key: str, project_hash: str, row: LabelRow) -> None:
        """Return if an object could be written under `key`, without writing one; raises like `write`.

        An upload that is begun and given up needs what a write needs: s3:PutObject, and the KMS key's use.
        """
        self.look(key)
        upload_id = self._retry(partial(self._begin, key, self._object_headers(project_hash, row)))
        self._retry(partial(self._send_abort, key, upload_id))

    def _put(self, key: str, body: Buffer, digest: str, headers: Mapping[str, str], timeout: float) -> bool:
        response = self._send(Request("PUT", self._url(key), headers, body, digest), timeout)
        return _written(response)

    def _object_headers(self, project_hash: str, row: LabelRow) -> dict[str, str]:
        metadata = {
            "label-hash": row.label_hash,
            "data-hash": row.data_hash,
            "project-hash": project_hash,
            "last-edited-at": row.edited_at_text,
            "sha256": row.sha256,
            "exported-by": EXPORTED_BY,
        }
        headers = {"Content-Type": "application/json"}
        for name, value in metadata.items():
            if value is not None and _PRINTABLE.fullmatch(value):
                headers[f"x-amz-meta-{name}"] = value
        if self._layout.gzip:
            headers["Content-Encoding"] = "gzip"
        if self._layout.kms_key_arn is not None:
            headers["x-amz-server-side-encryption"] = "aws:kms"
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self._layout.kms_key_arn
        return headers

    def _write_parts(self, key: str, body: Buffer, headers: Mapping[str, str], condition: Mapping[str, str]) -> bool:
        upload_id = self._retry(partial(self._begin, key, headers))
        try:
            parts = []
            for number, begin in enumerate(range(0, len(body), PART_BYTES), start=1):
                parts.append(self._retry(partial(self._part, key, upload_id, number, body[begin : begin + PART_BYTES])))
            whole = {"x-amz-mp-object-size": str(len(body)), **condition}
            written = self._retry(partial(self._complete, key, upload_id, "".join(parts), whole))
        except BaseException:
            self._abort(key, upload_id)
            raise
        if not written:
            self._abort(key, upload_id)
        return written

    def _begin(self, key: str, headers: Mapping[str, str], timeout: float) -> str:
        headers = {**headers, "x-amz-checksum-algorithm": "SHA256"}
        response = self._send(Request("POST", self._url(key, uploads=""), headers), timeout)
        _require_ok(response)
        found = _UPLOAD_ID.search(bytes(response.body).decode("utf-8", "replace"))
        if found is None:
            raise RetryableError("malformed_answer", "s3 began an upload without naming it")
        return found[1]

    def _part(self, key: str, upload_id: str, number: int, part: Buffer, timeout: float) -> str:
        digest = hashlib.sha256(part).hexdigest()
        checksum = _checksum(digest)
        url = self._url(key, partNumber=str(number), uploadId=upload_id)
        response = self._send(Request("PUT", url, {"x-amz-checksum-sha256": checksum}, part, digest), timeout)
        _require_ok(response)
        etag = response.headers.get("ETag", "").replace('"', "")
        return (
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag>"
            f"<ChecksumSHA256>{checksum}</ChecksumSHA256></Part>"
        )

    def _complete(self, key: str, upload_id: str, parts: str, whole: Mapping[str, str], timeout: float) -> bool:
        """Make the object appear, if all parts are there (`whole` holds their size) and the condition in it holds."""
        document = f'<CompleteMultipartUpload xmlns="{_S3_NAMESPACE}">{parts}</CompleteMultipartUpload>'
        headers = {"Content-Type": "application/xml", **whole}
        response = self._send(Request("POST", self._url(key, uploadId=upload_id), headers, document.encode()), timeout)
        code = xml_code(response.body)
        if (
            response.status == HTTPStatus.NOT_FOUND and code == "NoSuchUpload"
        ):  # completed by a try whose answer was lost: look again
            return False
        if response.status == HTTPStatus.OK and code is not None:  # S3 can fail after it began to answer
            raise aws_failure("s3", HTTPStatus.INTERNAL_SERVER_ERROR, code)
        return _written(response)

    def _abort(self, key: str, upload_id: str) -> None:
        """Free the parts; where that fails the bucket's lifecycle rule for broken uploads does it later."""
        try:
            self._retry(partial(self._send_abort, key, upload_id))
        except ExportError:
            self._observe("AbortFailed", 1)

    def _send_abort(self, key: str, upload_id: str, timeout: float) -> None:
        response = self._send(Request("DELETE", self._url(key, uploadId=upload_id), {}), timeout)
        if response.status != HTTPStatus.NOT_FOUND:
            _require_ok(response)

    def _send(self, request: Request, timeout: float) -> Response:
        began = time.monotonic()
        response = self._aws.send("s3", request, timeout)
        self._observe("S3Milliseconds", (time.monotonic() - began) * 1000)
        return response

    def _url(self, key: str, **query: str) -> str:
        return f"{self._base}/{quote_path(key)}" + (f"?{urlencode(query)}" if query else "")


def _written(response: Response) -> bool:
    """Say whether a conditional write took effect; nothing left to match (404 NoSuchKey) is a lost race too."""
    if response.status in _LOST and xml_code(response.body) != "OperationAborted":
        return False
    if response.status == HTTPStatus.NOT_FOUND and xml_code(response.body) == "NoSuchKey":
        return False
    _require_ok(response)
    return True


def _require_ok(response: Response) -> None:
    if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        raise aws_failure("s3", response.status, xml_code(response.body), response.retry_after)


def _compressed(body: Buffer) -> Iterator[bytes]:
    compressor = zlib.compressobj(level=6, wbits=_GZIP)
    for begin in range(0, len(body), _SLICE):
        yield compressor.compress(body[begin : begin + _SLICE])
    yield compressor.flush()


def _checksum(hex_digest: str) -> str:
    return base64.b64encode(bytes.fromhex(hex_digest)).decode()
