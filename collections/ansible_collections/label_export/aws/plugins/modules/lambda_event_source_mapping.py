#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_event_source_mapping
short_description: Ensure a queue is mapped to a function
description:
  - Creates, changes or deletes the event source mapping between one SQS queue and one function, version or alias.
  - Unlike M(amazon.aws.lambda_event) it corrects every setting, manages the scaling configuration, and predicts
    changes in check mode.
  - Filters, which make Lambda delete messages, and provisioned pollers, which exclude O(maximum_concurrency), are
    removed.
  - Outside check mode it waits up to two minutes until AWS has created or changed a mapping, and warns if that takes
    longer. Messages wait in the queue meanwhile.
author: The label-export contributors
options:
  function_name:
    description: The function's name, followed by C(:alias) to map to an alias.
    type: str
    required: true
  event_source_arn:
    description: The ARN of the queue.
    type: str
    required: true
  state:
    description: Whether the mapping exists.
    type: str
    choices: [present, absent]
    default: present
  enabled:
    description: Whether the mapping is enabled.
    type: bool
    default: true
  batch_size:
    description: Maximum number of messages for one invocation.
    type: int
    default: 10
  maximum_batching_window:
    description: Seconds to wait for a batch to fill.
    type: int
    default: 0
  maximum_concurrency:
    description: Concurrent invocations, 2 to 1,000. 0 for no limit.
    type: int
    default: 0
  report_batch_item_failures:
    description: Whether the function's answer names the messages that failed.
    type: bool
    default: true
  tags:
    description: The mapping's tags. Others are removed. Not managed when left out.
    type: dict
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the function takes its work from the queue
  label_export.aws.lambda_event_source_mapping:
    function_name: label-export-dev:live
    event_source_arn: arn:aws:sqs:eu-west-1:123456789012:label-export-dev
    maximum_concurrency: 5
"""

RETURN = r"""
uuid:
  description: The mapping's identifier; empty in check mode when it does not exist.
  returned: when state is present
  type: str
"""

import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import compare_aws_tags
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    difference,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.lambda_mapping import filter_criteria, list_mappings
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

# Lambda refuses changes of a mapping that is being created or changed with the first of these. It refuses a new
# mapping with the second while the one before is being deleted.
IN_TRANSITION = ["ResourceInUseException", "ResourceConflictException"]
AT_REST = ("Enabled", "Disabled")
LOOKS = 60
SECONDS_BETWEEN_LOOKS = 2


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into the API's settings."""
    concurrency = params["maximum_concurrency"]
    return {
        "Enabled": params["enabled"],
        "BatchSize": params["batch_size"],
        "MaximumBatchingWindowInSeconds": params["maximum_batching_window"],
        "ScalingConfig": {"MaximumConcurrency": concurrency} if concurrency else {},
        "FunctionResponseTypes": ["ReportBatchItemFailures"] if params["report_batch_item_failures"] else [],
        # Emptied in the same request: AWS accepts no ScalingConfig together with a ProvisionedPollerConfig.
        "FilterCriteria": {},
        "KMSKeyArn": "",
        "ProvisionedPollerConfig": {},
        "Tags": params["tags"],
    }


def current_settings(mapping: dict[str, Any]) -> dict[str, Any]:
    """Bring the API's description of a mapping into the form of wanted_settings."""
    return {
        "Enabled": mapping["State"] not in ("Disabled", "Disabling"),
        "BatchSize": mapping.get("BatchSize"),
        "MaximumBatchingWindowInSeconds": mapping.get("MaximumBatchingWindowInSeconds", 0),
        "ScalingConfig": {key: value for key, value in (mapping.get("ScalingConfig") or {}).items() if value},
        "FunctionResponseTypes": mapping.get("FunctionResponseTypes") or [],
        "FilterCriteria": filter_criteria(mapping),
        "KMSKeyArn": mapping.get("KMSKeyArn") or "",
        "ProvisionedPollerConfig": mapping.get("ProvisionedPollerConfig") or {},
    }


def find(client: Any, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the API's description of the mapping, or None."""
    return next(iter(list_mappings(client, params["function_name"], EventSourceArn=params["event_source_arn"])), None)


def wait_until_at_rest(module: AnsibleAWSModule, client: Any) -> None:
    """Wait until AWS has created or changed the mapping; warn if it takes too long."""
    state = ""
    for _ in range(LOOKS):
        mapping = find(client, module.params)
        state = mapping["State"] if mapping else "gone"
        if state in AT_REST:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
    module.warn(
        f"After {LOOKS * SECONDS_BETWEEN_LOOKS} s the mapping of {module.params['event_source_arn']} to "
        f"{module.params['function_name']} is still {state}. Messages wait in the queue until it is Enabled."
    )


def update(
    client: Any, mapping: dict[str, Any], current: dict[str, Any], changes: dict[str, Any], function_name: str
) -> None:
    settings = {key: value for key, value in changes.items() if key != "Tags"}
    if settings:
        client.update_event_source_mapping(aws_retry=True, UUID=mapping["UUID"], FunctionName=function_name, **settings)
    tags = current.get("Tags", {})
    to_set, to_remove = compare_aws_tags(tags, changes.get("Tags", tags))
    if to_remove:
        client.untag_resource(aws_retry=True, Resource=mapping["EventSourceMappingArn"], TagKeys=to_remove)
    if to_set:
        client.tag_resource(aws_retry=True, Resource=mapping["EventSourceMappingArn"], Tags=to_set)


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    params = module.params
    mapping = find(client, params)
    wanted = wanted_settings(params)
    current = current_settings(mapping) if mapping else None
    if mapping and current and wanted["Tags"] is not None:
        tags = client.list_tags(aws_retry=True, Resource=mapping["EventSourceMappingArn"]).get("Tags", {})
        current["Tags"] = own_tags(tags)
    changes = changed_values(current, wanted)
    if changes and not module.check_mode:
        if mapping and current:
            update(client, mapping, current, changes, params["function_name"])
        else:
            mapping = client.create_event_source_mapping(
                aws_retry=True,
                FunctionName=params["function_name"],
                EventSourceArn=params["event_source_arn"],
                **{key: value for key, value in wanted.items() if value not in ({}, [], "", None)},
            )
    # Also wait for a mapping that an earlier run, or another tool, created or changed.
    if mapping and not module.check_mode and (changes or mapping["State"] not in AT_REST):
        wait_until_at_rest(module, client)
    module.exit_json(changed=bool(changes), diff=difference(current, wanted), uuid=mapping["UUID"] if mapping else "")


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    mapping = find(client, module.params)
    if mapping and not module.check_mode:
        client.delete_event_source_mapping(aws_retry=True, UUID=mapping["UUID"])
    current = current_settings(mapping) if mapping else None
    module.exit_json(changed=mapping is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "event_source_arn": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "enabled": {"type": "bool", "default": True},
            "batch_size": {"type": "int", "default": 10},
            "maximum_batching_window": {"type": "int", "default": 0},
            "maximum_concurrency": {"type": "int", "default": 0},
            "report_batch_item_failures": {"type": "bool", "default": True},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    retry = AWSRetry.jittered_backoff(retries=10, delay=2, max_delay=15, catch_extra_error_codes=IN_TRANSITION)
    client = module.client("lambda", retry_decorator=retry)
    name = f"The mapping of {module.params['event_source_arn']} to {module.params['function_name']}"
    ensure_state(module, name, client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
