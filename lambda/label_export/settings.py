"""The function's settings: typed, from the environment; wrong ones are refused at start, with where to set them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from label_export.core.environment import DEFAULT_KEY_FILE, SHARED_VARIABLES, EnvironmentReader, KeySource
from label_export.core.log_writer import LEVELS
from label_export.core.messages import is_hash
from label_export.core.object_keys import DEFAULT_TEMPLATE, KeyTemplate

MAX_CONCURRENCY = 50
MEBIBYTE = 1 << 20

_BASE_MEMORY = 96 * MEBIBYTE  # memory of the process without label rows
_GZIP_MEMORY = 16 * MEBIBYTE  # for one compressed row: parts being sent (adapters/aws/s3.py)

_KMS_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")

# Which inventory variable sets a variable of the environment: names in the deployment, only for messages.
INVENTORY_VARIABLES = {
    **SHARED_VARIABLES,
    "LABEL_EXPORT_SIGNING_SECRETS_ARN": "encord_secrets_signing_secret_name",
    "LABEL_EXPORT_WEBHOOK_PATH": "front_door_path",
    "LABEL_EXPORT_COMPRESSION": "export_function_compression",
    "LABEL_EXPORT_KMS_KEY_ARN": "label_bucket_kms_key_arn",
    "LABEL_EXPORT_CONCURRENCY": "export_function_label_concurrency",
    "LABEL_EXPORT_LATE_RECEIVE": "export_function_late_receive",
    "LABEL_EXPORT_MEMORY_LIMIT_BYTES": "export_function_memory_limit_bytes",
    "LABEL_EXPORT_SPOOL_LIMIT_BYTES": "export_function_spool_limit_bytes",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "export_function_memory_size",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Empty sets allow everything; sizes are in bytes."""

    bucket: str
    bucket_owner: str | None
    queue_url: str
    key_template: KeyTemplate
    private_key_source: KeySource
    private_key_secret_arn: str | None
    private_key: str | None = field(repr=False)
    private_key_file: str
    passphrase_secret_arn: str | None
    signing_secrets_arn: str
    encord_domain: str
    webhook_path: str
    projects: frozenset[str]
    event_types: frozenset[str]
    workflow_stages: frozenset[str]
    gzip: bool
    kms_key_arn: str | None
    concurrency: int
    late_receive: int
    memory_limit: int
    spool_limit: int
    log_level: str
    name: str
    environment: str

    @property
    def memory_needed(self) -> int:
        """Bytes that a batch of the largest rows may take."""
        return self.memory_limit * self.concurrency + self._memory_beside_rows

    @property
    def _memory_beside_rows(self) -> int:
        return _BASE_MEMORY + (self.concurrency * _GZIP_MEMORY if self.gzip else 0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings; raises SettingsError for the first that is missing or malformed."""
        read = EnvironmentReader(environment, INVENTORY_VARIABLES)
        source = read.key_source("LABEL_EXPORT_PRIVATE_KEY_SOURCE")
        arn_name, text_name = "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN", "LABEL_EXPORT_PRIVATE_KEY"
        settings = cls(
            bucket=read.bucket("LABEL_EXPORT_BUCKET"),
            bucket_owner=read.optional_account("LABEL_EXPORT_BUCKET_OWNER"),
            queue_url=read.queue_url("LABEL_EXPORT_QUEUE_URL"),
            key_template=read.checked("LABEL_EXPORT_KEY_TEMPLATE", KeyTemplate, DEFAULT_TEMPLATE),
            private_key_source=source,
            private_key_secret_arn=read.secret_arn(arn_name) if source == "secretsmanager" else None,
            private_key=read.text(text_name) if source == "environment" else None,
            private_key_file=read.text("LABEL_EXPORT_PRIVATE_KEY_FILE", DEFAULT_KEY_FILE),
            passphrase_secret_arn=read.optional_secret_arn("LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN"),
            signing_secrets_arn=read.secret_arn("LABEL_EXPORT_SIGNING_SECRETS_ARN"),
            encord_domain=read.encord_domain("LABEL_EXPORT_ENCORD_DOMAIN"),
            webhook_path=read.matching(
                "LABEL_EXPORT_WEBHOOK_PATH", _PATH, "a path that begins, and does not end, with a slash", "/webhook"
            ),
            projects=read.names("LABEL_EXPORT_PROJECTS", "[]", "project hashes", is_hash),
            event_types=read.event_types("LABEL_EXPORT_EVENT_TYPES"),
            workflow_stages=read.names("LABEL_EXPORT_WORKFLOW_STAGES", "[]", "workflow stages' titles"),
            gzip=read.one_of("LABEL_EXPORT_COMPRESSION", ("none", "gzip"), "none") == "gzip",
            kms_key_arn=read.optional("LABEL_EXPORT_KMS_KEY_ARN", _KMS_ARN, "a KMS key's ARN"),
            concurrency=read.number("LABEL_EXPORT_CONCURRENCY", 5, 1, MAX_CONCURRENCY),
            late_receive=read.number("LABEL_EXPORT_LATE_RECEIVE", 3, 2, 1000),
            memory_limit=read.number("LABEL_EXPORT_MEMORY_LIMIT_BYTES", 64 * MEBIBYTE, MEBIBYTE, 8192 * MEBIBYTE),
            spool_limit=read.number("LABEL_EXPORT_SPOOL_LIMIT_BYTES", 448 * MEBIBYTE, 0, 10240 * MEBIBYTE),
            log_level=read.one_of("LABEL_EXPORT_LOG_LEVEL", LEVELS, "INFO"),
            name=read.text("LABEL_EXPORT_NAME", "label-export"),
            environment=read.text("LABEL_EXPORT_ENVIRONMENT", "default"),
        )
        memory = read.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 10240, 128, 10240) * MEBIBYTE  # set by Lambda
        if settings.memory_needed > memory:
            most = max(0, memory - settings._memory_beside_rows) // settings.concurrency
            problem = f"is not within the function's memory: with LABEL_EXPORT_CONCURRENCY={settings.concurrency}"
            raise read.wrong("LABEL_EXPORT_MEMORY_LIMIT_BYTES", f"{problem} it can be at most {most}")
        return settings
