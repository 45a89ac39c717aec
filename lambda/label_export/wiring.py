"""Connects the parts that export labels, and keeps them between invocations.

A separate module, so that a webhook's cold start does not import what only exports need (cryptography, msgspec).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from label_export.adapters.aws.client import AwsClient
from label_export.adapters.aws.s3 import Layout, S3Store
from label_export.adapters.aws.secretsmanager import OnStale, Secret
from label_export.adapters.aws.sqs import SqsQueue
from label_export.adapters.encord.private_key import KeyReader, ReadText, TextSource
from label_export.adapters.encord.source import CurrentKey, EncordAccount, EncordSource
from label_export.adapters.encord.spool import Spool
from label_export.adapters.transport import Transport
from label_export.core.errors import ExportError, PermanentError
from label_export.core.export import Exporter
from label_export.core.ports import LabelRow
from label_export.retry import Pace, Retry
from label_export.settings import Settings
from label_export.telemetry import Telemetry

A = TypeVar("A")
T = TypeVar("T")


class Exports:
    """Creates an Exporter for each invocation from kept connections, keys and threads."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        aws: AwsClient,
        private_key: Secret[str] | None,
        on_stale: OnStale,
    ) -> None:
        """`private_key` is its secret, if it is in one. `on_stale` is called for secrets that cannot be read again."""
        self._settings = settings
        self._aws = aws
        key = current_key(settings, aws, private_key, on_stale)
        self._spool = Spool(settings.memory_limit, settings.spool_limit)
        self._account = EncordAccount(transport, settings.encord_domain, key, self._spool)
        self._encord_pace = Pace()
        self._layout = Layout(settings.bucket, settings.gzip, settings.kms_key_arn, settings.bucket_owner)
        # Two pools, so that items that wait for a read of the store cannot use up the threads for these reads.
        self._items, self._looks = self._pools()

    def exporter(self, retry: Retry, telemetry: Telemetry) -> Exporter:
        """Return the Exporter for one invocation."""
        return Exporter(
            source=EncordSource(self._account, retry.at_pace(self._encord_pace), telemetry.measure),
            store=S3Store(self._aws, self._layout, retry, telemetry.measure),
            key_template=self._settings.key_template,
            projects=self._settings.projects,
            stages=self._settings.workflow_stages,
            late_receive=self._settings.late_receive,
            start=self._start,
        )

    def concurrently(self, work: Callable[[A], T], items: Sequence[A], seconds: float) -> list[T | None]:
        """Map `work` over `items` in threads, as many as the concurrency that is set; results in their order.

        None for items that have not ended after `seconds`. Such an item ends later without harm: it has no time left,
        and its write is conditional. The next batch does not wait for its thread.
        """
        begun = [self._items.submit(work, item) for item in items]
        if wait(begun, timeout=seconds).not_done:
            self._items, self._looks = self._pools()
        return [future.result() if not future.cancel() and future.done() else None for future in begun]

    def _pools(self) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
        count = self._settings.concurrency
        return ThreadPoolExecutor(count, thread_name_prefix="item"), ThreadPoolExecutor(
            count, thread_name_prefix="look"
        )

    def _start(self, work: Callable[[], T]) -> Callable[[], T]:
        return self._looks.submit(work).result


class Uncached:
    """The services that the self check uses in one invocation. See Outside in entrypoints/self_check.py."""

    def __init__(
        self, settings: Settings, transport: Transport, aws: AwsClient, retry: Retry, telemetry: Telemetry
    ) -> None:
        """`retry` limits the time; pass one that ends before the invocation does."""
        self._settings = settings
        self._transport = transport
        self._aws = aws
        self._retry = retry
        self._observe = telemetry.measure
        arn = settings.private_key_secret_arn
        private_key = _secret(aws, arn, _no_stale) if arn else None
        self._key = current_key(settings, aws, private_key, _no_stale)

    def signing_secrets(self) -> str:
        """Return the text of the signing secrets' secret."""
        return _secret(self._aws, self._settings.signing_secrets_arn, _no_stale).value(self._retry)

    def private_key(self) -> object:
        """Return the private key."""
        return self._key.get(self._retry)

    def source(self) -> EncordSource:
        """Return the source of label rows."""
        account = EncordAccount(self._transport, self._settings.encord_domain, self._key, self._spool())
        return EncordSource(account, self._retry, self._observe)

    def prove_writable(self, project_hash: str, row: LabelRow) -> None:
        """Check that the bucket accepts an object for `row`, without writing one."""
        settings = self._settings
        layout = Layout(settings.bucket, settings.gzip, settings.kms_key_arn, settings.bucket_owner)
        store = S3Store(self._aws, layout, self._retry, self._observe)
        store.prove_writable(self._settings.key_template.render(project_hash, row), project_hash, row)

    def prove_queue(self) -> None:
        """Check that the queue responds."""
        SqsQueue(self._aws, self._settings.queue_url, self._retry).prove()

    def _spool(self) -> Spool:
        return Spool(self._settings.memory_limit, self._settings.spool_limit)


def _no_stale(_: ExportError) -> None:
    """Nothing is stale if nothing is kept."""


def current_key(settings: Settings, aws: AwsClient, private_key: Secret[str] | None, on_stale: OnStale) -> CurrentKey:
    """Return the private key in use, from the configured source.

    `private_key` is its secret, if it is in one.
    """
    text = _text_of(private_key)
    if settings.private_key_source == "environment":
        text = TextSource(_always(settings.private_key), _always(None))
    if settings.private_key_source == "file":
        text = TextSource(_file_text(settings.private_key_file), _always(None))
    arn = settings.passphrase_secret_arn
    passphrase = _text_of(_secret(aws, arn, on_stale) if arn else None)
    reader = KeyReader(text, passphrase, on_stale)
    return CurrentKey(reader.read, reader.refresh)


def _secret(aws: AwsClient, arn: str, on_stale: OnStale) -> Secret[str]:
    return Secret(aws, arn, str, on_stale)


def _text_of(secret: Secret[str] | None) -> TextSource:
    if secret is None:
        return TextSource(_always(None), _always(None))
    return TextSource(secret.value, secret.refresh)


def _always(text: str | None) -> ReadText:
    return lambda _retry: text


def _file_text(path: str) -> ReadText:
    def read(_retry: Retry) -> str:
        try:
            return Path(path).read_text("utf-8", "replace")
        except OSError as error:
            raise PermanentError("private_key", f"the private key's file cannot be read: {error.strerror}") from None

    return read
