"""An image registry on loopback, with the part of ECR's API that a deploy uses for an image.

It follows the OCI distribution specification: uploads in one or several parts, manifests by tag and digest, no login.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from serving import serving

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
TLS_HANDSHAKE = b"\x16"
ELF_MACHINES = {"amd64": 62, "arm64": 183}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class ImageRegistry:
    """The registry's content; ``host`` is its name in the names of images."""

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)

    def add(self, content: bytes) -> dict[str, Any]:
        """Store a blob; return its descriptor in a manifest, without the media type."""
        self.blobs[digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content)}

    def add_manifest(self, repository: str, tag: str, media_type: str, manifest: dict[str, Any]) -> str:
        """Store a manifest under a tag and its digest; return the digest."""
        content = json.dumps({"schemaVersion": 2, "mediaType": media_type, **manifest}).encode()
        for version in (tag, digest_of(content)):
            self.manifests[repository, version] = (media_type, content)
        return digest_of(content)

    def add_image(self, repository: str, tag: str, architecture: str, layer: bytes) -> str:
        """Store an image with one layer under a tag; its configuration names the architecture."""
        configuration = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
        }
        manifest = {
            "config": {"mediaType": CONFIGURATION, **self.add(json.dumps(configuration).encode())},
            "layers": [{"mediaType": LAYER, **self.add(layer)}],
        }
        return self.add_manifest(repository, tag, MANIFEST, manifest)

    def add_base(self, repository: str, tag: str, note: str = "") -> dict[str, str]:
        """Store a base image with two platforms under a tag; return the digests of index and platforms by name.

        Each platform has a file ``marker`` with its name, and a Python with the header of its architecture.
        """
        digests, entries = {}, []
        for architecture in ELF_MACHINES:
            digest = self.add_image(repository, f"only-{architecture}", architecture, base_layer(architecture, note))
            size = len(self.manifests[repository, digest][1])
            platform = {"architecture": architecture, "os": "linux"}
            entries.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
            digests[architecture] = digest
        return {**digests, "index": self.add_manifest(repository, tag, INDEX, {"manifests": entries})}

    def files(self, repository: str, version: str) -> dict[str, bytes]:
        """Return every file of an image's layers, by its path."""
        found = {}
        for layer in json.loads(self.manifests[repository, version][1])["layers"]:
            with tarfile.open(fileobj=io.BytesIO(self.blobs[layer["digest"]])) as archive:
                for member in archive.getmembers():
                    if member.isreg() and (file := archive.extractfile(member)) is not None:
                        found[member.name] = file.read()
        return found

    def tags(self, repository: str) -> set[str]:
        return {version for name, version in self.manifests if name == repository and ":" not in version}


def base_layer(architecture: str, note: str) -> bytes:
    """Return a layer with a marker and a Python of one architecture, as AWS's base images have it."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little")
    python = header + ELF_MACHINES[architecture].to_bytes(2, "little") + bytes(44)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in {"marker": f"{architecture}{note}".encode(), "var/lang/bin/python3.13": python}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("var/lang/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, "python3.13"
        archive.addfile(link)
    return written.getvalue()


def handler_of(registry: ImageRegistry) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that serves a registry and ECR's API."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            # Engines try TLS first, and use plain HTTP if the response looks like HTTP.
            if self.rfile.peek(1)[:1] == TLS_HANDSHAKE:  # type: ignore[attr-defined] # a BufferedReader
                self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                self.close_connection = True
            else:
                super().handle_one_request()

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if self.path == "/v2/":
                return self.answer(200)
            found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", self.path)
            if found and found[2] == "blobs" and found[3] in registry.blobs:
                return self.answer(200, registry.blobs[found[3]], Docker_Content_Digest=found[3])
            if found and (manifest := registry.manifests.get((found[1], found[3]))):
                media_type, content = manifest
                return self.answer(200, content, Content_Type=media_type, Docker_Content_Digest=digest_of(content))
            return self.answer(404)

        def do_POST(self) -> None:
            content = self.body()
            if self.path.startswith("/v2/"):
                name = str(len(registry.uploads))
                registry.uploads[name] = b""
                return self.answer(202, Location=f"{self.path.partition('?')[0]}{name}", Range="0-0")
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            return self.answer(200, json.dumps(self.ecr(operation, json.loads(content))).encode())

        def ecr(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
            if operation == "GetAuthorizationToken":
                token = base64.b64encode(b"AWS:password").decode()
                return {"authorizationData": [{"authorizationToken": token}]}
            (image,) = asked["imageIds"]
            found = registry.manifests.get((asked["repositoryName"], image["imageTag"]))
            if not found:
                return {"images": [], "failures": [{"imageId": image, "failureCode": "ImageNotFound"}]}
            description = {
                "imageId": {**image, "imageDigest": digest_of(found[1])},
                "imageManifest": found[1].decode(),
                "imageManifestMediaType": found[0],
            }
            return {"images": [description], "failures": []}

        def do_PATCH(self) -> None:
            name = self.path.rpartition("/")[2]
            registry.uploads[name] += self.body()
            self.answer(202, Location=self.path, Range=f"0-{len(registry.uploads[name]) - 1}")

        def do_PUT(self) -> None:
            path, _, query = self.path.partition("?")
            content = self.body()
            if "/manifests/" in path:
                repository, version = re.fullmatch(r"/v2/(.+)/manifests/(.+)", path).groups()  # type: ignore[union-attr] # as the test above says
                for each in (version, digest_of(content)):
                    registry.manifests[repository, each] = (self.headers["Content-Type"], content)
                return self.answer(201, Docker_Content_Digest=digest_of(content))
            digest = query.partition("digest=")[2].replace("%3A", ":")
            registry.blobs[digest] = registry.uploads.pop(path.rpartition("/")[2], b"") + content
            return self.answer(201, Docker_Content_Digest=digest)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def image_registry() -> Iterator[ImageRegistry]:
    """Serve an empty registry on loopback while the block runs."""
    registry = ImageRegistry()
    with serving(handler_of(registry)) as url:
        registry.host = url.removeprefix("http://")
        yield registry
