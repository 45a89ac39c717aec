"""How the modules report errors of AWS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

with suppress(ImportError):  # AnsibleAWSModule reports what is missing.
    import botocore.exceptions

# Error codes of services if the caller's policies do not allow an action. Their messages name action and resource.
DENIED = ("AccessDenied", "AccessDeniedException", "AccessDeniedFault", "AuthorizationError", "UnauthorizedOperation")
# Lambda uses the same code if Lambda itself lacks a permission, such as reading an image.
LAMBDAS_OWN = "Lambda does not have permission"
WHERE_TO_ALLOW = (
    "The credentials lack a permission. The documents that playbooks/policies.yml writes for the environment contain "
    "all required permissions: write them again with this version and settings, and update the deployer's policies"
)


class ExplainedError(Exception):
    """An error whose text names the problem and what to do. The module returns ``values`` with it."""

    def __init__(self, text: str, **values: Any) -> None:
        super().__init__(text)
        self.values = values


@contextmanager
def reported(module: AnsibleAWSModule, message: str) -> Iterator[None]:
    """Turn an error of AWS or of the connection to it into the module's failure, with ``message`` before its text.

    For a missing permission, the text names where to add it. An ExplainedError is reported as it is.
    """
    try:
        yield
    except botocore.exceptions.ClientError as error:
        details = error.response.get("Error", {})
        denied = details.get("Code") in DENIED and LAMBDAS_OWN not in details.get("Message", "")
        module.fail_json_aws(error, msg=f"{message}. {WHERE_TO_ALLOW}" if denied else message)
    except botocore.exceptions.BotoCoreError as error:
        module.fail_json_aws(error, msg=message)
    except ExplainedError as error:
        module.fail_json(msg=str(error), **error.values)
