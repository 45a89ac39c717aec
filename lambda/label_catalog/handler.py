"""Lambda's entry point: event in, answer out."""

from __future__ import annotations

import functools
import os
from typing import Any

from label_catalog.application import Application, LambdaContext
from label_catalog.settings import Settings


@functools.cache
def application() -> Application:
    """Return the one application of this process; raises SettingsError where the environment is not right."""
    return Application(Settings.from_environment(os.environ), os.environ)


def handle(event: object, context: LambdaContext) -> dict[str, Any]:
    """Answer one event. See Application.handle."""
    return application().handle(event, context)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # in Lambda: wrong settings fail at start
    application()
