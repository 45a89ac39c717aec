#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ecr_image_info
short_description: Return what a tag in an ECR repository points to
description:
  - Returns the digest and the manifest's media type of one tag. No upstream module does.
  - A repository or tag that does not exist is not an error.
author: The label-export contributors
options:
  repository:
    description: The repository's name.
    type: str
    required: true
  tag:
    description: The image's tag.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: Nothing is ever changed.
    support: N/A
extends_documentation_fragment: label_export.aws.module
"""

EXAMPLES = r"""
- name: Look whether the image is there already
  label_export.aws.ecr_image_info:
    repository: label-export-dev
    tag: 0.1.0-0a1b2c3d4e5f
"""

RETURN = r"""
found:
  description: Whether the repository has this tag.
  returned: always
  type: bool
digest:
  description: The manifest's digest, C(sha256:...). Empty when not found.
  returned: always
  type: str
media_type:
  description: >-
    The manifest's media type. Lambda refuses an index (a list of platforms, or an image with attestations attached).
  returned: always
  type: str
layer_media_types:
  description: The media types of the manifest's layers, each once. Lambda refuses layers that are compressed with zstd.
  returned: always
  type: list
  elements: str
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.label_export.aws.plugins.module_utils.failures import ExplainedError, reported


def find(client: Any, repository: str, tag: str) -> list[dict[str, Any]]:
    """Return the API's description of the image in a list; an empty list if repository or tag does not exist."""
    try:
        answer = client.batch_get_image(aws_retry=True, repositoryName=repository, imageIds=[{"imageTag": tag}])
    except is_boto3_error_code("RepositoryNotFoundException"):
        return []
    failures = [f for f in answer.get("failures", []) if f.get("failureCode") != "ImageNotFound"]
    if failures:
        reason = f"{failures[0].get('failureCode')}: {failures[0].get('failureReason')}"
        raise ExplainedError(f"The image {repository}:{tag} could not be looked up: {reason}")
    return list(answer["images"])


def layer_media_types(manifest: str) -> list[str]:
    """Return the media types of a manifest's layers, each once; none for an index."""
    layers = json.loads(manifest).get("layers", []) if manifest else []
    return sorted({str(layer.get("mediaType", "")) for layer in layers})


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"repository": {"type": "str", "required": True}, "tag": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    client = module.client("ecr", retry_decorator=AWSRetry.jittered_backoff())
    repository, tag = module.params["repository"], module.params["tag"]
    with reported(module, f"The image {repository}:{tag} could not be looked up"):
        images = find(client, repository, tag)
    image = images[0] if images else {}
    module.exit_json(
        changed=False,
        found=bool(images),
        digest=image.get("imageId", {}).get("imageDigest", ""),
        media_type=image.get("imageManifestMediaType", ""),
        layer_media_types=layer_media_types(image.get("imageManifest", "")),
    )


if __name__ == "__main__":
    main()
