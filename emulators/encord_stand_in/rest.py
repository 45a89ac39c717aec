"""The REST API, ``/v2/public``: projects and ontologies.

Source: ``encord.user_client`` (``get_project``, ``list_projects``, ``get_ontology``), ``encord.orm.project``
(``ProjectDTO``), ``encord.utilities.ontology_user`` (``OntologyWithUserRole``), ``encord.http.v2.payloads`` (``Page``),
all with keys in camel case, and ``encord.http.v2.error_utils`` (an error's ``message``).
"""

from __future__ import annotations

import re

from encord_stand_in.answers import Answer, json_answer
from encord_stand_in.projects import NotFoundError, Projects

PREFIX = "/v2/public"

_ROUTES = (
    ("projects/{project_hash}", re.compile(r"/v2/public/projects/(?P<hash>[0-9a-fA-F-]{36})")),
    ("ontologies/{ontology_hash}", re.compile(r"/v2/public/ontologies/(?P<hash>[0-9a-fA-F-]{36})")),
    ("projects", re.compile(r"/v2/public/projects")),
)


def endpoint(path: str) -> str:
    """Return the name of the endpoint for counters: the path with its hashes replaced."""
    for name, pattern in _ROUTES:
        if pattern.fullmatch(path):
            return f"{PREFIX}/{name}"
    return f"{PREFIX}/?"


class RestApi:
    """Answers requests whose signature has been verified."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def answer(self, method: str, path: str) -> Answer:
        """Return the answer; errors have an HTTP status and a message."""
        for name, pattern in _ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if method != "GET":
                return json_answer(405, {"message": "Method not allowed"}, refused="method")
            if name == "projects":
                results = [project.public for project in self._projects if project.accessible]
                return json_answer(200, {"results": results, "nextPageToken": None})
            return self._one(name, match["hash"].lower())
        return json_answer(404, {"message": "Not found"}, refused="unknown_path")

    def _one(self, name: str, wanted: str) -> Answer:
        is_project = name.startswith("projects/")
        try:
            project = self._projects.project(wanted) if is_project else self._projects.ontology(wanted)
        except NotFoundError:
            return json_answer(404, {"message": "Not found"}, refused="unknown_project")
        if not project.accessible:
            return json_answer(403, {"message": "No access"}, refused="no_access")
        return json_answer(200, project.public if is_project else project.ontology)
