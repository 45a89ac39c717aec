"""docs/reading-labels.md, "When a label is saved": both templates are deployed, and their targets get a saved label."""

from __future__ import annotations

import io
import json
import re
import sysconfig
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from encord_harness import make_files
from ministack_process import ACCOUNT, REGION, MiniStackProcess
from own_environments import ROOT

PAGE = (ROOT / "docs" / "reading-labels.md").read_text()
TEMPLATES = dict(re.findall(r"^```yaml\n# (label-saved-\w+\.yml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
FUNCTION = re.findall(r"^```python\n((?:(?!^```$).)*?^def handle.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BUCKET, PROJECT = "labels", "00000000-1111-2222-3333-444444444444"
KEY = f"encord/{PROJECT}/labels/label.json"
PATIENCE_SECONDS = 120


def eventually(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.2)
    return result


def document(statement: dict[str, Any]) -> str:
    """Return a policy of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStackProcess]:
    ministack = MiniStackProcess(make_files(tmp_path_factory.mktemp("files")), tmp_path_factory.mktemp("ministack"))
    try:
        s3 = ministack.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        # As role label_bucket does.
        events: dict[str, Any] = {"EventBridgeConfiguration": {}}
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=events)
        yield ministack
    finally:
        ministack.stop()


def deploy(aws: MiniStackProcess, template: str, **parameters: str) -> None:
    """Deploy a template of the page, as `aws cloudformation deploy` would."""
    cloudformation, name = aws.client("cloudformation"), template.removesuffix(".yml")
    given = {"Bucket": BUCKET, "Project": PROJECT, **parameters}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATES[template],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )

    def completed() -> bool:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        assert "FAILED" not in stack["StackStatus"], stack
        assert "ROLLBACK" not in stack["StackStatus"], stack
        return bool(stack["StackStatus"] == "CREATE_COMPLETE")

    eventually(completed, f"the stack {name}")


def save(aws: MiniStackProcess) -> None:
    """Write other objects, which must cause no event, and last a label."""
    s3 = aws.client("s3")
    for key in (f"encord/{PROJECT}/index/latest.json", "encord/99999999-1111-2222-3333-444444444444/labels/other.json"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    label = {"label_hash": "the-label", "last_edited_at": "2026-11-27 14:05:00"}
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=json.dumps(label).encode())


def test_the_mail_names_the_label_and_nothing_else_is_sent(aws: MiniStackProcess) -> None:
    deploy(aws, "label-saved-mail.yml", Email="team@example.com")
    sns, sqs = aws.client("sns"), aws.client("sqs")
    (topic,) = [found["TopicArn"] for found in sns.list_topics()["Topics"]]
    (mail,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (mail["Protocol"], mail["Endpoint"]) == ("email", "team@example.com")
    # What the mail would hold: a queue gets the same message.
    url = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:mailbox"
    allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(allowed)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    save(aws)
    received: list[str] = []

    def mails() -> list[str]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        received.extend(message["Body"] for message in found.get("Messages", []))
        return received

    eventually(mails, "a message of the topic")
    assert re.fullmatch(rf'"?A label was saved at \S+Z: s3://{BUCKET}/{KEY}"?', received[0])
    assert len(mails()) == 1, received


def test_the_function_reads_the_label(aws: MiniStackProcess) -> None:
    functions, logs = aws.client("lambda"), aws.client("logs")
    (code,) = FUNCTION
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("on_label_saved.py", code)
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/encord/{PROJECT}/labels/*"}
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=document(trust))
    iam.put_role_policy(RoleName="reader", PolicyName="labels", PolicyDocument=document(read))
    made = functions.create_function(
        FunctionName="on-label-saved",
        Runtime="python3.13",
        Handler="on_label_saved.handle",
        Role=f"arn:aws:iam::{ACCOUNT}:role/reader",
        Code={"ZipFile": archive.getvalue()},
        Timeout=60,
        Environment={
            "Variables": {
                "PYTHONPATH": sysconfig.get_path("purelib"),  # Lambda's own image has boto3
                "AWS_ENDPOINT_URL": aws.url,
                "AWS_CA_BUNDLE": aws.certificate,
            }
        },
    )
    deploy(aws, "label-saved-function.yml", FunctionArn=made["FunctionArn"])
    policy = json.loads(functions.get_policy(FunctionName="on-label-saved")["Policy"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert ":rule/" in json.dumps(statement["Condition"])
    save(aws)

    def printed() -> list[str]:
        try:
            found = logs.filter_log_events(logGroupName="/aws/lambda/on-label-saved")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in found if "edited_at" in event["message"]]

    (line,) = eventually(printed, "what the function printed")
    assert json.loads(line) == {"label": "the-label", "edited_at": "2026-11-27 14:05:00"}
