"""The listing of a project's label rows (``labelrowmetadata``/GET) with its filters.

Source of the filters: ``encord.client.EncordClientProject.list_label_rows`` (0.1.211). There is no paging and no limit.
It is not documented whether ``edited_after`` and ``edited_before`` include their own instant. By default they do not,
which is harder for a client that lists in windows (setting ``edit_window_ends``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from encord_stand_in import times
from encord_stand_in.projects import LabelRow, Project

Condition = Callable[[LabelRow], bool]


class InvalidFilterError(Exception):
    """A filter that does not have the form that the SDK sends; ``error_name`` is Encord's name of the error."""

    def __init__(self, message: str, error_name: str = "INVALID_ARGUMENTS_ERROR") -> None:
        super().__init__(message)
        self.error_name = error_name


def list_rows(project: Project, payload: dict[str, Any], *, ends: bool = False) -> list[dict[str, Any]]:
    """Return the metadata of the rows that pass all filters, in the project's order. Raises InvalidFilterError.

    ``ends``: a window of edit times includes its own bounds.
    """
    conditions = list(_conditions(payload, ends))
    return [_shown(row, payload) for row in project.rows if all(condition(row) for condition in conditions)]


def _conditions(payload: dict[str, Any], ends: bool) -> Iterator[Condition]:
    if not payload.get("include_uninitialised_labels", False):
        yield lambda row: row.label_hash is not None
    if not payload.get("include_all_label_branches", False):
        branch = payload.get("branch_name") or "main"
        yield lambda row: bool(row.metadata["branch_name"] == branch)
    if payload.get("shadow_data_state") == "SHADOW_DATA":
        yield lambda row: bool(row.metadata["is_shadow_data"])
    yield from _times(payload, ends)
    yield from _lists(payload)
    yield from _texts(payload)


def _times(payload: dict[str, Any], ends: bool) -> Iterator[Condition]:
    after, before = _instant(payload, "edited_after"), _instant(payload, "edited_before")
    if after is not None:
        yield lambda row: (moment := _listed_time(row)) is not None and (moment > after or (ends and moment == after))
    if before is not None:
        yield lambda row: (moment := _listed_time(row)) is not None and (moment < before or (ends and moment == before))


def _listed_time(row: LabelRow) -> datetime | None:
    """Return the edit time of a row in the listing, or None if the control API has removed it from the listing."""
    return None if row.odd.get("last_edited_at", ...) is None else row.last_edited_at


def _lists(payload: dict[str, Any]) -> Iterator[Condition]:
    hashes = _strings(payload, "data_hashes")
    if hashes is not None:
        yield lambda row: row.data_hash in hashes
    labels = _strings(payload, "label_hashes")
    if labels is not None:
        yield lambda row: row.label_hash in labels
    statuses = _strings(payload, "label_statuses")
    if statuses is not None:
        yield lambda row: row.metadata["annotation_task_status"] in statuses


def _texts(payload: dict[str, Any]) -> Iterator[Condition]:
    def title(row: LabelRow) -> str:
        return str(row.metadata["data_title"])

    def stage(row: LabelRow) -> str:
        return str(row.metadata["workflow_graph_node"]["title"])

    for name, text_of in (("data_title", title), ("workflow_graph_node_title", stage)):
        equal, like = payload.get(f"{name}_eq"), payload.get(f"{name}_like")
        if not isinstance(like or "", str):
            raise InvalidFilterError(f"{name}_like is not a string")
        if equal is not None:
            yield lambda row, text_of=text_of, equal=equal: text_of(row) == equal  # type: ignore[misc]
        if like is not None:
            pattern = like_pattern(like)
            yield lambda row, text_of=text_of, pattern=pattern: (  # type: ignore[misc]
                pattern.fullmatch(text_of(row)) is not None
            )


def like_pattern(like: str) -> re.Pattern[str]:
    """Return SQL's LIKE as a regular expression: ``%`` any text, ``_`` one character, a backslash escapes the next."""
    parts = re.findall(r"\\.|%|_|[^\\%_]+|\\", like, flags=re.DOTALL)
    translated = {"%": ".*", "_": "."}
    return re.compile(
        "".join(translated.get(part) or re.escape(part[1:] if part.startswith("\\") else part) for part in parts),
        re.DOTALL,
    )


def _instant(payload: dict[str, Any], name: str) -> datetime | None:
    value = payload.get(name)
    if value is None:
        return None
    try:
        return times.parse(value)
    except (ValueError, TypeError) as exc:
        raise InvalidFilterError(f"{name} is not a time", "INVALID_DATE_FORMAT_ERROR") from exc


def _strings(payload: dict[str, Any], name: str) -> frozenset[str] | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidFilterError(f"{name} is not a list of strings")
    return frozenset(value)


def _shown(row: LabelRow, payload: dict[str, Any]) -> dict[str, Any]:
    shown = {**row.metadata, **row.odd}
    if not payload.get("include_workflow_graph_node", True):
        shown["workflow_graph_node"] = None
    if not payload.get("include_client_metadata", False):
        shown["client_metadata"] = None
    if not payload.get("include_images_data", False):
        shown["images_data"] = None
    return shown
