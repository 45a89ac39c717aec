# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0
"""Lookup: the digest of an image's manifest for one platform, as a registry serves it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: platform_manifest
short_description: The digest of an image's manifest for one platform
description:
  - Reads from the image's registry, and returns, the digest of the manifest for one platform. If the name leads to an
    index of several platforms, the digest is that of the platform's own manifest, not of the index.
  - The first request has no login. A login is used only if the registry refuses that.
author: The label-export contributors
options:
  _terms:
    description: >-
      Names of images, each with a tag or a digest (C(public.ecr.aws/lambda/python:3.13)). A name without a registry is
      one of Docker Hub.
    required: true
  architecture:
    description: Architecture as images name it, C(amd64) or C(arm64). The operating system is Linux.
    type: str
    required: true
  logins:
    description: C(auths) of a Docker configuration, by registry.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show which base image there is today
  ansible.builtin.debug:
    msg: "{{ lookup('label_export.aws.platform_manifest', base, architecture='arm64').reference }}"
  vars:
    base: public.ecr.aws/lambda/python:3.13
"""

RETURN = r"""
_raw:
  description: An item for each image.
  type: list
  elements: dict
  contains:
    reference:
      description: The image's name with its manifest's digest (C(name@sha256:...)). Empty where there is a problem.
      type: str
    problem:
      description: The reason why there is no digest, as a sentence. Empty if there is a digest.
      type: str
    answered:
      description: Whether the registry answered. Where it did not, nothing is known about the image.
      type: bool
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import open_url
from ansible.plugins.lookup import LookupBase

INDEXES = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]
MANIFESTS = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
]
DOCKER_HUB = "docker.io"
# The host that serves Docker Hub's images, and the name of its logins in a Docker configuration.
DOCKER_HUB_API = "registry-1.docker.io"
DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"
TIMEOUT = 15  # seconds
REFUSED = (401, 403)
# "amd64" has no variant; "arm64" may be written with its only one.
VARIANTS = ("", "v8")
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Reference(NamedTuple):
    """An image's name in parts; ``repository`` is as its registry names it, ``named`` as its user does."""

    registry: str
    repository: str
    named: str
    version: str


class NotFoundError(Exception):
    """The registry responded, and there is no such manifest; the text has the reason."""


def parsed(name: str) -> Reference:
    """Return the parts of an image's name, as Docker reads it."""
    named, _, digest = name.partition("@")
    first, slash, rest = named.partition("/")
    registry, repository = (first, rest) if slash and re.search(r"[.:]|^localhost$", first) else (DOCKER_HUB, named)
    repository, _, tag = repository.partition(":")
    named = named.removesuffix(f":{tag}") if tag else named
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return Reference(registry, repository, named, digest or tag or "latest")


class Registry:
    """Reads from one registry; sources: the OCI distribution specification, and Docker's for tokens."""

    def __init__(self, reference: Reference, logins: dict[str, Any]) -> None:
        self.reference = reference
        entry = logins.get(DOCKER_HUB_LOGIN if reference.registry == DOCKER_HUB else reference.registry, {})
        self.login: str = entry.get("auth", "")
        host = DOCKER_HUB_API if reference.registry == DOCKER_HUB else reference.registry
        self.addresses = [f"https://{host}"]
        if host.partition(":")[0] in ("localhost", "127.0.0.1"):
            # As engines do: a registry on this machine may have no TLS.
            self.addresses.append(f"http://{host}")

    def manifest(self, version: str) -> tuple[str, str, bytes]:
        """Return media type, digest and content of a manifest.

        Raises:
            URLError, OSError: the registry does not answer.
            HTTPError: it refuses.
        """
        failure: Exception = URLError("no address")
        for address in self.addresses:
            try:
                answer = self.get(address, f"/v2/{self.reference.repository}/manifests/{version}")
                content = answer.read()
            except HTTPError:
                raise
            except OSError as error:
                failure = error
                continue
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            if version.startswith("sha256:") and digest != version:
                raise NotFoundError(f"the registry serves {digest} for {version}")
            return answer.headers.get("Content-Type", "").partition(";")[0], digest, content
        raise failure

    def get(self, address: str, path: str) -> Any:
        """Return the response to a request: without a login, or with one if the registry requires it."""
        try:
            return self.opened(address + path)
        except HTTPError as error:
            if error.code not in REFUSED:
                raise
            refusal = error
        for authorization in self.authorizations(refusal.headers.get("WWW-Authenticate", "")):
            try:
                return self.opened(address + path, authorization)
            except HTTPError as error:
                if error.code not in REFUSED:
                    raise
                refusal = error
        raise refusal

    def opened(self, url: str, authorization: str = "") -> Any:
        """Return the response to one request for a manifest."""
        headers = {"Accept": ", ".join(INDEXES + MANIFESTS)}
        if authorization:
            headers["Authorization"] = authorization
        return open_url(url, headers=headers, timeout=TIMEOUT, unredirected_headers=["Authorization"])

    def authorizations(self, challenge: str) -> Iterator[str]:
        """Yield values of the header Authorization, one after the other, until the registry accepts one."""
        kind, _, fields = challenge.partition(" ")
        if kind.lower() == "basic" and self.login:
            yield f"Basic {self.login}"
        if kind.lower() == "bearer":
            asked = dict(CHALLENGE.findall(fields))
            for login in ["", self.login] if self.login else [""]:
                if token := self.token(asked, login):
                    yield f"Bearer {token}"

    def token(self, asked: dict[str, str], login: str) -> str:
        """Return a token for the registry's challenge; an empty text if it is refused."""
        query = urlencode({name: asked[name] for name in ("service", "scope") if asked.get(name)})
        headers = {"Authorization": f"Basic {login}"} if login else {}
        try:
            answer = json.loads(open_url(f"{asked['realm']}?{query}", headers=headers, timeout=TIMEOUT).read())
        except HTTPError as error:
            if error.code not in REFUSED:
                raise
            return ""
        return str(answer.get("token") or answer.get("access_token") or "")


def manifest_digest(registry: Registry, architecture: str) -> str:
    """Return the digest of the platform's own manifest; raises NotFoundError where there is none."""
    media_type, digest, content = registry.manifest(registry.reference.version)
    if media_type in MANIFESTS:
        return digest
    if media_type not in INDEXES:
        raise NotFoundError(f"its manifest is of type '{media_type}'")
    entries = [(entry.get("platform", {}), entry["digest"]) for entry in json.loads(content)["manifests"]]
    found = [
        digest
        for platform, digest in entries
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture)
        and platform.get("variant", "") in VARIANTS
    ]
    if not found:
        there = sorted({f"{platform.get('os')}/{platform.get('architecture')}" for platform, _ in entries})
        raise NotFoundError(f"there is none for linux/{architecture}, only for {', '.join(there)}")
    return str(found[0])


def looked_up(name: str, architecture: str, logins: dict[str, Any]) -> dict[str, Any]:
    """Return what the lookup returns for one image."""
    reference = parsed(name)
    problem, answered = "", True
    try:
        digest = manifest_digest(Registry(reference, logins), architecture)
        return {"reference": f"{reference.named}@{digest}", "problem": "", "answered": True}
    except NotFoundError as error:
        problem = str(error)
    except HTTPError as error:
        problem = f"{reference.registry} refuses it: {error.code} {error.reason}"
        answered = error.code < 500  # noqa: PLR2004 - a failure of the registry itself shows nothing about the image
    except (OSError, ValueError, KeyError) as error:
        problem, answered = (
            f"{reference.registry} does not respond as a registry: {error or type(error).__name__}",
            False,
        )
    return {"reference": "", "problem": problem, "answered": answered}


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [looked_up(str(term), self.get_option("architecture"), self.get_option("logins")) for term in terms]
