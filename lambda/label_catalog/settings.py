"""The function's typed settings, from the environment; a wrong one is refused at the start, with where to fix it.

Settings of the exporter have its names and must have its values: the catalog compares with what the exporter writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from label_export.core.environment import DEFAULT_KEY_FILE, SHARED_VARIABLES, EnvironmentReader, KeySource
from label_export.core.log_writer import LEVELS
from label_export.core.messages import is_hash
from label_export.core.object_keys import DEFAULT_TEMPLATE, KeyTemplate

from label_catalog.core.formats import LOCK_MODES, LockMode

# Which inventory variable sets an environment variable; only for messages.
INVENTORY_VARIABLES = {
    **SHARED_VARIABLES,
    "LABEL_CATALOG_QUEUE_URL": "catalog_queue_name",
    "LABEL_CATALOG_BACKFILL_QUEUE_URL": "catalog_queue_backfill_name",
    "LABEL_CATALOG_OVERLAP_SECONDS": "catalog_function_overlap",
    "LABEL_CATALOG_LOOKBACK_SECONDS": "catalog_function_lookback",
    "LABEL_CATALOG_GRACE_SECONDS": "catalog_function_webhook_grace",
    "LABEL_CATALOG_WEBHOOKS": "front_door_kind",
    "LABEL_CATALOG_DELETED_LABELS": "catalog_function_deleted_labels",
    "LABEL_CATALOG_SAMPLE_PERCENT": "catalog_function_sample_percent",
    "LABEL_CATALOG_LISTING_SECONDS": "catalog_function_listing_timeout",
    "LABEL_CATALOG_LISTING_BYTES": "catalog_function_listing_limit_bytes",
    "LABEL_CATALOG_INDEX": "label_bucket_event_bridge",
    "LABEL_CATALOG_INDEX_LABEL_BYTES": "catalog_function_index_label_limit_bytes",
    "LABEL_CATALOG_INDEX_GENERATIONS": "catalog_function_index_generations",
    "LABEL_CATALOG_INDEX_WINDOW_SECONDS": "catalog_function_index_window",
    "LABEL_CATALOG_PERSONAL_DATA": "catalog_function_index_personal_data",
    "LABEL_CATALOG_TABLE": "label_catalog_table_enabled",
    "LABEL_CATALOG_SNAPSHOT_LOCK_MODE": "catalog_function_snapshot_lock_mode",
    "LABEL_CATALOG_SNAPSHOT_LOCK_DAYS": "catalog_function_snapshot_lock_days",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Empty sets allow everything. Times are in seconds, sizes in bytes."""

    bucket: str
    bucket_owner: str | None
    export_queue_url: str
    backfill_queue_url: str
    queue_url: str
    key_template: str
    keys: KeyTemplate
    private_key_source: KeySource
    private_key_secret_arn: str | None
    private_key: str | None = field(repr=False)
    private_key_file: str
    passphrase_secret_arn: str | None
    encord_domain: str
    projects: frozenset[str]
    event_types: frozenset[str]
    workflow_stages: frozenset[str]
    overlap: int
    lookback: int
    grace: int
    webhooks: bool
    delete_labels: bool
    sample_percent: float
    listing_seconds: int
    listing_bytes: int
    index: bool
    index_label_bytes: int
    index_generations: int
    index_window: int
    personal_data: bool
    table: bool
    memory_megabytes: int
    snapshot_lock_mode: LockMode
    snapshot_lock_days: int
    log_level: str
    name: str
    environment: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings; raises SettingsError for the first one that is missing or malformed."""
        read = EnvironmentReader(environment, INVENTORY_VARIABLES)
        source = read.key_source("LABEL_EXPORT_PRIVATE_KEY_SOURCE")
        arn_name, text_name = "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN", "LABEL_EXPORT_PRIVATE_KEY"
        return cls(
            bucket=read.bucket("LABEL_EXPORT_BUCKET"),
            bucket_owner=read.optional_account("LABEL_EXPORT_BUCKET_OWNER"),
            export_queue_url=read.queue_url("LABEL_EXPORT_QUEUE_URL"),
            backfill_queue_url=read.queue_url("LABEL_CATALOG_BACKFILL_QUEUE_URL"),
            queue_url=read.queue_url("LABEL_CATALOG_QUEUE_URL"),
            key_template=read.text("LABEL_EXPORT_KEY_TEMPLATE", DEFAULT_TEMPLATE),
            keys=read.checked("LABEL_EXPORT_KEY_TEMPLATE", KeyTemplate, DEFAULT_TEMPLATE),
            private_key_source=source,
            private_key_secret_arn=read.secret_arn(arn_name) if source == "secretsmanager" else None,
            private_key=read.text(text_name) if source == "environment" else None,
            private_key_file=read.text("LABEL_EXPORT_PRIVATE_KEY_FILE", DEFAULT_KEY_FILE),
            passphrase_secret_arn=read.optional_secret_arn("LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN"),
            encord_domain=read.encord_domain("LABEL_EXPORT_ENCORD_DOMAIN"),
            projects=read.names("LABEL_EXPORT_PROJECTS", "[]", "project hashes", is_hash),
            event_types=read.event_types("LABEL_EXPORT_EVENT_TYPES"),
            workflow_stages=read.names("LABEL_EXPORT_WORKFLOW_STAGES", "[]", "workflow stages' titles"),
            overlap=read.number("LABEL_CATALOG_OVERLAP_SECONDS", 1800, 0, 86_400),
            lookback=read.number("LABEL_CATALOG_LOOKBACK_SECONDS", 86_400, 600, 2_592_000),
            grace=read.number("LABEL_CATALOG_GRACE_SECONDS", 600, 0, 86_400),
            webhooks=read.one_of("LABEL_CATALOG_WEBHOOKS", ("true", "false"), "true") == "true",
            delete_labels=read.one_of("LABEL_CATALOG_DELETED_LABELS", ("keep", "delete"), "keep") == "delete",
            sample_percent=read.percent("LABEL_CATALOG_SAMPLE_PERCENT", "1"),
            listing_seconds=read.number("LABEL_CATALOG_LISTING_SECONDS", 120, 1, 600),
            listing_bytes=read.number("LABEL_CATALOG_LISTING_BYTES", 2 << 30, 1 << 10, 8 << 30),
            index=read.one_of("LABEL_CATALOG_INDEX", ("true", "false"), "true") == "true",
            index_label_bytes=read.number("LABEL_CATALOG_INDEX_LABEL_BYTES", 64 << 20, 1 << 10, 1 << 30),
            index_generations=read.number("LABEL_CATALOG_INDEX_GENERATIONS", 3, 1, 1000),
            index_window=read.number("LABEL_CATALOG_INDEX_WINDOW_SECONDS", 300, 0, 300),
            personal_data=read.one_of("LABEL_CATALOG_PERSONAL_DATA", ("true", "false"), "false") == "true",
            table=read.one_of("LABEL_CATALOG_TABLE", ("true", "false"), "false") == "true",
            memory_megabytes=read.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1024, 128, 10_240),
            snapshot_lock_mode=cast(LockMode, read.one_of("LABEL_CATALOG_SNAPSHOT_LOCK_MODE", LOCK_MODES, "none")),
            snapshot_lock_days=read.number("LABEL_CATALOG_SNAPSHOT_LOCK_DAYS", 365, 1, 36_500),
            log_level=read.one_of("LABEL_EXPORT_LOG_LEVEL", LEVELS, "INFO"),
            name=read.text("LABEL_EXPORT_NAME", "label-export"),
            environment=read.text("LABEL_EXPORT_ENVIRONMENT", "default"),
        )
