"""Modules run as Ansible runs them, against an AWS in memory.

The clients are botocore's own, so that requests are checked against AWS's models, pages are turned and waiters wait;
only the connection is replaced, by a method of a fake for each operation.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from copy import deepcopy
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import RetryingBotoClientWrapper
from botocore import xform_name

PLUGINS = "ansible_collections.label_export.aws.plugins"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
READING = ("get_", "list_", "describe_", "head_", "batch_get_")

Values = dict[str, Any]


class RefusedError(Exception):
    """AWS refuses the request with this code."""


class Fake:
    """AWS in memory: a subclass has a method for each operation, and stores everything in ``state``."""

    def __init__(self) -> None:
        self.state: Any = {}
        self.calls: list[tuple[str, Values]] = []
        # Operations that are refused this many times, with this code, before they succeed.
        self.refusals: dict[str, tuple[str, int]] = {}

    def writes(self) -> list[str]:
        """Return the operations since the last call that do not only read."""
        names = [name for name, _ in self.calls if not name.startswith(READING)]
        self.calls.clear()
        return names

    def answer(self, operation: str, params: Values) -> Values:
        """Return the operation's response; raises RefusedError."""
        self.calls.append((operation, params))
        code, times = self.refusals.get(operation, ("", 0))
        if times:
            self.refusals[operation] = (code, times - 1)
            raise RefusedError(code)
        answer: Values | None = getattr(self, operation)(deepcopy(params))
        return deepcopy(answer or {})


@cache
def client_of(service: str) -> Any:
    """Return a real client whose requests end in ``client.fake``."""
    session = boto3.session.Session("test", "test", region_name=REGION)
    client = session.client(service)

    def keep(params: Values, context: Values, **_: Any) -> None:
        context["fake_params"] = dict(params)

    def answer(model: Any, context: Values, **_: Any) -> tuple[Any, Values]:
        try:
            parsed = client.fake.answer(xform_name(model.name), context["fake_params"])
        except RefusedError as refusal:
            error = {"Error": {"Code": str(refusal), "Message": f"refused: {refusal}"}}
            return SimpleNamespace(status_code=400), {**error, "ResponseMetadata": {"HTTPStatusCode": 400}}
        known = model.output_shape.members if model.output_shape else {}
        assert parsed.keys() <= known.keys(), (
            f"{model.name} answers with no such thing as {parsed.keys() - known.keys()}"
        )
        return SimpleNamespace(status_code=200), {**parsed, "ResponseMetadata": {"HTTPStatusCode": 200}}

    client.meta.events.register_first("provide-client-params", keep)
    client.meta.events.register_first("before-call", answer)
    return client


def plugin(path: str) -> Any:
    """Return a plugin's module, such as ``modules.sqs_queue``."""
    return import_module(f"{PLUGINS}.{path}")


def run(module: str, fake: Fake | None, *, check: bool = False, **options: Any) -> Values:
    """Run a module with Ansible's own parsing of its options; return its result."""

    def client(_self: Any, service: str, retry_decorator: Callable[..., Any], **_: Any) -> Any:
        real = client_of(service)
        real.fake = fake
        return RetryingBotoClientWrapper(real, retry_decorator)

    arguments = {"region": REGION, **options, "_ansible_check_mode": check, "_ansible_diff": True}
    output = io.StringIO()
    with (
        patch_module_args(arguments),
        patch.object(AnsibleAWSModule, "client", client),
        patch("time.sleep"),
        redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        plugin(f"modules.{module}").main()
    result: Values = json.loads(output.getvalue())
    return result


def done(module: str, fake: Fake, **options: Any) -> Values:
    """The same for a run that must succeed."""
    result = run(module, fake, **options)
    assert not result.get("failed"), result["msg"]
    return result


def assert_converges(module: str, fake: Fake, **options: Any) -> Values:
    """Check, do, do again: nothing is written in check mode, and the last run changes nothing.

    Returns the result of the run that does it.
    """
    fake.writes()
    checked = done(module, fake, check=True, **options)
    assert checked["changed"]
    assert fake.writes() == []
    result = done(module, fake, **options)
    assert result["changed"]
    assert fake.writes() != []
    assert result["diff"] == checked["diff"]
    for check in (False, True):
        again = done(module, fake, check=check, **options)
        assert not again["changed"], again["diff"]
        assert fake.writes() == []
    return result


def assert_gone(module: str, fake: Fake, **options: Any) -> None:
    """The same for ``state: absent``."""
    assert_converges(module, fake, state="absent", **options)
