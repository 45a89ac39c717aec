"""Lambda's entry point: event in, response out."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from label_export.application import Application, LambdaContext
from label_export.core.settings_object import settings_key, with_settings
from label_export.settings import Settings


@functools.cache
def application() -> Application:
    """Return the one application of this process; raises SettingsError if a setting is wrong."""
    return Application(Settings.from_environment(_complete(os.environ)), os.environ)


def _complete(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment, with the settings of the settings object if it names one; few deployments need one."""
    key = settings_key(environment)
    if key is None:
        return environment
    from label_export.adapters.aws.settings_object import read_settings_object  # noqa: PLC0415  (see above)

    return with_settings(environment, key, read_settings_object(environment, key))


def handle(event: object, context: LambdaContext) -> dict[str, Any]:
    """Answer one event. See Application.handle."""
    return application().handle(event, context)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # in Lambda: wrong settings fail at start
    application()
