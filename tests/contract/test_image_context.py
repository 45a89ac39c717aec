"""A commit gives one image, independent of the file system and the settings of the checkout.

Two clones of the same commit differ in umask, line ends, times, time zone, a symbolic link in the path, and files that
editors and systems leave. They give the same tag, and the image has the same names and modes, readable by every user.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from inventory_host import inventory_host
from playbook_runs import NO_SPECS

ROOT = Path(__file__).resolve().parents[2]
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]


def git(directory: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the image's source as in this checkout, without dependencies, which are downloaded."""
    repository = tmp_path_factory.mktemp("commit")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", ".gitattributes", "lambda"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, tracked.stdout.split("\0")):
        file = repository / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((ROOT / name).read_bytes())
    (repository / "lambda/requirements.lock").write_text("")
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "as it is here")
    return repository


def assemble(directory: Path, source: Path, environment: dict[str, str], **variables: str) -> dict[str, Any]:
    """Assemble the image's content with the playbook; return tag and modes. `directory` takes all that it writes."""
    inventory = directory / "inventory.yml"
    host = inventory_host(
        handler_image_source=str(source),
        # A base image with a digest needs no registry.
        handler_image_base=f"127.0.0.1:9/base@sha256:{'0' * 64}",
        context_result=str(directory / "result.json"),
        **variables,
    )
    inventory.write_text(yaml.safe_dump({"label_export": {"hosts": {"localhost": host}}}))
    command = [
        "ansible-playbook",
        "tests/contract/image_context.yml",
        "-i",
        str(inventory),
        "-e",
        "label_export_version=1",
        *NO_SPECS,
    ]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(directory / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result: dict[str, Any] = json.loads((directory / "result.json").read_text())
    return result


def assembled(commit: Path, directory: Path, umask: int, zone: str, *settings: str, linked: bool) -> dict[str, Any]:
    """Clone the commit and assemble the image's content under other conditions; return tag and modes."""
    before = os.umask(umask)
    try:
        git(directory, *settings, "clone", "--quiet", str(commit), "clone")
        source = directory / "clone/lambda"
        if linked:
            for name in (
                "settings.py~",
                "core/orders.py.orig",
                ".DS_Store",
                "core/Thumbs.db",
                ".settings.py.swp",
                "dump",
                ".copies/settings.py",
                "core/__pycache__/settings.cpython-313.pyc",
            ):
                (source / "label_export" / name).parent.mkdir(exist_ok=True)
                (source / "label_export" / name).write_text("left by something")
            for file in (directory / "clone").rglob("*"):
                os.utime(file, (0, 0))
            (directory / "link").symlink_to(source)
            source = directory / "link"
        # A Docker configuration that is not JSON has no effect.
        (directory / "docker").mkdir()
        (directory / "docker/config.json").write_text("{")
        return assemble(directory, source, {"TZ": zone, "DOCKER_CONFIG": str(directory / "docker")})
    finally:
        os.umask(before)


def test_one_commit_gives_one_tag_and_files_that_every_user_can_read(
    commit: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    usual = assembled(commit, tmp_path_factory.mktemp("usual"), 0o022, "UTC", linked=False)
    other = assembled(
        commit, tmp_path_factory.mktemp("other"), 0o077, "Asia/Tokyo", "-c", "core.autocrlf=true", linked=True
    )
    assert other["tag"] == usual["tag"]
    # Only the user can read the place of the private key, and the next run leaves nothing of it.
    for result in (usual, other):
        assert re.fullmatch(r".*/cache/label-export/[0-9a-f]{16}", result["path"])
        assert result["mode"] == "0700"
        assert not Path(result["path"]).exists()
    modes = dict(line.rsplit(" ", 1) for line in other["listed"])
    content = {name: mode for name, mode in modes.items() if name.split("/")[0] in ("label_export", "label_catalog")}
    assert len(content) > 20
    assert {mode for name, mode in content.items() if name.endswith(".py")} == {"644"}
    assert set(content.values()) == {"644", "755"}
    assert modes["docker/config.json"] == "600"
    # The umask determines the modes of files outside the image.
    assert modes.keys() & {"dependencies/.lock", "dependencies/bin"} == set()
    inside = ("label_export", "label_catalog", "dependencies", "files")
    assert [line for line in other["listed"] if line.startswith(inside)] == [
        line for line in usual["listed"] if line.startswith(inside)
    ]


class Watch(threading.Thread):
    """Notes which files below a directory hold a text, again and again until it is stopped."""

    def __init__(self, directory: Path, text: str) -> None:
        super().__init__(daemon=True)
        self._directory, self._text = directory, text.encode()
        self._stop_asked = threading.Event()
        self.found: set[str] = set()

    def run(self) -> None:
        while not self._stop_asked.wait(0.005):
            # Directories that disappear do not end os.walk, unlike rglob.
            files = (Path(folder, name) for folder, _, names in os.walk(self._directory) for name in names)
            for file in files:
                with contextlib.suppress(OSError):
                    if self._text in file.read_bytes():
                        self.found.add(str(file.relative_to(self._directory)))

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def test_the_key_is_in_no_temporary_file_that_a_killed_run_would_leave(commit: Path, tmp_path: Path) -> None:
    """The key is only in the build directory, which the next run removes, not in Ansible's temporary files."""
    watched = {name: tmp_path / "watched" / name for name in ("local", "remote")}
    for folder in watched.values():
        folder.mkdir(parents=True)
    environment = {
        "CANARY": "the private key's text, in no other file",
        "ANSIBLE_LOCAL_TEMP": str(watched["local"]),
        "ANSIBLE_REMOTE_TEMP": str(watched["remote"]),
    }
    watch = Watch(tmp_path / "watched", environment["CANARY"])
    watch.start()
    try:
        result = assemble(
            tmp_path,
            commit / "lambda",
            environment,
            encord_secrets_private_key_source="file",
            encord_secrets_private_key="{{ lookup('ansible.builtin.env', 'CANARY') }}",
        )
    finally:
        watch.stop()
    assert "files/encord_private_key 644" in result["listed"]
    assert watch.found == set()


def test_every_text_file_of_the_repository_has_the_line_ends_of_unix_on_any_machine() -> None:
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text().splitlines()
