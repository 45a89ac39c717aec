"""What a deployer with the rendered policies cannot do, against the local AWS, which enforces IAM.

The attacks are those of a security audit: becoming administrator through the function's role, and reaching from one
environment into another of the same account. Each uses the calls that an attacker would use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from encord_harness import make_files
from ministack_process import MiniStackProcess
from rendered_policies import ACCOUNT, REGION, Document, render

PATTERN = json.dumps({"source": ["aws.s3"]})
REFUSALS = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
TRUST_IN_LAMBDA = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)


@dataclass
class Account:
    """The account, in which an administrator has created what step 2 of the README requires."""

    ministack: MiniStackProcess
    documents: dict[str, dict[str, Document]]

    def user(self, name: str, *environments: str) -> Caller:
        """Return a user who has the deployer's policies of these environments."""
        iam = self.ministack.client("iam")
        iam.create_user(UserName=name)
        for environment in environments:
            for document, content in self.documents[environment].items():
                if document.startswith("deployer-"):
                    policy = f"{name}-{environment}-{document}"
                    made = iam.create_policy(PolicyName=policy, PolicyDocument=json.dumps(content))
                    iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Caller(self.ministack, name, key["AccessKeyId"], key["SecretAccessKey"])


@dataclass
class Caller:
    """An identity with credentials."""

    ministack: MiniStackProcess
    name: str
    access_key: str
    secret_key: str
    token: str | None = None

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.ministack.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.token,
            verify=self.ministack.certificate,
        )


class Environment:
    """The names of one environment's resources."""

    def __init__(self, environment: str) -> None:
        self.tags = {"application": "label-export", "environment": environment}
        self.name = f"label-export-{environment}"
        self.bucket = f"{self.name}-{ACCOUNT}-{REGION}"
        self.secret = f"{self.name}/encord-private-key"
        self.role = f"{self.name}-{REGION}"
        self.role_arn = f"arn:aws:iam::{ACCOUNT}:role/{self.role}"
        self.policy_arn = f"arn:aws:iam::{ACCOUNT}:policy/{self.role}"
        self.catalog_role = f"{self.name}-catalog-{REGION}"
        self.schedules_role = f"{self.name}-schedules-{REGION}"
        self.queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"
        self.topic_arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{self.name}-alarms"
        self.rule = f"{self.name}-labels"
        self.boundary_arn = f"arn:aws:iam::{ACCOUNT}:policy/boundary-of-{self.role}"

    def create_role(self, caller: Caller) -> None:
        """Create the role as a deploy does: with its boundary and its policy."""
        iam = caller.client("iam")
        iam.create_policy(PolicyName=self.role, PolicyDocument=EVERYTHING)
        iam.create_role(
            RoleName=self.role, AssumeRolePolicyDocument=TRUST_IN_LAMBDA, PermissionsBoundary=self.boundary_arn
        )
        iam.attach_role_policy(RoleName=self.role, PolicyArn=self.policy_arn)

    def deploy(self, caller: Caller) -> None:
        """Create one resource of each kind."""
        place = {"LocationConstraint": REGION}
        caller.client("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
        caller.client("sqs").create_queue(QueueName=self.name)
        caller.client("secretsmanager").create_secret(Name=self.secret, SecretString="private")
        caller.client("ecr").create_repository(repositoryName=self.name)
        caller.client("logs").create_log_group(logGroupName=f"/aws/lambda/{self.name}")
        caller.client("sns").create_topic(Name=f"{self.name}-alarms")
        events = caller.client("events")
        events.put_rule(Name=f"{self.name}-labels", EventPattern=PATTERN)
        events.put_targets(Rule=f"{self.name}-labels", Targets=[self.target()])
        self.create_role(caller)
        self.create_function(caller, self.name, self.role_arn)
        gateway = caller.client("apigatewayv2")
        api = gateway.create_api(Name=self.name, ProtocolType="HTTP", Tags=self.tags)["ApiId"]
        gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True, Tags=self.tags)
        gateway.create_route(ApiId=api, RouteKey="POST /webhook")
        self.watch_the_bucket(caller)
        caller.client("lambda").create_event_source_mapping(FunctionName=self.name, EventSourceArn=self.queue_arn)

    def watch_the_bucket(self, caller: Caller) -> None:
        """Create the rule for the events of the labels, and its queue."""
        caller.client("sqs").create_queue(QueueName=f"{self.name}-catalog-events")
        events = caller.client("events")
        events.put_rule(Name=self.rule, EventPattern=json.dumps({"source": ["aws.s3"], "account": [ACCOUNT]}))
        events.put_targets(Rule=self.rule, Targets=[{"Id": "queue", "Arn": f"{self.queue_arn}-catalog-events"}])

    def target(self, queue: str = "catalog-events") -> dict[str, str]:
        """Return a target of the rule of the labels' events: by default the queue that has them."""
        return {"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-{queue}"}

    def create_function(self, caller: Caller, name: str, role_arn: str) -> None:
        image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{self.name}@sha256:{'0' * 64}"
        caller.client("lambda").create_function(
            FunctionName=name, PackageType="Image", Code={"ImageUri": image}, Role=role_arn
        )

    def api(self, owner: Any) -> str:
        """Return the API's identifier, as the root user sees it."""
        (api,) = [api["ApiId"] for api in owner.get_apis()["Items"] if api["Name"] == self.name]
        return str(api)


DEV, PROD = Environment("dev"), Environment("prod")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    documents = render(tmp_path_factory)
    files = make_files(tmp_path_factory.mktemp("files"))
    ministack = MiniStackProcess(files, tmp_path_factory.mktemp("ministack"))
    try:
        iam = ministack.client("iam")
        for environment in ("dev", "prod"):
            boundary = f"boundary-of-{Environment(environment).role}"
            iam.create_policy(PolicyName=boundary, PolicyDocument=json.dumps(documents[environment]["boundary"]))
        yield Account(ministack, documents)
    finally:
        ministack.stop()


@pytest.fixture(scope="module")
def prod(account: Account) -> Environment:
    """Return prod, deployed by its own deployer."""
    PROD.deploy(account.user("deployer-of-prod", "prod"))
    return PROD


@pytest.fixture(scope="module")
def deployer(account: Account, prod: Environment) -> Caller:
    """Return the deployer of dev, which is deployed."""
    caller = account.user("deployer-of-dev", "dev")
    DEV.deploy(caller)
    return caller


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """Make a call that must be refused; return code and text of the refusal."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] in REFUSALS, error
    return f"{error['Code']}: {error['Message']}"


def role_session(account: Account, deployer: Caller) -> Caller:
    """Return a session of dev's role, assumed by an outsider whom the deployer has added to its trust policy."""
    outsider = account.user(f"outsider-{len(account.ministack.client('iam').list_users()['Users'])}")
    may_take_roles = EVERYTHING.replace('"Action": "*"', '"Action": "sts:AssumeRole"')
    account.ministack.client("iam").put_user_policy(
        UserName=outsider.name, PolicyName="takes-roles", PolicyDocument=may_take_roles
    )
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{outsider.name}"}}
    document = {"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]}
    deployer.client("iam").update_assume_role_policy(RoleName=DEV.role, PolicyDocument=json.dumps(document))
    taken = outsider.client("sts").assume_role(RoleArn=DEV.role_arn, RoleSessionName="attack")["Credentials"]
    return Caller(account.ministack, "role", taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])


# Becoming administrator

OTHER_ROLE = "label-export-dev-second"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "a role without the boundary": ("create_role", {"RoleName": DEV.role, "AssumeRolePolicyDocument": TRUST_IN_LAMBDA}),
    "a role with a boundary that bounds nothing": (
        "create_role",
        {"RoleName": DEV.role, "AssumeRolePolicyDocument": TRUST_IN_LAMBDA, "PermissionsBoundary": DEV.policy_arn},
    ),
    "a second role": (
        "create_role",
        {"RoleName": OTHER_ROLE, "AssumeRolePolicyDocument": TRUST_IN_LAMBDA, "PermissionsBoundary": DEV.boundary_arn},
    ),
    "removing the boundary": ("delete_role_permissions_boundary", {"RoleName": DEV.role}),
    "replacing the boundary": (
        "put_role_permissions_boundary",
        {"RoleName": DEV.role, "PermissionsBoundary": DEV.policy_arn},
    ),
    "another version of the boundary": (
        "create_policy_version",
        {"PolicyArn": DEV.boundary_arn, "PolicyDocument": EVERYTHING, "SetAsDefault": True},
    ),
    "an older version of the boundary": (
        "set_default_policy_version",
        {"PolicyArn": DEV.boundary_arn, "VersionId": "v1"},
    ),
    "deleting the boundary": ("delete_policy", {"PolicyArn": DEV.boundary_arn}),
    "another version of its own policy": (
        "create_policy_version",
        {
            "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/deployer-of-dev-dev-deployer-identity",
            "PolicyDocument": EVERYTHING,
            "SetAsDefault": True,
        },
    ),
    "another policy": ("create_policy", {"PolicyName": "label-export-dev", "PolicyDocument": EVERYTHING}),
    "another policy for itself": (
        "attach_user_policy",
        {"UserName": "deployer-of-dev", "PolicyArn": DEV.policy_arn},
    ),
    "a policy inside itself": (
        "put_user_policy",
        {"UserName": "deployer-of-dev", "PolicyName": "all", "PolicyDocument": EVERYTHING},
    ),
    "a policy inside the role": (
        "put_role_policy",
        {"RoleName": DEV.role, "PolicyName": "all", "PolicyDocument": EVERYTHING},
    ),
    "another policy for the role": ("attach_role_policy", {"RoleName": DEV.role, "PolicyArn": ADMINISTRATOR}),
    "a user": ("create_user", {"UserName": "label-export-dev"}),
    "the trust of another role": (
        "update_assume_role_policy",
        {"RoleName": PROD.role, "PolicyDocument": TRUST_IN_LAMBDA},
    ),
    "the trust of an administrator's role": (
        "update_assume_role_policy",
        {"RoleName": "administrator", "PolicyDocument": TRUST_IN_LAMBDA},
    ),
    "its own policy attached to the role": (
        "attach_role_policy",
        {"RoleName": DEV.role, "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/deployer-of-dev-dev-deployer-identity"},
    ),
    "a key of another user": ("create_access_key", {"UserName": "deployer-of-prod"}),
    "a password of its own": ("create_login_profile", {"UserName": "deployer-of-dev", "Password": "Aa1!" * 5}),
    "a boundary of its own": (
        "put_user_permissions_boundary",
        {"UserName": "deployer-of-dev", "PermissionsBoundary": ADMINISTRATOR},
    ),
    "a group": ("add_user_to_group", {"UserName": "deployer-of-dev", "GroupName": "administrators"}),
    "a role of a service": ("create_service_linked_role", {"AWSServiceName": "lambda.amazonaws.com"}),
    **{
        f"{what}, for the role of the {kind}": (operation, {"RoleName": role, **arguments})
        for kind, role in (("catalog", DEV.catalog_role), ("schedules", DEV.schedules_role))
        for what, operation, arguments in (
            ("a role without the boundary", "create_role", {"AssumeRolePolicyDocument": TRUST_IN_LAMBDA}),
            (
                "a boundary that bounds nothing",
                "create_role",
                {"AssumeRolePolicyDocument": TRUST_IN_LAMBDA, "PermissionsBoundary": ADMINISTRATOR},
            ),
            ("removing the boundary", "delete_role_permissions_boundary", {}),
            ("replacing the boundary", "put_role_permissions_boundary", {"PermissionsBoundary": ADMINISTRATOR}),
            ("another policy", "attach_role_policy", {"PolicyArn": ADMINISTRATOR}),
            ("a policy inside it", "put_role_policy", {"PolicyName": "all", "PolicyDocument": EVERYTHING}),
        )
    },
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_deployer_cannot_widen_itself_or_the_role(attack: str, deployer: Caller) -> None:
    operation, arguments = ATTACKS[attack]
    refused(getattr(deployer.client("iam"), operation), **arguments)


def test_a_role_that_lost_its_boundary_gets_no_policy_until_the_boundary_is_restored(
    account: Account, deployer: Caller
) -> None:
    owner, iam = account.ministack.client("iam"), deployer.client("iam")
    owner.delete_role_permissions_boundary(RoleName=DEV.role)
    try:
        refused(iam.update_assume_role_policy, RoleName=DEV.role, PolicyDocument=TRUST_IN_LAMBDA)
        iam.detach_role_policy(RoleName=DEV.role, PolicyArn=DEV.policy_arn)
        refused(iam.attach_role_policy, RoleName=DEV.role, PolicyArn=DEV.policy_arn)
    finally:
        iam.put_role_permissions_boundary(RoleName=DEV.role, PermissionsBoundary=DEV.boundary_arn)
    iam.attach_role_policy(RoleName=DEV.role, PolicyArn=DEV.policy_arn)


def test_an_administrators_role_cannot_be_passed_to_the_function(account: Account, deployer: Caller) -> None:
    owner = account.ministack.client("iam")
    made = owner.create_role(RoleName="administrator", AssumeRolePolicyDocument=TRUST_IN_LAMBDA)
    functions = deployer.client("lambda")
    refused(functions.update_function_configuration, FunctionName=DEV.name, Role=made["Role"]["Arn"])
    functions.update_function_configuration(FunctionName=DEV.name, Role=DEV.role_arn)
    refused(DEV.create_function, caller=deployer, name="label-export-dev-second", role_arn=DEV.role_arn)
    # Nor one of another environment, nor to another function of the environment, nor to a schedule.
    refused(functions.update_function_configuration, FunctionName=DEV.name, Role=PROD.role_arn)
    refused(DEV.create_function, caller=deployer, name=f"{DEV.name}-catalog", role_arn=made["Role"]["Arn"])
    schedule = {
        "Name": f"{DEV.name}-catalog-census",
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
    }
    target = {"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{DEV.name}"}
    schedules = deployer.client("scheduler")
    for role in (made["Role"]["Arn"], DEV.role_arn, PROD.role_arn):
        refused(schedules.create_schedule, **schedule, Target={**target, "RoleArn": role})
    own = DEV.role_arn.replace(DEV.role, DEV.schedules_role)
    schedules.create_schedule(**schedule, Target={**target, "RoleArn": own})
    refused(functions.update_function_configuration, FunctionName=DEV.name, Role=own)


def test_the_boundary_limits_the_role_whatever_its_policies_and_whoever_assumes_it(
    account: Account, deployer: Caller, prod: Environment
) -> None:
    """The audit's attack: the role's policy allows everything, its trust policy everyone, an outsider assumes it."""
    iam = deployer.client("iam")
    iam.create_policy_version(PolicyArn=DEV.policy_arn, PolicyDocument=EVERYTHING, SetAsDefault=True)
    role = role_session(account, deployer)

    role.client("s3").put_object(Bucket=DEV.bucket, Key="encord/a", Body=b"what it is for")
    refused(role.client("iam").create_user, UserName="administrator")
    refused(role.client("iam").delete_role_permissions_boundary, RoleName=DEV.role)
    refused(role.client("s3").put_object, Bucket=prod.bucket, Key="encord/a", Body=b"")
    refused(role.client("s3").delete_bucket_policy, Bucket=DEV.bucket)
    refused(role.client("secretsmanager").get_secret_value, SecretId=prod.secret)
    refused(role.client("sqs").delete_queue, QueueUrl=f"{account.ministack.url}/{ACCOUNT}/{DEV.name}")


# Handing out what the environment has, or reaching beyond it


OUTSIDER = "111122223333"
TARGET = {"Id": "queue", "Arn": f"{DEV.queue_arn}-catalog-events"}
ALARM = {
    "AlarmName": f"{DEV.name}/errors",
    "Namespace": "AWS/Lambda",
    "MetricName": "Errors",
    "ComparisonOperator": "GreaterThanThreshold",
    "EvaluationPeriods": 1,
    "Period": 60,
    "Statistic": "Sum",
    "Threshold": 0.0,
}
PERMISSION = {"FunctionName": DEV.name, "StatementId": "attack", "Action": "lambda:InvokeFunction"}
REACHING_OUT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "the function for another account": ("lambda", "add_permission", {**PERMISSION, "Principal": OUTSIDER}),
    "the function for everybody": ("lambda", "add_permission", {**PERMISSION, "Principal": "*"}),
    "the function for another service": ("lambda", "add_permission", {**PERMISSION, "Principal": "s3.amazonaws.com"}),
    "an address of the function for everybody": (
        "lambda",
        "create_function_url_config",
        {"FunctionName": DEV.name, "AuthType": "NONE"},
    ),
    "where a function's results go": (
        "lambda",
        "put_function_event_invoke_config",
        {
            "FunctionName": DEV.name,
            "DestinationConfig": {"OnSuccess": {"Destination": f"arn:aws:sqs:{REGION}:{OUTSIDER}:a"}},
        },
    ),
    "the events for another account": (
        "events",
        "put_targets",
        {"Rule": DEV.rule, "Targets": [{"Id": "a", "Arn": f"arn:aws:events:{REGION}:{OUTSIDER}:event-bus/default"}]},
    ),
    "the events for another queue too": (
        "events",
        "put_targets",
        {"Rule": DEV.rule, "Targets": [TARGET, {"Id": "a", "Arn": f"{PROD.queue_arn}-catalog-events"}]},
    ),
    "the account's calls, which CloudTrail reports as events": (
        "events",
        "put_rule",
        {"Name": DEV.rule, "EventPattern": json.dumps({"detail-type": ["AWS API Call via CloudTrail"]})},
    ),
    "events of other services": (
        "events",
        "put_rule",
        {"Name": DEV.rule, "EventPattern": json.dumps({"source": ["aws.s3", "aws.secretsmanager"]})},
    ),
    "a rule by the clock": ("events", "put_rule", {"Name": DEV.rule, "ScheduleExpression": "rate(1 minute)"}),
    "another rule": (
        "events",
        "put_rule",
        {"Name": PROD.rule, "EventPattern": json.dumps({"source": ["aws.s3"]})},
    ),
    "another environment's rule switched off": ("events", "remove_targets", {"Rule": PROD.rule, "Ids": ["queue"]}),
    "events of its own": (
        "events",
        "put_events",
        {"Entries": [{"Source": "aws.s3", "DetailType": "Object Created", "Detail": "{}"}]},
    ),
    "the account's bus for another account": (
        "events",
        "put_permission",
        {"Action": "events:PutEvents", "Principal": OUTSIDER, "StatementId": "attack"},
    ),
    "alarms for a program": (
        "sns",
        "subscribe",
        {"TopicArn": DEV.topic_arn, "Protocol": "https", "Endpoint": "https://example.com/"},
    ),
    "another environment's alarms": (
        "sns",
        "subscribe",
        {"TopicArn": PROD.topic_arn, "Protocol": "email", "Endpoint": "somebody@example.com"},
    ),
    "messages to another environment's people": ("sns", "publish", {"TopicArn": PROD.topic_arn, "Message": "false"}),
    "the topic for another account": (
        "sns",
        "add_permission",
        {"TopicArn": DEV.topic_arn, "Label": "a", "AWSAccountId": [OUTSIDER], "ActionName": ["Subscribe"]},
    ),
    "an alarm that ends a machine": (
        "cloudwatch",
        "put_metric_alarm",
        {**ALARM, "AlarmActions": [f"arn:aws:automate:{REGION}:ec2:terminate"]},
    ),
    "an alarm that calls a function": (
        "cloudwatch",
        "put_metric_alarm",
        {**ALARM, "OKActions": [DEV.topic_arn, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PROD.name}"]},
    ),
    "the log for another account": (
        "logs",
        "put_subscription_filter",
        {
            "logGroupName": f"/aws/lambda/{DEV.name}",
            "filterName": "attack",
            "filterPattern": "",
            "destinationArn": f"arn:aws:logs:{REGION}:{OUTSIDER}:destination:a",
        },
    ),
    "the queue for another account": (
        "sqs",
        "add_permission",
        {
            "QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{DEV.name}",
            "Label": "attack",
            "AWSAccountIds": [OUTSIDER],
            "Actions": ["ReceiveMessage"],
        },
    ),
    "another environment's messages": (
        "sqs",
        "receive_message",
        {"QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{PROD.name}"},
    ),
    "a message for another environment": (
        "sqs",
        "send_message",
        {"QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{PROD.name}", "MessageBody": "{}"},
    ),
    "images for another account": (
        "ecr",
        "put_registry_policy",
        {"policyText": EVERYTHING},
    ),
    "the labels copied to another bucket": (
        "s3",
        "put_bucket_replication",
        {
            "Bucket": DEV.bucket,
            "ReplicationConfiguration": {
                "Role": DEV.role_arn,
                "Rules": [
                    {"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": f"arn:aws:s3:::{PROD.bucket}"}}
                ],
            },
        },
    ),
    "a label read": ("s3", "get_object", {"Bucket": DEV.bucket, "Key": "encord/p/labels/a.json"}),
    "a label written": ("s3", "put_object", {"Bucket": DEV.bucket, "Key": "encord/p/labels/a.json", "Body": b""}),
    "another environment's bucket for everybody": (
        "s3",
        "put_bucket_policy",
        {"Bucket": PROD.bucket, "Policy": EVERYTHING},
    ),
    "another environment's secret for everybody": (
        "secretsmanager",
        "put_resource_policy",
        {"SecretId": PROD.secret, "ResourcePolicy": EVERYTHING},
    ),
    "a copy of the key in another region": (
        "secretsmanager",
        "replicate_secret_to_regions",
        {"SecretId": DEV.secret, "AddReplicaRegions": [{"Region": "us-east-1"}]},
    ),
    "another environment's code": (
        "lambda",
        "update_function_code",
        {"FunctionName": PROD.name, "ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{DEV.name}:1"},
    ),
    "another environment's function for everybody": (
        "lambda",
        "add_permission",
        {**PERMISSION, "FunctionName": PROD.name, "Principal": "apigateway.amazonaws.com"},
    ),
    "another environment's schedule": ("scheduler", "delete_schedule", {"Name": f"{PROD.name}-catalog-census"}),
    "a schedule in a group of its own": ("scheduler", "create_schedule_group", {"Name": DEV.name}),
    "a database of Glue": ("glue", "create_database", {"DatabaseInput": {"Name": "label_export_prod"}}),
}


@pytest.mark.parametrize("attack", REACHING_OUT)
def test_the_deployer_hands_out_nothing_and_reaches_nothing_else(
    attack: str, deployer: Caller, prod: Environment
) -> None:
    service, operation, arguments = REACHING_OUT[attack]
    refused(getattr(deployer.client(service), operation), **arguments)


def test_what_these_conditions_leave_is_what_a_deploy_does(deployer: Caller) -> None:
    """Each condition that refuses an attack above lets the deploy's own call through."""
    deployer.client("lambda").add_permission(**{**PERMISSION, "Principal": "apigateway.amazonaws.com"})
    DEV.watch_the_bucket(deployer)
    deployer.client("sns").subscribe(TopicArn=DEV.topic_arn, Protocol="email", Endpoint="somebody@example.com")
    for actions in ({}, {"AlarmActions": [DEV.topic_arn], "OKActions": [DEV.topic_arn]}):
        deployer.client("cloudwatch").put_metric_alarm(**ALARM, **actions)


def test_another_environments_mapping_stays_as_it_is(account: Account, deployer: Caller, prod: Environment) -> None:
    (theirs,) = account.ministack.client("lambda").list_event_source_mappings(FunctionName=prod.name)[
        "EventSourceMappings"
    ]
    functions = deployer.client("lambda")
    refused(functions.update_event_source_mapping, UUID=theirs["UUID"], Enabled=False)
    refused(functions.delete_event_source_mapping, UUID=theirs["UUID"])
    refused(functions.create_event_source_mapping, FunctionName=prod.name, EventSourceArn=DEV.queue_arn)


# Who reads the secrets


def test_only_named_readers_can_read_a_secret_and_nobody_is_locked_out(account: Account, deployer: Caller) -> None:
    """With encord_secrets_readers: the roles, the readers and the root user; an administrator can undo it."""
    manager, iam = account.ministack.client("secretsmanager"), account.ministack.client("iam")
    administrator = account.user("administrator-who-does-not-read")
    iam.attach_user_policy(UserName=administrator.name, PolicyArn=ADMINISTRATOR)
    theirs = administrator.client("secretsmanager")
    assert theirs.get_secret_value(SecretId=DEV.secret)["SecretString"] == "private"

    policy = json.dumps(account.documents["dev"]["secrets"])
    deployer.client("secretsmanager").put_resource_policy(SecretId=DEV.secret, ResourcePolicy=policy)
    assert deployer.client("secretsmanager").get_secret_value(SecretId=DEV.secret)["SecretString"] == "private"
    assert manager.get_secret_value(SecretId=DEV.secret)["SecretString"] == "private", "the account's root"
    assert role_session(account, deployer).client("secretsmanager").get_secret_value(SecretId=DEV.secret)
    refused(theirs.get_secret_value, SecretId=DEV.secret)
    # Without the random suffix, as the functions name it.
    refused(theirs.get_secret_value, SecretId=manager.describe_secret(SecretId=DEV.secret)["ARN"][:-7])

    theirs.describe_secret(SecretId=DEV.secret)
    theirs.delete_resource_policy(SecretId=DEV.secret)
    assert theirs.get_secret_value(SecretId=DEV.secret)["SecretString"] == "private"


# Reaching into another environment


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("s3", "list_objects_v2", {"Bucket": PROD.bucket}),
        ("s3", "delete_bucket", {"Bucket": PROD.bucket}),
        ("s3", "delete_object", {"Bucket": PROD.bucket, "Key": "encord/a"}),
        ("s3", "put_bucket_versioning", {"Bucket": PROD.bucket, "VersioningConfiguration": {"Status": "Suspended"}}),
        ("secretsmanager", "get_secret_value", {"SecretId": PROD.secret}),
        ("secretsmanager", "delete_secret", {"SecretId": PROD.secret}),
        ("sqs", "get_queue_url", {"QueueName": PROD.name}),
        ("ecr", "delete_repository", {"repositoryName": PROD.name, "force": True}),
        ("ecr", "batch_get_image", {"repositoryName": PROD.name, "imageIds": [{"imageTag": "a"}]}),
        ("lambda", "get_function", {"FunctionName": PROD.name}),
        ("lambda", "invoke", {"FunctionName": PROD.name}),
        ("lambda", "delete_function", {"FunctionName": PROD.name}),
        ("logs", "filter_log_events", {"logGroupName": f"/aws/lambda/{PROD.name}"}),
        ("logs", "delete_log_group", {"logGroupName": f"/aws/lambda/{PROD.name}"}),
        ("sns", "delete_topic", {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:{PROD.name}-alarms"}),
        ("events", "put_rule", {"Name": f"{PROD.name}-labels", "EventPattern": PATTERN}),
        ("events", "put_targets", {"Rule": f"{PROD.name}-labels", "Targets": [DEV.target()]}),
        ("events", "remove_targets", {"Rule": f"{PROD.name}-labels", "Ids": ["queue"]}),
        ("events", "delete_rule", {"Name": f"{PROD.name}-labels"}),
        ("events", "put_rule", {"Name": "label-export-dev-labels-2", "EventPattern": PATTERN}),
        # Events of its own bucket to another environment's queue, in addition to its own.
        ("events", "put_targets", {"Rule": f"{DEV.name}-labels", "Targets": [PROD.target()]}),
        ("events", "put_targets", {"Rule": f"{DEV.name}-labels", "Targets": [DEV.target(), PROD.target()]}),
        ("cloudwatch", "delete_alarms", {"AlarmNames": [f"{PROD.name}/errors"]}),
        ("iam", "get_role", {"RoleName": PROD.role}),
        ("iam", "delete_role", {"RoleName": PROD.role}),
        ("iam", "create_policy_version", {"PolicyArn": PROD.policy_arn, "PolicyDocument": EVERYTHING}),
        # A name that starts like the environment's own.
        ("sqs", "create_queue", {"QueueName": "label-export-dev2"}),
        ("lambda", "get_function", {"FunctionName": "label-export-dev2"}),
        ("ecr", "create_repository", {"repositoryName": "label-export-dev2"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_deployer_of_dev_does_not_reach_prod(
    service: str, operation: str, arguments: dict[str, Any], deployer: Caller, prod: Environment
) -> None:
    refused(getattr(deployer.client(service), operation), **arguments)


def test_an_http_api_belongs_to_its_environment(account: Account, deployer: Caller, prod: Environment) -> None:
    owner = account.ministack.client("apigatewayv2")
    theirs, gateway = prod.api(owner), deployer.client("apigatewayv2")
    (route,) = owner.get_routes(ApiId=theirs)["Items"]
    arn = f"arn:aws:apigateway:{REGION}::/apis/{theirs}"

    refused(gateway.get_api, ApiId=theirs)
    refused(gateway.update_api, ApiId=theirs, Description="mine")
    refused(gateway.delete_api, ApiId=theirs)
    refused(gateway.create_api, Name="untagged", ProtocolType="HTTP")
    refused(gateway.create_api, Name="of prod", ProtocolType="HTTP", Tags=prod.tags)
    refused(gateway.update_route, ApiId=theirs, RouteId=route["RouteId"], Target="integrations/mine")
    refused(gateway.delete_stage, ApiId=theirs, StageName="$default")
    # Nor after changing its tags to the own environment, or removing them.
    refused(gateway.tag_resource, ResourceArn=arn, Tags=DEV.tags)
    refused(gateway.untag_resource, ResourceArn=arn, TagKeys=["environment"])

    ours = DEV.api(owner)
    gateway.update_api(ApiId=ours, Description="mine")
    gateway.tag_resource(ResourceArn=arn.replace(theirs, ours), Tags={"version": "2"})
    gateway.update_stage(ApiId=ours, StageName="$default", Description="mine")


def test_a_user_with_the_policies_of_two_environments_deploys_both(account: Account, deployer: Caller) -> None:
    both = account.user("deployer-of-both", "dev", "prod")
    owner = account.ministack.client("apigatewayv2")
    for environment in (DEV, PROD):
        both.client("s3").list_objects_v2(Bucket=environment.bucket)
        both.client("lambda").get_function(FunctionName=environment.name)
        both.client("apigatewayv2").update_api(ApiId=environment.api(owner), Description="by both")
        both.client("iam").put_role_permissions_boundary(
            RoleName=environment.role, PermissionsBoundary=environment.boundary_arn
        )
    refused(both.client("iam").put_role_permissions_boundary, RoleName=DEV.role, PermissionsBoundary=PROD.boundary_arn)


# Around IAM: the local AWS itself


@pytest.mark.parametrize(
    "access_key", ["", "test", "111122223333"], ids=["the owner's", "the emulator's", "an account's"]
)
def test_the_root_user_needs_the_secret_key(access_key: str, account: Account) -> None:
    """MiniStack treats each of these access keys as that of an account's root user."""
    name = access_key or account.ministack.access_key
    for secret in (name, "guessed"):
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            Caller(account.ministack, name, name, secret).client("s3").list_buckets()
    Caller(account.ministack, name, name, account.ministack.secret_key).client("s3").list_buckets()


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "reset"), ("POST", "config"), ("GET", "sqs/messages"), ("GET", "health")]
)
def test_the_emulators_management_api_serves_only_its_health(method: str, path: str, account: Account) -> None:
    url = f"{account.ministack.url}/_ministack/{path}"
    answer = requests.request(method, url, data="{}", timeout=10, verify=account.ministack.certificate)
    assert answer.status_code == (200 if path == "health" else 403)


@pytest.mark.parametrize("path", ["", "?list-type=2", "?Action=ListQueues&Version=2012-11-05", "2015-03-31/functions/"])
def test_a_request_without_a_signature_is_refused(path: str, account: Account, prod: Environment) -> None:
    answer = requests.get(f"{account.ministack.url}/{path}", timeout=10, verify=account.ministack.certificate)
    assert answer.status_code == 403
    assert prod.name not in answer.text
