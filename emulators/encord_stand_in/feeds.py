"""The paged feeds: task actions, the tasks of a stage, and a label's validation state.

Source: ``encord.client.EncordClientProject.get_task_actions`` with ``encord.orm.analytics`` (``TaskActionParams``,
``TaskAction``), ``encord.workflow.common.WorkflowClient.get_tasks`` with ``encord.workflow.stages``, and
``encord.orm.label_row.LabelValidationState``; all keys in camel case. The order of a page is not documented. Here
actions are sorted by data unit, which is harder for a client that expects them by time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from encord_stand_in import times
from encord_stand_in.projects import LabelRow, NotFoundError, Project

Parameters = Mapping[str, list[str]]  # of a query, as parse_qs gives them


def task_actions(project: Project, query: Parameters, *, now: datetime, lag: int) -> list[dict[str, Any]]:
    """Return the actions of a project in [after, before) that have appeared by now. Raises ValueError."""
    after, before = (times.parse(query[name][0]) if name in query else None for name in ("after", "before"))
    if after is None or before is None:
        raise ValueError("after and before are required")
    wanted = {name: set(query.get(name, ())) for name in ("eventTypes", "workflowStageUuids", "dataUnitUuids")}
    fields = {"eventTypes": "actionType", "workflowStageUuids": "workflowStageUuid", "dataUnitUuids": "dataUnitUuid"}
    shown = [
        action.public
        for action in project.actions
        if after <= action.at < before and (not lag or action.at <= now - timedelta(seconds=lag))
    ]
    for name, values in wanted.items():
        if values:
            shown = [action for action in shown if action[fields[name]] in values]
    return sorted(shown, key=lambda action: str(action["dataUnitUuid"]))


def tasks(project: Project, stage_uuid: str, query: Parameters, order: str) -> Sequence[dict[str, Any]]:
    """Return the tasks of a stage in one of the settings' orders. Raises NotFoundError."""
    stage = next((stage for stage in project.public["workflow"]["stages"] if stage["uuid"] == stage_uuid), None)
    if stage is None:
        raise NotFoundError(f"no stage {stage_uuid}")
    if project.synthetic is not None:
        return project.synthetic.tasks(stage["title"])
    wanted = set(query.get("dataHashes", ()))
    rows = {
        row.data_hash: row
        for row in project.rows
        if row.metadata["workflow_graph_node"]["uuid"] == stage_uuid and (not wanted or row.data_hash in wanted)
    }
    found = [_task(project, row, stage["stageType"]) for row in rows.values()]
    if order != "project":
        found.sort(key=lambda task: str(task["updatedAt"]), reverse=order == "newest-first")
    return found


def _task(project: Project, row: LabelRow, kind: str) -> dict[str, Any]:
    edited = times.render(row.last_edited_at, "iso") if row.last_edited_at else project.public["createdAt"]
    task = {
        "uuid": row.metadata["task_uuid"],
        "createdAt": project.public["createdAt"],
        "updatedAt": edited,
        "dataHash": row.data_hash,
        "dataTitle": str(row.metadata["data_title"]),
    }
    if kind == "ANNOTATION":
        task |= {"status": "ASSIGNED", "labelBranchName": "main", "assignee": "annotator@example.com"}
        task |= {"lastActionedByUserEmail": None}
    if kind == "REVIEW":
        task |= {"status": "NEW", "assignee": None, "lastActionedByUserEmail": None}
    return task


def validation_state(project: Project, label_hash: str) -> dict[str, Any]:
    """Return whether a label is valid, and its version. Raises NotFoundError."""
    row = next((row for row in project.rows if row.label_hash == label_hash), None)
    if row is None:
        raise NotFoundError(f"no label row {label_hash}")
    return {
        "labelHash": label_hash,
        "branchName": row.metadata["branch_name"],
        "version": row.revision + 1,
        "isValid": True,
        "errors": [],
    }
