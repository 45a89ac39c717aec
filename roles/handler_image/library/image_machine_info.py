#!/usr/bin/python
# Copyright: the label-export contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_machine_info
short_description: The machine that a program in an image is for
description:
  - Returns the machine that the header of a program in an image names (ELF's C(e_machine)). An image's configuration
    repeats what its builder was asked for, also where it was built from another platform's base image. The program's
    header does not.
  - Nothing in the image is run. A container is created from it and removed again.
author: The label-export contributors
options:
  image:
    description: Name or identifier of an image that the engine has.
    type: str
    required: true
  platform:
    description: The platform that the image is for, as C(linux/arm64).
    type: str
    required: true
  paths:
    description: Where the program may be. The first that is a file counts; links are followed.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: Nothing is ever changed.
    support: N/A
extends_documentation_fragment:
  - community.docker.docker.api_documentation
"""

EXAMPLES = r"""
- name: Look which machine the image's Python is for
  image_machine_info:
    image: example:1
    platform: linux/arm64
    paths: [/var/lang/bin/python3, /usr/bin/python3]
"""

RETURN = r"""
machine:
  description: C(x86_64), C(arm64), another number of ELF's as text, or empty where there is no such program.
  returned: always
  type: str
path:
  description: Where the program is, behind all links. Empty where there is none.
  returned: always
  type: str
"""

import posixpath
import tarfile
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from typing import Any

try:
    from ansible_collections.community.docker.plugins.module_utils._api.errors import APIError, NotFound
    from ansible_collections.community.docker.plugins.module_utils._common_api import AnsibleDockerClient
except ImportError:  # community.docker before version 5
    from ansible_collections.community.docker.plugins.module_utils._api.errors import APIError, NotFound
    from ansible_collections.community.docker.plugins.module_utils.common_api import AnsibleDockerClient

# Of ELF's header: its first bytes, where it says which byte order it has, and where the machine is (2 bytes).
MAGIC, BYTE_ORDER, MACHINE, HEADER = b"\x7fELF", 5, 18, 20
LITTLE_ENDIAN = 1
MACHINES = {62: "x86_64", 183: "arm64"}
MOST_LINKS = 16


class Chunks(RawIOBase):
    """The chunks of a response as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks, self.rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.rest = self.rest or next(self.chunks, b"")
        count = min(len(buffer), len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


def machine_of(header: bytes) -> str:
    """Return the machine that an ELF header names; an empty text for any other file."""
    if len(header) < HEADER or not header.startswith(MAGIC):
        return ""
    number = int.from_bytes(header[MACHINE:HEADER], "little" if header[BYTE_ORDER] == LITTLE_ENDIAN else "big")
    return MACHINES.get(number, str(number))


def first_entry(client: Any, container: str, path: str) -> tuple[tarfile.TarInfo | None, bytes]:
    """Return what is at a path of a container, and the first bytes of its content."""
    try:
        chunks = client.get_raw_stream("/containers/{0}/archive", container, params={"path": path})
    except NotFound:
        return None, b""
    with tarfile.open(fileobj=BufferedReader(Chunks(iter(chunks))), mode="r|") as archive:
        member = archive.next()
        file = archive.extractfile(member) if member and member.isreg() else None
        return member, file.read(HEADER) if file else b""


def program(client: Any, container: str, path: str) -> tuple[str, bytes]:
    """Return the path of a file behind all links, and its first bytes; an empty path where there is no file."""
    for _ in range(MOST_LINKS):
        member, header = first_entry(client, container, path)
        if member is None:
            break
        if not member.issym():
            return (path, header) if member.isreg() else ("", b"")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
    return "", b""


def container_of(client: Any, image: str, platform: str) -> str:
    """Return the identifier of a container that is created from an image, and not started.

    An engine may have the image for other platforms only, and refuses then. It is looked at as it is: the program says
    which machine it is for.
    """
    data = {"Image": image, "Cmd": ["-"]}
    try:
        return str(client.post_json_to_json("/containers/create", data=data, params={"platform": platform})["Id"])
    except NotFound:
        return str(client.post_json_to_json("/containers/create", data=data)["Id"])


def main() -> None:
    client = AnsibleDockerClient(
        argument_spec={
            "image": {"type": "str", "required": True},
            "platform": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = client.module.params
    found, header = "", b""
    try:
        container = container_of(client, params["image"], params["platform"])
        try:
            for path in params["paths"]:
                found, header = program(client, container, path)
                if found:
                    break
        finally:
            client.delete_call("/containers/{0}", container, params={"force": True})
    except APIError as error:
        client.fail(f"The image {params['image']} could not be looked at: {error}")
    client.module.exit_json(changed=False, machine=machine_of(header), path=found)


if __name__ == "__main__":
    main()
