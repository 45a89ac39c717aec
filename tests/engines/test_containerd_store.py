"""An engine that keeps images in containerd builds for the function's platform.

Such an engine keeps several platforms of an image, and may build on any of them if the image is named by
a tag. `make containerd-store` starts one (scripts/containerd_store) and runs this file. The base image has two
platforms, in a registry on loopback, with a different marker in each.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from image_registry import MANIFEST, ImageRegistry, base_layer, image_registry
from image_source import source_without_dependencies
from inventory_host import inventory_host

ROOT = Path(__file__).resolve().parents[2]
ENGINE = os.environ.get("CONTAINERD_STORE_HOST", "")
REPOSITORY = "label-export-dev"
DOCKERS_NAME = {"arm64": "arm64", "x86_64": "amd64"}

pytestmark = pytest.mark.skipif(not ENGINE, reason="needs the engine that `make containerd-store` starts")


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return docker.DockerClient(base_url=ENGINE)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the image's source without its dependencies, which would be downloaded."""
    return source_without_dependencies(tmp_path_factory.mktemp("source"))


@dataclass
class Images:
    """The registry, with a base image that the engine has by tag for its own platform."""

    registry: ImageRegistry
    source: Path
    base: dict[str, str]

    def build(self, directory: Path, base: str, *more: str, **others: Any) -> Any:
        """Build the image; return the role's result, or the output of a failed run."""
        result = directory / "result.json"
        values = inventory_host(
            handler_image_registry=self.registry.host,
            handler_image_source=str(self.source),
            handler_image_base=base,
            image_result=str(result),
            **others,
        )
        inventory = directory / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"label_export": {"hosts": {"one": values}}}))
        run = subprocess.run(
            [
                *("ansible-playbook", "tests/contract/base_image.yml", "-i", str(inventory)),
                # The base image's Python is only a header: it cannot run.
                *("-e", "label_export_version=1", "-e", "__handler_image_target=exporter", *more),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DOCKER_HOST": ENGINE,
                "DOCKER_CONFIG": str(directory / "nowhere"),
                "XDG_CACHE_HOME": str(directory / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode == 0:
            return json.loads(result.read_text())
        return " ".join((run.stdout + run.stderr).split())


@pytest.fixture(scope="module")
def images(source: Path, engine: docker.DockerClient) -> Iterator[Images]:
    with image_registry() as registry:
        digests = registry.add_base("base", "3.13")
        named = f"{registry.host}/base"
        engine.images.pull(named, tag="3.13")
        yield Images(registry, source, {**digests, "name": f"{named}:3.13", "pinned": f"{named}@{digests['index']}"})


def test_the_engine_keeps_images_in_containerd(engine: docker.DockerClient) -> None:
    assert ["driver-type", "io.containerd.snapshotter.v1"] in engine.info()["DriverStatus"]


@pytest.mark.parametrize("architecture", DOCKERS_NAME)
@pytest.mark.parametrize("named", ["name", "pinned"])
def test_the_image_is_built_on_the_functions_platform(
    tmp_path: Path, images: Images, architecture: str, named: str
) -> None:
    platform, registry = DOCKERS_NAME[architecture], images.registry
    made = images.build(tmp_path, images.base[named], handler_image_architecture=architecture)
    assert not isinstance(made, str), made
    assert made["base"].endswith(f"@{images.base[platform]}")
    digest = made["uri"].partition("@")[2]
    media_type, manifest = registry.manifests[REPOSITORY, digest]
    assert media_type in (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
    files = registry.files(REPOSITORY, digest)
    assert files["marker"] == platform.encode()
    assert "var/task/label_export/handler.py" in files
    configuration = json.loads(registry.blobs[json.loads(manifest)["config"]["digest"]])
    assert configuration["architecture"] == platform


def test_an_image_for_the_wrong_platform_is_not_pushed(tmp_path: Path, images: Images) -> None:
    """The base image's configuration says arm64, as after a build on the base of another platform."""
    registry, before = images.registry, images.registry.tags(REPOSITORY)
    registry.add_image("base", "mistaken", "arm64", base_layer("amd64", ""))
    base = f"{registry.host}/base:mistaken"
    refused = images.build(tmp_path, base, handler_image_architecture="arm64")
    assert isinstance(refused, str), refused
    assert f"handler_image_base is '{base}', an image for x86_64, but handler_image_architecture is arm64." in refused
    assert registry.tags(REPOSITORY) == before
