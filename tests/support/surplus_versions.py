"""More versions and images than are kept, which a deploy must distinguish from those in use."""

from __future__ import annotations

import json
from typing import Any

from deployed_environment import NAME


def digest_of(functions: Any, qualifier: str) -> str:
    """Return the digest of the image of a version, or of the version that an alias names."""
    uri: str = functions.get_function(FunctionName=NAME, Qualifier=qualifier)["Code"]["ImageUri"]
    return uri.partition("@")[2]


def publish_more_versions(functions: Any, how_many: int) -> None:
    """Publish versions that no alias names, and one more of the function as it was."""
    description = functions.get_function_configuration(FunctionName=NAME)["Description"]
    for number in (*range(how_many), None):
        text = description if number is None else f"surplus {number}"
        functions.update_function_configuration(FunctionName=NAME, Description=text)
        functions.get_waiter("function_updated_v2").wait(FunctionName=NAME)
        functions.publish_version(FunctionName=NAME)


def push_more_images(ecr: Any, digest: str, how_many: int) -> None:
    """Push images that nothing runs, tagged ``surplus-<number>``, after the one with this digest."""
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageDigest": digest}])["images"]
    manifest = json.loads(image["imageManifest"])
    for number in range(how_many):
        text = json.dumps({**manifest, "annotations": {"surplus": str(number)}})
        ecr.put_image(repositoryName=NAME, imageManifest=text, imageTag=f"surplus-{number}")


def surplus_images(ecr: Any) -> set[str]:
    """Return the tags of those images of push_more_images that still exist."""
    images = ecr.describe_images(repositoryName=NAME)["imageDetails"]
    return {tag for image in images for tag in image.get("imageTags", []) if tag.startswith("surplus-")}
