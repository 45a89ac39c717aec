"""Proves from inside that this version can do its work: a deploy asks for it before the version takes any.

Nothing is cached, so that a setting that was just corrected counts. Nothing is written, queued or created.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from label_export import __version__
from label_export.core.errors import ExportError, PermanentError, TerminalError, where
from label_export.core.ports import LabelRow, LabelSource
from label_export.entrypoints.webhook_authentication import WebhookSecrets
from label_export.settings import Settings
from label_export.telemetry import Telemetry

SECONDS = 30.0  # that all checks may take; the deploy waits for the answer
PROJECTS_ASKED = 20  # of the allow list, each a request to Encord

Check = Callable[[], str]


class Outside(Protocol):
    """What the function depends on, each part read or asked without a cache. All raise ExportError."""

    def signing_secrets(self) -> str:
        """Return the text of the signing secrets' secret."""

    def private_key(self) -> object:
        """Return the private key; only that it can be read matters."""

    def source(self) -> LabelSource:
        """Return the source of label rows."""

    def prove_writable(self, project_hash: str, row: LabelRow) -> None:
        """Return if the bucket takes an object for `row`, without writing one."""

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

        `detail` is one sentence, `reason` the stable name of what failed. That the settings load is proved by there
        being an answer at all.
        """
        checks: dict[str, Check] = {
            "webhook secrets": self._webhook_secrets,
            "private key": self._private_key,
            "encord": self._encord,
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
        except Exception as error:  # noqa: BLE001  (the other checks still run; the text could hold anything)
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
        return f"{signing} signing secrets and {tokens} URL tokens are set"

    def _private_key(self) -> str:
        self._outside.private_key()
        return f"it is an Ed25519 key, read from {self._settings.private_key_source}"

    def _encord(self) -> str:
        """Ask for labels that do not exist: a signed request that only reads, one for each allowed project."""
        domain = self._settings.encord_domain
        source = self._outside.source()
        projects = sorted(self._settings.projects)[:PROJECTS_ASKED]
        for project in projects:
            try:
                source.labels_of_data(project, str(uuid.uuid4()))
            except TerminalError as error:  # deleted, or never shared with the key's owner
                raise PermanentError("no_project", f"Encord does not let us read project {project}: {error}") from None
        if projects:
            return f"{domain} accepts the key, which can read {len(projects)} projects"
        # Encord looks at the key first. That it then refuses a project that does not exist is expected.
        with suppress(TerminalError):
            source.labels_of_data(str(uuid.uuid4()), str(uuid.uuid4()))
        return f"{domain} accepts the key"

    def _bucket(self) -> str:
        self._outside.prove_writable(
            str(uuid.uuid4()), LabelRow(str(uuid.uuid4()), None, None, None, None, None, None, b"", "")
        )
        return f"{self._settings.bucket} can be read and written under the key template"

    def _queue(self) -> str:
        self._outside.prove_queue()
        return f"{self._settings.queue_url.rpartition('/')[2]} answers"
