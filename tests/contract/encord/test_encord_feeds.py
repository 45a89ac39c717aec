"""The unmodified SDK reads the stand-in's paged feeds: task actions, a stage's tasks, validation states."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from encord import EncordUserClient, Project
from encord.exceptions import AuthorisationError, ResourceNotFoundError
from encord.orm.analytics import TaskActionType
from encord.workflow import FinalStage

DAY = datetime.timedelta(days=1)


@pytest.fixture
def project(client: EncordUserClient, stand_in: Any) -> Project:
    return client.get_project(stand_in.project()["project_hash"])


def actions(project: Project, **filters: Any) -> list[tuple[str, str]]:
    now = datetime.datetime.now(datetime.UTC)
    found = project.get_task_actions(after=now - DAY, before=now + DAY, **filters)
    return [(action.action_type.value, str(action.data_unit_uuid)) for action in found]


def test_task_actions_name_what_happened_page_by_page(project: Project, stand_in: Any) -> None:
    image, video, pdf = (stand_in.row(key) for key in ("image", "video", "pdf"))
    stand_in.control("POST", "settings", {"page_size": 2})
    stand_in.control("POST", "complete-task", {"label_hash": video["label_hash"], "deliver": False})
    submitted = {"event_type": "task_submitted_event", "deliver": False}
    stand_in.control("POST", "complete-task", {"label_hash": image["label_hash"], **submitted})
    stand_in.control("POST", "move-task", {"label_hash": pdf["label_hash"], "stage": "Annotate", "action": "reject"})

    happened = {("approve", video["data_hash"]), ("submit", image["data_hash"]), ("reject", pdf["data_hash"])}
    assert set(actions(project)) == happened
    assert stand_in.counts()["endpoints"]["GET /v2/public/analytics/task-actions"]["requests"] == 2
    assert actions(project, action_type=TaskActionType.REJECT) == [("reject", pdf["data_hash"])]
    assert actions(project, data_unit_uuid=image["data_hash"]) == [("submit", image["data_hash"])]


def test_task_actions_appear_late_are_refused_or_absent(project: Project, stand_in: Any) -> None:
    stand_in.control("POST", "complete-task", {"label_hash": stand_in.row("video")["label_hash"], "deliver": False})
    stand_in.control("POST", "settings", {"task_actions_lag_seconds": 3600})
    assert actions(project) == []
    stand_in.control("POST", "settings", {"task_actions_lag_seconds": 0, "task_actions": "refused"})
    with pytest.raises(AuthorisationError):
        actions(project)
    stand_in.control("POST", "settings", {"task_actions": "absent"})
    with pytest.raises(ResourceNotFoundError):
        actions(project)


def test_the_final_stage_lists_its_tasks(project: Project, stand_in: Any) -> None:
    stand_in.control("POST", "settings", {"page_size": 2})
    stage = project.workflow.get_stage(name="Complete", type_=FinalStage)
    complete = {row["data_hash"] for row in stand_in.project()["label_rows"] if row["workflow_stage"] == "Complete"}
    assert len(complete) > 2
    assert {str(task.data_hash) for task in stage.get_tasks()} == complete
    for other in ("Annotate", "Review"):
        assert list(project.workflow.get_stage(name=other).get_tasks())


def test_an_approval_does_not_change_the_edit_time(project: Project, stand_in: Any) -> None:
    row = stand_in.row("video")
    before = stand_in.row_bytes(row["label_hash"])
    moved = stand_in.control(
        "POST", "move-task", {"label_hash": row["label_hash"], "stage": "Complete", "action": "approve"}
    )
    assert moved["workflow_stage"] == "Complete"
    assert moved["last_edited_at"] == row["last_edited_at"]
    assert stand_in.row_bytes(row["label_hash"]) == before


def test_a_save_by_the_sdk_changes_only_the_label(project: Project, stand_in: Any) -> None:
    row = stand_in.row("video")
    before = stand_in.row_bytes(row["label_hash"])
    saved = stand_in.control("POST", "save-labels", {"label_hash": row["label_hash"]})
    assert saved["last_edited_at"] == row["last_edited_at"]
    assert stand_in.row_bytes(row["label_hash"]) != before
    assert actions(project) == []


def test_an_odd_row_breaks_the_listing_of_the_sdk(project: Project, stand_in: Any) -> None:
    row = stand_in.row("video")
    stand_in.control("PATCH", f"label-rows/{row['label_hash']}", {"listing": {"annotation_task_status": "DREAMING"}})
    with pytest.raises(ValueError, match="DREAMING"):
        project.list_label_rows_v2()


def test_a_renamed_unit_keeps_its_edit_time(project: Project, stand_in: Any) -> None:
    row = stand_in.row("image")
    renamed = stand_in.control("PATCH", f"label-rows/{row['label_hash']}", {"data_title": "renamed.jpg"})
    assert (renamed["data_title"], renamed["last_edited_at"]) == ("renamed.jpg", row["last_edited_at"])
    (listed,) = project.list_label_rows_v2(label_hashes=[row["label_hash"]])
    assert listed.data_title == "renamed.jpg"
    listed.initialise_labels()
    assert b"renamed.jpg" in stand_in.row_bytes(row["label_hash"])


def test_a_synthetic_project_is_listed_in_windows(client: EncordUserClient, stand_in: Any) -> None:
    made = stand_in.control("POST", "synthetic-project", {"rows": 1200})
    project = client.get_project(made["project_hash"])
    rows = project.list_label_rows_v2()
    assert len({row.label_hash for row in rows}) == 1200
    edited = sorted(row.last_edited_at for row in rows if row.last_edited_at is not None)
    inside = project.list_label_rows_v2(edited_after=edited[99], edited_before=edited[200])
    assert len(inside) == 100
    some = [row.data_hash for row in rows[:3]]
    assert [row.data_hash for row in project.list_label_rows_v2(data_hashes=some)] == some
    stage = project.workflow.get_stage(name="Complete", type_=FinalStage)
    assert len({task.data_hash for task in stage.get_tasks()}) == 1200


def test_the_validation_state_counts_versions(project: Project, stand_in: Any) -> None:
    row = stand_in.row("video")
    assert project._client.get_label_validation_errors(row["label_hash"]) == []
