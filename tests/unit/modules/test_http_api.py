"""The HTTP API in front of the function."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.label_export.aws.plugins.module_utils.http_api import current_stage
from ansible_collections.label_export.aws.plugins.modules.http_api import wanted_settings
from fake_aws import ACCOUNT, Fake, Values, assert_converges, assert_gone, done, run

FUNCTION = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:function:live"
LOG_GROUP = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/access"
FIELDS = {"id": "$context.requestId", "status": "$context.status"}
MINIMAL: Values = {"name": "api", "function_arn": FUNCTION}
EVERYTHING: Values = {
    **MINIMAL,
    "description": "What it is for",
    "route_keys": ["POST /webhook", "GET /health"],
    "timeout": 10,
    "throttling_rate_limit": 5.5,
    "throttling_burst_limit": 7,
    "access_log_group_arn": LOG_GROUP,
    "access_log_fields": FIELDS,
    "tags": {"owner": "us"},
}


class FakeApiGateway(Fake):
    """API Gateway, which returns every list with one item on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"apis": [], "integrations": [], "routes": [], "stages": []}
        self.numbers = iter(range(1, 100))

    def page(self, kind: str, p: Values) -> Values:
        items = [item for item in self.state[kind] if kind == "apis" or item["of"] == p["ApiId"]]
        number = int(p.get("NextToken", "0"))
        token = {"NextToken": str(number + 1)} if number + 1 < len(items) else {}
        shown = [{key: value for key, value in item.items() if key != "of"} for item in items]
        return {"Items": shown[number : number + 1], **token}

    def get_apis(self, p: Values) -> Values:
        return self.page("apis", p)

    def get_integrations(self, p: Values) -> Values:
        return self.page("integrations", p)

    def get_routes(self, p: Values) -> Values:
        return self.page("routes", p)

    def get_stages(self, p: Values) -> Values:
        return self.page("stages", p)

    def create(self, kind: str, identifier: str, p: Values) -> Values:
        item = {identifier: f"{kind[0]}{next(self.numbers)}", **p}
        if "ApiId" in p:
            item["of"] = item.pop("ApiId")
        self.state[kind].append(item)
        return {key: value for key, value in item.items() if key != "of"}

    def item(self, kind: str, identifier: str, p: Values) -> Values:
        found: Values = next(item for item in self.state[kind] if item[identifier] == p[identifier])
        return found

    def update(self, kind: str, identifier: str, p: Values) -> None:
        p.pop("ApiId")
        self.item(kind, identifier, p).update(p)

    def delete(self, kind: str, identifier: str, p: Values) -> None:
        self.state[kind].remove(self.item(kind, identifier, p))

    def create_api(self, p: Values) -> Values:
        return self.create("apis", "ApiId", {"DisableExecuteApiEndpoint": False, **p})

    def create_integration(self, p: Values) -> Values:
        return self.create("integrations", "IntegrationId", p)

    def create_route(self, p: Values) -> Values:
        return self.create("routes", "RouteId", {"AuthorizationType": "NONE", **p})

    def create_stage(self, p: Values) -> None:
        self.create("stages", "StageName", {"RouteSettings": {}, **p})

    def update_api(self, p: Values) -> None:
        self.item("apis", "ApiId", p).update(p)

    def update_integration(self, p: Values) -> None:
        self.update("integrations", "IntegrationId", p)

    def update_route(self, p: Values) -> None:
        self.update("routes", "RouteId", p)

    def update_stage(self, p: Values) -> None:
        self.update("stages", "StageName", p)

    def delete_api(self, p: Values) -> None:
        self.delete("apis", "ApiId", p)

    def delete_integration(self, p: Values) -> None:
        identifier = p["IntegrationId"]
        assert all(not route["Target"].endswith(f"/{identifier}") for route in self.state["routes"]), "still in use"
        self.delete("integrations", "IntegrationId", p)

    def delete_route(self, p: Values) -> None:
        self.delete("routes", "RouteId", p)

    def delete_cors_configuration(self, p: Values) -> None:
        del self.item("apis", "ApiId", p)["CorsConfiguration"]

    def delete_route_settings(self, p: Values) -> None:
        del self.item("stages", "StageName", p)["RouteSettings"][p["RouteKey"]]

    def delete_access_log_settings(self, p: Values) -> None:
        del self.item("stages", "StageName", p)["AccessLogSettings"]

    def tagged(self, p: Values) -> Values:
        start = "arn:aws:apigateway:eu-west-1::/apis/"
        tagged = {f"{start}{api['ApiId']}": api for api in self.state["apis"]}
        tagged |= {f"{start}{stage['of']}/stages/{stage['StageName']}": stage for stage in self.state["stages"]}
        return tagged[p["ResourceArn"]]

    def get_tags(self, p: Values) -> Values:
        return {"Tags": self.tagged(p).get("Tags", {})}

    def tag_resource(self, p: Values) -> None:
        self.tagged(p).setdefault("Tags", {}).update(p["Tags"])

    def untag_resource(self, p: Values) -> None:
        for key in p["TagKeys"]:
            del self.tagged(p)["Tags"][key]


STAGE = {
    "auto_deploy": False,
    "rate_limit": None,
    "burst_limit": None,
    "access_log_group_arn": "",
    "access_log_fields": {},
    "route_settings": {},
}


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (None, None),
        ({}, STAGE),
        ({"AutoDeploy": True}, {**STAGE, "auto_deploy": True}),
        (
            {"DefaultRouteSettings": {"ThrottlingRateLimit": 50.0, "ThrottlingBurstLimit": 100}},
            {**STAGE, "rate_limit": 50, "burst_limit": 100},
        ),
        (
            {"AccessLogSettings": {"DestinationArn": LOG_GROUP, "Format": json.dumps(FIELDS, indent=1)}},
            {**STAGE, "access_log_group_arn": LOG_GROUP, "access_log_fields": FIELDS},
        ),
        (
            {"AccessLogSettings": {"DestinationArn": f"{LOG_GROUP}:*", "Format": "$context.requestId $context.status"}},
            {**STAGE, "access_log_group_arn": LOG_GROUP, "access_log_fields": "$context.requestId $context.status"},
        ),
        ({"AccessLogSettings": None}, STAGE),
    ],
)
def test_current_stage(stage: Values | None, expected: Values | None) -> None:
    assert current_stage(stage) == expected


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({}, "integration", {"uri": FUNCTION, "timeout_ms": 30000, "payload_format": "2.0"}),
        ({"route_keys": ["b", "a"]}, "routes", ["a", "b"]),
        ({}, "stage", {**STAGE, "auto_deploy": True, "rate_limit": 50, "burst_limit": 100}),
        # Without a group there is no access log, whatever its fields are.
        (
            {"access_log_fields": FIELDS},
            "stage",
            {**STAGE, "auto_deploy": True, "rate_limit": 50, "burst_limit": 100},
        ),
        ({}, "tags", None),
    ],
)
def test_wanted_settings(given: Values, name: str, value: Any) -> None:
    defaults = {
        "description": "",
        "route_keys": [],
        "timeout": 30,
        "throttling_rate_limit": 50.0,
        "throttling_burst_limit": 100,
        "access_log_group_arn": "",
        "access_log_fields": {},
        "tags": None,
    }
    assert wanted_settings({**defaults, **MINIMAL, **given})[name] == value


@pytest.mark.parametrize(
    "given", [EVERYTHING, MINIMAL, {**EVERYTHING, "access_log_group_arn": f"{LOG_GROUP}:*", "tags": {}}]
)
def test_an_api_is_created_kept_and_deleted(given: Values) -> None:
    fake = FakeApiGateway()
    assert done("http_api", fake, check=True, **given)["api_id"] == ""
    result = assert_converges("http_api", fake, **given)
    assert result["api_id"] == fake.state["apis"][0]["ApiId"]
    assert_gone("http_api", fake, name="api")
    assert fake.state["apis"] == []


@pytest.mark.parametrize(
    ("kind", "drift", "changed"),
    [
        ("apis", {"Description": "theirs"}, "description"),
        ("apis", {"DisableExecuteApiEndpoint": True}, "own_endpoint"),
        ("apis", {"CorsConfiguration": {"AllowOrigins": ["*"]}}, "cors"),
        ("apis", {"Tags": {"owner": "they", "more": "1"}}, "tags"),
        ("stages", {"Tags": {"owner": "they", "more": "1"}}, "stage_tags"),
        ("integrations", {"IntegrationUri": FUNCTION + "-2"}, "integration"),
        ("integrations", {"TimeoutInMillis": 1000}, "integration"),
        ("integrations", {"PayloadFormatVersion": "1.0"}, "integration"),
        ("routes", {"Target": "integrations/other"}, "routes"),
        ("routes", {"AuthorizationType": "AWS_IAM"}, "routes"),
        ("stages", {"AutoDeploy": False}, "stage"),
        ("stages", {"DefaultRouteSettings": {"ThrottlingRateLimit": 1.0, "ThrottlingBurstLimit": 1}}, "stage"),
        ("stages", {"AccessLogSettings": {"DestinationArn": LOG_GROUP, "Format": "$context.requestId"}}, "stage"),
        ("stages", {"AccessLogSettings": {}}, "stage"),
        ("stages", {"RouteSettings": {"POST /webhook": {"ThrottlingBurstLimit": 0}}}, "stage"),
    ],
)
def test_drift_is_corrected(kind: str, drift: Values, changed: str) -> None:
    fake = FakeApiGateway()
    done("http_api", fake, **EVERYTHING)
    before = deepcopy(fake.state)
    fake.state[kind][0].update(drift)
    result = assert_converges("http_api", fake, **EVERYTHING)
    assert list(result["diff"]["after"]) == [changed]
    assert fake.state == before


@pytest.mark.parametrize("kind", ["routes", "stages"])
def test_a_part_that_is_gone_is_created_again(kind: str) -> None:
    fake = FakeApiGateway()
    done("http_api", fake, **EVERYTHING)
    before = {key: len(items) for key, items in fake.state.items()}
    fake.state[kind].pop()
    assert_converges("http_api", fake, **EVERYTHING)
    assert {key: len(items) for key, items in fake.state.items()} == before


def test_an_integration_that_is_gone_is_created_again_and_the_routes_lead_to_it() -> None:
    fake = FakeApiGateway()
    done("http_api", fake, **EVERYTHING)
    fake.state["integrations"].clear()
    assert_converges("http_api", fake, **EVERYTHING)
    target = f"integrations/{fake.state['integrations'][0]['IntegrationId']}"
    assert [route["Target"] for route in fake.state["routes"]] == [target, target]


def test_routes_and_integrations_of_others_are_removed() -> None:
    fake = FakeApiGateway()
    api_id = done("http_api", fake, **EVERYTHING)["api_id"]
    surplus = fake.create_integration({"ApiId": api_id, "IntegrationType": "HTTP_PROXY"})["IntegrationId"]
    fake.create_route({"ApiId": api_id, "RouteKey": "ANY /theirs", "Target": f"integrations/{surplus}"})
    assert_converges("http_api", fake, **EVERYTHING)
    assert sorted(route["RouteKey"] for route in fake.state["routes"]) == sorted(EVERYTHING["route_keys"])
    assert len(fake.state["integrations"]) == 1


def test_an_integration_that_no_route_leads_to_is_removed() -> None:
    fake = FakeApiGateway()
    api_id = done("http_api", fake, **EVERYTHING)["api_id"]
    fake.create_integration({"ApiId": api_id, "IntegrationType": "HTTP_PROXY"})
    assert_converges("http_api", fake, **EVERYTHING)
    assert [integration["IntegrationUri"] for integration in fake.state["integrations"]] == [FUNCTION]


def test_the_access_log_is_turned_off() -> None:
    fake = FakeApiGateway()
    done("http_api", fake, **EVERYTHING)
    assert_converges("http_api", fake, **{**EVERYTHING, "access_log_group_arn": ""})
    assert "AccessLogSettings" not in fake.state["stages"][0]


def test_tags_of_aws_are_not_a_difference() -> None:
    fake = FakeApiGateway()
    done("http_api", fake, **EVERYTHING)
    fake.state["apis"][0]["Tags"]["aws:cloudformation:stack-name"] = "s"
    assert not done("http_api", fake, **EVERYTHING)["changed"]


def test_other_apis_are_not_changed() -> None:
    fake = FakeApiGateway()
    for name, protocol in (("other", "HTTP"), ("api", "WEBSOCKET")):
        fake.create_api({"Name": name, "ProtocolType": protocol})
    others = deepcopy(fake.state["apis"])
    # The API itself is on the last page.
    assert_converges("http_api", fake, **EVERYTHING)
    assert_gone("http_api", fake, name="api")
    assert fake.state["apis"] == others


@pytest.mark.parametrize("state", ["present", "absent"])
def test_two_apis_with_the_same_name_are_refused(state: str) -> None:
    fake = FakeApiGateway()
    for _ in range(2):
        fake.create_api({"Name": "api", "ProtocolType": "HTTP"})
    result = run("http_api", fake, **MINIMAL, state=state)
    assert result["msg"] == "There are 2 HTTP APIs named api (a1, a2). Delete all but one."
    assert fake.writes() == []
