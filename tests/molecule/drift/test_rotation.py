"""The rotation of a signing secret: first both are valid, then only the new one; no webhook is refused meanwhile.

Needs a deployed system. The playbook runs only for the role encord_secrets; the function does not change.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from deployed_environment import NAME, Deployment, as_the_deploy_left_it, eventually
from local_stack import LocalStack
from playbook_runs import only, run_playbook
from signed_webhooks import signed, webhook

ACCEPTED, REFUSED = 202, 401
SECRET = f"{NAME}/webhook-signing-secrets"


class Sender:
    """Sends webhooks one after the other, signed with one secret or the other."""

    def __init__(self, stack: LocalStack, url: str, body: bytes) -> None:
        self.stack, self.url, self.body = stack, url, body

    def send(self, secret: str) -> int:
        return self.stack.request(self.url, "POST", self.body, **signed(self.stack, self.body, secret=secret))[0]

    def becomes(self, secret: str, status: int) -> None:
        """Wait until the function has read its secrets again, which it does on a refusal, but not on every one."""

        def refused_and_read_again() -> bool:
            assert self.send(secrets.token_hex()) == REFUSED
            return self.send(secret) == status

        eventually(refused_and_read_again, f"an answer {status}")


def rotate(*signing_secrets: str, roles: Sequence[str] = ("--tags", "encord_secrets")) -> list[str]:
    """Deploy these secrets; return the tasks that changed something."""
    variables = json.dumps({"encord_secrets_signing_secrets": signing_secrets})
    run = run_playbook("deploy", *roles, "-e", variables, "-vvv")
    assert run.returncode == 0, run.output
    for line in run.output.splitlines():
        # Ansible repeats -e from the command line in its output; nothing else may.
        assert not any(secret in line for secret in signing_secrets), line
    return run.changed


@pytest.fixture
def old(stack: LocalStack) -> str:
    return Path(stack.facts["webhook_secret_file"]).read_text().split()[0]


@pytest.fixture
def sender(stack: LocalStack, deployment: Deployment, label_rows: list[dict[str, Any]], old: str) -> Iterator[Sender]:
    manager = stack.aws("secretsmanager")
    before = manager.get_secret_value(SecretId=SECRET)["SecretString"]
    sender = Sender(stack, deployment.webhook_url, webhook(label_rows))
    assert sender.send(old) == ACCEPTED
    yield sender
    as_the_deploy_left_it(manager, SECRET, before)
    sender.becomes(old, ACCEPTED)


def test_both_secrets_are_valid_until_the_old_one_is_removed(sender: Sender, old: str) -> None:
    new = secrets.token_hex()
    assert sender.send(new) == REFUSED
    assert rotate(old, new) == ["encord_secrets : Present | Store the webhook signing secrets as a secret"]
    assert sender.send(old) == ACCEPTED, "before the function knows the new one"
    sender.becomes(new, ACCEPTED)
    assert sender.send(old) == ACCEPTED
    assert len(rotate(new, roles=only("encord_secrets"))) == 1
    assert sender.send(new) == ACCEPTED, "before the function knows that the old one is gone"
    sender.becomes(old, REFUSED)
    assert sender.send(new) == ACCEPTED
