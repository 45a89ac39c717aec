"""An API Gateway HTTP API, read into comparable settings."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.label_export.aws.plugins.module_utils.comparison import own_tags
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError

STAGE = "$default"
OPEN = "NONE"


def log_group(arn: str) -> str:
    """Return a log group's ARN without the ``:*`` at its end, which CloudWatch Logs adds and API Gateway removes."""
    return arn.removesuffix(":*")


def log_fields(text: str | None) -> Any:
    """Return the fields of an access log's JSON format; the text itself if it is not JSON."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def current_stage(stage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Bring the API's description of a stage into comparable form; None stays None."""
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


class HttpApiReader:
    """The API's current state, with its integration, its routes and its stage."""

    def __init__(self, client: Any, name: str, arn_start: str) -> None:
        """Name the API; nothing is read yet.

        Args:
            client: A client for ``apigatewayv2``.
            name: The API's name.
            arn_start: What the ARNs of the region's APIs begin with. Empty where the stage's tags are not read.
        """
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
        """Return whether a route passes every request to the integration without authorization."""
        is_open = route.get("AuthorizationType", OPEN) == OPEN
        return bool(self.integration) and is_open and route.get("Target") == self.target

    def settings(self) -> dict[str, Any] | None:
        """Return the settings in comparable form; None when there is no such API."""
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
