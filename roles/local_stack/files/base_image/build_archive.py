"""Make the stand-in for AWS's Python base image as an archive that `docker load` reads.

Input: a root file system as mmdebstrap extracts it (a tar), a directory with the runtime interface client and its
dependencies, and the runtime interface emulator. Output: one `docker save` archive with one layer. No engine is needed
and none of the packages' scripts ran, so an image for another architecture is made the same way. The same input gives
the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import posixpath
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

# Everything in the image has this time, so that equal input gives an equal image.
EPOCH = 1_700_000_000

# What a function never reads. Pushing the image is the longest step of a deployment to the local stack, so the
# documentation, the debugging aids and the parts of Python that need a screen or a test runner stay out.
LEFT_OUT = re.compile(
    r"""^(
      dev/.+ | boot/.* | media/.* | mnt/.* | srv/.* | home/.*
    | usr/share/(doc|doc-base|info|lintian|locale|man|bash-completion|menu|bug|pixmaps|perl5|debconf|debianutils)(/.*)?
    | usr/share/(apport|common-licenses|base-files|readline)(/.*)?
    | usr/include(/.*)?
    | var/(cache|log|lib/(dpkg|apt|systemd))/.*
    | etc/(apt|cron\..*|init\.d|logcheck|update-motd\.d|systemd|ca-certificates)(/.*)?
    | usr/lib/systemd(/.*)?
    | usr/bin/(openssl|mawk|c_rehash|deb.*|x86_64-linux-gnu.*|pdb.*|pydoc.*|pygettext.*)
    | usr/s?bin/(update-ca-certificates|update-passwd|add-shell|remove-shell|installkernel|dpkg-.*|iconvconfig|zic)
    | usr/lib/[^/]+/gconv/(?!gconv-modules|UTF-|UNICODE|ISO8859-1\.so|ISO8859-15\.so).*
    | usr/lib/[^/]+/(libdb-5\.3\.so|libmvec\.so.*|libpcprofile\.so|libmemusage\.so|libc_malloc_debug\.so.*)
    | usr/lib/[^/]+/(libthread_db\.so.*|ossl-modules(/.*)?|engines-3(/.*)?)
    | usr/lib/python3\.\d+/(test|idlelib|tkinter|turtledemo|pydoc_data|ensurepip|__phello__|venv)(/.*)?
    | usr/lib/python3\.\d+/(turtle|antigravity|this|pydoc)\.py
    | usr/lib/python3\.\d+/lib-dynload/(_test|_dbm|_xx|xx|_ctypes_test|readline|_curses)[^/]*
    | .*\.a
    )$""",
    re.VERBOSE,
)

ENTRYPOINT = "/lambda-entrypoint.sh"
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "TZ": ":/etc/localtime",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
}
# The accounts a process may ask for; the package that makes them relies on scripts that did not run.
ACCOUNTS = {
    # pragma: allowlist nextline secret - a list of users, without passwords
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = "") -> tarfile.TarInfo:
    """Return the header of a file, directory or link that belongs to root."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime, info.linkname = kind, mode, EPOCH, target
    return info


def kept(rootfs: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield what the image takes over from the root file system, in its order, names without a leading ./"""
    for info in rootfs:
        name = posixpath.normpath(info.name)
        if name == "." or LEFT_OUT.match(name) or info.ischr() or info.isblk():
            continue
        source = rootfs.extractfile(info) if info.isreg() else None
        info.name, info.mtime, info.uname, info.gname, info.pax_headers = name, EPOCH, "", "", {}
        info.linkname = posixpath.normpath(info.linkname) if info.islnk() else info.linkname
        yield info, source.read() if source else b""


def added(arguments: argparse.Namespace, authorities: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield what the image has beyond the root file system: Lambda's side of the contract."""
    python = f"/usr/bin/python{arguments.python}"
    for name in ("var/task", "var/runtime", "var/lang", "var/lang/bin", "opt", "root", "etc/ssl", "etc/ssl/certs"):
        yield member(name, tarfile.DIRTYPE, 0o755), b""
    for name in ("var/lang/bin/python3", f"var/lang/bin/python{arguments.python}", "usr/bin/python3"):
        yield member(name, tarfile.SYMTYPE, 0o777, python), b""
    for name, text in ACCOUNTS.items():
        yield member(name), text.encode()
    yield member("etc/ssl/certs/ca-certificates.crt"), authorities
    yield member("usr/local/bin/aws-lambda-rie", mode=0o755), arguments.emulator.read_bytes()
    yield member(ENTRYPOINT.lstrip("/"), mode=0o755), arguments.entrypoint.read_bytes()
    yield member("var/runtime/bootstrap", mode=0o755), arguments.bootstrap.read_bytes()
    for path in sorted(arguments.runtime.rglob("*")):
        name = "var/runtime/" + path.relative_to(arguments.runtime).as_posix()
        if path.is_dir():
            yield member(name, tarfile.DIRTYPE, 0o755), b""
        elif "/bin/" not in name and not name.endswith((".pyi", ".lock")):
            yield member(name, mode=0o755 if path.suffix == ".so" else 0o644), path.read_bytes()


def write_layer(arguments: argparse.Namespace, layer: Path) -> str:
    """Write the layer and return its digest."""
    seen: set[str] = set()
    authorities: list[bytes] = []
    with tarfile.open(arguments.rootfs) as rootfs, tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as out:
        for info, content in kept(rootfs):
            if info.name.startswith("usr/share/ca-certificates/") and info.isreg():
                authorities.append(content)
                continue
            seen.add(info.name)
            out.addfile(info, io.BytesIO(content))
        if not authorities or f"usr/bin/python{arguments.python}" not in seen:
            sys.exit(f"{arguments.rootfs} holds no Python {arguments.python} or no certificate authorities")
        for info, content in added(arguments, b"".join(authorities)):
            if info.name not in seen:
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
    return "sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()


def image_configuration(arguments: argparse.Namespace, diff_id: str) -> bytes:
    """Return the image's configuration as the engine stores it; its digest is the image's id."""
    return json.dumps(
        {
            "architecture": arguments.architecture,
            "os": "linux",
            "created": "2023-11-14T22:13:20Z",
            "config": {
                "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
                "Entrypoint": [ENTRYPOINT],
                "WorkingDir": "/var/task",
                "Labels": {"label-export.base": "stand-in"},
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "label-export stand-in base image"}],
        },
        sort_keys=True,
    ).encode()


def main() -> None:
    """Write the archive whole or not at all; unfinished files lie beside the root file system."""
    parser = argparse.ArgumentParser(description="Make the stand-in base image.")
    for option in ("--rootfs", "--runtime", "--emulator", "--entrypoint", "--bootstrap", "--output"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--architecture", choices=("amd64", "arm64"), required=True)
    parser.add_argument("--python", required=True, help="Python's version in the root file system, for example 3.13")
    parser.add_argument("--tag", required=True, help="name:tag that the loaded image gets")
    arguments = parser.parse_args()

    layer = arguments.rootfs.with_name("layer.tar")
    diff_id = write_layer(arguments, layer)
    configuration = image_configuration(arguments, diff_id)
    configuration_name = hashlib.sha256(configuration).hexdigest() + ".json"
    layer_name = diff_id.removeprefix("sha256:") + "/layer.tar"
    manifest = [{"Config": configuration_name, "RepoTags": [arguments.tag], "Layers": [layer_name]}]
    partial = arguments.rootfs.with_name("archive.partial")
    with gzip.open(partial, "wb", compresslevel=6) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in ((configuration_name, configuration), ("manifest.json", json.dumps(manifest).encode())):
            info = member(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        info = member(layer_name)
        info.size = layer.stat().st_size
        with layer.open("rb") as source:
            archive.addfile(info, source)
    layer.unlink()
    partial.replace(arguments.output)


if __name__ == "__main__":
    main()
