"""Both functions read settings that do not fit into the environment from the object that it names."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable

import pytest
from handler_deployment import PROJECT, Deployment, webhook
from handler_servers import Answer, Fault, StoredObject
from label_export.core.errors import SettingsError
from label_export.core.settings_object import settings_key, with_settings

PROJECTS = [PROJECT, *(str(uuid.UUID(int=10_000 + number)) for number in range(4_999))]
OTHER = str(uuid.UUID(int=77))


def keep(deployment: Deployment, values: dict[str, str]) -> str:
    """Store a settings object in S3; return its key."""
    content = json.dumps(values).encode()
    key = f"encord/settings/{hashlib.sha256(content).hexdigest()}.json"
    deployment.aws.objects[f"/labels-bucket/{key}"] = StoredObject(content, {})
    return key


def test_five_thousand_projects_are_read_once_and_used(deployment: Deployment) -> None:
    key = keep(deployment, {"LABEL_EXPORT_PROJECTS": json.dumps(PROJECTS)})
    assert len(json.dumps(PROJECTS)) > 190_000, "an environment holds 4 KB"
    deployment.set(LABEL_EXPORT_SETTINGS_OBJECT=key, LABEL_EXPORT_BUCKET_OWNER="123456789012")
    for project, status in ((PROJECT, 202), (PROJECTS[-1], 202), (OTHER, 403)):
        assert deployment.post(webhook(label_hash="l-1", project_hash=project))["statusCode"] == status
    (asked,) = [call for call in deployment.aws.calls if call.operation == "GetObject"]
    assert asked.headers["x-amz-expected-bucket-owner"] == "123456789012"
    label = deployment.row()
    assert deployment.export(label) == []
    assert deployment.stored(label) is not None
    assert deployment.aws.count("GetObject") == 1


def test_without_a_settings_object_there_is_no_request(deployment: Deployment) -> None:
    deployment.post(webhook(label_hash="l-1"))
    assert deployment.aws.count("GetObject") == 0


def test_an_unreadable_object_fails_the_start_and_the_next_start_reads_again(deployment: Deployment) -> None:
    key = keep(deployment, {"LABEL_EXPORT_PROJECTS": json.dumps([PROJECT])})
    kept = deployment.aws.objects.pop(f"/labels-bucket/{key}")
    deployment.set(LABEL_EXPORT_SETTINGS_OBJECT=key)
    with pytest.raises(SettingsError, match=f"The settings object {key} cannot be read: .*"):
        deployment.post(webhook(label_hash="l-1"))
    deployment.aws.objects[f"/labels-bucket/{key}"] = kept
    deployment.aws.fail("GetObject", Fault(Answer(503)))
    assert deployment.post(webhook(label_hash="l-1"))["statusCode"] == 202
    assert deployment.aws.count("GetObject") == 3


NAMED = f"encord/settings/{hashlib.sha256(b'{}').hexdigest()}.json"


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: settings_key({"LABEL_EXPORT_SETTINGS_OBJECT": "encord/settings/latest.json"}), "is not the key"),
        (lambda: with_settings({}, NAMED, b'{"LABEL_EXPORT_PROJECTS": "[]"}'), "its SHA-256 differs"),
        (lambda: with_settings({}, key_of(b"[]"), b"[]"), "is not a JSON object of texts"),
        (lambda: with_settings({}, key_of(b'{"a": 1}'), b'{"a": 1}'), "is not a JSON object of texts"),
        (lambda: with_settings({}, key_of(b"{"), b"{"), "is not a JSON object of texts"),
    ],
)
def test_an_invalid_settings_object_is_refused(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        attempt()


def key_of(content: bytes) -> str:
    return f"encord/settings/{hashlib.sha256(content).hexdigest()}.json"


def test_the_objects_variables_replace_those_of_the_environment() -> None:
    content = b'{"A": "2"}'
    assert with_settings({"A": "1", "B": "1"}, key_of(content), content) == {"A": "2", "B": "1"}
    assert settings_key({}) is None
