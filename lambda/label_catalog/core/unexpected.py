"""The reason and the detail of an error that no part of the function raises on purpose."""

from __future__ import annotations

from label_export.core.errors import where

# Texts of the operating system, of DuckDB (its limit is 90 % of what is free) and of SQLite.
_STORAGE_IS_FULL = ("no space left on device", "max_temp_directory_size", "database or disk is full")


def explained(error: Exception) -> tuple[str, str]:
    """Return a stable name for logs and metrics, and a detail without the error's own text."""
    text = str(error).lower()
    if any(part in text for part in _STORAGE_IS_FULL):
        return "storage", f"the ephemeral storage is full: raise catalog_function_ephemeral_storage ({where(error)})"
    return "unexpected", where(error)
