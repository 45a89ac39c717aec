"""The legacy API, ``POST /public``: a query in the body, the answer in Encord's envelope.

Source: ``encord.http.request.Request`` (``query_type``, ``query_method``, ``values.uid``, ``values.payload``),
``encord.http.querier`` (envelope), ``encord.client`` (the queries). Supported are ``labelrowmetadata``/GET,
``labelrow``/GET and ``labelrow``/PUT. PUT creates the row of a unit that has none, as Encord does, so that a test can
prove that the exporter never calls it. ``labelrow``/POST (saving labels) is refused and counted as a write.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from encord_stand_in.answers import Answer, array, enveloped, error, streamed
from encord_stand_in.listing import InvalidFilterError, list_rows
from encord_stand_in.projects import LabelRow, NotFoundError, Project, Projects
from encord_stand_in.rows.filters import shown_row
from encord_stand_in.rows.serialise import row_bytes
from encord_stand_in.settings import Settings

PATH = "/public"

_NAME = re.compile(r"[a-z_]{1,40}/(GET|POST|PUT|DELETE)")


@dataclass(frozen=True, slots=True)
class Query:
    """What a legacy request asks for."""

    query_type: str
    query_method: str
    uid: Any
    payload: dict[str, Any]

    @property
    def name(self) -> str:
        """Name for counters, faults and the log; ``?`` if it is not a name, since the body is not verified yet."""
        name = f"{self.query_type}/{self.query_method}"
        return name if _NAME.fullmatch(name) else "?"

    @property
    def is_write(self) -> bool:
        """Whether the query would change something in Encord."""
        return self.query_method != "GET"

    @property
    def hashes(self) -> list[str]:
        """The hashes in ``uid``."""
        return [str(item) for item in self.uid] if isinstance(self.uid, list) else [str(self.uid)] * bool(self.uid)


def parse_query(body: bytes) -> Query | None:
    """Return the query in a body, or None if the body does not have that form."""
    try:
        document = json.loads(body)
        values = document["values"]
        payload = values.get("payload")
        if not isinstance(document["query_type"], str) or not isinstance(document["query_method"], str):
            return None
        return Query(
            document["query_type"],
            document["query_method"],
            values.get("uid"),
            payload if isinstance(payload, dict) else {},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class LegacyError(Exception):
    """An error for the envelope; ``reason`` is for the counters, None if nothing was refused."""

    def __init__(self, name: str, *, payload: Any = None, reason: str | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.payload = payload
        self.reason = reason


class LegacyApi:
    """Answers queries whose signature has been verified."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._shuffler = random.SystemRandom()
        self._handlers = {
            "labelrowmetadata/GET": self._list,
            "labelrow/GET": self._get,
            "labelrow/PUT": self._create,
        }

    def answer(self, query: Query | None, resource_type: str, project_hash: str, settings: Settings) -> Answer:
        """Return the response; every error has Encord's form, in the envelope."""
        try:
            if query is None:
                raise LegacyError("INVALID_ARGUMENTS_ERROR", reason="malformed_query")
            project = self._project(resource_type, project_hash)
            handler = self._handlers.get(query.name)
            if handler is None:
                name = "OPERATION_NOT_ALLOWED" if query.is_write else "METHOD_NOT_ALLOWED_ERROR"
                raise LegacyError(name, reason="write" if query.is_write else "unknown_query")
            return handler(project, query, settings)
        except LegacyError as exc:
            return error(exc.name, settings, payload=exc.payload, refused=exc.reason)

    def _project(self, resource_type: str, project_hash: str) -> Project:
        if resource_type != "project":
            raise LegacyError("AUTHORISATION_ERROR", reason="wrong_resource_type")
        try:
            project = self._projects.project(project_hash)
        except NotFoundError as exc:
            raise LegacyError("RESOURCE_NOT_FOUND_ERROR", reason="unknown_project") from exc
        if not project.accessible:
            raise LegacyError("AUTHORISATION_ERROR", reason="no_access")
        return project

    def _list(self, project: Project, query: Query, settings: Settings) -> Answer:
        if project.synthetic is not None:
            if 0 < settings.largest_listing < len(project.synthetic.numbers(query.payload)):
                raise LegacyError("UNKNOWN_ERROR", reason="listing_too_large")
            return streamed(project.synthetic.listing(query.payload))
        try:
            rows = list_rows(project, query.payload, ends=settings.edit_window_ends == "included")
        except InvalidFilterError as exc:
            raise LegacyError(exc.error_name, payload=str(exc), reason="invalid_filter") from exc
        separators = (",", ":") if settings.envelope_whitespace == "compact" else (", ", ": ")
        return enveloped((json.dumps(rows, ensure_ascii=False, separators=separators).encode(),), settings)

    def _get(self, project: Project, query: Query, settings: Settings) -> Answer:
        several = bool(query.payload.get("multi_request", False))
        if several and not isinstance(query.uid, list):
            raise LegacyError("INVALID_ARGUMENTS_ERROR", payload="uid is not a list", reason="malformed_query")
        for name in ("include_object_feature_hashes", "include_classification_feature_hashes"):
            if not isinstance(query.payload.get(name) or [], list):
                raise LegacyError("INVALID_ARGUMENTS_ERROR", payload=f"{name} is not a list", reason="malformed_query")
        asked = query.hashes if several else query.hashes[:1]
        if len(asked) > settings.multi_label_limit:
            payload = {"maximum_labels_allowed": settings.multi_label_limit}
            raise LegacyError("MULTI_LABEL_LIMIT_ERROR", payload=payload, reason="too_many_labels")
        rows = self._projects.labels_in(project, asked)
        some_missing = len(rows) < len(set(asked))
        if (several and some_missing and settings.missing_labels == "error") or (not several and not rows):
            raise LegacyError("RESOURCE_NOT_FOUND_ERROR")
        self._shuffler.shuffle(rows)
        key = (several, tuple(row.version for row in rows), settings) if _plain(query) else None
        served = [_served(row, query, settings) for row in rows]
        return enveloped(array(served, settings) if several else served[0], settings, cache_key=key)

    def _create(self, project: Project, query: Query, settings: Settings) -> Answer:
        rows = [self._uninitialised(project, data_hash) for data_hash in dict.fromkeys(query.hashes)]
        if not rows:
            raise LegacyError("INVALID_ARGUMENTS_ERROR", payload="uid names no data unit", reason="malformed_query")
        for row in rows:
            self._projects.initialise(row)
        served = [_served(row, query, settings) for row in rows]
        return enveloped(array(served, settings) if query.payload.get("multi_request") else served[0], settings)

    def _uninitialised(self, project: Project, data_hash: str) -> LabelRow:
        try:
            row = self._projects.row(data_hash=data_hash)
        except NotFoundError as exc:
            raise LegacyError("RESOURCE_NOT_FOUND_ERROR") from exc
        if row.project_hash != project.project_hash:
            raise LegacyError("RESOURCE_NOT_FOUND_ERROR")
        if row.label_hash is not None:
            raise LegacyError("RESOURCE_EXISTS_ERROR", payload=data_hash)
        return row


def _plain(query: Query) -> bool:
    payload = query.payload
    names = ("get_signed_url", "include_object_feature_hashes", "include_classification_feature_hashes",
             "include_export_history")  # fmt: skip
    return not any(payload.get(name) for name in names)


def _served(row: LabelRow, query: Query, settings: Settings) -> tuple[bytes, ...]:
    if _plain(query) or row.spec is not None:
        return row.parts(settings)
    return (row_bytes(shown_row(row.document(), query.payload), settings),)
