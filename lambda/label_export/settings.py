"""The function's settings: typed, from the environment; wrong ones are refused at start, with where to mend them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from label_export.core.errors import SettingsError
from label_export.core.event_types import EXPORTING, normalised_event_type
from label_export.core.messages import is_hash
from label_export.core.object_keys import DEFAULT_TEMPLATE, KeyTemplate
from label_export.telemetry import LEVELS

T = TypeVar("T")

KeySource = Literal["secretsmanager", "environment", "file"]

DEFAULT_EVENT_TYPES = '["task_submitted_event","task_completed_event"]'
DEFAULT_KEY_FILE = "/var/task/encord_private_key"
MAX_CONCURRENCY = 50
MEBIBYTE = 1 << 20

_BASE_MEMORY = 96 * MEBIBYTE  # what the process takes without any label row
_GZIP_MEMORY = 16 * MEBIBYTE  # of one row that is compressed: parts on their way (adapters/aws/s3.py)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUEUE_URL = re.compile(r"https?://[^\s/]+/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+")
_KMS_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DOMAIN = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?")

# Which inventory variable sets a variable of the environment: the deployment's names, for messages alone.
INVENTORY_VARIABLES = {
    "LABEL_EXPORT_BUCKET": "label_bucket_name",
    "LABEL_EXPORT_QUEUE_URL": "export_queue_name",
    "LABEL_EXPORT_KEY_TEMPLATE": "export_function_key_template",
    "LABEL_EXPORT_PRIVATE_KEY_SOURCE": "encord_secrets_private_key_source",
    "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": "encord_secrets_private_key_secret_arn",
    "LABEL_EXPORT_PRIVATE_KEY": "encord_secrets_private_key",
    "LABEL_EXPORT_PRIVATE_KEY_FILE": "encord_secrets_private_key_file",
    "LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN": "encord_secrets_private_key_passphrase_secret_arn",
    "LABEL_EXPORT_SIGNING_SECRETS_ARN": "encord_secrets_signing_secret_name",
    "LABEL_EXPORT_ENCORD_DOMAIN": "export_function_encord_domain",
    "LABEL_EXPORT_WEBHOOK_PATH": "front_door_path",
    "LABEL_EXPORT_PROJECTS": "export_function_projects",
    "LABEL_EXPORT_EVENT_TYPES": "export_function_event_types",
    "LABEL_EXPORT_WORKFLOW_STAGES": "export_function_workflow_stages",
    "LABEL_EXPORT_COMPRESSION": "export_function_compression",
    "LABEL_EXPORT_KMS_KEY_ARN": "label_bucket_kms_key_arn",
    "LABEL_EXPORT_CONCURRENCY": "export_function_label_concurrency",
    "LABEL_EXPORT_LATE_RECEIVE": "export_function_late_receive",
    "LABEL_EXPORT_MEMORY_LIMIT_BYTES": "export_function_memory_limit_bytes",
    "LABEL_EXPORT_SPOOL_LIMIT_BYTES": "export_function_spool_limit_bytes",
    "LABEL_EXPORT_LOG_LEVEL": "export_function_log_level",
    "LABEL_EXPORT_NAME": "label_export_name",
    "LABEL_EXPORT_ENVIRONMENT": "label_export_environment",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "export_function_memory_size",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Sets are empty where everything is allowed; sizes are in bytes."""

    bucket: str
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
        read = _Reader(environment)
        source = cast(
            KeySource,
            read.one_of("LABEL_EXPORT_PRIVATE_KEY_SOURCE", ("secretsmanager", "environment", "file"), "secretsmanager"),
        )
        arn_name, text_name = "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN", "LABEL_EXPORT_PRIVATE_KEY"
        settings = cls(
            bucket=read.matching("LABEL_EXPORT_BUCKET", _BUCKET, "a bucket's name"),
            queue_url=read.matching("LABEL_EXPORT_QUEUE_URL", _QUEUE_URL, "a queue's URL"),
            key_template=read.checked("LABEL_EXPORT_KEY_TEMPLATE", KeyTemplate, DEFAULT_TEMPLATE),
            private_key_source=source,
            private_key_secret_arn=read.secret_arn(arn_name) if source == "secretsmanager" else None,
            private_key=read.text(text_name) if source == "environment" else None,
            private_key_file=read.text("LABEL_EXPORT_PRIVATE_KEY_FILE", DEFAULT_KEY_FILE),
            passphrase_secret_arn=read.optional_secret_arn("LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN"),
            signing_secrets_arn=read.secret_arn("LABEL_EXPORT_SIGNING_SECRETS_ARN"),
            encord_domain=read.matching(
                "LABEL_EXPORT_ENCORD_DOMAIN", _DOMAIN, "an https address without a path", "https://api.encord.com"
            ).rstrip("/"),
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
            raise _wrong("LABEL_EXPORT_MEMORY_LIMIT_BYTES", f"{problem} it can be at most {most}")
        return settings


class _Reader:
    """Reads single variables; an empty one counts as not set. Messages never hold a variable's value."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, variable: str, default: str | None = None) -> str:
        value = self._environment.get(variable) or default
        if value is None:
            raise _wrong(variable, "is not set")
        return value

    def matching(self, variable: str, pattern: re.Pattern[str], kind: str, default: str | None = None) -> str:
        value = self.text(variable, default)
        if not pattern.fullmatch(value):
            raise _wrong(variable, f"is not {kind}")
        return value

    def optional(self, variable: str, pattern: re.Pattern[str], kind: str) -> str | None:
        return self.matching(variable, pattern, kind) if self._environment.get(variable) else None

    def secret_arn(self, variable: str) -> str:
        return self.matching(variable, _SECRET_ARN, "a Secrets Manager secret's ARN")

    def optional_secret_arn(self, variable: str) -> str | None:
        return self.optional(variable, _SECRET_ARN, "a Secrets Manager secret's ARN")

    def one_of(self, variable: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(variable, default)
        if value not in allowed:
            raise _wrong(variable, f"is not one of {', '.join(allowed)}")
        return value

    def number(self, variable: str, default: int, least: int, most: int) -> int:
        value = self.text(variable, str(default))
        if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise _wrong(variable, f"is not a whole number from {least} to {most}")
        return int(value)

    def names(self, variable: str, default: str, kind: str, valid: Callable[[object], bool] = bool) -> frozenset[str]:
        try:
            values = json.loads(self.text(variable, default))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or not all(isinstance(value, str) and valid(value) for value in values):
            raise _wrong(variable, f"is not a JSON list of {kind}")
        return frozenset(values)

    def event_types(self, variable: str) -> frozenset[str]:
        names = frozenset(map(normalised_event_type, self.names(variable, DEFAULT_EVENT_TYPES, "event types")))
        if not names or not names.issubset(EXPORTING):
            raise _wrong(variable, f"is not a list of one or more of {', '.join(EXPORTING)}")
        return names

    def checked(self, variable: str, check: Callable[[str], T], default: str) -> T:
        try:
            return check(self.text(variable, default))
        except SettingsError as error:
            raise _wrong(variable, f"is not right: {error}") from None


def _wrong(variable: str, problem: str) -> SettingsError:
    return SettingsError(f"{variable} {problem} (inventory variable {INVENTORY_VARIABLES[variable]})")
