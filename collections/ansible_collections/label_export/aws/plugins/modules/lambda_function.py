#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_function
short_description: Ensure a Lambda function that runs a container image, and a published version of it
description:
  - Creates, changes or deletes a function whose code is a container image, and publishes a version when the code or a
    setting differs from the newest published version.
  - Unlike M(amazon.aws.lambda) it changes nothing when nothing differs, waits for a running update before it starts
    one and until its own has ended, and manages ephemeral storage, logging and reserved concurrency.
  - Overrides of the image's entry point, command or working directory are removed.
  - Lambda cannot assume a role that was created a few seconds ago. The module fails then; retry the task on the text
    C(cannot be assumed by Lambda).
  - AWS lets a function that it could not create (C(State) is C(Failed)) only be deleted. The module deletes it and
    creates it again while it has no published version. If it has published versions, the module fails and does not
    change it.
author: The label-export contributors
options:
  name:
    description: The function's name.
    type: str
    required: true
  state:
    description: Whether the function exists.
    type: str
    choices: [present, absent]
    default: present
  image_uri:
    description: The image, preferably by digest C(registry/repository@sha256:...). Required when O(state=present).
    type: str
  role:
    description: The ARN of the execution role. Required when O(state=present).
    type: str
  role_id:
    description:
      - The unique identifier of O(role), such as C(AROA...), kept in the function's tag C(execution-role-id).
      - A role that was deleted and created again has its old name and another identifier. Lambda's grant on the
        environment's KMS key belongs to the old one, so the function is then updated and a version published.
      - Not managed when left out or empty.
    type: str
    default: ""
  architecture:
    description: The image's architecture.
    type: str
    choices: [x86_64, arm64]
    default: x86_64
  description:
    description: The function's description.
    type: str
    default: ""
  memory_size:
    description: Memory in MiB.
    type: int
    default: 512
  timeout:
    description: Seconds that one invocation may take.
    type: int
    default: 60
  ephemeral_storage:
    description: Size of C(/tmp) in MiB.
    type: int
    default: 512
  environment:
    description: The function's environment variables.
    type: dict
    default: {}
  secret_environment:
    description:
      - Further environment variables whose values appear in no output.
      - A variable that is in O(environment) as well counts as one of these.
    type: dict
    default: {}
  kms_key_arn:
    description: The KMS key that encrypts the environment; without it Lambda uses its own.
    type: str
    default: ""
  tracing_mode:
    description: Whether X-Ray traces invocations.
    type: str
    choices: [Active, PassThrough]
    default: Active
  log_group:
    description: The log group. Not managed when left out.
    type: str
  log_format:
    description: The form of the platform's own log lines. Not managed without O(log_group).
    type: str
    choices: [Text, JSON]
    default: Text
  vpc_subnet_ids:
    description: The subnets in which the function runs. Empty for none.
    type: list
    elements: str
    default: []
  vpc_security_group_ids:
    description: The security groups of the function. Empty for none.
    type: list
    elements: str
    default: []
  reserved_concurrency:
    description: Reserved concurrent executions. A negative number reserves none.
    type: int
    default: -1
  alias:
    description: An alias whose version is returned in RV(alias_version). It is not changed.
    type: str
  tags:
    description: The function's tags. Others are removed. Not managed when left out.
    type: dict
attributes:
  check_mode:
    description: Nothing is changed. RV(version) is the version that would be current.
    support: full
  diff_mode:
    description: Shows each changed setting. Values of variables that are not in O(environment) are hidden.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure the function runs the image
  label_export.aws.lambda_function:
    name: label-export-dev
    image_uri: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/label-export-dev@sha256:0123456789abcdef
    role: arn:aws:iam::123456789012:role/label-export-dev
  register: function
  retries: 12
  delay: 5
  until: function is success or "cannot be assumed by Lambda" not in function.msg
"""

RETURN = r"""
version:
  description: The newest published version, which has the function's code and settings.
  returned: when state is present
  type: str
  sample: "3"
published:
  description: Whether this run published it.
  returned: when state is present
  type: bool
alias_version:
  description: The version that O(alias) names now, empty when there is no such alias.
  returned: when state is present
  type: str
"""

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

with suppress(ImportError):  # AnsibleAWSModule reports what is missing.
    from botocore.exceptions import WaiterError

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import compare_aws_tags
from ansible_collections.label_export.aws.plugins.module_utils.comparison import (
    changed_values,
    difference,
    own_tags,
)
from ansible_collections.label_export.aws.plugins.module_utils.states import ensure_state

ROLE_ID_TAG = "execution-role-id"
# Settings that make Lambda encrypt the environment again and create a new grant on its key for the role.
REGRANTED = ("Role", "KMSKeyArn", "Environment")
# Everything but these two is a setting that UpdateFunctionConfiguration takes.
CODE_SETTINGS = ("ImageUri", "Architectures")
HIDDEN = "(hidden)"
PATIENCE = {"Delay": 1, "MaxAttempts": 300}
GONE_WITHIN = 60  # seconds that a deleted function may still be found
# GetFunction's status of a function that accepts no changes now, and the waiter for its end.
IN_TRANSITION = (
    ("State", "Pending", "function_active_v2"),
    ("LastUpdateStatus", "InProgress", "function_updated_v2"),
)


def wanted_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Translate the module's options into the API's settings, None if not managed."""
    logging = {"LogFormat": params["log_format"], "LogGroup": params["log_group"]} if params["log_group"] else None
    return {
        "ImageUri": params["image_uri"],
        "Architectures": [params["architecture"]],
        "Role": params["role"],
        "Description": params["description"],
        "MemorySize": params["memory_size"],
        "Timeout": params["timeout"],
        "EphemeralStorage": {"Size": params["ephemeral_storage"]},
        "Environment": {"Variables": {**params["environment"], **params["secret_environment"]}},
        "KMSKeyArn": params["kms_key_arn"],
        "TracingConfig": {"Mode": params["tracing_mode"]},
        "LoggingConfig": logging,
        "VpcConfig": {
            "SubnetIds": sorted(params["vpc_subnet_ids"]),
            "SecurityGroupIds": sorted(params["vpc_security_group_ids"]),
        },
        "ImageConfig": {},
    }


def current_settings(function: dict[str, Any], wanted_image: str | None = None) -> dict[str, Any]:
    """Bring GetFunction's answer into the form of wanted_settings.

    The API may name the image by tag in ImageUri and by digest in ResolvedImageUri: it is the wanted one when either
    is.
    """
    configuration, code = function["Configuration"], function.get("Code", {})
    image = code.get("ImageUri", "")
    if wanted_image and code.get("ResolvedImageUri") == wanted_image:
        image = wanted_image
    logging = configuration.get("LoggingConfig", {})
    vpc = configuration.get("VpcConfig") or {}
    overrides = (configuration.get("ImageConfigResponse") or {}).get("ImageConfig") or {}
    return {
        "ImageUri": image,
        "Architectures": configuration.get("Architectures", ["x86_64"]),
        "Role": configuration["Role"],
        "Description": configuration.get("Description", ""),
        "MemorySize": configuration["MemorySize"],
        "Timeout": configuration["Timeout"],
        "EphemeralStorage": configuration.get("EphemeralStorage", {"Size": 512}),
        "Environment": {"Variables": configuration.get("Environment", {}).get("Variables", {})},
        "KMSKeyArn": configuration.get("KMSKeyArn") or "",
        "TracingConfig": {"Mode": configuration.get("TracingConfig", {}).get("Mode", "PassThrough")},
        "LoggingConfig": {"LogFormat": logging.get("LogFormat", "Text"), "LogGroup": logging.get("LogGroup", "")},
        "VpcConfig": {
            "SubnetIds": sorted(vpc.get("SubnetIds", [])),
            "SecurityGroupIds": sorted(vpc.get("SecurityGroupIds", [])),
        },
        "ImageConfig": {key: value for key, value in overrides.items() if value},
    }


def same_version(latest: dict[str, Any], published: dict[str, Any]) -> bool:
    """Return whether a published version has the function's settings and code; both are GetFunction's answers."""
    return current_settings(latest) == current_settings(published) and latest["Configuration"].get(
        "CodeSha256"
    ) == published["Configuration"].get("CodeSha256")


def shown(settings: dict[str, Any], visible: Collection[str]) -> dict[str, Any]:
    """Return settings for an output: values of variables that are not among ``visible`` are hidden."""
    if "Environment" not in settings:
        return settings
    variables = settings["Environment"]["Variables"]
    hidden = {key: value if key in visible else HIDDEN for key, value in variables.items()}
    return {**settings, "Environment": {"Variables": hidden}}


def failure_of(function: dict[str, Any]) -> str:
    """Return Lambda's reason why it could not create or change the function; "" if it could."""
    configuration = function["Configuration"]
    for status in ("State", "LastUpdateStatus"):
        if configuration.get(status) == "Failed":
            code = configuration.get(f"{status}ReasonCode", "no code")
            reason = configuration.get(f"{status}Reason", "no reason given")
            return f"Lambda could not {'create' if status == 'State' else 'change'} the function: {reason} ({code})"
    return ""


def is_failed_creation(function: dict[str, Any]) -> bool:
    """Return whether Lambda could not create the function. AWS then only lets it be deleted."""
    return bool(function["Configuration"].get("State") == "Failed")


def has_new_role(function: dict[str, Any], role_id: str) -> bool:
    """Return whether the function's role was deleted and created again since its identifier was stored in the tag."""
    kept = function.get("Tags", {}).get(ROLE_ID_TAG, "")
    return bool(role_id and kept and kept != role_id)


def wanted_tags(params: dict[str, Any], current: dict[str, str]) -> dict[str, str] | None:
    """Return the wanted tags, None if not managed; without ``role_id``, the stored one stays."""
    role_id = params["role_id"] or current.get(ROLE_ID_TAG, "")
    kept = {ROLE_ID_TAG: role_id} if role_id else {}
    if params["tags"] is None:
        return {**current, **kept} if params["role_id"] else None
    return {**params["tags"], **kept}


def code_to_repeat(function: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the image of a function whose last change failed, to update it again; otherwise nothing."""
    return {"ImageUri": wanted["ImageUri"]} if failure_of(function) else {}


class Function:
    """The thin layer over the API for one function."""

    def __init__(self, module: AnsibleAWSModule, client: Any) -> None:
        self.module = module
        self.client = client
        self.name: str = module.params["name"]

    def get(self, **qualifier: str) -> dict[str, Any] | None:
        """Return GetFunction's answer, or None."""
        try:
            function: dict[str, Any] = self.client.get_function(aws_retry=True, FunctionName=self.name, **qualifier)
        except is_boto3_error_code("ResourceNotFoundException"):
            return None
        return function

    def newest_published(self) -> dict[str, Any] | None:
        """Return GetFunction's answer for the published version with the highest number, or None."""
        paginator = self.client.get_paginator("list_versions_by_function")
        numbers = [
            int(version["Version"])
            for page in paginator.paginate(FunctionName=self.name)
            for version in page["Versions"]
            if version["Version"] != "$LATEST"
        ]
        return self.get(Qualifier=str(max(numbers))) if numbers else None

    def reserved_concurrency(self) -> int:
        """Return the reserved concurrent executions, -1 for none."""
        answer = self.client.get_function_concurrency(aws_retry=True, FunctionName=self.name)
        return int(answer.get("ReservedConcurrentExecutions", -1))

    def alias_version(self, alias: str | None) -> str:
        """Return the version that an alias names, "" when there is none."""
        if not alias:
            return ""
        try:
            answer = self.client.get_alias(aws_retry=True, FunctionName=self.name, Name=alias)
        except is_boto3_error_code("ResourceNotFoundException"):
            return ""
        return str(answer["FunctionVersion"])

    def wait(self, waiter: str, **qualifier: str) -> None:
        """Wait until the change has ended; fail with Lambda's reason if it failed."""
        try:
            self.client.get_waiter(waiter).wait(FunctionName=self.name, WaiterConfig=PATIENCE, **qualifier)
        except WaiterError as error:
            found = self.get(**qualifier)
            reason = failure_of(found) if found else ""
            self.module.fail_json_aws(error, msg=reason or f"The function {self.name} did not become ready")

    def settle(self, function: dict[str, Any]) -> dict[str, Any] | None:
        """Wait until another run's change has ended; return GetFunction's answer then, also if the change failed."""
        for status, value, waiter in IN_TRANSITION:
            if function["Configuration"].get(status) != value:
                continue
            with suppress(WaiterError):
                self.client.get_waiter(waiter).wait(FunctionName=self.name, WaiterConfig=PATIENCE)
            found = self.get()
            if found is None:
                return None
            if found["Configuration"].get(status) == value:
                self.module.fail_json(
                    msg=f"The function {self.name} has been {value} ({status}) for five minutes. Run this again later; "
                    "if it stays so, delete the function."
                )
            function = found
        return function

    def delete_failed(self) -> None:
        """Delete the function that Lambda could not create, and wait until it is gone."""
        self.client.delete_function(aws_retry=True, FunctionName=self.name)
        for _ in range(GONE_WITHIN):
            if self.get() is None:
                return
            time.sleep(1)
        self.module.fail_json(
            msg=f"The function {self.name}, which Lambda could not create, was deleted and is not gone after "
            f"{GONE_WITHIN} s. Run this again."
        )

    def publish(self) -> str:
        """Publish a version and return its number once it is active; fail if the function's last change failed."""
        found = self.get()
        if found and (reason := failure_of(found)):
            self.module.fail_json(msg=reason)
        version = str(self.client.publish_version(aws_retry=True, FunctionName=self.name)["Version"])
        self.wait("published_version_active", Qualifier=version)
        return version

    def create(self, settings: dict[str, Any], tags: dict[str, str] | None) -> None:
        configuration = {
            key: value for key, value in settings.items() if value not in (None, "", {}) and key not in CODE_SETTINGS
        }
        if not settings["VpcConfig"]["SubnetIds"]:
            del configuration["VpcConfig"]
        self.client.create_function(
            FunctionName=self.name,
            PackageType="Image",
            Code={"ImageUri": settings["ImageUri"]},
            Architectures=settings["Architectures"],
            Tags=tags or {},
            **configuration,
        )
        self.wait("function_active_v2")

    def update(self, changes: dict[str, Any], wanted: dict[str, Any]) -> None:
        if any(key in changes for key in CODE_SETTINGS):
            self.client.update_function_code(
                aws_retry=True,
                FunctionName=self.name,
                ImageUri=wanted["ImageUri"],
                Architectures=wanted["Architectures"],
            )
            self.wait("function_updated_v2")
        configuration = {key: value for key, value in changes.items() if key not in CODE_SETTINGS}
        if configuration:
            self.client.update_function_configuration(aws_retry=True, FunctionName=self.name, **configuration)
            self.wait("function_updated_v2")

    def reserve_concurrency(self, wanted: int) -> None:
        if wanted < 0:
            self.client.delete_function_concurrency(aws_retry=True, FunctionName=self.name)
        else:
            self.client.put_function_concurrency(
                aws_retry=True, FunctionName=self.name, ReservedConcurrentExecutions=wanted
            )

    def tag(self, arn: str, to_set: dict[str, str], to_remove: list[str]) -> None:
        if to_remove:
            self.client.untag_resource(aws_retry=True, Resource=arn, TagKeys=to_remove)
        if to_set:
            self.client.tag_resource(aws_retry=True, Resource=arn, Tags=to_set)


def usable(module: AnsibleAWSModule, function: Function) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return GetFunction's answers for the function and its newest published version, None for what does not exist.

    A function that cannot be changed now is waited for. One that Lambda could not create, and that never served, is
    deleted. The module fails for one that can never be changed.
    """
    found = function.get()
    if found and found["Configuration"].get("PackageType") != "Image":
        module.fail_json(
            msg=f"The function {function.name} was created from a Zip archive, and AWS cannot change it to an image. "
            "Delete it, or choose another name."
        )
    if found and not module.check_mode:
        found = function.settle(found)
    published = function.newest_published() if found else None
    if found and is_failed_creation(found):
        if published:
            module.fail_json(
                msg=f"{failure_of(found)}. AWS lets such a function only be deleted, and {function.name} has published "
                "versions, which may still be in use. Delete it in the console or with the CLI, and run this again."
            )
        if not module.check_mode:
            function.delete_failed()
        found = None
    return found, published


def ensure_present(module: AnsibleAWSModule, client: Any) -> None:
    params = module.params
    function = Function(module, client)
    wanted = wanted_settings(params)
    found, published = usable(module, function)
    current = current_settings(found, wanted["ImageUri"]) if found else None
    changes = changed_values(current, wanted) | (code_to_repeat(found, wanted) if found else {})
    if found and has_new_role(found, params["role_id"]):
        changes |= {name: wanted[name] for name in REGRANTED}
    concurrency = max(params["reserved_concurrency"], -1)
    concurrency_changed = (function.reserved_concurrency() if found else -1) != concurrency
    current_tags = own_tags(found.get("Tags", {})) if found else {}
    tags = wanted_tags(params, current_tags)
    to_set, to_remove = compare_aws_tags(current_tags, current_tags if tags is None else tags)
    to_publish = bool(changes) or not (found and published and same_version(found, published))

    visible = params["environment"].keys() - params["secret_environment"].keys()
    before = shown({**current, "Tags": current_tags}, visible) if current else None
    after = shown({**wanted, "Tags": tags}, visible)
    diff = difference(before, after)
    newest = int(published["Configuration"]["Version"]) if published else 0
    if to_publish and newest:
        # A prediction in check mode: AWS increases the number by one.
        diff["before"]["Version"], diff["after"]["Version"] = str(newest), str(newest + 1)
    if concurrency_changed:
        diff["after"]["ReservedConcurrentExecutions"] = concurrency
    version = str(newest + 1 if to_publish else newest)

    changed = bool(found is None or to_publish or concurrency_changed or to_set or to_remove)
    if changed and not module.check_mode:
        if found is None:
            function.create(wanted, tags)
        else:
            function.update(changes, wanted)
            function.tag(found["Configuration"]["FunctionArn"], to_set, to_remove)
        if concurrency_changed:
            function.reserve_concurrency(concurrency)
        if to_publish:
            version = function.publish()
    module.exit_json(
        changed=changed,
        diff=diff,
        version=version,
        published=to_publish,
        alias_version=function.alias_version(params["alias"]),
    )


def ensure_absent(module: AnsibleAWSModule, client: Any) -> None:
    function = Function(module, client)
    found = function.get()
    if found and not module.check_mode:
        client.delete_function(aws_retry=True, FunctionName=function.name)
    current = shown(current_settings(found), {}) if found else None
    module.exit_json(changed=found is not None, diff=difference(current, {}))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "image_uri": {"type": "str"},
            "role": {"type": "str"},
            "role_id": {"type": "str", "default": ""},
            "architecture": {"type": "str", "choices": ["x86_64", "arm64"], "default": "x86_64"},
            "description": {"type": "str", "default": ""},
            "memory_size": {"type": "int", "default": 512},
            "timeout": {"type": "int", "default": 60},
            "ephemeral_storage": {"type": "int", "default": 512},
            "environment": {"type": "dict", "default": {}},
            "secret_environment": {"type": "dict", "default": {}, "no_log": True},
            "kms_key_arn": {"type": "str", "default": "", "no_log": False},
            "tracing_mode": {"type": "str", "choices": ["Active", "PassThrough"], "default": "Active"},
            "log_group": {"type": "str"},
            "log_format": {"type": "str", "choices": ["Text", "JSON"], "default": "Text"},
            "vpc_subnet_ids": {"type": "list", "elements": "str", "default": []},
            "vpc_security_group_ids": {"type": "list", "elements": "str", "default": []},
            "reserved_concurrency": {"type": "int", "default": -1},
            "alias": {"type": "str"},
            "tags": {"type": "dict"},
        },
        required_if=[("state", "present", ("image_uri", "role"))],
        supports_check_mode=True,
    )
    client = module.client("lambda", retry_decorator=AWSRetry.jittered_backoff())
    ensure_state(module, f"The function {module.params['name']}", client, ensure_present, ensure_absent)


if __name__ == "__main__":
    main()
