"""A cold start loads only what its event needs, counted in a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from handler_deployment import Deployment, batch, message, signed_request, webhook

LAMBDA = Path(__file__).parents[3] / "lambda"
LATER = {"cryptography", "msgspec", "bcrypt"}  # what only the queue's way needs
NEVER = {"encord", "boto3", "requests", "aws_lambda_powertools", "pydantic"}

SCRIPT = """
import json, sys
from label_export import handler

class Context:
    aws_request_id = "r"
    def get_remaining_time_in_millis(self):
        return 30_000

answer = handler.handle(json.load(sys.stdin), Context())
print(json.dumps([answer, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def loaded_by(event: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(event),
        env={**os.environ, "PYTHONPATH": str(LAMBDA)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer, names = json.loads(done.stdout.splitlines()[-1])
    return answer, set(names)


def test_a_webhook_does_not_load_what_only_the_queue_needs(deployment: Deployment) -> None:
    answer, loaded = loaded_by(signed_request(webhook(label_hash="l-1"), deployment.signing_secret))
    assert answer["statusCode"] == 202
    assert not loaded & (LATER | NEVER)


def test_an_export_loads_no_sdk(deployment: Deployment) -> None:
    label = deployment.row()
    answer, loaded = loaded_by(batch(message(label)))
    assert answer == {"batchItemFailures": []}
    assert deployment.stored(label) is not None
    assert loaded & LATER
    assert not loaded & NEVER


@pytest.mark.parametrize("problem", ["LABEL_EXPORT_BUCKET", "LABEL_EXPORT_KEY_TEMPLATE"])
def test_invalid_settings_fail_the_start_by_name(deployment: Deployment, problem: str) -> None:
    deployment.set(AWS_LAMBDA_RUNTIME_API="127.0.0.1:9", **{problem: "no/such"})
    with pytest.raises(subprocess.CalledProcessError) as caught:
        loaded_by({})
    assert f"{problem} is not" in caught.value.stderr
