"""Object keys: a template with named fields. No two labels share a key, and no value changes the key's structure."""

from __future__ import annotations

import re
from string import Formatter

from label_export.core.errors import SettingsError
from label_export.core.ports import LabelRow

DEFAULT_TEMPLATE = "encord/{project_hash}/labels/{label_hash}.json"
FIELDS = ("project_hash", "label_hash", "data_hash", "dataset_hash", "data_title", "branch_name")

MAX_KEY_BYTES = 1024  # S3's limit
_MAX_VALUE_LENGTH = 128
_LITERAL = re.compile(r"[0-9A-Za-z!_.*'()/-]*")  # S3's safe characters
_UNSAFE = re.compile(r"[^0-9A-Za-z_.-]")
_LEADING_DOTS = re.compile(r"^\.+")


class KeyTemplate:
    """A checked template for object keys.

    The template is text with fields in braces, `{label_hash}` among them and alone (but for fixed text) between two
    slashes. Values never contain a slash, so a label's hash can be read from its key, and no two labels share one.
    """

    def __init__(self, template: str) -> None:
        """Check `template`; raises SettingsError with what is wrong."""
        try:
            parts = list(Formatter().parse(template))
        except ValueError:
            raise SettingsError("its braces do not match") from None
        for literal, field, spec, conversion in parts:
            if not _LITERAL.fullmatch(literal):
                raise SettingsError("outside its fields only letters, digits and !_.*'()/- are allowed")
            if field is not None and (field not in FIELDS or spec or conversion):
                raise SettingsError(f"its fields can only be {', '.join('{' + name + '}' for name in FIELDS)}")
        self._check_segments(template)
        used = [field for _, field, _, _ in parts if field is not None]
        longest = sum(len(literal) for literal, _, _, _ in parts) + _MAX_VALUE_LENGTH * len(used)
        if longest > MAX_KEY_BYTES:
            raise SettingsError(f"it can give keys of {longest} bytes; S3 allows {MAX_KEY_BYTES}")
        self._template = template
        self.needs_row = not {"project_hash", "label_hash"}.issuperset(used)
        """Whether the key depends on the row."""

    @staticmethod
    def _check_segments(template: str) -> None:
        segments = template.split("/")
        if any(segment in ("", ".", "..") for segment in segments):
            raise SettingsError(
                "it must not start or end with a slash, nor have empty parts, '.' or '..' between slashes"
            )
        holders = [segment for segment in segments if "{label_hash}" in segment]
        if len(holders) != 1 or holders[0].count("{") != 1:
            raise SettingsError("it must have {label_hash} once, with no other field between the same two slashes")

    def render(self, project_hash: str, row: LabelRow) -> str:
        """Return the key of `row`: ASCII, at most 1024 bytes. Titles are made safe, lost characters become `_`."""
        return self._template.format(
            project_hash=_safe(project_hash),
            label_hash=row.label_hash,
            data_hash=_safe(row.data_hash),
            dataset_hash=_safe(row.dataset_hash),
            data_title=_safe(row.data_title),
            branch_name=_safe(row.branch_name),
        )

    def render_early(self, project_hash: str, label_hash: str) -> str | None:
        """Return the key without the row, None if the template needs the row."""
        if self.needs_row:
            return None
        return self._template.format(project_hash=_safe(project_hash), label_hash=label_hash)


def _safe(value: str | None) -> str:
    shortened = _UNSAFE.sub("_", value or "")[:_MAX_VALUE_LENGTH]
    return _LEADING_DOTS.sub(lambda dots: "_" * len(dots[0]), shortened) or "_"
