"""Lambda's entry point."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from label_export.core.errors import ExportError, SettingsError
from label_export.core.settings_object import BUCKET_VARIABLE, OWNER_VARIABLE, settings_key, with_settings

from label_catalog.adapters.aws.clients import s3_client
from label_catalog.adapters.aws.s3 import read_object
from label_catalog.application import Application, LambdaContext
from label_catalog.settings import Settings


@functools.cache
def application() -> Application:
    """Return the single application of this process; raises SettingsError if the environment is wrong."""
    return Application(Settings.from_environment(_complete(os.environ)), os.environ)


def _complete(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with the settings object that it names; raises SettingsError like `application`."""
    key = settings_key(environment)
    if key is None:
        return environment
    try:
        s3 = s3_client(environment.get(OWNER_VARIABLE))
        content = read_object(s3, environment.get(BUCKET_VARIABLE, ""), key)
    except ExportError as error:
        raise SettingsError(f"The settings object {key} cannot be read: {error} ({error.reason})") from None
    return with_settings(environment, key, content)


def handle(event: object, context: LambdaContext) -> dict[str, Any]:
    """Handle one event. See Application.handle."""
    return application().handle(event, context)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # in Lambda, wrong settings fail at the start
    application()
