"""Checks from inside that this version can do its work. A deploy runs it before the version is used.

Nothing is cached, so that a setting that was just corrected counts. Nothing is written, queued or created.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from label_export import __version__
from label_export.core.errors import ExportError, PermanentError, where
from label_export.core.ports import LabelRow
from label_export.entrypoints.webhook_authentication import WebhookSecrets
from label_export.settings import Settings
from label_export.telemetry import Telemetry

SECONDS = 30.0  # for all checks; the deploy waits for the answer
PROJECTS_ASKED = 20  # of the allow list, each a request to Encord

Check = Callable[[], str]


class Projects(Protocol):
    """Encord's answers about projects. All methods raise ExportError."""

    def require_project(self, project_hash: str) -> None:
        """Check that the key can read the project; PermanentError("no_access") if not."""

    def stage_titles(self, project_hash: str) -> frozenset[str]:
        """Return the titles of all stages of the project's workflow; empty if it has none."""


class Outside(Protocol):
    """The services that the function depends on, each read without a cache. All methods raise ExportError."""

    def signing_secrets(self) -> str:
        """Return the text of the signing secrets' secret."""

    def private_key(self) -> object:
        """Return the private key, to check that it can be read."""

    def source(self) -> Projects:
        """Return the source of label rows."""

    def prove_writable(self, project_hash: str, row: LabelRow) -> None:
        """Check that the bucket accepts an object for `row`, without writing one."""

    def prove_queue(self) -> None:
        """Return if the queue answers."""


class SelfCheck:
    """One self check, within one invocation."""

    def __init__(self, settings: Settings, outside: Outside, telemetry: Telemetry) -> None:
        self._settings = settings
        self._outside = outside
        self._telemetry = telemetry

    def answer(self) -> dict[str, Any]:
        """Return `{"ok", "version", "checks": [{"name", "ok", "detail", "reason"?}]}`, without any secret.

        `detail` is one sentence, `reason` the stable name of the failure. An answer at all shows that the settings
        load.
        """
        checks: dict[str, Check] = {
            "webhook secrets": self._webhook_secrets,
            "private key": self._private_key,
            "encord": self._encord,
            "workflow stages": self._workflow_stages,
            "bucket": self._bucket,
            "queue": self._queue,
        }
        results = [self._judged(name, check) for name, check in checks.items()]
        return {"ok": all(result["ok"] for result in results), "version": __version__, "checks": results}

    def _judged(self, name: str, check: Check) -> dict[str, Any]:
        try:
            return {"name": name, "ok": True, "detail": check()}
        except ExportError as error:
            result = {"name": name, "ok": False, "reason": error.reason, "detail": str(error)}
        except Exception as error:  # noqa: BLE001  (the other checks still run; the text could contain anything)
            result = {"name": name, "ok": False, "reason": "unexpected", "detail": where(error)}
        self._telemetry.log(
            "ERROR",
            "self_check_failed",
            check=name,
            reason=result["reason"],
            detail=result["detail"],
        )
        return result

    def _webhook_secrets(self) -> str:
        secrets = WebhookSecrets.from_json(self._outside.signing_secrets())
        signing, tokens = len(secrets.signing_secrets), len(secrets.url_tokens)
        if not signing and not tokens:
            return "none is set: every webhook is refused"
        if secrets.surrounded():
            raise PermanentError(
                "secret_white_space",
                f"{secrets.surrounded()} of the secrets have a line end, white space or quotes around them: store "
                f"them without",
            )
        return f"{signing} signing secrets and {tokens} URL tokens are set"

    def _private_key(self) -> str:
        self._outside.private_key()
        return f"it is an Ed25519 key, read from {self._settings.private_key_source}"

    def _encord(self) -> str:
        """Request labels that do not exist: one signed, reading request for each allowed project."""
        domain = self._settings.encord_domain
        source = self._outside.source()
        projects = self._projects()
        for project in projects:
            source.require_project(project)
        if projects:
            return f"{domain} accepts the key, which can read {len(projects)} projects"
        try:  # Encord checks the key first. It then refuses a project that does not exist, as expected.
            source.require_project(str(uuid.uuid4()))
        except PermanentError as error:
            if error.reason != "no_access":
                raise
        return f"{domain} accepts the key"

    def _workflow_stages(self) -> str:
        """Look for each title of the stage filter in the workflows of the allowed projects.

        A mistyped title would filter every label.
        """
        wanted = self._settings.workflow_stages
        if not wanted:
            return "labels are exported in every workflow stage"
        projects = self._projects()
        if not projects:
            return "no project is named in export_function_projects, so the titles cannot be checked"
        source = self._outside.source()
        known = {project: source.stage_titles(project) for project in projects}
        found = frozenset[str]().union(*known.values())
        if unknown := sorted(wanted - found):
            problem = f"no allowed project has a workflow stage named {_listed(unknown)}; they have {_listed(found)}"
            raise PermanentError("stage_unknown", f"{problem}. Set export_function_workflow_stages")
        if lacking := sorted(project for project, titles in known.items() if not titles & wanted):
            problem = f"projects {', '.join(lacking)} have none of the stages {_listed(wanted)}"
            raise PermanentError("stage_unknown", f"{problem}: none of their labels would be exported")
        return f"all allowed projects have stages out of {_listed(wanted)}"

    def _projects(self) -> list[str]:
        return sorted(self._settings.projects)[:PROJECTS_ASKED]

    def _bucket(self) -> str:
        self._outside.prove_writable(
            str(uuid.uuid4()), LabelRow(str(uuid.uuid4()), None, None, None, None, None, None, b"", "")
        )
        return f"{self._settings.bucket} can be read and written under the key template"

    def _queue(self) -> str:
        self._outside.prove_queue()
        return f"{self._settings.queue_url.rpartition('/')[2]} answers"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
