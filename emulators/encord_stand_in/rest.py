"""The REST API, ``/v2/public``: projects, ontologies, and the paged feeds (``feeds``).

Source: ``encord.user_client`` (``get_project``, ``list_projects``, ``get_ontology``), ``encord.orm.project``
(``ProjectDTO``), ``encord.utilities.ontology_user`` (``OntologyWithUserRole``), ``encord.http.v2.payloads`` (``Page``),
all with keys in camel case, and ``encord.http.v2.error_utils`` (an error's ``message``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from encord_stand_in import feeds
from encord_stand_in.answers import Answer, json_answer
from encord_stand_in.projects import NotFoundError, Project, Projects
from encord_stand_in.settings import Settings

PREFIX = "/v2/public"

_UUID = "[0-9a-fA-F-]{36}"
_ROUTES = (
    (
        "projects/{project_hash}/workflow/stages/{stage}/tasks",
        re.compile(rf"/v2/public/projects/(?P<hash>{_UUID})/workflow/stages/(?P<stage>{_UUID})/tasks"),
    ),
    (
        "projects/{project_hash}/labels/{label_hash}/validation-state",
        re.compile(rf"/v2/public/projects/(?P<hash>{_UUID})/labels/(?P<label>{_UUID})/validation-state"),
    ),
    ("analytics/task-actions", re.compile(r"/v2/public/analytics/task-actions")),
    ("projects/{project_hash}", re.compile(r"/v2/public/projects/(?P<hash>[0-9a-fA-F-]{36})")),
    ("ontologies/{ontology_hash}", re.compile(r"/v2/public/ontologies/(?P<hash>[0-9a-fA-F-]{36})")),
    ("projects", re.compile(r"/v2/public/projects")),
)


def endpoint(path: str) -> str:
    """Return the endpoint's name for the counters: the path with placeholders for hashes."""
    for name, pattern in _ROUTES:
        if pattern.fullmatch(path):
            return f"{PREFIX}/{name}"
    return f"{PREFIX}/?"


class RestApi:
    """Answers requests whose signature has been verified."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def answer(self, method: str, path: str, query: feeds.Parameters, settings: Settings) -> Answer:
        """Return the response; errors have an HTTP status and a message."""
        for name, pattern in _ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if method != "GET":
                return json_answer(405, {"message": "Method not allowed"}, refused="method")
            if name == "projects":
                results = [project.public for project in self._projects if project.accessible]
                return _paged(results, query, settings)
            if name == "analytics/task-actions":
                return self._actions(query, settings)
            if "stage" in match.groupdict() or "label" in match.groupdict():
                return self._feed(match.groupdict(), query, settings)
            return self._one(name, match["hash"].lower())
        return json_answer(404, {"message": "Not found"}, refused="unknown_path")

    def _actions(self, query: feeds.Parameters, settings: Settings) -> Answer:
        if settings.task_actions == "absent":
            return json_answer(404, {"message": "Not found"}, refused="unknown_path")
        if settings.task_actions == "refused":
            return json_answer(403, {"message": "No access"}, refused="no_access")
        found = self._readable(query.get("projectUuid", [""])[0])
        if isinstance(found, Answer):
            return found
        try:
            results = feeds.task_actions(found, query, now=datetime.now(UTC), lag=settings.task_actions_lag_seconds)
        except ValueError as exc:
            return json_answer(400, {"message": str(exc)}, refused="malformed_query")
        return _paged(results, query, settings)

    def _feed(self, names: Mapping[str, str], query: feeds.Parameters, settings: Settings) -> Answer:
        found = self._readable(names["hash"])
        if isinstance(found, Answer):
            return found
        try:
            if "label" in names:
                return json_answer(200, feeds.validation_state(found, names["label"].lower()))
            return _paged(
                feeds.tasks(found, names["stage"].lower(), query, settings.stage_tasks_order), query, settings
            )
        except NotFoundError:
            return json_answer(404, {"message": "Not found"}, refused="unknown_path")

    def _readable(self, wanted: str) -> Project | Answer:
        try:
            project = self._projects.project(wanted.lower())
        except NotFoundError:
            return json_answer(404, {"message": "Not found"}, refused="unknown_project")
        return project if project.accessible else json_answer(403, {"message": "No access"}, refused="no_access")

    def _one(self, name: str, wanted: str) -> Answer:
        is_project = name.startswith("projects/")
        try:
            project = self._projects.project(wanted) if is_project else self._projects.ontology(wanted)
        except NotFoundError:
            return json_answer(404, {"message": "Not found"}, refused="unknown_project")
        if not project.accessible:
            return json_answer(403, {"message": "No access"}, refused="no_access")
        return json_answer(200, project.public if is_project else project.ontology)


def _paged(results: Sequence[Any], query: feeds.Parameters, settings: Settings) -> Answer:
    """Return one page. A token is a position, so rows that move between two requests are repeated or left out."""
    token = query.get("pageToken", ["0"])[0]
    begin = int(token) if token.isdigit() else 0
    end = begin + settings.page_size
    page = {"results": list(results[begin:end]), "nextPageToken": str(end) if end < len(results) else None}
    return json_answer(200, page)
