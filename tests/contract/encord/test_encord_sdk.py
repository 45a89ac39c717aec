"""The unmodified SDK against the stand-in: it authenticates, lists with every filter, and reads every modality."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from encord import EncordUserClient, Project
from encord.exceptions import AuthorisationError, ResourceNotFoundError
from encord.orm.label_row import AnnotationTaskStatus

MODALITIES = {
    "image": "image", "image-group": "img_group", "video": "video", "audio": "audio", "text": "plain_text",
    "html": "plain_text", "pdf": "pdf", "dicom": "dicom", "nifti": "nifti", "time-series": "time_series",
    "group": "group", "scene": "scene", "empty": "image",
}  # fmt: skip


@pytest.fixture
def project(client: EncordUserClient, stand_in: Any) -> Project:
    return client.get_project(stand_in.project()["project_hash"])


def keys_of(stand_in: Any, rows: list[Any]) -> set[str]:
    known = {(row["data_hash"], row["branch_name"]): row["key"] for row in stand_in.project()["label_rows"]}
    return {known[row.data_hash, row.branch_name] for row in rows}


def all_keys(stand_in: Any) -> set[str]:
    return {row["key"] for row in stand_in.project()["label_rows"]} - {"branch"}


def test_a_project_has_its_ontology_and_workflow(project: Project, stand_in: Any) -> None:
    assert project.title == "Street scenes"
    assert [stage.title for stage in project.workflow.stages] == ["Annotate", "Review", "Complete"]
    assert {item.name for item in project.ontology_structure.objects} >= {"Vehicle", "Person", "Speech"}
    endpoints = stand_in.counts()["endpoints"]
    assert {name: counts["requests"] for name, counts in endpoints.items()} == {
        "GET /v2/public/projects/{project_hash}": 1,
        "GET /v2/public/ontologies/{ontology_hash}": 1,
    }


def test_projects_are_listed_and_one_can_be_closed(client: EncordUserClient, stand_in: Any) -> None:
    assert [project.title for project in client.list_projects()] == ["Street scenes", "Small"]
    small = stand_in.project(1)["project_hash"]
    stand_in.control("POST", "access", {"project_hash": small, "accessible": False})
    assert [project.title for project in client.list_projects()] == ["Street scenes"]
    with pytest.raises(AuthorisationError):
        client.get_project(small)


def test_a_project_that_is_closed_later_refuses_its_label_rows(project: Project, stand_in: Any) -> None:
    stand_in.control("POST", "access", {"project_hash": project.project_hash, "accessible": False})
    with pytest.raises(AuthorisationError):
        project.list_label_rows_v2()


def test_an_unknown_project_is_not_found(client: EncordUserClient) -> None:
    with pytest.raises(ResourceNotFoundError):
        client.get_project("00000000-0000-4000-8000-000000000000")


def test_lists_all_rows_and_the_uninitialised_one_without_a_label_hash(project: Project, stand_in: Any) -> None:
    rows = project.list_label_rows_v2()
    assert keys_of(stand_in, rows) == all_keys(stand_in)
    assert [row.data_title for row in rows if row.label_hash is None] == ["not opened yet.jpg"]
    row = next(row for row in rows if row.data_title == "crossing.jpg")
    assert row.workflow_graph_node is not None
    assert row.workflow_graph_node.title == "Complete"
    assert row.client_metadata is None


AT = datetime.datetime(2025, 3, 4, 11, 0, 3, 126000, tzinfo=datetime.UTC)  # the audio row's edit time


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"edited_before": AT}, {"image", "image-group", "video"}),
        ({"edited_before": AT + datetime.timedelta(microseconds=1)}, {"image", "image-group", "video", "audio"}),
        ({"edited_after": AT, "edited_before": AT + datetime.timedelta(hours=2)}, {"text"}),
        ({"edited_after": "2025-03-04 20:30:00"}, {"empty", "deleted"}),
        ({"label_statuses": [AnnotationTaskStatus.QUEUED]}, {"uninitialised"}),
        ({"label_statuses": [AnnotationTaskStatus.IN_REVIEW, AnnotationTaskStatus.QUEUED]}, {"video", "uninitialised"}),
        ({"data_title_eq": "police form.pdf"}, {"pdf"}),
        ({"data_title_eq": "police%"}, set()),
        ({"data_title_like": "police%"}, {"pdf"}),
        ({"data_title_like": "r_de 1_"}, {"group"}),
        ({"workflow_graph_node_title_eq": "Review"}, {"video"}),
        ({"workflow_graph_node_title_like": "%mplet%"}, {"image", "pdf", "empty", "deleted"}),
        ({"branch_name": "model-v2"}, {"branch"}),
        ({"label_hashes": []}, set()),
        ({"label_hashes": ["00000000-0000-4000-8000-000000000000"]}, set()),
    ],
)
def test_listing_filters(project: Project, stand_in: Any, filters: dict[str, Any], expected: set[str]) -> None:
    assert keys_of(stand_in, project.list_label_rows_v2(**filters)) == expected


def test_listing_by_hashes(project: Project, stand_in: Any) -> None:
    video, audio = stand_in.row("video"), stand_in.row("audio")
    found = project.list_label_rows_v2(label_hashes=[video["label_hash"], audio["label_hash"]])
    assert keys_of(stand_in, found) == {"video", "audio"}
    found = project.list_label_rows_v2(data_hashes=[stand_in.row("uninitialised")["data_hash"]])
    assert keys_of(stand_in, found) == {"uninitialised"}
    # The SDK's silent trap: a single hash as text is taken apart into characters.
    assert project.list_label_rows_v2(label_hashes=video["label_hash"]) == []


def test_like_matches_an_escaped_wildcard_literally(client: EncordUserClient, stand_in: Any) -> None:
    small = client.get_project(stand_in.project(1)["project_hash"])
    assert len(small.list_label_rows_v2(data_title_like="gate 50\\%\\_a.mp4")) == 1
    assert small.list_label_rows_v2(data_title_like="gate 5\\%%") == []


def test_listing_options(project: Project, stand_in: Any) -> None:
    (row,) = project.list_label_rows_v2(data_title_eq="crossing.jpg", include_client_metadata=True)
    assert row.client_metadata == {"site": "north", "run": 17, "key": "image"}
    (row,) = project.list_label_rows_v2(data_title_eq="crossing.jpg", include_workflow_graph_node=False)
    assert row.workflow_graph_node is None
    rows = project.list_label_rows_v2(include_all_label_branches=True)
    assert keys_of(stand_in, rows) == all_keys(stand_in) | {"branch"}
    (group,) = project.list_label_rows_v2(data_title_like="walk%", include_images_data=True)
    assert len(group.get_frames_metadata()) == 3


@pytest.mark.parametrize("key", MODALITIES)
def test_every_modality_is_read(project: Project, stand_in: Any, key: str) -> None:
    label_hash = stand_in.row(key)["label_hash"]
    (row,) = project.list_label_rows_v2(label_hashes=[label_hash])
    row.initialise_labels()
    read = row.to_encord_dict()
    served = json.loads(stand_in.row_bytes(label_hash))
    assert served["data_type"] == MODALITIES[key]
    assert read["label_hash"] == served["label_hash"] == label_hash
    assert read["data_units"].keys() == served["data_units"].keys()
    assert read["object_answers"].keys() == set(served["object_answers"]) - orphans(served)
    assert read["classification_answers"].keys() == served["classification_answers"].keys()
    # What the SDK drops must be there: a client that stores the SDK's form would fail these tests.
    assert "editorVersion" in served
    assert "editorVersion" not in read


def orphans(row: dict[str, Any]) -> set[str]:
    """Return the answers of objects that are neither on a frame nor have a range of their own."""
    text = json.dumps(row)
    answers = row["object_answers"].items()
    return {name for name, answer in answers if "featureHash" not in answer and text.count(f'Hash": "{name}"') == 1}


def test_rows_contain_what_the_sdk_drops(stand_in: Any) -> None:
    video, dicom, group = (json.loads(stand_in.row_bytes(stand_in.row(key)["label_hash"])) for key in
                           ("video", "dicom", "group"))  # fmt: skip
    (frames,) = (unit["labels"] for unit in video["data_units"].values())
    assert any(labels["classifications"] for labels in frames.values())
    assert {"objects": [], "classifications": []} in frames.values()
    assert all("trackHash" in label and label["reviews"] == [] for item in frames.values() for label in item["objects"])
    assert any("trackHash" in action for item in video["object_actions"].values() for action in item["actions"])
    (unit,) = dicom["data_units"].values()
    assert len(unit["data_links"]) == 6
    assert unit["metadata"]["series_uid"]
    assert unit["labels"]["0"]["metadata"]["dicom_instance_uid"]
    assert all(space["child_info"]["layout_key"] for space in group["spaces"].values())
    assert len(group["spaces"]) == 4
    tracked = [label["objectHash"] for item in frames.values() for label in item["objects"]]
    assert max(tracked.count(name) for name in set(tracked)) == 32
    assert sum(tracked.count(name) == 1 for name in set(tracked)) == 11
    assert any("+02:00" in str(label["lastEditedAt"]) for item in frames.values() for label in item["objects"])
    assert orphans(video)


def test_dynamic_attributes_and_spaces_are_read_as_such(project: Project, stand_in: Any) -> None:
    (video,) = project.list_label_rows_v2(label_hashes=[stand_in.row("video")["label_hash"]])
    video.initialise_labels()
    lorry = next(item for item in video.get_object_instances() if item.object_number == 1)
    motion = next(item for item in lorry.ontology_item.attributes if item.name == "Motion")
    answers = lorry.get_answer(motion)
    assert sorted((answer.answer.label, str(answer.ranges)) for answer in answers) == [
        ("Moving", "[(0:11)]"),
        ("Standing", "[(20:39)]"),
    ]
    (group,) = project.list_label_rows_v2(label_hashes=[stand_in.row("group")["label_hash"]])
    group.initialise_labels()
    counted = {space.metadata.layout_key: len(space.get_object_instances()) for space in group.get_spaces()}
    assert counted == {"front-camera": 2, "map": 1, "cabin-audio": 1, "report": 1}
    (scene,) = project.list_label_rows_v2(label_hashes=[stand_in.row("scene")["label_hash"]])
    scene.initialise_labels()
    counted = {space.metadata.stream_id: len(space.get_object_instances()) for space in scene.get_spaces()}
    assert counted == {"lidar": 1, "camera": 1}


def test_a_bundle_is_one_request_in_random_order_without_duplicates(project: Project, stand_in: Any) -> None:
    rows = [row for row in project.list_label_rows_v2() if row.label_hash and row.data_title != "removed.jpg"]
    orders = set()
    for _ in range(5):
        answer = project._client.get_label_rows([row.label_hash for row in rows] * 2, get_signed_url=False)
        assert len(answer) == len(rows)
        orders.add(tuple(row["label_hash"] for row in answer))
    assert len(orders) > 1  # 12! orders: five equal ones are practically impossible
    stand_in.control("DELETE", "requests")
    with project.create_bundle() as bundle:
        for row in rows:
            row.initialise_labels(bundle=bundle)
    assert all(row.is_labelling_initialised for row in rows)
    counts = stand_in.counts()["endpoints"]
    assert counts["POST /public labelrow/GET"]["requests"] == 1


def test_a_single_row_is_an_object_not_a_list(project: Project, stand_in: Any) -> None:
    label_hash = stand_in.row("text")["label_hash"]
    row = project._client.get_label_row(label_hash, get_signed_url=False)
    assert row["label_hash"] == label_hash
    assert json.loads(stand_in.row_bytes(label_hash))["data_units"] == row["data_units"]


def test_a_row_whose_data_unit_is_deleted_is_listed_and_makes_the_sdk_raise(project: Project) -> None:
    (row,) = project.list_label_rows_v2(data_title_eq="removed.jpg")
    with pytest.raises(NotImplementedError):
        row.initialise_labels()


def test_initialising_a_row_that_has_none_writes_to_encord_and_is_counted(project: Project, stand_in: Any) -> None:
    (row,) = project.list_label_rows_v2(data_title_eq="not opened yet.jpg")
    assert stand_in.counts()["total"]["writes"] == 0
    row.initialise_labels()
    assert row.label_hash == stand_in.row("uninitialised")["label_hash"] is not None
    counts = stand_in.counts()
    assert counts["endpoints"]["POST /public labelrow/PUT"]["requests"] == 1
    assert counts["total"]["writes"] == 1
    (again,) = project.list_label_rows_v2(data_title_eq="not opened yet.jpg")
    assert again.label_hash == row.label_hash


def test_saving_labels_is_refused_and_counted_as_a_write(project: Project, stand_in: Any) -> None:
    (row,) = project.list_label_rows_v2(data_title_eq="nothing to see.jpg")
    row.initialise_labels()
    before = stand_in.row_bytes(row.label_hash)
    with pytest.raises(Exception, match="not allowed"):
        row.save()
    assert stand_in.counts()["refused"] == {"write": 1}
    assert stand_in.row_bytes(row.label_hash) == before


def test_a_deleted_row_is_neither_listed_nor_found(project: Project, stand_in: Any) -> None:
    label_hash = stand_in.row("text")["label_hash"]
    (row,) = project.list_label_rows_v2(label_hashes=[label_hash])
    stand_in.control("DELETE", f"label-rows/{label_hash}")
    assert project.list_label_rows_v2(label_hashes=[label_hash]) == []
    with pytest.raises(ResourceNotFoundError):
        project._client.get_label_row(label_hash)
    with pytest.raises(AssertionError):  # several labels asked for, the missing one left out
        row.initialise_labels()
    stand_in.control("POST", "settings", {"missing_labels": "error"})
    with pytest.raises(ResourceNotFoundError):
        row.initialise_labels()


def test_a_row_of_another_project_is_not_found(project: Project, stand_in: Any) -> None:
    other = stand_in.row("image", project=1)["label_hash"]
    assert project.list_label_rows_v2(label_hashes=[other]) == []
    with pytest.raises(ResourceNotFoundError):
        project._client.get_label_row(other)


def test_too_many_labels_at_once_are_refused_with_the_limit(project: Project, stand_in: Any) -> None:
    stand_in.control("POST", "settings", {"multi_label_limit": 2})
    rows = [row.label_hash for row in project.list_label_rows_v2() if row.label_hash][:3]
    with pytest.raises(Exception, match="The limit is 2"):
        project._client.get_label_rows(rows)


def test_the_options_of_a_label_row_change_what_is_served(project: Project, stand_in: Any) -> None:
    row = stand_in.row("image")
    get = project._client.get_label_row
    links = {get(row["label_hash"], get_signed_url=True)["data_units"][row["data_hash"]]["data_link"] for _ in "ab"}
    assert len(links) == 2
    vehicle = next(item for item in project.ontology_structure.objects if item.name == "Vehicle").feature_node_hash
    filtered = get(row["label_hash"], get_signed_url=False, include_object_feature_hashes={vehicle})
    labels = filtered["data_units"][row["data_hash"]]["labels"]
    assert [label["name"] for label in labels["objects"]] == ["Vehicle"] * 3
    assert len(labels["classifications"]) == 3


@pytest.mark.parametrize("tracked", [True, False])
def test_the_sdk_reads_a_generated_row(project: Project, stand_in: Any, tracked: bool) -> None:
    body = {"frames": 30, "objects": 4, "tracked": tracked}
    (made,) = stand_in.control("POST", "giant-rows", body)["rows"]
    assert made["bytes"] == len(stand_in.row_bytes(made["label_hash"]))
    (row,) = project.list_label_rows_v2(label_hashes=[made["label_hash"]])
    row.initialise_labels()
    assert len(row.get_object_instances()) == (4 if tracked else 120)
    read = row.to_encord_dict()
    assert len(next(iter(read["data_units"].values()))["labels"]) == 30
