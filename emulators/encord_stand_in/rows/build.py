"""Build the label rows with the SDK's own classes.

Everything is derived from names and fixed times, without clock or random numbers, so that every start serves the same
bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from encord.objects import LabelRowV2
from encord.ontology import Ontology
from encord.orm.label_row import LabelRowMetadata
from encord.orm.ontology import Ontology as OrmOntology

from encord_stand_in import times
from encord_stand_in.rows import extras
from encord_stand_in.rows.labeller import AUTHOR, Labeller
from encord_stand_in.rows.names import identifier
from encord_stand_in.rows.ontology import build_structure, editor
from encord_stand_in.rows.units import UNITS, Unit

_START = datetime(2025, 3, 4, 8, 0, 0, 123456, tzinfo=UTC)
_STAGES = ("Annotate", "Review", "Complete")


def build_project(name: str) -> dict[str, Any]:
    """Return everything that the server has of a project at its start."""
    structure = build_structure()
    ontology_hash = identifier(name, "ontology")
    orm = OrmOntology(
        title=f"{name} ontology",
        structure=structure,
        ontology_hash=ontology_hash,
        created_at=_START,
        last_edited_at=_START,
        description="synthetic",
    )
    ontology = Ontology(orm, None)  # type: ignore[arg-type]  # no client: nothing is fetched or saved here
    rows = []
    for index, unit in enumerate(UNITS[name]):
        at = _START + timedelta(hours=index, seconds=index, microseconds=index * 1117)
        rows.append(_build_row(name, unit, ontology, at))
    return {
        "project": _project(name, ontology_hash, editor(structure)),
        "ontology": {
            "ontologyUuid": ontology_hash,
            "title": f"{name} ontology",
            "description": "synthetic",
            "editor": editor(structure),
            "createdAt": times.render(_START, "iso"),
            "lastEditedAt": times.render(_START, "iso"),
            "userRole": 0,
        },
        "rows": rows,
    }


def _project(name: str, ontology_hash: str, editor_ontology: dict[str, Any]) -> dict[str, Any]:
    stages = zip(_STAGES, ("ANNOTATION", "REVIEW", "DONE"), strict=True)
    return {
        "projectHash": identifier(name, "project"),
        "projectType": "workflow",
        "status": "inProgress",
        "title": name.replace("-", " ").capitalize(),
        "description": "Synthetic project of the Encord stand-in",
        "createdAt": times.render(_START, "iso"),
        "creatorEmail": AUTHOR,
        "lastEditedAt": times.render(_START, "iso"),
        "ontologyHash": ontology_hash,
        "editorOntology": editor_ontology,
        "userRole": 0,
        "workflowManagerUuid": identifier(name, "workflow"),
        "workflow": {
            "stages": [
                {"stageType": kind, "uuid": identifier(name, "stage", title), "title": title} for title, kind in stages
            ]
        },
    }


def _build_row(project: str, unit: Unit, ontology: Ontology, at: datetime) -> dict[str, Any]:
    metadata = _metadata(project, unit, at)
    label_row: dict[str, Any] | None = None
    if unit.initialised:
        row = LabelRowV2(LabelRowMetadata.from_dict(metadata), None, ontology)  # type: ignore[arg-type]
        row.from_labels_dict(_empty_labels(project, unit, metadata, at))
        unit.label(Labeller(row, ontology, f"{project}/{unit.key}", at - timedelta(minutes=30)))
        label_row = row.to_encord_dict()
        label_row["last_edited_at"] = times.render(at, unit.time_form)
        label_row["annotation_task_status"] = metadata["annotation_task_status"]
        extras.add(label_row, unit.key, metadata)
        if unit.deleted:
            extras.delete_data_unit(label_row, metadata)
    return {
        "key": unit.key,
        "time_form": unit.time_form,
        "last_edited_at": times.render(times.settled(at, unit.time_form), "iso") if unit.initialised else None,
        "metadata": metadata,
        "label_row": label_row,
    }


def _metadata(project: str, unit: Unit, at: datetime) -> dict[str, Any]:
    """Return the row as in the listing, with the keys that ``LabelRowMetadata.from_dict`` reads."""
    unit_key = "image" if unit.key == "branch" else unit.key  # the branch belongs to the same data unit
    data_hash = identifier(project, unit_key, "data")
    created = times.render(at - timedelta(days=1), times.listing_form(unit.time_form)) if unit.initialised else None
    edited = times.render(at, times.listing_form(unit.time_form)) if unit.initialised else None
    linked = unit.data_type not in {"img_group", "dicom", "group"}
    return {
        "label_hash": identifier(project, unit.key, "label") if unit.initialised else None,
        "created_at": created,
        "last_edited_at": edited,
        "branch_name": unit.branch,
        "data_hash": data_hash,
        "group_hash": None,
        "dataset_hash": identifier(project, "dataset"),
        "dataset_title": f"{project} dataset",
        "data_title": unit.title,
        "data_type": unit.data_type.upper(),
        "data_link": f"cord-files-prod/{data_hash}/{unit.key}" if linked else None,
        "label_status": "LABEL_IN_PROGRESS" if unit.initialised else "NOT_LABELLED",
        "annotation_task_status": unit.status,
        "workflow_graph_node": {"uuid": identifier(project, "stage", unit.stage), "title": unit.stage},
        "is_shadow_data": False,
        "frames_per_second": unit.fps,
        "number_of_frames": unit.frames,
        "duration": unit.duration,
        "height": unit.height,
        "width": unit.width,
        "audio_codec": "pcm_s16le" if unit.data_type == "audio" else None,
        "audio_sample_rate": 44100 if unit.data_type == "audio" else None,
        "audio_bit_depth": 16 if unit.data_type == "audio" else None,
        "audio_num_channels": 2 if unit.data_type == "audio" else None,
        "spaces": {"group": _group_spaces, "scene": _scene_spaces}.get(unit.data_type, _no_spaces)(project),
        "task_uuid": identifier(project, unit_key, "task"),
        "priority": 0.5 if unit.status != "COMPLETED" else None,
        "client_metadata": {"site": "north", "run": 17, "key": unit.key},
        "images_data": _images_data(project, unit) if unit.data_type == "img_group" else None,
        "file_type": unit.file_type,
        "is_valid": True,
        "backing_item_uuid": identifier(project, unit_key, "item"),
        "assigned_user_email": AUTHOR,
        "last_actioned_by_user_email": AUTHOR if unit.initialised else None,
    }


def _images_data(project: str, unit: Unit) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "title": f"step {index}.png",
            "file_type": unit.file_type,
            "height": unit.height,
            "width": unit.width,
            "image_hash": identifier(project, unit.key, "frame", index),
        }
        for index in range(unit.frames)
    ]


def _no_spaces(_: str) -> dict[str, Any]:
    return {}


def _scene_spaces(project: str) -> dict[str, Any]:
    """Return the spaces of the scene, a point cloud and a camera image; keys as in ``spaces.types``."""

    def within(stream: str, file_name: str) -> dict[str, Any]:
        uri = f"cord-files-prod/{identifier(project, 'scene', stream)}/{file_name}"
        return {"stream_id": stream, "event_index": 0, "uri": uri}

    return {
        identifier(project, "space", "lidar"): {
            "space_type": "point_cloud",
            "scene_info": within("lidar", "0001.pcd"),
            "labels": {"objects": [], "classifications": []},
        },
        identifier(project, "space", "camera"): {
            "space_type": "scene_image",
            "scene_info": within("camera", "0001.jpg"),
            "width": 1280,
            "height": 720,
            "labels": {"objects": [], "classifications": []},
        },
    }


def _group_spaces(project: str) -> dict[str, Any]:
    """Return the spaces of the data group; keys as in ``encord.objects.spaces.types``."""

    def child(layout_key: str, file_name: str) -> dict[str, Any]:
        link = f"cord-files-prod/{identifier(project, 'group', layout_key)}"
        return {"layout_key": layout_key, "file_name": file_name, "data_link": link}

    return {
        identifier(project, "space", "front-camera"): {
            "space_type": "video",
            "child_info": child("front-camera", "front.mp4"),
            "number_of_frames": 10,
            "width": 1280,
            "height": 720,
            "data_duration": 0.5,
            "data_fps": 20.0,
            "labels": {},
        },
        identifier(project, "space", "map"): {
            "space_type": "image",
            "child_info": child("map", "map.png"),
            "width": 800,
            "height": 600,
            "labels": {},
        },
        identifier(project, "space", "cabin-audio"): {
            "space_type": "audio",
            "child_info": child("cabin-audio", "cabin.wav"),
            "duration_ms": 12000,
            "labels": {},
        },
        identifier(project, "space", "report"): {
            "space_type": "text",
            "child_info": child("report", "report.txt"),
            "labels": {},
        },
    }


def _empty_labels(project: str, unit: Unit, metadata: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Return the label row before anything is labelled, in the form that ``from_labels_dict`` reads."""
    return {
        "label_hash": metadata["label_hash"],
        "branch_name": unit.branch,
        "created_at": times.render(at - timedelta(days=1), "long"),
        "last_edited_at": times.render(at, "long"),
        "data_hash": metadata["data_hash"],
        "dataset_hash": metadata["dataset_hash"],
        "dataset_title": metadata["dataset_title"],
        "data_title": metadata["data_title"],
        "data_type": unit.data_type,
        "annotation_task_status": unit.status,
        "is_shadow_data": False,
        "object_answers": {},
        "classification_answers": {},
        "object_actions": {},
        "label_status": metadata["label_status"],
        "spaces": metadata["spaces"],
        "data_units": {unit_["data_hash"]: unit_ for unit_ in _data_units(project, unit, metadata)},
    }


def _data_units(project: str, unit: Unit, metadata: dict[str, Any]) -> list[dict[str, Any]]:
    if unit.data_type == "img_group":
        return [
            {
                "data_hash": image["image_hash"],
                "data_title": image["title"],
                "data_link": f"cord-files-prod/{image['image_hash']}/{image['title']}",
                "data_type": unit.file_type,
                "data_sequence": str(image["index"]),
                "width": unit.width,
                "height": unit.height,
                "labels": {},
            }
            for image in metadata["images_data"]
        ]
    data_unit: dict[str, Any] = {
        "data_hash": metadata["data_hash"],
        "data_title": unit.title,
        "data_link": metadata["data_link"],
        "data_type": unit.file_type,
        "data_sequence": 0,
        "labels": {},
    }
    data_unit.update({key: value for key, value in metadata.items() if key.startswith("audio_") and value is not None})
    if unit.width is not None:
        data_unit.update(width=unit.width, height=unit.height)
    if unit.data_type == "video":
        data_unit.update(data_duration=unit.duration, data_fps=unit.fps)
    return [data_unit]
