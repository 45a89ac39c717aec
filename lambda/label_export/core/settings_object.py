"""Settings that do not fit into a function's environment: an object in the label bucket that the environment names.

Its key has the SHA-256 of its content, so it never changes: a version of the function, also one that is rolled back to,
always has the settings that it was deployed with.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from label_export.core.errors import SettingsError

VARIABLE = "LABEL_EXPORT_SETTINGS_OBJECT"
BUCKET_VARIABLE = "LABEL_EXPORT_BUCKET"
OWNER_VARIABLE = "LABEL_EXPORT_BUCKET_OWNER"

_KEY = re.compile(r"[A-Za-z0-9._/-]+/([0-9a-f]{64})\.json")
_WHERE = "deploy again; playbooks/deploy.yml writes it"


def settings_key(environment: Mapping[str, str]) -> str | None:
    """Return the object's key, None without an object; raises SettingsError for any other value."""
    key = environment.get(VARIABLE)
    if not key:
        return None
    if not _KEY.fullmatch(key):
        raise SettingsError(f"{VARIABLE} is not the key of a settings object ({_WHERE})")
    return key


def with_settings(environment: Mapping[str, str], key: str, content: bytes) -> dict[str, str]:
    """Return the environment with the variables of a settings object, which is a JSON object of texts.

    Raises SettingsError for content that does not match the key.
    """
    if hashlib.sha256(content).hexdigest() not in key:
        raise SettingsError(f"The settings object {key} was changed after the deploy: its SHA-256 differs ({_WHERE})")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise SettingsError(f"The settings object {key} is not a JSON object of texts ({_WHERE})")
    return {**environment, **values}
