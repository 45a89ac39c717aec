#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: http_api
short_description: Ensure an API Gateway HTTP API in front of one function
description:
  - Makes, changes or deletes an HTTP API that hands requests to one Lambda function (payload format 2.0), with its
    integration, routes and automatically deployed C($default) stage.
  - The API answers at its own endpoint, allows no other origins (CORS), and has no throttling for single routes; what
    others have set of these is taken back.
  - No upstream module knows API Gateway's HTTP APIs.
  - The API is found by its name, since AWS chooses its identifier. Two APIs of that name are refused.
author: The label-export contributors
options:
  name:
    description: The API's name.
    type: str
    required: true
  state:
    description: Whether the API exists.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: The API's description.
    type: str
    default: ""
  function_arn:
    description: The ARN of the function or alias that answers. Required when O(state=present).
    type: str
  route_keys:
    description: The routes, such as C(POST /webhook). Others are removed.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds after which the API gives up on the function, up to 30.
    type: int
    default: 30
  throttling_rate_limit:
    description: Requests a second that are let through.
    type: float
    default: 50
  throttling_burst_limit:
    description: Requests at once that are let through.
    type: int
    default: 100
  access_log_group_arn:
    description: The log group for the access log; no access log without it.
    type: str
    default: ""
  access_log_fields:
    description: The access log's fields and the API Gateway variables they are filled from.
    type: dict
    default: {}
  tags:
    description: The tags of the API and of its stage. Others are removed. Not managed when left out.
    type: dict
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure webhooks reach the function
  label_export.aws.http_api:
    name: label-export-dev
    function_arn: arn:aws:lambda:eu-west-1:123456789012:function:label-export-dev:live
    route_keys:
      - POST /webhook
  register: webhook_api
"""

RETURN = r"""
api_id:
  description: The API's identifier, chosen by AWS; empty in check mode when the API does not exist.
  returned: when state is present
  type: str
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import compare_aws_tags
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    difference,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

STAGE = "$default"
PAYLOAD_FORMAT = "2.0"
OPEN = "NONE"


def log_group(arn: str) -> str:
    """Return a log group's ARN without the ``:*`` that CloudWatch Logs ends it with and API Gateway cuts off."""
    return arn.removesuffix(":*")


def log_fields(text: str | None) -> Any:
    """Return the fields of an access log's format; the text itself when it is none of ours, which are JSON."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into comparable settings."""
    group = log_group(params["access_log_group_arn"])
    return {
        "description": params["description"],
        "own_endpoint": True,
        "cors": {},
        "integration": {
            "uri": params["function_arn"],
            "timeout_ms": params["timeout"] * 1000,
            "payload_format": PAYLOAD_FORMAT,
        },
        "routes": sorted(params["route_keys"]),
        "stage": {
            "auto_deploy": True,
            "rate_limit": params["throttling_rate_limit"],
            "burst_limit": params["throttling_burst_limit"],
            "access_log_group_arn": group,
            "access_log_fields": params["access_log_fields"] if group else {},
            "route_settings": {},
        },
        "tags": params["tags"],
        "stage_tags": params["tags"],
    }


def current_stage(stage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Bring the API's description of a stage into the form of wanted_settings; None stays None."""
    if stage is None:
        return None
    throttling, log = stage.get("DefaultRouteSettings", {}), stage.get("AccessLogSettings") or {}
    return {
        "auto_deploy": stage.get("AutoDeploy", False),
        "rate_limit": throttling.get("ThrottlingRateLimit"),
        "burst_limit": throttling.get("ThrottlingBurstLimit"),
        "access_log_group_arn": log_group(log.get("DestinationArn", "")),
        "access_log_fields": log_fields(log.get("Format")),
        "route_settings": stage.get("RouteSettings") or {},
    }


class HttpApi:
    """The API as it is, and the calls that change its parts."""

    def __init__(self, client: Any, name: str, arn_start: str) -> None:
        """`arn_start` is what the ARNs of the region's APIs begin with; empty where no tags are managed."""
        self.client = client
        self.name = name
        self.arn_start = arn_start
        self.stage_tags: dict[str, str] = {}
        self.api: dict[str, Any] = {}
        self.integration: dict[str, Any] = {}
        self.stage: dict[str, Any] | None = None
        self.routes: dict[str, dict[str, Any]] = {}
        self.surplus_integrations: list[dict[str, Any]] = []

    def read(self, operation: str, **arguments: str) -> list[dict[str, Any]]:
        """Return the items of every page that a reading operation answers."""
        return [item for page in self.client.get_paginator(operation).paginate(**arguments) for item in page["Items"]]

    def load(self) -> None:
        """Read everything. Raises ExplainedError when the name is not unique."""
        found = [api for api in self.read("get_apis") if api["Name"] == self.name and api.get("ProtocolType") == "HTTP"]
        if len(found) > 1:
            identifiers = ", ".join(sorted(api["ApiId"] for api in found))
            raise ExplainedError(
                f"There are {len(found)} HTTP APIs named {self.name} ({identifiers}). Delete all but one."
            )
        if not found:
            return
        self.api = found[0]
        integrations = self.read("get_integrations", ApiId=self.id)
        self.integration, self.surplus_integrations = (integrations or [{}])[0], integrations[1:]
        self.routes = {route["RouteKey"]: route for route in self.read("get_routes", ApiId=self.id)}
        stages = self.read("get_stages", ApiId=self.id)
        self.stage = next((stage for stage in stages if stage["StageName"] == STAGE), None)
        if self.stage and self.arn_start:
            answer = self.client.get_tags(aws_retry=True, ResourceArn=self.stage_arn)
            self.stage_tags = own_tags(answer.get("Tags", {}))

    @property
    def arn(self) -> str:
        return f"{self.arn_start}/apis/{self.id}"

    @property
    def stage_arn(self) -> str:
        return f"{self.arn}/stages/{STAGE}"

    @property
    def id(self) -> str:
        return str(self.api["ApiId"])

    @property
    def target(self) -> str:
        return f"integrations/{self.integration['IntegrationId']}"

    @property
    def tags(self) -> dict[str, str]:
        return own_tags(self.api.get("Tags", {}))

    def leads_here(self, route: dict[str, Any]) -> bool:
        """Tell whether a route hands every request to the integration, without asking who sent it."""
        is_open = route.get("AuthorizationType", OPEN) == OPEN
        return bool(self.integration) and is_open and route.get("Target") == self.target

    def settings(self) -> dict[str, Any] | None:
        """Return the settings in the form of wanted_settings; None when there is no such API."""
        if not self.api:
            return None
        integration = self.integration and {
            "uri": self.integration.get("IntegrationUri"),
            "timeout_ms": self.integration.get("TimeoutInMillis"),
            "payload_format": self.integration.get("PayloadFormatVersion"),
        }
        return {
            "description": self.api.get("Description", ""),
            "own_endpoint": not self.api.get("DisableExecuteApiEndpoint", False),
            "cors": self.api.get("CorsConfiguration") or {},
            "integration": integration,
            "routes": sorted(
                key if self.leads_here(route) else f"{key} (elsewhere)" for key, route in self.routes.items()
            ),
            "stage": current_stage(self.stage),
            "tags": self.tags,
            "stage_tags": self.stage_tags,
        }

    def ensure_api(self, wanted: dict[str, Any], changes: dict[str, Any]) -> None:
        if not self.api:
            self.api = self.client.create_api(
                Name=self.name, ProtocolType="HTTP", Description=wanted["description"], Tags=wanted["tags"] or {}
            )
            return
        if "description" in changes or "own_endpoint" in changes:
            self.client.update_api(
                aws_retry=True,
                ApiId=self.id,
                Description=wanted["description"],
                DisableExecuteApiEndpoint=not wanted["own_endpoint"],
            )
        if "cors" in changes:
            self.client.delete_cors_configuration(aws_retry=True, ApiId=self.id)

    def ensure_integration(self, wanted: dict[str, Any]) -> None:
        request = {
            "ApiId": self.id,
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": wanted["uri"],
            "PayloadFormatVersion": wanted["payload_format"],
            "TimeoutInMillis": wanted["timeout_ms"],
        }
        if not self.integration:
            self.integration = self.client.create_integration(aws_retry=True, **request)
        else:
            self.client.update_integration(aws_retry=True, IntegrationId=self.integration["IntegrationId"], **request)

    def ensure_routes(self, wanted: list[str]) -> None:
        for key in wanted:
            route = self.routes.get(key)
            if route is None:
                self.client.create_route(aws_retry=True, ApiId=self.id, RouteKey=key, Target=self.target)
            elif not self.leads_here(route):
                self.client.update_route(
                    aws_retry=True,
                    ApiId=self.id,
                    RouteId=route["RouteId"],
                    Target=self.target,
                    AuthorizationType=OPEN,
                )
        for key in self.routes.keys() - set(wanted):
            self.client.delete_route(aws_retry=True, ApiId=self.id, RouteId=self.routes[key]["RouteId"])

    def remove_surplus_integrations(self) -> None:
        for surplus in self.surplus_integrations:
            self.client.delete_integration(aws_retry=True, ApiId=self.id, IntegrationId=surplus["IntegrationId"])

    def ensure_stage(self, wanted: dict[str, Any], tags: dict[str, str] | None) -> None:
        request = {
            "ApiId": self.id,
            "StageName": STAGE,
            "AutoDeploy": True,
            "DefaultRouteSettings": {
                "ThrottlingRateLimit": wanted["rate_limit"],
                "ThrottlingBurstLimit": wanted["burst_limit"],
            },
        }
        if wanted["access_log_group_arn"]:
            request["AccessLogSettings"] = {
                "DestinationArn": wanted["access_log_group_arn"],
                "Format": json.dumps(wanted["access_log_fields"]),
            }
        elif self.stage and self.stage.get("AccessLogSettings"):
            self.client.delete_access_log_settings(aws_retry=True, ApiId=self.id, StageName=STAGE)
        if self.stage is None:
            self.client.create_stage(aws_retry=True, Tags=tags or {}, **request)
            self.stage_tags = tags or {}
        else:
            for route_key in self.stage.get("RouteSettings") or {}:
                self.client.delete_route_settings(aws_retry=True, ApiId=self.id, StageName=STAGE, RouteKey=route_key)
            self.client.update_stage(aws_retry=True, **request)

    def ensure_tags(self, arn: str, current: dict[str, str], wanted: dict[str, str]) -> None:
        to_set, to_remove = compare_aws_tags(current, wanted)
        if to_set:
            self.client.tag_resource(aws_retry=True, ResourceArn=arn, Tags=to_set)
        if to_remove:
            self.client.untag_resource(aws_retry=True, ResourceArn=arn, TagKeys=to_remove)


def ensure_present(module: AnsibleAWSModule, api: HttpApi) -> None:
    wanted = wanted_settings(module.params)
    api.load()
    current = api.settings()
    changes = changed_values(current, wanted)
    changed = bool(changes or api.surplus_integrations)
    diff = difference(current, wanted)
    if changed and not module.check_mode:
        api.ensure_api(wanted, changes)
        if "integration" in changes:
            api.ensure_integration(wanted["integration"])
        api.ensure_routes(wanted["routes"])
        api.remove_surplus_integrations()
        if "stage" in changes:
            api.ensure_stage(wanted["stage"], wanted["stage_tags"])
        if "tags" in changes and current is not None:
            api.ensure_tags(api.arn, api.tags, wanted["tags"])
        if "stage_tags" in changes:
            api.ensure_tags(api.stage_arn, api.stage_tags, wanted["stage_tags"])
    module.exit_json(changed=changed, diff=diff, api_id=api.id if api.api else "")


def ensure_absent(module: AnsibleAWSModule, api: HttpApi) -> None:
    api.load()
    current = api.settings()
    if current is not None and not module.check_mode:
        api.client.delete_api(aws_retry=True, ApiId=api.id)
    module.exit_json(changed=current is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "description": {"type": "str", "default": ""},
            "function_arn": {"type": "str"},
            "route_keys": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 30},
            "throttling_rate_limit": {"type": "float", "default": 50},
            "throttling_burst_limit": {"type": "int", "default": 100},
            "access_log_group_arn": {"type": "str", "default": ""},
            "access_log_fields": {"type": "dict", "default": {}},
            "tags": {"type": "dict"},
        },
        required_if=[("state", "present", ("function_arn",))],
        supports_check_mode=True,
    )
    partition = (module.params["function_arn"] or ":").split(":")[1]
    client = module.client("apigatewayv2", retry_decorator=AWSRetry.jittered_backoff())
    arn_start = f"arn:{partition}:apigateway:{module.region}::" if module.params["tags"] is not None else ""
    api = HttpApi(client, module.params["name"], arn_start)
    ensure_state(module, f"The HTTP API {api.name}", api, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
