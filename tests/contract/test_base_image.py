"""The base image is resolved for the function's platform, is part of the tag, and is refused if Lambda would refuse it.

The registry is on loopback and also stands for ECR. No container engine is needed: checks build nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from container_engine import Engine
from image_registry import MANIFEST, ImageRegistry, image_registry
from image_source import source_without_dependencies
from inventory_host import inventory_host
from playbook_runs import NO_SPECS
from serving import serving

ROOT = Path(__file__).resolve().parents[2]
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


def host(registry: str, base: str, result: Path, **others: Any) -> dict[str, Any]:
    return inventory_host(
        handler_image_source=str(ROOT / "lambda"),
        handler_image_registry=registry,
        handler_image_base=base,
        image_result=str(result),
        **others,
    )


def run(directory: Path, hosts: dict[str, dict[str, Any]], *arguments: str) -> tuple[dict[str, Any], str]:
    """Return the result of each host, and the output; a host that failed has no result."""
    inventory = directory / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"label_export": {"hosts": hosts}}))
    ran = subprocess.run(
        [
            "ansible-playbook",
            "tests/contract/base_image.yml",
            "-i",
            str(inventory),
            "-e",
            "label_export_version=1",
            *NO_SPECS,
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "DOCKER_CONFIG": str(directory / "nowhere"), "XDG_CACHE_HOME": str(directory / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    results = {name: Path(values["image_result"]) for name, values in hosts.items()}
    found = {name: json.loads(path.read_text()) for name, path in results.items() if path.exists()}
    return found, " ".join((ran.stdout + ran.stderr).split())


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, dict[str, str], ImageRegistry]:
    """Check all hosts once; return their results, the output, the digests of the base and the registry."""
    directory = tmp_path_factory.mktemp("checked")
    with image_registry() as registry:
        digests = registry.add_base("base", "3.13")
        registry.add_base("base", "renewed", note=", renewed")
        named = f"{registry.host}/base"
        bases: dict[str, dict[str, Any]] = {
            "amd": {"base": f"{named}:3.13"},
            "arm": {"base": f"{named}:3.13", "handler_image_architecture": "arm64"},
            "renewed": {"base": f"{named}:renewed"},
            "pinned": {"base": f"{named}@{digests['index']}"},
            "unreachable": {"base": f"localhost:1/base@{digests['index']}"},
            "unknown": {"base": "localhost:1/base:3.13"},
            "lacking": {"base": f"{named}:only-arm64", "handler_image_architecture": "x86_64"},
            "missing": {"base": f"{named}@sha256:{'0' * 64}"},
        }
        hosts = {
            name: host(registry.host, values.pop("base"), directory / name, **values) for name, values in bases.items()
        }
        found, output = run(directory, hosts, "--check")
        return found, output, digests, registry


def test_the_base_is_the_platforms_own_manifest(checked: Any) -> None:
    found, _, digests, registry = checked
    assert found["amd"]["base"] == f"{registry.host}/base@{digests['amd64']}"
    assert found["arm"]["base"] == f"{registry.host}/base@{digests['arm64']}"


def test_a_new_base_image_changes_the_tag(checked: Any) -> None:
    found, *_ = checked
    assert len({found[name]["tag"] for name in ("amd", "arm", "renewed")}) == 3


def test_a_digest_needs_no_registry_and_the_build_uses_the_platforms_digest_if_known(checked: Any) -> None:
    found, _, digests, registry = checked
    assert found["pinned"]["base"] == f"{registry.host}/base@{digests['amd64']}"
    assert found["unreachable"]["base"] == f"localhost:1/base@{digests['index']}"


def test_a_base_image_that_cannot_be_resolved_is_refused(checked: Any) -> None:
    found, output, *_ = checked
    assert found.keys() & {"unknown", "missing"} == set()
    assert "handler_image_base is 'localhost:1/base:3.13', and localhost:1 does not respond as a registry" in output
    assert f"@sha256:{'0' * 64}', and" in output
    assert "set handler_image_base_source to engine" in output


def test_layers_that_lambda_refuses_are_refused_before_the_function_is_changed(tmp_path: Path) -> None:
    with image_registry() as registry:
        registry.add_base("base", "3.13")
        hosts = {"one": host(registry.host, f"{registry.host}/base:3.13", tmp_path / "one")}
        found, _ = run(tmp_path, hosts, "--check")
        (tmp_path / "one").unlink()
        layer = {"mediaType": ZSTD, **registry.add(b"layer")}
        registry.add_manifest("label-export-dev", found["one"]["tag"], MANIFEST, {"layers": [layer]})
        found, output = run(tmp_path, hosts)
    assert found == {}
    assert f"has layers of type {ZSTD}, which Lambda refuses" in output


class FailingEngine(Engine):
    """An engine without images, whose builds fail, each with the next of the problems."""

    problems: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        """Return the engine's images, or what it is."""
        if self.path.partition("?")[0].endswith("/images/json"):
            self.answer(200, [])
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802 - the name is http.server's
        """Build an image, without reading its context, or log in to a registry."""
        if self.path.partition("?")[0].endswith("/build"):
            problem = self.problems.pop(0)
            self.close_connection = True
            self.answer(200, {"errorDetail": {"message": problem}, "error": problem})
        else:
            super().do_POST()


def test_a_build_is_retried_only_if_one_of_its_layers_was_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = "error creating overlay mount to /var/lib/docker/overlay2/1/merged: invalid argument"
    FailingEngine.problems = [removed, "layer does not exist", "no space left on device", removed]
    source = str(source_without_dependencies(tmp_path))
    with image_registry() as registry, serving(FailingEngine) as engine:
        # A base image with a digest needs no registry.
        base = f"127.0.0.1:9/base@sha256:{'0' * 64}"
        hosts = {"one": {**host(registry.host, base, tmp_path / "one"), "handler_image_source": source}}
        monkeypatch.setenv("DOCKER_HOST", engine.replace("http", "tcp"))
        found, output = run(tmp_path, hosts)
    assert found == {}
    assert "no space left on device" in output, output[-2500:]
    assert FailingEngine.problems == [removed]
    assert not list((tmp_path / "cache" / "label-export").iterdir())
