"""Removing the deployed system: asked for by name, complete, repeatable, and never the labels."""

from __future__ import annotations

from conftest import NAME, Deployment, remove_all, run_playbook
from local_stack import LocalStack


def test_destroy_asks_for_the_name(deployment: Deployment) -> None:
    run = run_playbook("destroy")
    assert run.returncode != 0
    assert "-e label_export_destroy=local" in " ".join(run.output.split())
    assert run.changed == []


def test_destroy_removes_everything_but_labels_and_secrets(stack: LocalStack, deployment: Deployment) -> None:
    labels = deployment.s3.list_objects_v2(Bucket=deployment.bucket)["KeyCount"]
    assert labels > 0
    run = run_playbook("destroy", "-e", "label_export_destroy=local")
    assert run.returncode == 0, run.output

    assert deployment.s3.list_objects_v2(Bucket=deployment.bucket)["KeyCount"] == labels
    assert len(stack.aws("secretsmanager").list_secrets()["SecretList"]) == 2
    assert stack.aws("sqs").list_queues().get("QueueUrls", []) == []
    assert stack.aws("lambda").list_functions()["Functions"] == []
    assert stack.aws("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert stack.aws("ecr").describe_repositories()["repositories"] == []
    assert stack.aws("apigatewayv2").get_apis()["Items"] == []
    assert stack.aws("logs").describe_log_groups()["logGroups"] == []
    assert stack.aws("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert stack.aws("cloudwatch").list_dashboards()["DashboardEntries"] == []
    assert stack.aws("sns").list_topics()["Topics"] == []
    iam = stack.aws("iam")
    assert [role for role in iam.list_roles()["Roles"] if role["RoleName"].startswith(f"{NAME}-")] == []
    policies = iam.list_policies(Scope="Local")["Policies"]
    assert [policy for policy in policies if policy["PolicyName"].startswith(f"{NAME}-")] == []


def test_destroy_again_finds_nothing_to_do() -> None:
    run = run_playbook("destroy", "-e", "label_export_destroy=local")
    assert run.returncode == 0, run.output
    assert run.changed == []


def test_the_labels_go_only_when_their_bucket_is_named(deployment: Deployment) -> None:
    run = remove_all(deployment.bucket)
    assert run.returncode == 0, run.output
    assert deployment.s3.list_buckets()["Buckets"] == []
