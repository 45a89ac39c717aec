"""Proves from inside that this version can do its work: what a deploy asks before the version takes any.

Everything is read anew, so that what was mended a moment ago counts; nothing is written, queued, created or left.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from label_export import __version__
from label_export.adapters.aws import AwsClient
from label_export.adapters.encord import EncordAccount, EncordSource
from label_export.adapters.s3 import Layout, S3Store
from label_export.adapters.secretsmanager import Secret
from label_export.adapters.spool import Spool
from label_export.adapters.transport import Transport
from label_export.authentication import WebhookSecrets
from label_export.errors import ExportError, PermanentError, TerminalError, where
from label_export.exporting import encord_keys
from label_export.observability import Telemetry
from label_export.ports import LabelRow
from label_export.retry import Retry
from label_export.settings import Settings

SECONDS = 30.0  # that all checks may take; whoever invokes waits for the answer
PROJECTS_ASKED = 20  # of the allow list, each a request to Encord

Check = Callable[[], str]


class SelfCheck:
    """One self check, within one invocation."""

    def __init__(
        self, settings: Settings, transport: Transport, aws: AwsClient, *, retry: Retry, telemetry: Telemetry
    ) -> None:
        """`retry` bounds the time; pass one that ends before the invocation does."""
        self._settings = settings
        self._transport = transport
        self._aws = aws
        self._retry = retry
        self._telemetry = telemetry
        self._keys = encord_keys(settings, aws)

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
        except Exception as error:  # noqa: BLE001  (the other checks tell more; the text could hold anything)
            result = {"name": name, "ok": False, "reason": "unexpected", "detail": where(error)}
        self._telemetry.log("ERROR", "self check failed", check=name, reason=result["reason"], detail=result["detail"])
        return result

    def _webhook_secrets(self) -> str:
        text = Secret(self._aws, self._settings.signing_secrets_arn).text(self._retry)
        secrets = WebhookSecrets.from_json(text)
        signing, tokens = len(secrets.signing_secrets), len(secrets.url_tokens)
        if not signing and not tokens:
            return "none is set: every webhook is refused"
        return f"{signing} signing secrets and {tokens} URL tokens are set"

    def _private_key(self) -> str:
        self._keys.current(self._retry)
        return f"it is an Ed25519 key, read from {self._settings.private_key_source}"

    def _encord(self) -> str:
        """Ask for labels that do not exist: reading, and signed. Every project of the allow list is asked."""
        settings = self._settings
        account = EncordAccount(self._transport, settings.encord_domain, self._keys, self._spool())
        source = EncordSource(account, self._retry, self._telemetry.measure)
        projects = sorted(settings.projects)[:PROJECTS_ASKED]
        for project in projects:
            try:
                source.labels_of_data(project, str(uuid.uuid4()))
            except TerminalError as error:  # deleted, or never shared with the key's owner
                raise PermanentError("no_project", f"Encord does not let us read project {project}: {error}") from None
        if projects:
            return f"{settings.encord_domain} accepts the key, which can read {len(projects)} projects"
        # Encord looks at the key first. That it then lets us read no such project is what was to be expected.
        with suppress(TerminalError):
            source.labels_of_data(str(uuid.uuid4()), str(uuid.uuid4()))
        return f"{settings.encord_domain} accepts the key"

    def _bucket(self) -> str:
        project, label = str(uuid.uuid4()), str(uuid.uuid4())
        row = LabelRow(label, None, None, None, None, None, None, b"", "")
        layout = Layout(self._settings.bucket, self._settings.gzip, self._settings.kms_key_arn)
        store = S3Store(self._aws, layout, self._spool().collect, self._retry, self._telemetry.measure)
        store.prove_writable(self._settings.keys.render(project, row), project, row)
        return f"{self._settings.bucket} can be read and written under the key template"

    def _spool(self) -> Spool:
        return Spool(self._settings.memory_limit, self._settings.spool_limit)

    def _queue(self) -> str:
        request = {"QueueUrl": self._settings.queue_url, "AttributeNames": ["QueueArn"]}
        self._retry(lambda timeout: self._aws.call("AmazonSQS.GetQueueAttributes", request, timeout))
        return f"{self._settings.queue_url.rpartition('/')[2]} answers"
