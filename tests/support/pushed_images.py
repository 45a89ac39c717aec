"""Images in the local stack's registry: their tags, and one that is pulled as Lambda would."""

from __future__ import annotations

import io
import json
import tarfile
from functools import cached_property
from typing import Any

from deployed_environment import NAME
from local_stack import LocalStack


class PushedImage:
    """An image in the registry, pulled as Lambda would."""

    def __init__(self, stack: LocalStack, tag: str, token: str) -> None:
        self.stack, self.token = stack, token
        (image,) = stack.aws("ecr").batch_get_image(repositoryName=NAME, imageIds=[{"imageTag": tag}])["images"]
        self.manifest = json.loads(image["imageManifest"])

    def blob(self, digest: str) -> bytes:
        url = f"https://{self.stack.facts['registry']}/v2/{NAME}/blobs/{digest}"
        status, body = self.stack.request(url, Authorization=f"Basic {self.token}")
        assert status == 200, body
        return body

    @cached_property
    def configuration(self) -> dict[str, Any]:
        return dict(json.loads(self.blob(self.manifest["config"]["digest"])))

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Every file of every layer, by its path."""
        found = {}
        for layer in self.manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(self.blob(layer["digest"]))) as archive:
                for member in archive.getmembers():
                    # A link may lead to a file of another layer.
                    if member.isfile() and (file := archive.extractfile(member)) is not None:
                        found[member.name] = file.read()
        return found


def tags(stack: LocalStack) -> set[str]:
    images = stack.aws("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    return {tag for image in images for tag in image.get("imageTags", [])}
