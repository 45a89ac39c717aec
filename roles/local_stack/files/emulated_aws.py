"""MiniStack, held closer to AWS where it asks IAM another question than AWS does.

The emulator enforces IAM policies, but names some actions, resources and condition keys otherwise than AWS's Service
Authorization Reference does, and lacks one IAM call. Policies that are right on AWS would then fail here, or would have
to be widened. Each correction below is one of those places; nothing is ever allowed here that AWS would refuse.

Served as ``emulated_aws:app`` with the pinned MiniStack (ministack-requirements.txt): its internals are patched.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, lambda_svc

# Lambda's actions are its operations, but for these.
INVOKING = {"Invoke": "InvokeFunction", "InvokeAsync": "InvokeFunction"}
# SQS's calls for several messages at once are allowed by the permission for one.
BATCH_SUFFIX = "Batch"
ROLE_POLICY_ACTIONS = {"iam:AttachRolePolicy", "iam:DetachRolePolicy"}
MAPPING_ACTIONS = {
    "lambda:CreateEventSourceMapping",
    "lambda:DeleteEventSourceMapping",
    "lambda:GetEventSourceMapping",
    "lambda:UpdateEventSourceMapping",
}

# The mapping that the request at hand names in its path; its function is a condition key.
named_mapping: ContextVar[str] = ContextVar("named_mapping", default="")

original_action: Callable[..., str | None] = iam_actions.extract_iam_action
original_resource: Callable[..., str] = iam_actions.extract_resource_arn
original_context: Callable[..., dict[str, Any]] = iam_actions.request_tag_context


def json_body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def parameter(params: dict[str, Any], name: str) -> str:
    value = params.get(name, "")
    return str(value[0] if isinstance(value, list) and value else value or "")


def function_arn(name: str) -> str:
    if name.startswith("arn:"):
        return name
    return f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{name}"


def action(service: str, *request: Any) -> str | None:
    """Name the action as AWS does. ``request`` is method, path, headers, body and parameters."""
    method, path, _headers, _body, params = request
    if service == "lambda" and (operation := iam_actions._match_rest_action(service, method, path, params)):
        return f"lambda:{INVOKING.get(operation, operation)}"
    name = original_action(service, *request)
    return name.removesuffix(BATCH_SUFFIX) if name and service == "sqs" else name


def resource(service: str, *request: Any) -> str:
    """Name the resource as AWS does, where the emulator says ``*``.

    ``request`` is method, path, headers, body, parameters, region and account.
    """
    _method, path, _headers, body, params, region, account = request
    found = original_resource(service, *request)
    named_mapping.set(found.partition(":event-source-mapping:")[2])
    if found != "*":
        return found
    if service == "iam":
        form = params or parse_qs(body.decode(errors="replace"))
        if name := parameter(form, "PolicyName"):
            return f"arn:aws:iam::{account}:policy{parameter(form, 'Path') or '/'}{name}"
    if service == "lambda" and (name := json_body(body).get("FunctionName")) and path.endswith("/functions"):
        return function_arn(str(name))
    if service == "ecr":
        content = json_body(body)
        if content.get("resourceArn"):
            return str(content["resourceArn"])
        if len(content.get("repositoryNames") or []) == 1:
            return f"arn:aws:ecr:{region}:{account}:repository/{content['repositoryNames'][0]}"
    return found


def context(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    """Add the condition keys that AWS knows for the action."""
    keys = dict(original_context(service, iam_action, body, params))
    if iam_action in ROLE_POLICY_ACTIONS:
        keys["iam:PolicyARN"] = parameter(params, "PolicyArn")
    if iam_action in MAPPING_ACTIONS:
        mapping = lambda_svc._esms.get(named_mapping.get()) or {}
        if name := json_body(body).get("FunctionName") or mapping.get("FunctionArn"):
            keys["lambda:FunctionArn"] = function_arn(str(name))
    return keys


def set_default_policy_version(params: dict[str, Any]) -> Any:
    """IAM's SetDefaultPolicyVersion, which the emulator lacks."""
    policy = iam._policies.get(parameter(params, "PolicyArn"))
    chosen = parameter(params, "VersionId")
    if not policy or chosen not in policy["Versions"]:
        return iam._error(404, "NoSuchEntity", "Policy or version not found.", ns="iam")
    for version in policy["Versions"].values():
        version["IsDefaultVersion"] = version["VersionId"] == chosen
    policy["DefaultVersionId"] = chosen
    return iam._xml(200, "SetDefaultPolicyVersionResponse", "", ns="iam")


iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]
iam_actions.extract_iam_action = action
iam_actions.extract_resource_arn = resource
iam_actions.request_tag_context = context
iam._IAM_HANDLERS["SetDefaultPolicyVersion"] = set_default_policy_version

from ministack.app import app  # noqa: E402 - it must find the corrected functions

__all__ = ["app"]
