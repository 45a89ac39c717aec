"""How the modules report what AWS refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    import botocore.exceptions


@contextmanager
def reported(module: AnsibleAWSModule, message: str) -> Iterator[None]:
    """Turn an error of AWS or of the connection to it into the module's failure, with ``message`` before its text."""
    try:
        yield
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        module.fail_json_aws(error, msg=message)
