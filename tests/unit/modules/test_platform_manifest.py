"""The digest of a platform's own manifest, from registries that behave as documented.

The registry here follows the OCI distribution specification; its tokens follow Docker's.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.label_export.aws.plugins.lookup import platform_manifest
from serving import serving

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LOGIN = base64.b64encode(b"user:secret").decode()
Values = dict[str, Any]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


SINGLE = {architecture: json.dumps({"config": architecture}).encode() for architecture in ("amd64", "arm64")}
ATTESTATION = b'{"attestation": 1}'


def entry(content: bytes, **platform: str) -> Values:
    return {"digest": digest_of(content), "platform": platform}


BOTH = json.dumps(
    {
        "manifests": [
            entry(ATTESTATION, os="unknown", architecture="unknown"),
            entry(b"windows", os="windows", architecture="amd64"),
            entry(b"old", os="linux", architecture="arm64", variant="v7"),
            entry(SINGLE["amd64"], os="linux", architecture="amd64"),
            entry(SINGLE["arm64"], os="linux", architecture="arm64", variant="v8"),
        ]
    }
).encode()
ONE = json.dumps({"manifests": [entry(SINGLE["amd64"], os="linux", architecture="amd64")]}).encode()


class Registry(BaseHTTPRequestHandler):
    """A registry with a public and a private repository that records requests and their logins."""

    versions: ClassVar[dict[str, tuple[str, bytes]]] = {
        "both": (INDEX, BOTH),
        "one": (INDEX, ONE),
        "single": (MANIFEST, SINGLE["arm64"]),
        "old": ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}"),
    }
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        """Serve tokens and manifests."""
        url = urlsplit(self.path)
        login = self.headers.get("Authorization", "")
        self.asked.append((url.path, login))
        if url.path == "/token":
            query = parse_qs(url.query)
            (scope,) = query["scope"]
            allowed = "private" not in scope or login == f"Basic {LOGIN}"
            return self.answer(200 if allowed else 401, json.dumps({"token": f"for-{scope}"}).encode())
        _, _, repository, _, version = url.path.split("/")
        if repository == "broken":
            return self.answer(503, b"")
        if repository == "basic" and login != f"Basic {LOGIN}":
            return self.answer(401, b"", **{"WWW-Authenticate": 'Basic realm="here"'})
        scope = f"repository:{repository}:pull"
        if repository in ("public", "private") and login != f"Bearer for-{scope}":
            realm = f"http://{self.headers['Host']}/token"
            challenge = f'Bearer realm="{realm}",service="registry",scope="{scope}"'
            return self.answer(401, b"", **{"WWW-Authenticate": challenge})
        by_digest = {digest_of(content): (kind, content) for kind, content in self.versions.values()}
        found = self.versions.get(version) or by_digest.get(version)
        if repository == "liar":
            found = (MANIFEST, b"another")
        if not found:
            return self.answer(404, b"")
        return self.answer(200, found[1], **{"Content-Type": found[0]})

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        """Send a response."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with serving(Registry) as url:
        yield url.removeprefix("http://")


def looked_up(name: str, architecture: str = "arm64", logins: Values | None = None) -> Values:
    Registry.asked.clear()
    result: Values = platform_manifest.looked_up(name, architecture, logins or {})
    return result


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_platforms_own_manifest_is_named_and_not_the_index(host: str, architecture: str) -> None:
    expected = f"{host}/open@{digest_of(SINGLE[architecture])}"
    pinned = f"{host}/open@{digest_of(BOTH)}"
    for name in (f"{host}/open:both", f"{host}/open:both@{digest_of(BOTH)}", pinned):
        assert looked_up(name, architecture) == {"reference": expected, "problem": "", "answered": True}


def test_a_manifest_for_one_platform_is_used_directly(host: str) -> None:
    digest = digest_of(SINGLE["arm64"])
    for name in (f"{host}/open:single", f"{host}/open@{digest}"):
        assert looked_up(name)["reference"] == f"{host}/open@{digest}"


def test_a_public_image_is_looked_up_without_the_users_login(host: str) -> None:
    found = looked_up(f"{host}/public:both", logins={host: {"auth": LOGIN}})
    assert found["reference"] == f"{host}/public@{digest_of(SINGLE['arm64'])}"
    assert LOGIN not in str(Registry.asked)


@pytest.mark.parametrize("repository", ["private", "basic"])
def test_the_login_is_used_where_nothing_else_is_accepted(host: str, repository: str) -> None:
    refused = looked_up(f"{host}/{repository}:both")
    assert refused == {"reference": "", "problem": f"{host} refuses it: 401 Unauthorized", "answered": True}
    found = looked_up(f"{host}/{repository}:both", logins={host: {"auth": LOGIN}})
    assert found["reference"] == f"{host}/{repository}@{digest_of(SINGLE['arm64'])}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("open:one", "there is none for linux/arm64, only for linux/amd64"),
        ("open:none", "refuses it: 404 Not Found"),
        ("open:old", "its manifest is of type 'application/vnd.docker.distribution.manifest.v1+prettyjws'"),
        (f"liar@sha256:{'0' * 64}", f"the registry serves {digest_of(b'another')} for sha256:{'0' * 64}"),
    ],
)
def test_an_image_that_the_registry_does_not_have_is_a_known_problem(host: str, name: str, problem: str) -> None:
    result = looked_up(f"{host}/{name}")
    assert (result["reference"], result["answered"]) == ("", True)
    assert problem in result["problem"]


def test_a_registry_that_does_not_answer_says_nothing_about_the_image(host: str) -> None:
    for name in (f"{host}/broken:both", "localhost:1/base:1", "registry.invalid/base:1"):
        result = looked_up(name)
        assert (result["reference"], result["answered"]) == ("", False)
        assert name.split("/")[0] in result["problem"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("python:3.13", ("docker.io", "library/python", "python", "3.13")),
        ("team/python", ("docker.io", "team/python", "team/python", "latest")),
        (
            "public.ecr.aws/lambda/python:3.13",
            ("public.ecr.aws", "lambda/python", "public.ecr.aws/lambda/python", "3.13"),
        ),
        ("localhost:5000/a:b@sha256:1", ("localhost:5000", "a", "localhost:5000/a", "sha256:1")),
    ],
)
def test_names_are_read_as_docker_reads_them(name: str, parts: tuple[str, ...]) -> None:
    assert tuple(platform_manifest.parsed(name)) == parts
