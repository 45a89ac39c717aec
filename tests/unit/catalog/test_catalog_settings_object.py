"""The catalog reads settings that do not fit into its environment, like the exporter."""

from __future__ import annotations

import hashlib
import json
import uuid

import pytest
from catalog_system import BUCKET, CatalogSystem
from handler_deployment import Context
from handler_servers import StoredObject
from label_catalog import handler
from label_export.core.errors import SettingsError


def test_the_catalog_works_for_the_projects_of_its_settings_object(system: CatalogSystem) -> None:
    others = [str(uuid.UUID(int=number)) for number in range(4_999)]
    content = json.dumps({"LABEL_EXPORT_PROJECTS": json.dumps([system.project, *others])}).encode()
    key = f"encord/settings/{hashlib.sha256(content).hexdigest()}.json"
    system.set(LABEL_EXPORT_SETTINGS_OBJECT=key, LABEL_EXPORT_PROJECTS="", LABEL_EXPORT_BUCKET_OWNER="123456789012")
    with pytest.raises(SettingsError, match=f"The settings object {key} cannot be read"):
        handler.handle({"action": "status", "project_hash": system.project}, Context())
    system.aws.objects[f"/{BUCKET}/{key}"] = StoredObject(content, {})
    system.restart()
    answer = handler.handle({"action": "status", "project_hash": system.project}, Context())
    asked = [call for call in system.aws.calls if call.path.startswith(f"/{BUCKET}")]
    assert {call.headers.get("x-amz-expected-bucket-owner") for call in asked} == {"123456789012"}
    assert [project["line"] for project in answer["projects"]] == ["project Street scenes: no census yet"]
    assert len(handler.application()._settings.projects) == 5_000
