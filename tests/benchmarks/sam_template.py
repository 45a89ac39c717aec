"""The resources of a deploy as a template for the SAM CLI, in CloudFormation's own types.

The local AWS expands no `AWS::Serverless` types. `sam build` and `sam deploy` build, push and deploy the images of
`AWS::Lambda::Function` in the same way. Settings that cost no request of their own are left out.
"""

from __future__ import annotations

import json
from typing import Any

NAME = "sam-bench"
REPOSITORY = "sam-bench"
FUNCTIONS = ("exporter", "catalog")
QUEUES = ("dead-letters", "labels", "catalog-dead-letters", "catalog", "backfill")
SCHEDULES = ("reconcile", "census", "sample", "self-check")
ALARMS = 24

Resource = dict[str, Any]


def attribute(resource: str, name: str = "Arn") -> Resource:
    """Return the reference to a resource's attribute."""
    return {"Fn::GetAtt": [resource, name]}


def logical(text: str) -> str:
    """Return the logical identifier for a name with hyphens."""
    return text.title().replace("-", "")


def trust(service: str) -> Resource:
    """Return the trust policy of a role for a service of AWS."""
    statement = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def role(service: str, *actions: str) -> Resource:
    """Return a role with its policy inside it."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:*:eu-west-1:*:{NAME}*"}
    policy = {"PolicyName": "work", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
    return of("IAM::Role", AssumeRolePolicyDocument=trust(service), Policies=[policy])


def of(kind: str, **properties: Any) -> Resource:
    """Return a resource."""
    return {"Type": f"AWS::{kind}", "Properties": properties}


def function(name: str) -> Resource:
    """Return a function whose image `sam build` builds from a target of the Dockerfile beside the template."""
    return {
        "Type": "AWS::Lambda::Function",
        "Metadata": {"DockerContext": ".", "Dockerfile": "Dockerfile", "DockerBuildTarget": name, "DockerTag": "1"},
        "Properties": {
            "FunctionName": f"{NAME}-{name}",
            "PackageType": "Image",
            "Code": {"ImageUri": f"{name}:1"},
            "Role": attribute(logical(f"{name}-role")),
            "Timeout": 120,
            "MemorySize": 1024,
            "LoggingConfig": {"LogGroup": {"Ref": logical(f"{name}-log")}},
        },
    }


def queues() -> Resource:
    """Return the queues and their policies."""
    made: Resource = {}
    for name in QUEUES:
        properties: Resource = {"QueueName": f"{NAME}-{name}", "VisibilityTimeout": 720}
        if "dead" not in name:
            letters = "catalog-dead-letters" if name == "catalog" else "dead-letters"
            target = attribute(logical(f"{letters}-queue"))
            properties["RedrivePolicy"] = {"deadLetterTargetArn": target, "maxReceiveCount": 5}
        made[logical(f"{name}-queue")] = of("SQS::Queue", **properties)
        deny: Resource = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
        deny["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}
        document = {"Version": "2012-10-17", "Statement": [deny]}
        queue = {"Ref": logical(f"{name}-queue")}
        made[logical(f"{name}-queue-policy")] = of("SQS::QueuePolicy", Queues=[queue], PolicyDocument=document)
    return made


def functions() -> Resource:
    """Return both functions with what they need and what invokes them."""
    made: Resource = {}
    for name in FUNCTIONS:
        made[logical(f"{name}-log")] = of(
            "Logs::LogGroup", LogGroupName=f"/aws/lambda/{NAME}-{name}", RetentionInDays=30
        )
        made[logical(f"{name}-role")] = role("lambda", "s3:PutObject", "sqs:ReceiveMessage", "sqs:DeleteMessage")
        made[logical(name)] = function(name)
        version = {"FunctionName": {"Ref": logical(name)}}
        made[logical(f"{name}-version")] = of("Lambda::Version", **version)
        number = attribute(logical(f"{name}-version"), "Version")
        made[logical(f"{name}-alias")] = of("Lambda::Alias", Name="live", FunctionVersion=number, **version)
    for queue, name in (("labels", "exporter"), ("backfill", "exporter"), ("catalog", "catalog")):
        made[logical(f"{queue}-mapping")] = of(
            "Lambda::EventSourceMapping",
            EventSourceArn=attribute(logical(f"{queue}-queue")),
            FunctionName={"Ref": logical(f"{name}-alias")},
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )
    made["SchedulerRole"] = role("scheduler", "lambda:InvokeFunction")
    for schedule in SCHEDULES:
        made[logical(f"{schedule}-schedule")] = of(
            "Scheduler::Schedule",
            Name=f"{NAME}-{schedule}",
            ScheduleExpression="rate(1 days)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": {"Ref": "CatalogAlias"}, "RoleArn": attribute("SchedulerRole")},
        )
    return made


def front_door() -> Resource:
    """Return the HTTP API with its access log and its permission."""
    uri = {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${ExporterAlias}/invocations"}
    api = {"ApiId": {"Ref": "Api"}}
    return {
        "AccessLog": of("Logs::LogGroup", LogGroupName=f"/aws/apigateway/{NAME}", RetentionInDays=30),
        "Api": of("ApiGatewayV2::Api", Name=NAME, ProtocolType="HTTP"),
        "Integration": of(
            "ApiGatewayV2::Integration",
            IntegrationType="AWS_PROXY",
            PayloadFormatVersion="2.0",
            IntegrationUri=uri,
            **api,
        ),
        "Route": of(
            "ApiGatewayV2::Route",
            RouteKey="POST /webhook",
            Target={"Fn::Sub": "integrations/${Integration}"},
            **api,
        ),
        "Stage": of("ApiGatewayV2::Stage", StageName="$default", AutoDeploy=True, **api),
        "InvokePermission": of(
            "Lambda::Permission",
            FunctionName={"Ref": "ExporterAlias"},
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
        ),
    }


def monitoring() -> Resource:
    """Return topic, alarms and dashboard."""
    made: Resource = {"Topic": of("SNS::Topic", TopicName=NAME)}
    for number in range(ALARMS):
        made[f"Alarm{number}"] = of(
            "CloudWatch::Alarm",
            AlarmName=f"{NAME}/{number}",
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            AlarmActions=[{"Ref": "Topic"}],
        )
    body = {"widgets": [{"type": "text", "width": 24, "height": 2, "properties": {"markdown": NAME}}]}
    made["Dashboard"] = of("CloudWatch::Dashboard", DashboardName=NAME, DashboardBody=json.dumps(body))
    return made


def dockerfile(base: str) -> str:
    """Return a Dockerfile with a target for each function, from the local stack's base image."""
    targets = (("exporter", "label_export"), ("catalog", "label_catalog"))
    return "".join(
        f'FROM {base} AS {name}\nCOPY {package} /var/task/{package}\nCMD ["{package}.handler.handler"]\n'
        for name, package in targets
    )


def template() -> Resource:
    """Return the whole template."""
    secrets = {
        logical(f"{name}-secret"): of("SecretsManager::Secret", Name=f"{NAME}-{name}", SecretString="not-a-secret")
        for name in ("private-key", "signing-secrets")
    }
    bucket = of("S3::Bucket", BucketName=f"{NAME}-labels", VersioningConfiguration={"Status": "Enabled"})
    resources = {"Labels": bucket, **secrets, **queues(), **functions(), **front_door(), **monitoring()}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}
