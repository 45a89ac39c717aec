"""The function's settings: typed, from the environment; a wrong one is refused at start, with where to fix it.

Those of the exporter have its names, and must have its values: the catalog compares with what the exporter writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from label_export.core.errors import SettingsError
from label_export.core.event_types import normalised_event_type
from label_export.core.messages import is_hash
from label_export.core.object_keys import DEFAULT_TEMPLATE, KeyTemplate

from label_catalog.telemetry import LEVELS

KeySource = Literal["secretsmanager", "environment", "file"]

DEFAULT_EVENT_TYPES = '["task_submitted_event","task_completed_event"]'
DEFAULT_KEY_FILE = "/var/task/encord_private_key"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUEUE_URL = re.compile(r"https?://[^\s/]+/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+")
_DOMAIN = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?")

# Which inventory variable sets a variable of the environment: for messages alone.
INVENTORY_VARIABLES = {
    "LABEL_EXPORT_BUCKET": "label_bucket_name",
    "LABEL_EXPORT_QUEUE_URL": "export_queue_name",
    "LABEL_EXPORT_KEY_TEMPLATE": "export_function_key_template",
    "LABEL_EXPORT_PRIVATE_KEY_SOURCE": "encord_secrets_private_key_source",
    "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": "encord_secrets_private_key_secret_arn",
    "LABEL_EXPORT_PRIVATE_KEY": "encord_secrets_private_key",
    "LABEL_EXPORT_PRIVATE_KEY_FILE": "encord_secrets_private_key_file",
    "LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN": "encord_secrets_private_key_passphrase_secret_arn",
    "LABEL_EXPORT_ENCORD_DOMAIN": "export_function_encord_domain",
    "LABEL_EXPORT_PROJECTS": "export_function_projects",
    "LABEL_EXPORT_EVENT_TYPES": "export_function_event_types",
    "LABEL_EXPORT_WORKFLOW_STAGES": "export_function_workflow_stages",
    "LABEL_EXPORT_LOG_LEVEL": "export_function_log_level",
    "LABEL_EXPORT_NAME": "label_export_name",
    "LABEL_EXPORT_ENVIRONMENT": "label_export_environment",
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
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Empty sets allow everything. Times are in seconds, sizes in bytes."""

    bucket: str
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
    log_level: str
    name: str
    environment: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings; raises SettingsError for the first that is missing or malformed."""
        read = _Reader(environment)
        source = cast(
            KeySource,
            read.one_of("LABEL_EXPORT_PRIVATE_KEY_SOURCE", ("secretsmanager", "environment", "file"), "secretsmanager"),
        )
        secret, passphrase = "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN", "LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN"
        template = read.text("LABEL_EXPORT_KEY_TEMPLATE", DEFAULT_TEMPLATE)
        try:
            keys = KeyTemplate(template)
        except SettingsError as error:
            raise _wrong("LABEL_EXPORT_KEY_TEMPLATE", f"is not right: {error}") from None
        return cls(
            bucket=read.matching("LABEL_EXPORT_BUCKET", _BUCKET, "a bucket's name"),
            export_queue_url=read.matching("LABEL_EXPORT_QUEUE_URL", _QUEUE_URL, "a queue's URL"),
            backfill_queue_url=read.matching("LABEL_CATALOG_BACKFILL_QUEUE_URL", _QUEUE_URL, "a queue's URL"),
            queue_url=read.matching("LABEL_CATALOG_QUEUE_URL", _QUEUE_URL, "a queue's URL"),
            key_template=template,
            keys=keys,
            private_key_source=source,
            private_key_secret_arn=read.matching(secret, _SECRET_ARN, "a Secrets Manager secret's ARN")
            if source == "secretsmanager"
            else None,
            private_key=read.text("LABEL_EXPORT_PRIVATE_KEY") if source == "environment" else None,
            private_key_file=read.text("LABEL_EXPORT_PRIVATE_KEY_FILE", DEFAULT_KEY_FILE),
            passphrase_secret_arn=read.matching(passphrase, _SECRET_ARN, "a Secrets Manager secret's ARN")
            if environment.get(passphrase)
            else None,
            encord_domain=read.matching(
                "LABEL_EXPORT_ENCORD_DOMAIN", _DOMAIN, "an https address without a path", "https://api.encord.com"
            ).rstrip("/"),
            projects=read.names("LABEL_EXPORT_PROJECTS", "[]", "project hashes", is_hash),
            event_types=frozenset(
                normalised_event_type(name)
                for name in read.names("LABEL_EXPORT_EVENT_TYPES", DEFAULT_EVENT_TYPES, "event types")
            ),
            workflow_stages=read.names("LABEL_EXPORT_WORKFLOW_STAGES", "[]", "workflow stages' titles"),
            overlap=read.number("LABEL_CATALOG_OVERLAP_SECONDS", 1800, 0, 86_400),
            lookback=read.number("LABEL_CATALOG_LOOKBACK_SECONDS", 86_400, 600, 2_592_000),
            grace=read.number("LABEL_CATALOG_GRACE_SECONDS", 600, 0, 86_400),
            webhooks=read.one_of("LABEL_CATALOG_WEBHOOKS", ("true", "false"), "true") == "true",
            delete_labels=read.one_of("LABEL_CATALOG_DELETED_LABELS", ("keep", "delete"), "keep") == "delete",
            sample_percent=read.percent("LABEL_CATALOG_SAMPLE_PERCENT", "1"),
            listing_seconds=read.number("LABEL_CATALOG_LISTING_SECONDS", 120, 1, 600),
            listing_bytes=read.number("LABEL_CATALOG_LISTING_BYTES", 2 << 30, 1 << 10, 8 << 30),
            log_level=read.one_of("LABEL_EXPORT_LOG_LEVEL", LEVELS, "INFO"),
            name=read.text("LABEL_EXPORT_NAME", "label-export"),
            environment=read.text("LABEL_EXPORT_ENVIRONMENT", "default"),
        )


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

    def percent(self, variable: str, default: str) -> float:
        value = self.text(variable, default)
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", value) or float(value) > 100:  # noqa: PLR2004 - per cent
            raise _wrong(variable, "is not a number from 0 to 100 with at most two decimals")
        return float(value)

    def names(self, variable: str, default: str, kind: str, valid: Callable[[object], bool] = bool) -> frozenset[str]:
        try:
            values = json.loads(self.text(variable, default))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or not all(isinstance(value, str) and valid(value) for value in values):
            raise _wrong(variable, f"is not a JSON list of {kind}")
        return frozenset(values)


def _wrong(variable: str, problem: str) -> SettingsError:
    return SettingsError(f"{variable} {problem} (inventory variable {INVENTORY_VARIABLES[variable]})")
