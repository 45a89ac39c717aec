"""The last step of all modules for one resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.label_export.aws.plugins.module_utils.failures import reported

Ensure = Callable[[AnsibleAWSModule, Any], None]


def ensure_state(module: AnsibleAWSModule, name: str, resource: Any, present: Ensure, absent: Ensure) -> None:
    """Bring ``resource`` to the module's option ``state``; report an error of AWS.

    Args:
        module: The module, which ``present`` and ``absent`` end with its result.
        name: What the resource is called in an error message, such as "The queue label-export-dev".
        resource: What ``present`` and ``absent`` work with: a client, or an object that has one.
        present: Makes or changes the resource.
        absent: Deletes it.
    """
    ensure = present if module.params["state"] == "present" else absent
    with reported(module, f"{name} could not be ensured"):
        ensure(module, resource)
