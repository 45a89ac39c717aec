"""The label bucket: labels are listed and looked at, never read or written; small documents are the catalog's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from label_export.core.edit_times import parse_edit_time

from label_catalog.adapters.aws.failures import code_of, translated
from label_catalog.core.model import ListedObject, StoredObject, SupersededError

_LOST = {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}
_ABSENT = {"404", "NoSuchKey", "NotFound"}


class LabelBucket:
    """The labels' objects. All methods raise RetryableError or PermanentError."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def head(self, key: str) -> StoredObject | None:
        """Return an object's metadata, None where there is no object."""
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

    def list(self, prefix: str) -> Iterator[ListedObject]:
        """Yield all objects below a prefix, in the order of their keys."""
        with translated("s3"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", []):
                    yield ListedObject(found["Key"], found["ETag"], found["LastModified"])

    def delete(self, key: str) -> None:
        """Write a delete marker over an object; its versions stay."""
        with translated("s3"):
            self._s3.delete_object(Bucket=self._bucket, Key=key)

    def download(self, key: str, path: Path) -> bool:
        """Copy an object into a file; False where there is none."""
        with translated("s3"):
            try:
                self._s3.download_file(self._bucket, key, str(path))
            except ClientError as error:
                if code_of(error)[1] in _ABSENT:
                    return False
                raise
        return True

    def upload(self, key: str, path: Path) -> None:
        """Copy a file into an object, whatever is there."""
        with translated("s3"):
            self._s3.upload_file(str(path), self._bucket, key)


class StateDocuments:
    """Small JSON documents, written conditionally. All methods raise RetryableError or PermanentError."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def load(self, key: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return a document and its ETag, both None where there is none.

        Of an object that is no JSON document only the ETag is returned, so that it can be replaced.
        """
        with translated("s3"):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error)[1] in _ABSENT:
                    return None, None
                raise
            text = found["Body"].read()
        try:
            document = json.loads(text)
        except ValueError:  # a state object that cannot be read is replaced: its ETag is all that is used
            document = None
        return (document if isinstance(document, dict) else None), found["ETag"]

    def save(self, key: str, document: Mapping[str, Any], etag: str | None) -> str:
        """Write a document only over the version with this ETag (None: nothing); raises SupersededError."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with translated("s3"):
            try:
                return str(self._put(key, document, condition)["ETag"])
            except ClientError as error:
                status, code = code_of(error)
                if status in _LOST or (etag is not None and code in _ABSENT):
                    raise SupersededError(key) from None
                raise

    def put(self, key: str, document: Mapping[str, Any]) -> None:
        """Write a document, whatever is there."""
        with translated("s3"):
            self._put(key, document, {})

    def remove(self, key: str) -> None:
        """Remove a document."""
        with translated("s3"):
            self._s3.delete_object(Bucket=self._bucket, Key=key)

    def _put(self, key: str, document: Mapping[str, Any], condition: Mapping[str, str]) -> Any:
        body = json.dumps(document, indent=1).encode()
        return self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", **condition)
