"""The options of ``labelrow``/GET, which change the row that is served (``encord.client.get_label_row``)."""

from __future__ import annotations

import copy
import secrets
from typing import Any


def shown_row(row: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    """Return the row with signed links, an export history, or only some features, as the payload asks.

    Signed links are random, as in Encord: a client that asks for them gets different bytes each time.
    """
    shown = copy.deepcopy(row)
    objects = payload.get("include_object_feature_hashes")
    if objects:
        _keep(shown, "objects", "objectHash", "object_answers", set(objects))
    classifications = payload.get("include_classification_feature_hashes")
    if classifications:
        _keep(shown, "classifications", "classificationHash", "classification_answers", set(classifications))
    if payload.get("get_signed_url"):
        for unit in shown["data_units"].values():
            if unit.get("data_link"):
                unit["data_link"] = f"https://files.example.invalid/{unit['data_link']}?sig={secrets.token_hex(16)}"
    if payload.get("include_export_history"):
        shown["export_history"] = []
    return shown


def _keep(row: dict[str, Any], kind: str, hash_key: str, answers_key: str, features: set[str]) -> None:
    kept: set[str] = set()
    for holder in (*row["data_units"].values(), *row["spaces"].values()):
        labels = holder.get("labels") or {}
        for frame in [labels] if "objects" in labels else labels.values():
            frame[kind] = [item for item in frame[kind] if item["featureHash"] in features]
            kept.update(item[hash_key] for item in frame[kind])
    row[answers_key] = {
        name: answer
        for name, answer in row[answers_key].items()
        if name in kept or answer.get("featureHash") in features
    }
