#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lambda_retired_versions
short_description: Remove old versions of a function, and images that no kept version needs
description:
  - Removes published versions of a function, except the newest ones and the ones that an alias names. It also removes
    newer versions with an environment that must no longer be used (O(retired_environment)).
  - Then removes images of the function's ECR repository, except the newest ones and the ones that a remaining version,
    or the unpublished one, runs.
  - A lifecycle policy of ECR cannot remove such images, because it does not know which images are in use. A function
    whose image is gone becomes inactive.
  - In check mode, O(new_image_uri) and O(new_version) name what earlier tasks would create. They count as if they
    existed.
  - No upstream module removes versions or images.
author: The label-export contributors
options:
  function_name:
    description: The function's name.
    type: str
    required: true
  kept_versions:
    description: Number of newest versions to keep.
    type: int
    required: true
  repository:
    description: The ECR repository, whose images only this function uses.
    type: str
    required: true
  kept_images:
    description: Number of images to keep that were pushed last.
    type: int
    required: true
  retired_environment:
    description:
      - Variables of a version's environment, each with a list of values. A version that has one of them is removed too,
        however new it is, with its image, unless a remaining version runs the image.
    type: dict
    default: {}
  new_image_uri:
    description:
      - The image that earlier tasks pushed. If its tag is not in the repository, it counts as the image that was pushed
        last.
    type: str
  new_version:
    description:
      - The function's newest version, which like the unpublished one runs O(new_image_uri). It counts although it may
        not exist yet. Needs O(new_image_uri) and O(alias).
    type: str
  alias:
    description: The alias that names only O(new_version), although it may not do so yet.
    type: str
attributes:
  check_mode:
    description: Nothing is removed.
    support: full
  diff_mode:
    description: Shows each version and image that is removed.
    support: full
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Ensure ten versions can be gone back to
  label_export.aws.lambda_retired_versions:
    function_name: label-export-dev
    kept_versions: 10
    repository: label-export-dev
    kept_images: 30

- name: Ensure no version holds the key in its environment or image
  label_export.aws.lambda_retired_versions:
    function_name: label-export-dev
    kept_versions: 10
    repository: label-export-dev
    kept_images: 30
    retired_environment:
      LABEL_EXPORT_PRIVATE_KEY_SOURCE: [environment, file]

- name: Ensure ten versions can be gone back to, and announce it before there is the new one
  label_export.aws.lambda_retired_versions:
    function_name: label-export-dev
    kept_versions: 10
    repository: label-export-dev
    kept_images: 30
    new_image_uri: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/label-export-dev:1.0.0
    new_version: "12"
    alias: live
"""

RETURN = r"""
versions:
  description: The versions that were removed; in check mode the versions that would be removed.
  returned: always
  type: list
  elements: str
  sample: ["1", "2"]
by_environment:
  description: Those of them that O(retired_environment) names.
  returned: always
  type: list
  elements: str
left_by_environment:
  description: Versions that O(retired_environment) names and that stay, since an alias names them.
  returned: always
  type: list
  elements: str
images:
  description: The digests of the images that were removed; in check mode of the images that would be removed.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError, reported

LATEST = "$LATEST"
# BatchDeleteImage's limit.
BATCH = 100


def retired_versions(versions: Collection[str], named: Collection[str], kept: int) -> list[str]:
    """Return the numbers of versions beyond the newest ``kept`` that no alias names, the oldest first."""
    numbers = sorted(int(version) for version in versions if version != LATEST)
    return [str(number) for number in numbers[: max(len(numbers) - kept, 0)] if str(number) not in named]


def has_environment(configuration: Mapping[str, Any], wanted: Mapping[str, Collection[str]]) -> bool:
    """Return whether a version, in ListVersionsByFunction's form, has one of these values in its environment."""
    variables = configuration.get("Environment", {}).get("Variables", {})
    return any(variables.get(name) in values for name, values in wanted.items())


def reference(image_uri: str) -> str:
    """Return an image's digest, or its tag if it is named by that."""
    return image_uri.partition("@")[2] or image_uri.rpartition(":")[2]


def is_named(image: Mapping[str, Any], references: Collection[str]) -> bool:
    """Return whether an image, in DescribeImages' form, has one of these digests or tags."""
    return image["imageDigest"] in references or not set(image.get("imageTags", [])).isdisjoint(references)


def retired_images(
    images: Iterable[dict[str, Any]], used: Collection[str], kept: int, unwanted: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return the images beyond the ``kept`` that were pushed last, and the unwanted ones, that are not ``used``.

    ``images`` is what DescribeImages answers; ``used`` and ``unwanted`` are digests and tags.
    """
    newest_first = sorted(images, key=lambda image: image["imagePushedAt"], reverse=True)
    return [
        image
        for position, image in enumerate(newest_first)
        if (position >= kept or is_named(image, unwanted)) and not is_named(image, used)
    ]


def has_image(images: Iterable[dict[str, Any]], named: str) -> bool:
    """Return whether one of the images, in DescribeImages' form, has this digest or tag."""
    return any(is_named(image, {named}) for image in images)


class History:
    """The thin layer over the APIs for one function and one repository."""

    def __init__(self, functions: Any, registry: Any, function_name: str, repository: str) -> None:
        self.functions = functions
        self.registry = registry
        self.function_name = function_name
        self.repository = repository

    def pages(self, operation: str, key: str) -> list[dict[str, Any]]:
        """Return the items of every page that a reading operation of Lambda answers; none without the function."""
        try:
            pages = self.functions.get_paginator(operation).paginate(FunctionName=self.function_name)
            return [item for page in pages for item in page[key]]
        except is_boto3_error_code("ResourceNotFoundException"):
            return []

    def versions(self) -> dict[str, dict[str, Any]]:
        """Return the configurations of the versions by their numbers, including the unpublished one's."""
        return {version["Version"]: version for version in self.pages("list_versions_by_function", "Versions")}

    def named_versions(self, moved: dict[str, str]) -> set[str]:
        """Return the versions that aliases name, including versions that get a share of the invocations.

        ``moved`` has, for an alias, the version that it names instead and routes all invocations to.
        """
        aliases = [alias for alias in self.pages("list_aliases", "Aliases") if alias["Name"] not in moved]
        shares = [alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}) for alias in aliases]
        named = {alias["FunctionVersion"] for alias in aliases} | set(moved.values())
        return named | {version for share in shares for version in share}

    def used_images(self, versions: Iterable[str]) -> set[str]:
        """Return the digests, or tags, of the images that these versions run."""
        used = set()
        for version in versions:
            code = self.functions.get_function(aws_retry=True, FunctionName=self.function_name, Qualifier=version).get(
                "Code", {}
            )
            used |= {reference(code[key]) for key in ("ImageUri", "ResolvedImageUri") if code.get(key)}
        return used

    def images(self) -> list[dict[str, Any]]:
        try:
            pages = self.registry.get_paginator("describe_images").paginate(repositoryName=self.repository)
            return [image for page in pages for image in page["imageDetails"]]
        except is_boto3_error_code("RepositoryNotFoundException"):
            return []

    def remove_version(self, version: str) -> None:
        self.functions.delete_function(aws_retry=True, FunctionName=self.function_name, Qualifier=version)

    def remove_images(self, digests: list[str]) -> None:
        """Remove images with all their tags. Raises ExplainedError."""
        for start in range(0, len(digests), BATCH):
            answer = self.registry.batch_delete_image(
                aws_retry=True,
                repositoryName=self.repository,
                imageIds=[{"imageDigest": digest} for digest in digests[start : start + BATCH]],
            )
            refused = [f for f in answer.get("failures", []) if f.get("failureCode") != "ImageNotFound"]
            if refused:
                reasons = "; ".join(f"{f['imageId'].get('imageDigest')}: {f.get('failureReason')}" for f in refused)
                raise ExplainedError(f"Old versions of {self.function_name} could not be removed: {reasons}")


def ensure(module: AnsibleAWSModule, history: History) -> None:
    new_version, alias = module.params["new_version"], module.params["alias"]
    new_image = reference(module.params["new_image_uri"] or "")
    # Versions that run the new image, whether they exist or earlier tasks would create them.
    renewed = {new_version, LATEST} if new_version else set()
    found = history.versions()
    versions = {*found, *renewed}
    moved = {alias: new_version} if new_version else {}
    named = history.named_versions(moved)
    holding = [
        version
        for version in sorted(found.keys() - renewed - {LATEST}, key=int)
        if has_environment(found[version], module.params["retired_environment"])
    ]
    by_environment = [version for version in holding if version not in named]
    by_number = retired_versions(versions, named, module.params["kept_versions"])
    retired = sorted({*by_number, *by_environment}, key=int)
    images: list[dict[str, Any]] = []
    stored = history.images()
    to_come = 1 if new_image and not has_image(stored, new_image) else 0
    # If all images are kept anyway, the images in use need not be read.
    if by_environment or len(stored) + to_come > module.params["kept_images"]:
        used = history.used_images(versions - renewed - set(retired)) | {new_image}
        unwanted = history.used_images(by_environment)
        images = retired_images(stored, used, module.params["kept_images"] - to_come, unwanted)
    digests = [image["imageDigest"] for image in images]
    if not module.check_mode:
        for version in retired:
            history.remove_version(version)
        history.remove_images(digests)
    before = {"versions": retired, "images": {image["imageDigest"]: image.get("imageTags", []) for image in images}}
    changed = bool(retired or digests)
    diff = {"before": before if changed else {}, "after": {}}
    module.exit_json(
        changed=changed,
        diff=diff,
        versions=retired,
        images=digests,
        by_environment=by_environment,
        left_by_environment=[version for version in holding if version in named],
    )


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "function_name": {"type": "str", "required": True},
            "kept_versions": {"type": "int", "required": True},
            "repository": {"type": "str", "required": True},
            "kept_images": {"type": "int", "required": True},
            "retired_environment": {"type": "dict", "default": {}},
            "new_image_uri": {"type": "str"},
            "new_version": {"type": "str"},
            "alias": {"type": "str"},
        },
        required_by={"new_version": ["new_image_uri", "alias"]},
        supports_check_mode=True,
    )
    retry = AWSRetry.jittered_backoff()
    history = History(
        module.client("lambda", retry_decorator=retry),
        module.client("ecr", retry_decorator=retry),
        module.params["function_name"],
        module.params["repository"],
    )
    with reported(module, f"Old versions of {history.function_name} could not be removed"):
        ensure(module, history)


if __name__ == "__main__":
    main()
