"""The function's self check, which a deploy invokes before it uses a version."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from handler_deployment import KEY_ARN, PROJECT, SIGNING_ARN, Context, Deployment, openssh
from handler_servers import Answer, Fault

ASK = {"action": "self_check"}
CHECKS = ["webhook secrets", "private key", "encord", "workflow stages", "bucket", "queue"]
DENIED = Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
DENIED_JSON = Answer(400, json.dumps({"__type": "AccessDeniedException"}).encode())


def failing(answer: dict[str, Any]) -> dict[str, str]:
    """Return the reasons of the failed checks by name, after checking the form of the response."""
    assert [check["name"] for check in answer["checks"]] == CHECKS
    assert answer["ok"] == all(check["ok"] for check in answer["checks"])
    assert all(check["detail"] for check in answer["checks"])
    return {check["name"]: check["reason"] for check in answer["checks"] if not check["ok"]}


def test_a_working_function_reports_success_and_leaves_nothing(deployment: Deployment) -> None:
    assert failing(deployment.call(ASK)) == {}
    aws = deployment.aws
    assert (aws.objects, aws.history, aws.uploads, aws.messages) == ({}, [], {}, [])
    assert aws.count("CreateMultipartUpload") == aws.count("AbortMultipartUpload") == 1
    (begun,) = [call for call in aws.calls if call.operation == "CreateMultipartUpload"]
    assert begun.path.startswith("/labels-bucket/encord/")
    assert deployment.encord.count("labelrowmetadata") == len(deployment.encord.calls) == 1, "it only reads"


def test_every_allowed_project_is_checked(deployment: Deployment) -> None:
    projects = [PROJECT, str(uuid.UUID(int=2))]
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps(projects))
    assert failing(deployment.call(ASK)) == {}
    assert [call.headers["resourceid"] for call in deployment.encord.calls] == projects


@pytest.mark.parametrize("error", ["AUTHORISATION_ERROR", "RESOURCE_NOT_FOUND_ERROR"])
def test_an_unreadable_project_counts_only_if_it_is_in_the_list(deployment: Deployment, error: str) -> None:
    refusal = deployment.encord.envelope([error], 403)
    deployment.encord.fail("labelrowmetadata", Fault(refusal), Fault(refusal))
    assert failing(deployment.call(ASK)) == {}, "no project is named, and any one proves the key"
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps([PROJECT]))
    answer = deployment.call(ASK)
    assert failing(answer) == {"encord": "no_access"}
    assert PROJECT in answer["checks"][2]["detail"]


def test_titles_of_stages_are_looked_for_in_the_projects_workflows(deployment: Deployment) -> None:
    other = str(uuid.UUID(int=2))
    deployment.encord.stages = {PROJECT: ["Annotate 1", "Review 1", "Complete"], other: ["Annotate", "Complete"]}
    deployment.set(
        LABEL_EXPORT_PROJECTS=json.dumps([PROJECT, other]), LABEL_EXPORT_WORKFLOW_STAGES='["Complete", "Review 1"]'
    )
    assert failing(deployment.call(ASK)) == {}
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete", "Complet"]')
    answer = deployment.call(ASK)
    assert failing(answer) == {"workflow stages": "stage_unknown"}
    detail = answer["checks"][3]["detail"]
    assert "'Complet'; they have 'Annotate', 'Annotate 1', 'Complete', 'Review 1'" in detail
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Review 1"]')
    answer = deployment.call(ASK)
    assert failing(answer) == {"workflow stages": "stage_unknown"}
    assert other in answer["checks"][3]["detail"], "none of its labels would be exported"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(403, b'{"message":"No access"}'), "no_access"),
        (Answer(404), "no_access"),
        (Answer(200, b"[]"), "malformed_answer"),
        (Answer(200, b'{"workflow":{"stages":[{}]}}'), "malformed_answer"),
        (Answer(200, b'{"workflow":null}'), "stage_unknown"),
        (Answer(401), "key_refused"),
    ],
)
def test_a_workflow_that_cannot_be_read(deployment: Deployment, answer: Answer, reason: str) -> None:
    deployment.set(LABEL_EXPORT_PROJECTS=json.dumps([PROJECT]), LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    deployment.encord.fail("GetProject", *[Fault(answer)] * 4)
    assert failing(deployment.call(ASK)) == {"workflow stages": reason}


def test_stages_without_an_allow_list_cannot_be_checked(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_WORKFLOW_STAGES='["Complete"]')
    answer = deployment.call(ASK)
    assert failing(answer) == {}
    assert "cannot be checked" in answer["checks"][3]["detail"]


def test_an_unregistered_key_fails_the_check(deployment: Deployment) -> None:
    deployment.encord.public_keys.clear()
    assert failing(deployment.call(ASK)) == {"encord": "key_refused"}


def test_a_key_that_was_just_fixed_counts_at_once(deployment: Deployment) -> None:
    """The process has kept the refused key, and pauses for a minute; a deploy that checks again must not wait."""
    deployment.encord.public_keys.clear()
    deployment.row()
    deployment.export(deployment.row())
    assert failing(deployment.call(ASK)) == {"encord": "key_refused"}
    new = Ed25519PrivateKey.generate()
    deployment.aws.secrets[KEY_ARN] = openssh(new)
    deployment.encord.public_keys.add(new.public_key().public_bytes_raw().hex())
    assert failing(deployment.call(ASK)) == {}


def test_a_domain_without_encord_fails_the_check(deployment: Deployment) -> None:
    deployment.set(LABEL_EXPORT_ENCORD_DOMAIN="https://127.0.0.1:9")
    assert failing(deployment.call(ASK)) == {"encord": "connection"}


@pytest.mark.parametrize(
    ("operation", "answer", "check", "reason"),
    [
        ("HeadObject", Answer(403), "bucket", "s3_access_denied"),
        ("CreateMultipartUpload", DENIED, "bucket", "s3_access_denied"),
        ("AbortMultipartUpload", DENIED, "bucket", "s3_access_denied"),
        ("GetQueueAttributes", DENIED_JSON, "queue", "sqs_access_denied"),
        ("GetSecretValue", DENIED_JSON, "webhook secrets", "secretsmanager_access_denied"),
    ],
)
def test_a_missing_permission_of_the_role_fails_the_check(
    deployment: Deployment, operation: str, answer: Answer, check: str, reason: str
) -> None:
    deployment.aws.fail(operation, Fault(answer))
    assert failing(deployment.call(ASK)) == {check: reason}


def test_all_failures_are_reported_without_secrets(deployment: Deployment, output: Any) -> None:
    deployment.aws.secrets[SIGNING_ARN] = deployment.signing_secret
    deployment.aws.secrets[KEY_ARN] = openssh(deployment.key)[:-60]
    deployment.aws.fail("HeadObject", Fault(DENIED))
    answer = deployment.call(ASK)
    assert set(failing(answer)) == {"webhook secrets", "private key", "encord", "bucket"}
    written = output()
    assert {line["check"] for line in written.logged("self_check_failed")} == set(failing(answer))
    shown = json.dumps(answer) + written.text
    assert deployment.signing_secret not in shown
    assert all(line not in shown for line in openssh(deployment.key).splitlines()[1:-1])


def test_a_secret_with_a_line_end_is_found_before_the_version_is_used(deployment: Deployment) -> None:
    deployment.aws.secrets[SIGNING_ARN] = json.dumps({"signing_secrets": [deployment.signing_secret + "\n"]})
    answer = deployment.call(ASK)
    assert failing(answer) == {"webhook secrets": "secret_white_space"}
    assert "1 of the secrets" in answer["checks"][0]["detail"]


def test_without_secrets_the_check_passes_and_reports_a_closed_webhook(deployment: Deployment) -> None:
    deployment.aws.secrets[SIGNING_ARN] = "{}"
    answer = deployment.call(ASK)
    assert failing(answer) == {}
    assert "every webhook is refused" in answer["checks"][0]["detail"]


def test_an_unexpected_error_is_reported_only_by_its_place(deployment: Deployment, monkeypatch: Any) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(deployment.signing_secret)

    monkeypatch.setattr("label_export.adapters.aws.s3.S3Store.look", broken)
    answer = deployment.call(ASK)
    assert failing(answer) == {"bucket": "unexpected"}
    assert deployment.signing_secret not in json.dumps(answer)


def test_the_check_ends_before_the_invocation_times_out(deployment: Deployment) -> None:
    answer = deployment.call(ASK, Context(seconds=0.5))
    assert set(failing(answer).values()) == {"no_time"}
