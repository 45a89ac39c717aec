"""Label rows from Encord, by the signed request that Encord documents for clients in any language.

The SDK's objects are not used: they drop and rewrite parts of a label (docs/decisions), and their import takes 0.9 s.
Both request bodies below read (`"query_method":"GET"`); nothing in this module can write to Encord.
Source of the protocol: encord 0.1.211, encord/http/querier.py, encord/configs.py.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from label_export.adapters.encord.envelope import ListedRow, RowMembers, error_name, label_row, open_envelope
from label_export.adapters.encord.private_key import EncordKey
from label_export.adapters.encord.spool import Spool
from label_export.adapters.transport import Request, Response, Transport
from label_export.core.errors import (
    KeyRefusedError,
    PermanentError,
    RetryableError,
    TerminalError,
    encord_failure,
    no_access,
)
from label_export.core.ports import Buffer, LabelRow
from label_export.retry import Retry

# Share of the remaining time, until the first byte and between two bytes. A large row may take minutes, and if no byte
# arrives there must be time for another attempt.
READ_SHARE = 0.5
REFUSED_FOR = 60.0  # seconds without calls after Encord refused the key and the secret held no other one

T = TypeVar("T")
Observe = Callable[[str, float], None]
ReadKey = Callable[[Retry], EncordKey]
RefreshKey = Callable[[Retry], EncordKey | None]


class CurrentKey:
    """The private key in use. After a refusal its secret is refreshed once, then calls pause. Thread-safe."""

    def __init__(self, read: ReadKey, refresh: RefreshKey, clock: Callable[[], float] = time.monotonic) -> None:
        """`read` returns the key, `refresh` another one if the secret changed, else None."""
        self._read = read
        self._refresh = refresh
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: bytes | None = None
        self._refused_at = 0.0

    def get(self, retry: Retry) -> EncordKey:
        """Return the key to sign with; raises KeyRefusedError while the only key is a refused one."""
        with self._lock:
            key = self._read(retry)
            if key.digest == self._refused and self._clock() - self._refused_at < REFUSED_FOR:
                raise KeyRefusedError("key_refused", "Encord refused this private key less than a minute ago")
            return key

    def refresh(self, refused: EncordKey, retry: Retry) -> EncordKey | None:
        """Return another key to try, None if there is none."""
        with self._lock:
            current = self._read(retry)
            if current.digest != refused.digest:  # another thread has refreshed it meanwhile
                return current
            if refused.digest != self._refused or self._clock() - self._refused_at >= REFUSED_FOR:
                self._refused, self._refused_at = refused.digest, self._clock()
                other = self._refresh(retry)
                return other if other is not None and other.digest != refused.digest else None
            return None


@dataclass(frozen=True, slots=True)
class EncordAccount:
    """How Encord is reached; kept between invocations. `domain` is like `https://api.encord.com`."""

    transport: Transport
    domain: str
    key: CurrentKey
    spool: Spool


class EncordSource:
    """Reads label rows within one invocation."""

    def __init__(self, account: EncordAccount, retry: Retry, observe: Observe) -> None:
        """`observe` takes the name of a measure and a number."""
        self._transport = account.transport
        self._domain = account.domain
        self._url = f"{account.domain}/public"
        self._key = account.key
        self._spool = account.spool
        self._retry = retry
        self._observe = observe

    def fetch(self, project_hash: str, label_hash: str) -> LabelRow:
        """Return the label row as it is served now. See LabelSource."""
        payload = {
            "get_signed_url": False,
            "multi_request": False,
            "include_object_feature_hashes": None,
            "include_classification_feature_hashes": None,
            "include_reviews": False,
            "include_export_history": False,
        }
        query = _reading("labelrow", label_hash, payload)

        def read(response: Response) -> LabelRow:
            text, members = _opened(response, RowMembers)
            return label_row(text, members, project_hash=project_hash, label_hash=label_hash)

        return self._ask(project_hash, query, read)

    def labels_of_data(self, project_hash: str, data_hash: str) -> Sequence[str]:
        """Return the label hashes of a data unit, all branches. See LabelSource."""
        rows = self._list(project_hash, data_hashes=[data_hash], include_all_label_branches=True)
        found = [row.label_hash for row in rows if row.data_hash == data_hash and row.label_hash is not None]
        # What is no text is kept as one that is not a hash, so that the exporter refuses it like any other.
        return sorted({label_hash if isinstance(label_hash, str) else "" for label_hash in found})

    def require_project(self, project_hash: str) -> None:
        """Check that the key can read the project, with a listing of a data unit that cannot exist.

        See LabelSource.
        """
        try:
            self._list(project_hash, data_hashes=[str(uuid.uuid4())])
        except (TerminalError, PermanentError) as error:
            if error.reason not in ("no_access", "row_deleted"):
                raise
            raise no_access(f"Encord does not let the key read project {project_hash}: {error}") from None

    def workflow_stage(self, project_hash: str, label_hash: str) -> str | None:
        """Return the title of the workflow stage that the label is in. See LabelSource."""
        rows = self._list(project_hash, label_hashes=[label_hash], include_all_label_branches=True)
        stages = [row.stage for row in rows if row.label_hash == label_hash]
        if not stages:  # a listing leaves out deleted rows without an error
            raise TerminalError("row_deleted", "Encord has no such label row, or no longer has it")
        return stages[0]

    def stage_titles(self, project_hash: str) -> frozenset[str]:
        """Return the titles of all stages of the project's workflow; empty if it has none.

        From the REST API: a listing of label rows names only the stages that have a task. `ProjectDTO` in the SDK's
        encord/orm/project.py. Raises as LabelSource does.
        """
        target = f"/v2/public/projects/{project_hash}"

        def read(timeout: float) -> frozenset[str]:
            headers = key.rest_headers("GET", target, int(time.time()))
            request = Request("GET", self._domain + target, {"Accept": "application/json", **headers})
            response = self._transport.send(request, peer="Encord", timeout=timeout, read_timeout=READ_SHARE * timeout)
            if response.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                raise no_access(f"Encord does not let the key read project {project_hash} (HTTP {response.status})")
            if response.status != HTTPStatus.OK:
                raise encord_failure(response.status, None, response.retry_after)
            return _titles(response.body)

        key = self._key.get(self._retry)
        return self._retry(read)

    def _list(self, project_hash: str, **filters: Any) -> list[ListedRow]:
        payload = {"include_workflow_graph_node": True, "include_client_metadata": False, **filters}
        query = _reading("labelrowmetadata", None, payload)

        return self._ask(project_hash, query, lambda response: _opened(response, list[ListedRow])[1])

    def _ask(self, project_hash: str, query: bytes, read: Callable[[Response], T]) -> T:
        key = self._key.get(self._retry)
        try:
            return self._retry(lambda timeout: read(self._send(project_hash, query, key, timeout)))
        except KeyRefusedError:
            other = self._key.refresh(key, self._retry)
            if other is None:
                raise
        return self._retry(lambda timeout: read(self._send(project_hash, query, other, timeout)))

    def _send(self, project_hash: str, query: bytes, key: EncordKey, timeout: float) -> Response:
        began = time.monotonic()
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Content-Type": "application/json",
            "ResourceType": "project",
            "ResourceID": project_hash,
            "Authorization": key.authorization(query),
        }
        request = Request("POST", self._url, headers, query)
        response = self._transport.send(
            request,
            peer="Encord",
            timeout=timeout,
            read_timeout=READ_SHARE * timeout,
            collect=self._spool.collect,
        )
        self._observe("EncordMilliseconds", (time.monotonic() - began) * 1000)
        return response


def _opened(response: Response, kind: type[T]) -> tuple[Buffer, T]:
    if response.status != HTTPStatus.OK:
        raise encord_failure(response.status, error_name(response.body), response.retry_after)
    return open_envelope(response.body, kind, response.retry_after)


def _reading(query_type: str, uid: str | None, payload: Mapping[str, Any]) -> bytes:
    query = {"query_type": query_type, "query_method": "GET", "values": {"uid": uid, "payload": payload}}
    return json.dumps(query).encode()


def _titles(body: Buffer) -> frozenset[str]:
    try:
        project = json.loads(bytes(body))
        stages = (project.get("workflow") or {"stages": []})["stages"]
        return frozenset(str(stage["title"]) for stage in stages)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        problem = "it is no project with a workflow that names its stages"
        raise RetryableError("malformed_answer", f"Encord's answer cannot be used: {problem}") from None
