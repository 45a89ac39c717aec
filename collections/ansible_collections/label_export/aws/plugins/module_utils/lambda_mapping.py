"""The event source mappings of a function or alias, from a listing."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code

# Placeholder for filters that a listing does not return.
ENCRYPTED = "encrypted"


def list_mappings(client: Any, function_name: str, **named: str) -> list[dict[str, Any]]:
    """Return the API's descriptions of the mappings to exactly this function, or ``function:alias``.

    ``named`` is added to the request. A mapping that is being deleted does not count: it accepts no changes, and will
    soon be gone.
    """
    try:
        pages = client.get_paginator("list_event_source_mappings").paginate(FunctionName=function_name, **named)
        mappings = [mapping for page in pages for mapping in page["EventSourceMappings"]]
    except is_boto3_error_code("ResourceNotFoundException"):
        return []
    # A listing by function name also returns the mappings of the function's other aliases.
    target = function_name.split(":")
    return [
        mapping
        for mapping in mappings
        if mapping["FunctionArn"].split(":function:")[-1].split(":") == target and mapping["State"] != "Deleting"
    ]


def filter_criteria(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return the filters, {} for none. Lambda deletes the queue's messages that none of them lets through.

    Of filters that are encrypted with a customer's key, a listing returns only the key (API reference of Lambda,
    ListEventSourceMappings, FilterCriteria): then ``{"Filters": "encrypted"}``.
    """
    filters = (mapping.get("FilterCriteria") or {}).get("Filters") or (ENCRYPTED if mapping.get("KMSKeyArn") else None)
    return {"Filters": filters} if filters else {}
