"""Behaviour that only the live service would show, as settings that a test can change (control API: ``settings``)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

KeyOrder = Literal["status-first", "response-first"]
Whitespace = Literal["compact", "spaced", "indented"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The form of responses. The defaults are guesses; a client must work with every combination."""

    envelope_key_order: KeyOrder = "status-first"
    envelope_whitespace: Whitespace = "compact"
    envelope_payload: Literal["absent", "null"] = "absent"  # of a response that is not an error
    row_whitespace: Literal["compact", "spaced"] = "compact"
    row_escapes: Literal["utf8", "ascii"] = "utf8"
    error_http_status: Literal["200", "same"] = "200"  # "same": the HTTP status repeats the envelope's
    missing_labels: Literal["omit", "error"] = "omit"  # in a request for several labels
    gzip: bool = True
    gzip_level: int = 1
    clock_tolerance_seconds: int = 300
    multi_label_limit: int = 1000
    page_size: int = 100  # of the paged feeds
    task_actions: Literal["served", "refused", "absent"] = "served"
    task_actions_lag_seconds: int = 0  # how late an action appears
    stage_tasks_order: Literal["project", "newest-first", "oldest-first"] = "project"  # by the tasks' update times
    edit_window_ends: Literal["excluded", "included"] = "excluded"  # rows edited at a listing's own bounds
    largest_listing: int = 0  # rows; a larger listing is refused as too slow (0: none is)

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return the settings with these changes. Raises ValueError for the first one that is invalid."""
        hints = get_type_hints(Settings)
        for name, value in changes.items():
            if name not in hints:
                raise ValueError(f"unknown setting {name!r}; there are: {', '.join(hints)}")
            hint = hints[name]
            if get_origin(hint) is Literal:
                if value not in get_args(hint):
                    raise ValueError(f"{name} must be one of {', '.join(get_args(hint))}")
            elif type(value) is not hint or (hint is int and value < 0):
                raise ValueError(f"{name} must be a {'boolean' if hint is bool else 'whole number of at least 0'}")
        return dataclasses.replace(self, **changes)
