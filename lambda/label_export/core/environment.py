"""Reads the functions' settings from environment variables, and reports what is wrong with them.

Both functions use this module, so that a shared variable has the same meaning in both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar, cast

from label_export.core.errors import SettingsError
from label_export.core.event_types import EXPORTING, normalised_event_type

T = TypeVar("T")

KeySource = Literal["secretsmanager", "environment", "file"]

DEFAULT_EVENT_TYPES = '["task_submitted_event","task_completed_event"]'
DEFAULT_KEY_FILE = "/var/task/encord_private_key"

# Which inventory variable sets a variable that both functions have: names in the deployment, only for messages.
SHARED_VARIABLES = {
    "LABEL_EXPORT_BUCKET": "label_bucket_name",
    "LABEL_EXPORT_BUCKET_OWNER": "label_export_account_id",
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
}

_ACCOUNT = re.compile(r"[0-9]{12}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUEUE_URL = re.compile(r"https?://[^\s/]+/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+")
_DOMAIN = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?")
_MOST_PERCENT = 100


class EnvironmentReader:
    """Reads single variables; an empty one counts as not set. Messages never hold a variable's value.

    All methods raise SettingsError, which names the variable, what is wrong with it, and the inventory variable to set.
    """

    def __init__(self, environment: Mapping[str, str], inventory_variables: Mapping[str, str]) -> None:
        """`inventory_variables`: which inventory variable sets each variable of the environment."""
        self._environment = environment
        self._inventory_variables = inventory_variables

    def wrong(self, variable: str, problem: str) -> SettingsError:
        """Return the error for a variable."""
        return SettingsError(f"{variable} {problem} (inventory variable {self._inventory_variables[variable]})")

    def text(self, variable: str, default: str | None = None) -> str:
        """Return a variable's text; without a default it is required."""
        value = self._environment.get(variable) or default
        if value is None:
            raise self.wrong(variable, "is not set")
        return value

    def matching(self, variable: str, pattern: re.Pattern[str], kind: str, default: str | None = None) -> str:
        """Return a text that matches a pattern; `kind` names in an error what it should be."""
        value = self.text(variable, default)
        if not pattern.fullmatch(value):
            raise self.wrong(variable, f"is not {kind}")
        return value

    def optional(self, variable: str, pattern: re.Pattern[str], kind: str) -> str | None:
        """Return a text that matches a pattern, None if the variable is not set."""
        return self.matching(variable, pattern, kind) if self._environment.get(variable) else None

    def bucket(self, variable: str) -> str:
        """Return a bucket's name."""
        return self.matching(variable, _BUCKET, "a bucket's name")

    def optional_account(self, variable: str) -> str | None:
        """Return an account's identifier, None if the variable is not set."""
        return self.optional(variable, _ACCOUNT, "an account's 12 digits")

    def queue_url(self, variable: str) -> str:
        """Return an SQS queue's URL."""
        return self.matching(variable, _QUEUE_URL, "a queue's URL")

    def secret_arn(self, variable: str) -> str:
        """Return a Secrets Manager secret's ARN."""
        return self.matching(variable, _SECRET_ARN, "a Secrets Manager secret's ARN")

    def optional_secret_arn(self, variable: str) -> str | None:
        """Return a Secrets Manager secret's ARN, None if the variable is not set."""
        return self.optional(variable, _SECRET_ARN, "a Secrets Manager secret's ARN")

    def encord_domain(self, variable: str) -> str:
        """Return the address of Encord's API, without a slash at its end."""
        kind, default = "an https address without a path", "https://api.encord.com"
        return self.matching(variable, _DOMAIN, kind, default).rstrip("/")

    def key_source(self, variable: str) -> KeySource:
        """Return the source of the Encord private key."""
        return cast(KeySource, self.one_of(variable, ("secretsmanager", "environment", "file"), "secretsmanager"))

    def one_of(self, variable: str, allowed: tuple[str, ...], default: str) -> str:
        """Return one of the allowed texts."""
        value = self.text(variable, default)
        if value not in allowed:
            raise self.wrong(variable, f"is not one of {', '.join(allowed)}")
        return value

    def number(self, variable: str, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds, both included."""
        value = self.text(variable, str(default))
        if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise self.wrong(variable, f"is not a whole number from {least} to {most}")
        return int(value)

    def percent(self, variable: str, default: str) -> float:
        """Return a number from 0 to 100."""
        value = self.text(variable, default)
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", value) or float(value) > _MOST_PERCENT:
            raise self.wrong(variable, "is not a number from 0 to 100 with at most two decimals")
        return float(value)

    def names(self, variable: str, default: str, kind: str, valid: Callable[[object], bool] = bool) -> frozenset[str]:
        """Return the texts of a JSON list; `kind` names in an error what they should be."""
        try:
            values = json.loads(self.text(variable, default))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or not all(isinstance(value, str) and valid(value) for value in values):
            raise self.wrong(variable, f"is not a JSON list of {kind}")
        return frozenset(values)

    def event_types(self, variable: str) -> frozenset[str]:
        """Return the types of webhooks that report changed labels, in their right spelling."""
        names = frozenset(map(normalised_event_type, self.names(variable, DEFAULT_EVENT_TYPES, "event types")))
        if not names or not names.issubset(EXPORTING):
            raise self.wrong(variable, f"is not a list of one or more of {', '.join(EXPORTING)}")
        return names

    def checked(self, variable: str, check: Callable[[str], T], default: str) -> T:
        """Return `check`'s value for the text. Its SettingsError becomes the problem in the message."""
        try:
            return check(self.text(variable, default))
        except SettingsError as error:
            raise self.wrong(variable, f"is not valid: {error}") from None
