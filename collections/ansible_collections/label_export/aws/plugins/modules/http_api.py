#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: http_api
short_description: Ensure an API Gateway HTTP API in front of one function
description:
  - Creates, changes or deletes an HTTP API that passes requests to one Lambda function (payload format 2.0), with its
    integration, routes and automatically deployed C($default) stage.
  - The API has its own endpoint, allows no other origins (CORS), and has no throttling for single routes. If such
    settings were added elsewhere, they are removed.
  - No upstream module manages API Gateway's HTTP APIs.
  - The API is found by its name, because AWS chooses its identifier. Two APIs with that name are refused.
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
    description: Seconds after which the API stops waiting for the function, up to 30.
    type: int
    default: 30
  throttling_rate_limit:
    description: Requests per second that the API accepts.
    type: float
    default: 50
  throttling_burst_limit:
    description: Requests that the API accepts at once.
    type: int
    default: 100
  access_log_group_arn:
    description: The log group for the access log. Without it there is no access log.
    type: str
    default: ""
  access_log_fields:
    description: The access log's fields and the API Gateway variables for their values.
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
)
from ansible_collections.label_export.aws.plugins.module_utils.http_api import OPEN, STAGE, HttpApiReader, log_group
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

PAYLOAD_FORMAT = "2.0"


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


class HttpApi(HttpApiReader):
    """The calls that change the API's parts."""

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
