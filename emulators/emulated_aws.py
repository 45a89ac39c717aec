"""MiniStack with corrections where it differs from AWS. The corrections never allow what AWS would refuse.

MiniStack enforces IAM policies, but some names of actions, resources and condition keys differ from AWS's Service
Authorization Reference, and one IAM call is missing. Policies that are correct on AWS would fail here, or would have to
be wider. The other corrections:

- Alarms ignore the dimensions of a metric, and publish to topics whose policy does not allow it.
- Dashboards have no tags.
- The version of a new secret ignores the ``ClientRequestToken``.
- Versions of a function that have the same image share containers, and so an environment. An update of the function
  kills all of them.
- Only callers of its own account can reach an HTTP API.
- Invocations of containers fail, and lose log lines, on a slow machine (lambda_containers.py).
- Athena does not read tables that are a list of files (athena_tables.py).
- Glue and Athena check other resources than AWS, and Glue does not check the catalog and the database of a table.
- The root user's signature is not checked, and every client can list the buckets, read the queues and reset the
  emulator.

If the environment variable ``ALLOWED_ACTIONS_FILE`` names a file, each action that a policy allowed is written to it
once: a line with the caller's ARN, a tab and the action. Actions that AWS never refuses and actions of root are not
evaluated.

If ``LAYERS_DIRECTORY`` names a folder, image layers of earlier registries need not be sent again (kept_layers.py).

Served as ``emulated_aws:app`` with the pinned MiniStack (ministack-requirements.txt), whose internals it patches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import athena_tables
import kept_layers
import lambda_containers
from ministack.core import iam_actions, iam_evaluator, tls
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway, athena, cloudwatch, ecr, iam, kms, lambda_svc, secretsmanager, sns

# The names of Lambda's actions are those of its operations, except for these.
INVOKING = {"Invoke": "InvokeFunction", "InvokeAsync": "InvokeFunction"}
# The permission for one message also allows SQS's batch calls.
BATCH_SUFFIX = "Batch"
ROLE_POLICY_ACTIONS = {"iam:AttachRolePolicy", "iam:DetachRolePolicy"}
# Actions with the condition key iam:PermissionsBoundary: the boundary in the request, or that of the role.
BOUNDARY_IN_REQUEST = {"iam:CreateRole", "iam:PutRolePermissionsBoundary"}
BOUNDARY_OF_ROLE = {
    "iam:AttachRolePolicy",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
}
MAPPING_ACTIONS = {
    "lambda:CreateEventSourceMapping",
    "lambda:DeleteEventSourceMapping",
    "lambda:GetEventSourceMapping",
    "lambda:UpdateEventSourceMapping",
}

# Actions that pass a role to a service, for which AWS also checks iam:PassRole.
PASSED_TO = {
    "lambda:CreateFunction": "lambda.amazonaws.com",
    "lambda:UpdateFunctionConfiguration": "lambda.amazonaws.com",
    "scheduler:CreateSchedule": "scheduler.amazonaws.com",
    "scheduler:UpdateSchedule": "scheduler.amazonaws.com",
}

LATEST = "$LATEST"
# User and group of Lambda's processes (sbx_user1051), as `id` shows them in a function.
LAMBDA_USER = "993:990"
ALARMS = "cloudwatch.amazonaws.com"
# The actions that publishing to an encrypted topic needs: docs.aws.amazon.com/sns/latest/dg/sns-key-management.html.
KEY_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey")

# The event source mapping in the current request's path; its function is a condition key.
named_mapping: ContextVar[str] = ContextVar("named_mapping", default="")
# The role that the current request passes to a service.
passed_role: ContextVar[str] = ContextVar("passed_role", default="")
# The ARN of the HTTP API, or of the part of one, in the current request; its tags are condition keys.
named_api: ContextVar[str] = ContextVar("named_api", default="")

original_action: Callable[..., str | None] = iam_actions.extract_iam_action
original_resource: Callable[..., str] = iam_actions.extract_resource_arn
original_container_key: Callable[..., str] = lambda_svc._warm_pool_key
original_container_options: Callable[[str], dict[str, Any]] = lambda_svc._parse_docker_flags
original_end_containers: Callable[..., None] = lambda_svc._pool_kill_function
original_create_secret: Callable[..., Any] = secretsmanager._create_secret
original_context: Callable[..., dict[str, Any]] = iam_actions.request_tag_context
original_condition_key: Callable[[str, EvalContext], Any] = iam_evaluator._resolve_condition_key
original_decision: Callable[..., Any] = iam_evaluator.evaluate
original_evaluate: Callable[..., None] = cloudwatch._evaluate_alarm
original_dispatch: Callable[..., None] = cloudwatch._dispatch_alarm_actions
original_tag_check: Callable[..., Any] = cloudwatch._validate_alarm_tag_arn


allowed_actions_file = os.environ.get("ALLOWED_ACTIONS_FILE")
allowed_actions: set[str] = set()


def decision(request: EvalContext, *policies: Any) -> Any:
    """Decide as MiniStack does, check iam:PassRole too if a role is passed, and record what is allowed."""
    result = original_decision(request, *policies)
    service = PASSED_TO.get(request.action)
    if service and result.decision == "Allow" and passed_role.get():
        passing = replace(
            request,
            action="iam:PassRole",
            resource_arn=passed_role.get(),
            service_context={"iam:passedtoservice": service},
        )
        passed = decision(passing, *policies)
        if passed.decision != "Allow":
            return passed
    if request.action.startswith("glue:") and result.decision == "Allow" and above(request.resource_arn):
        found = decision(replace(request, resource_arn=above(request.resource_arn)), *policies)
        if found.decision != "Allow":
            return found
    line = f"{request.principal_arn}\t{request.action}\n"
    if allowed_actions_file and result.decision == "Allow" and line not in allowed_actions:
        allowed_actions.add(line)
        with open(allowed_actions_file, "a") as file:
            file.write(line)
    return result


def condition_key(key: str, request: EvalContext) -> Any:
    """Return the value of a global condition key: for a role's session, aws:PrincipalArn is the role's ARN."""
    before, session, named = request.principal_arn.partition(":assumed-role/")
    if key.lower() == "aws:principalarn" and session:
        role = iam._roles.get_scoped(before.rpartition(":")[2], None, named.split("/")[0])
        return role["Arn"] if role else request.principal_arn
    return original_condition_key(key, request)


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
    """Return AWS's name of the action. ``request`` is method, path, headers, body and parameters."""
    method, path, _headers, _body, params = request
    if service == "lambda" and (operation := iam_actions._match_rest_action(service, method, path, params)):
        return f"lambda:{INVOKING.get(operation, operation)}"
    name = original_action(service, *request)
    return name.removesuffix(BATCH_SUFFIX) if name and service == "sqs" else name


def resource(service: str, *request: Any) -> str:
    """Return AWS's name of the resource, for which MiniStack often has ``*``.

    ``request`` is method, path, headers, body, parameters, region and account.
    """
    _method, path, _headers, body, params, region, account = request
    found = original_resource(service, *request)
    named_mapping.set(found.partition(":event-source-mapping:")[2])
    named_api.set(found if service == "apigateway" else "")
    passed_role.set(role_in(service, json_body(body)))
    if service in ("iam", "sns"):
        return form_resource(service, params or parse_qs(body.decode(errors="replace")), account, found)
    named = {"athena": workgroup_resource, "events": rule_resource, "glue": glue_resource}.get(service)
    found = named(json_body(body), region, account, found) if named else found
    if found != "*":
        return found
    if service == "monitoring":
        found = metric_resource(json_body(body), region, account)
    if service == "lambda" and (function := json_body(body).get("FunctionName")) and path.endswith("/functions"):
        return function_arn(str(function))
    if service == "ecr":
        content = json_body(body)
        if content.get("resourceArn"):
            return str(content["resourceArn"])
        if len(content.get("repositoryNames") or []) == 1:
            return f"arn:aws:ecr:{region}:{account}:repository/{content['repositoryNames'][0]}"
    return found


def form_resource(service: str, form: dict[str, Any], account: str, found: str) -> str:
    """Return the ARN in a request to IAM or SNS; ``found`` is MiniStack's name of it."""
    if service == "iam" and (name := parameter(form, "RoleName")):
        # A role's ARN contains its path. For a role that does not exist, only the request has the path.
        role = iam._roles.get(name)
        return str(role["Arn"]) if role else f"arn:aws:iam::{account}:role{parameter(form, 'Path') or '/'}{name}"
    if found == "*" and service == "sns":
        return parameter(form, "ResourceArn") or found
    if found == "*" and (name := parameter(form, "PolicyName")):
        return f"arn:aws:iam::{account}:policy{parameter(form, 'Path') or '/'}{name}"
    return found


def rule_resource(request: dict[str, Any], region: str, account: str, found: str) -> str:
    """Return the ARN of the rule in a request to EventBridge; on the default bus it does not contain the bus."""
    if arn := request.get("ResourceARN"):
        return str(arn)
    if name := request.get("Name") or request.get("Rule"):
        bus = request.get("EventBusName") or "default"
        return f"arn:aws:events:{region}:{account}:rule/{'' if bus == 'default' else f'{bus}/'}{name}"
    return found


def workgroup_resource(request: dict[str, Any], region: str, account: str, found: str) -> str:
    """Return the ARN of a request's workgroup: that of its query, the one it names, or the default of a new query."""
    query = athena._executions.get(request.get("QueryExecutionId"))
    name = query["WorkGroup"] if query else request.get("WorkGroup", "primary" if "QueryString" in request else "")
    return f"arn:aws:athena:{region}:{account}:workgroup/{name}" if name else found


def glue_resource(request: dict[str, Any], region: str, account: str, _found: str) -> str:
    """Return the ARN of the table or database of a request to Glue; else that of the catalog."""
    if arn := request.get("ResourceArn"):
        return str(arn)
    start = f"arn:aws:glue:{region}:{account}"
    database = request.get("DatabaseName")
    table = request.get("Name") or request.get("TableName") or (request.get("TableInput") or {}).get("Name")
    if database:
        return f"{start}:table/{database}/{table or '*'}"
    name = request.get("Name") or (request.get("DatabaseInput") or {}).get("Name")
    return f"{start}:database/{name}" if name else f"{start}:catalog"


def above(arn: str) -> str:
    """Return the ARN that AWS also checks: a table's database, a database's catalog; otherwise an empty string."""
    start, _, name = arn.partition(":table/")
    if name:
        return f"{start}:database/{name.partition('/')[0]}"
    start, _, name = arn.partition(":database/")
    return f"{start}:catalog" if name else ""


def role_in(service: str, request: dict[str, Any]) -> str:
    """Return the ARN of the role that a request passes, or an empty string."""
    holder = {"lambda": request, "scheduler": request.get("Target")}.get(service)
    holder = holder if isinstance(holder, dict) else {}
    return str(holder.get("Role") or holder.get("RoleArn") or "")


def metric_resource(request: dict[str, Any], region: str, account: str) -> str:
    """Return the ARN of the alarm or dashboard in a request to CloudWatch, or ``*`` if it names none."""
    if arn := request.get("ResourceARN"):
        return str(arn)
    for kind, place in (("Alarm", f"{region}:{account}:alarm:"), ("Dashboard", f":{account}:dashboard/")):
        # AWS checks each of several; here the first one is enough, so that no wider permission is needed.
        names = request.get(f"{kind}Names") or [request.get(f"{kind}Name")]
        if names[0]:
            return f"arn:aws:cloudwatch:{place}{names[0]}"
    return "*"


def evaluate_alarm(alarm: dict[str, Any]) -> None:
    """Evaluate only the alarm's own metric, dimensions included, and not all metrics with that name."""
    everything = cloudwatch._metrics
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or []}
    key = (alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions))
    cloudwatch._metrics = {key: everything.get(key) or []}
    try:
        original_evaluate(alarm)
    finally:
        cloudwatch._metrics = everything


def lets_alarm(policy: str, alarm_arn: str, wanted: str, on: str) -> bool:
    """Return whether a resource policy allows CloudWatch to act for an alarm."""
    request = EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=wanted,
        resource_arn=on,
        region=get_region(),
        service_context={"aws:sourcearn": alarm_arn, "aws:sourceaccount": get_account_id()},
    )
    return bool(evaluate_resource_policy(policy, request, service=ALARMS).decision == "Allow")


def may_publish(alarm_arn: str, topic_arn: str) -> bool:
    """Return whether an alarm may publish to a topic: the topic's policy and its key's policy must allow it."""
    topic = sns._topics.get(topic_arn)
    if topic is None or not lets_alarm(topic["attributes"].get("Policy", ""), alarm_arn, "sns:Publish", topic_arn):
        return False
    key_id = topic["attributes"].get("KmsMasterKeyId")
    if not key_id:
        return True
    key = kms._resolve_key(key_id) or {}
    policy, arn = key.get("Policy", ""), key.get("Arn", "*")
    return all(lets_alarm(policy, alarm_arn, wanted, arn) for wanted in KEY_ACTIONS)


def dispatch_alarm_actions(alarm: dict[str, Any], *change: Any) -> None:
    """Notify only the topics to which the alarm may publish."""
    arn = alarm["AlarmArn"]
    allowed = {
        kind: [action for action in alarm.get(kind) or [] if ":sns:" not in action or may_publish(arn, action)]
        for kind in ("AlarmActions", "OKActions", "InsufficientDataActions")
    }
    original_dispatch({**alarm, **allowed}, *change)


def check_tagged(arn: str, **protocol: Any) -> Any:
    """Allow tags on dashboards, as on alarms."""
    dashboard = arn.partition(":dashboard/")[2]
    return None if dashboard in cloudwatch._dashboards else original_tag_check(arn, **protocol)


def tagged_dashboard(put: Callable[..., Any]) -> Callable[..., Any]:
    """Store the tags with which a dashboard is created."""

    def put_dashboard(params: dict[str, Any], data: dict[str, Any], *protocol: Any) -> Any:
        name = data.get("DashboardName", "")
        is_new = name not in cloudwatch._dashboards
        answer = put(params, data, *protocol)
        if is_new and data.get("Tags"):
            arn = cloudwatch._dashboards[name]["DashboardArn"]
            cloudwatch._resource_tags[arn] = {tag["Key"]: tag["Value"] for tag in data["Tags"]}
        return answer

    return put_dashboard


def api_tags(body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    """Return the condition keys for the tags of the named HTTP API and for the tags in the request.

    The parts of an API (stages, routes, integrations) have the tags of the API, since the Service Authorization
    Reference lists aws:ResourceTag for them.
    """
    start, separator, path = named_api.get().partition("::/apis/")
    keys: dict[str, Any] = {}
    if separator:
        whole = f"{start}::/apis/{path.partition('/')[0]}"
        tags = {**(apigateway._api_tags.get(whole) or {}), **(apigateway._api_tags.get(named_api.get()) or {})}
        keys |= {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
    requested = json_body(body).get("tags")
    requested = requested if isinstance(requested, dict) else {}
    removed = params.get("tagKeys") or []
    named = [*requested, *(removed if isinstance(removed, list) else [removed])]
    keys |= {f"aws:RequestTag/{name}": value for name, value in requested.items()}
    return {**keys, "aws:TagKeys": named} if named else keys


def named_in(iam_action: str, request: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return the condition keys for what a request opens something to: principals, sources, targets, addresses."""
    keys: dict[str, Any] = {}
    if iam_action == "lambda:AddPermission":
        keys["lambda:Principal"] = request.get("Principal")
    elif iam_action == "events:PutTargets":
        keys["events:TargetArn"] = [target.get("Arn") for target in request.get("Targets") or []]
    elif iam_action == "events:PutRule":
        keys["events:source"] = json_body((request.get("EventPattern") or "").encode()).get("source")
    elif iam_action == "sns:Subscribe":
        keys["sns:Protocol"] = parameter(params, "Protocol")
    elif iam_action == "cloudwatch:PutMetricAlarm":
        kinds = ("AlarmActions", "OKActions", "InsufficientDataActions")
        keys["cloudwatch:AlarmActions"] = [named for kind in kinds for named in request.get(kind) or []]
    return {name: value for name, value in keys.items() if value}


def context(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    """Add the condition keys that AWS has for the action."""
    keys = dict(original_context(service, iam_action, body, params))
    if iam_action in ROLE_POLICY_ACTIONS:
        keys["iam:PolicyARN"] = parameter(params, "PolicyArn")
    if iam_action in BOUNDARY_IN_REQUEST:
        boundary = parameter(params, "PermissionsBoundary")
    elif iam_action in BOUNDARY_OF_ROLE:
        boundary = (iam._roles.get(parameter(params, "RoleName")) or {}).get("PermissionsBoundary") or ""
    else:
        boundary = ""
    if boundary:
        keys["iam:PermissionsBoundary"] = boundary
    if service == "apigateway":
        keys |= api_tags(body, params)
    keys |= named_in(iam_action, json_body(body), params)
    if iam_action in MAPPING_ACTIONS:
        mapping = lambda_svc._esms.get(named_mapping.get()) or {}
        if name := json_body(body).get("FunctionName") or mapping.get("FunctionArn"):
            keys["lambda:FunctionArn"] = function_arn(str(name))
    return keys


def create_secret(data: dict[str, Any]) -> Any:
    """Secrets Manager's CreateSecret; its ClientRequestToken becomes the identifier of the new version."""
    answer = original_create_secret(data)
    made, token = json_body(answer[2]), data.get("ClientRequestToken")
    if token and made.get("VersionId"):
        versions = secretsmanager._secrets[made["Name"]]["Versions"]
        versions[token] = versions.pop(made["VersionId"])
        return (*answer[:2], json.dumps({**made, "VersionId": token}).encode())
    return answer


def container_key(name: str, configuration: dict[str, Any]) -> str:
    """Return the key of the containers for an invocation: each version has its own, since its settings differ."""
    return f"{original_container_key(name, configuration)}:{configuration.get('Version', LATEST)}"


def end_containers(account: str, name: str) -> None:
    """End the containers of a function that was changed, except those of its published versions; or all."""
    if name not in lambda_svc._functions:
        original_end_containers(account, name)
        return
    with lambda_svc._warm_pool_lock:
        keys = [key for key in lambda_svc._warm_pool if key.split(":")[0] == account and key.split(":")[2] == name]
        ended = [entry for key in keys if key.endswith(f":{LATEST}") for entry in lambda_svc._warm_pool.pop(key)]
    for entry in ended:
        lambda_svc._kill_pool_entry(entry)


def container_options(flags: str) -> dict[str, Any]:
    """Return the options of a container, which runs as an unprivileged user, as in Lambda."""
    return {**original_container_options(flags), "user": LAMBDA_USER}


def find_api_scope(api_id: str) -> tuple[str, str] | None:
    """Return the account and the region of an HTTP API for any caller: its identifier is in the endpoint's name."""
    owners = (key[:2] for key, _api in apigateway._apis.all_items() if key[2] == api_id)
    return next(owners, None)


def set_default_policy_version(params: dict[str, Any]) -> Any:
    """IAM's SetDefaultPolicyVersion, which MiniStack lacks."""
    policy = iam._policies.get(parameter(params, "PolicyArn"))
    chosen = parameter(params, "VersionId")
    if not policy or chosen not in policy["Versions"]:
        return iam._error(404, "NoSuchEntity", "Policy or version not found.", ns="iam")
    for version in policy["Versions"].values():
        version["IsDefaultVersion"] = version["VersionId"] == chosen
    policy["DefaultVersionId"] = chosen
    return iam._xml(200, "SetDefaultPolicyVersionResponse", "", ns="iam")


def is_exempt_from_signing(access_key: str) -> bool:
    """Return whether a key's signature is not checked. MiniStack does not check those of the root user."""
    return not access_key


def written_for_containers(write: Callable[..., str | None]) -> Callable[..., str | None]:
    """Return a writer of the certificate authorities for containers, readable by their user, who is not root."""

    def written(path: str, data: bytes) -> str | None:
        found = write(path, data)
        if found:
            os.chmod(found, 0o644)
        return found

    return written


iam_evaluator.evaluate = decision
iam_evaluator._resolve_condition_key = condition_key
iam_evaluator._is_root_key = is_exempt_from_signing
iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]
iam_actions.extract_iam_action = action
iam_actions.extract_resource_arn = resource
iam_actions.request_tag_context = context
cloudwatch._evaluate_alarm = evaluate_alarm
cloudwatch._dispatch_alarm_actions = dispatch_alarm_actions
cloudwatch._validate_alarm_tag_arn = check_tagged
cloudwatch._put_dashboard = tagged_dashboard(cloudwatch._put_dashboard)
secretsmanager._create_secret = create_secret
lambda_svc._warm_pool_key = container_key
lambda_svc._pool_kill_function = end_containers
tls._write_atomic = written_for_containers(tls._write_atomic)
lambda_svc.LAMBDA_DOCKER_FLAGS = lambda_svc.LAMBDA_DOCKER_FLAGS or " "  # without any, the options are not asked for
lambda_svc._parse_docker_flags = container_options
lambda_svc._invoke_rie = lambda_containers.invoking(lambda_svc._invoke_rie)
athena_tables.install()
if kept := os.environ.get("LAYERS_DIRECTORY"):
    kept_layers.keep_layers(ecr, kept_layers.KeptLayers(Path(kept)))
apigateway.find_api_scope = find_api_scope
iam._IAM_HANDLERS["SetDefaultPolicyVersion"] = set_default_policy_version

from ministack.app import app as emulator  # noqa: E402 - it must find the corrected functions

# MiniStack serves queue messages, settings and a reset to every client. Only its health check is needed.
OWN_INTERFACE = ("/_ministack/", "/_localstack/")
HEALTH = "/_ministack/health"


def lists_buckets_unsigned(scope: dict[str, Any]) -> bool:
    """Return whether a request asks S3 for the account's buckets without a signature, which the emulator answers."""
    signed = b"Signature=" in scope["query_string"] or any(name == b"authorization" for name, _ in scope["headers"])
    return scope["path"] == "/" and scope["method"] in ("GET", "HEAD") and not signed


async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Serve MiniStack without its management API, except for the health check, and refuse to list buckets unsigned."""
    path = scope.get("path", "")
    refused = scope["type"] == "http" and (path.startswith(OWN_INTERFACE) or lists_buckets_unsigned(scope))
    if not refused or path == HEALTH:
        await emulator(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"message": "Sign the request; only the health is served."}'})


__all__ = ["app"]
