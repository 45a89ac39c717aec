"""The digest of a tree: it depends on what matters for an image, and on nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible_collections.label_export.aws.plugins.lookup.tree_digest import (
    KINDS,
    LookupModule,
    files_below,
    tree_digest,
)


@pytest.fixture(name="tree")
def a_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "one" / "tree"
    (tree / "package").mkdir(parents=True)
    (tree / "b.py").write_text("b")
    (tree / "a.py").write_text("a")
    (tree / "package" / "c.py").write_text("c")
    return tree


def hide(tree: Path, name: str) -> None:
    path = tree / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("anything")


def through_a_link(path: Path) -> None:
    """Replace a file by a link to it."""
    elsewhere = path.parent.parent / f"{path.name}-elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def test_a_copy_has_the_same_digest(tree: Path, tmp_path: Path) -> None:
    digest = tree_digest([tree])
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert tree_digest([shutil.copytree(tree, tmp_path / "other" / "tree")]) == digest


def test_the_order_in_which_a_file_system_lists_files_does_not_matter(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree_digest([tree])
    listed = [(folder, folders, sorted(files)) for folder, folders, files in os.walk(tree)]
    for order in (listed, [(folder, folders, files[::-1]) for folder, folders, files in listed[::-1]]):
        monkeypatch.setattr(os, "walk", lambda _path, followlinks, order=order: iter(order))
        assert tree_digest([tree]) == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: (tree / "a.py").write_text("A"), id="content"),
        pytest.param(lambda tree: (tree / "a.py").rename(tree / "a2.py"), id="name"),
        pytest.param(lambda tree: (tree / "a.py").rename(tree / "package" / "a.py"), id="directory"),
        pytest.param(lambda tree: (tree / "a.py").unlink(), id="gone"),
        pytest.param(lambda tree: (tree / "package" / "empty.py").write_text(""), id="an empty file"),
        pytest.param(
            lambda tree: ((tree / "a.py").write_text("b"), (tree / "b.py").write_text("a")), id="contents swapped"
        ),
    ],
)
def test_relevant_changes_change_the_digest(tree: Path, change: Callable[[Path], object]) -> None:
    before = tree_digest([tree])
    change(tree)
    assert tree_digest([tree]) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: hide(tree, "package/c.pyc"), id="byte code"),
        pytest.param(lambda tree: hide(tree, "__pycache__/c.cpython-311.pyc"), id="byte code in its directory"),
        pytest.param(lambda tree: hide(tree, ".DS_Store"), id="a hidden file"),
        pytest.param(lambda tree: hide(tree, ".cache/file"), id="a hidden directory"),
        pytest.param(lambda tree: hide(tree, "a.py~"), id="an editor's backup"),
        pytest.param(lambda tree: hide(tree, "a.py.orig"), id="what a merge leaves"),
        pytest.param(lambda tree: hide(tree, "Thumbs.db"), id="what a system leaves"),
        pytest.param(lambda tree: (tree / "empty").mkdir(), id="an empty directory"),
        pytest.param(lambda tree: (tree / "a.py").chmod(0o600), id="other permissions"),
        # Every file has them on Windows file systems, and no file of a Python package needs them.
        pytest.param(lambda tree: (tree / "a.py").chmod(0o777), id="all permissions"),
        pytest.param(lambda tree: os.utime(tree / "a.py", (0, 0)), id="another time"),
        pytest.param(lambda tree: through_a_link(tree / "a.py"), id="a link to the file"),
        pytest.param(lambda tree: through_a_link(tree / "package"), id="a link to the directory"),
        pytest.param(lambda tree: (tree / "package" / "up").symlink_to(".."), id="a link that leads back"),
    ],
)
def test_irrelevant_changes_keep_the_digest(tree: Path, change: Callable[[Path], object]) -> None:
    before = tree_digest([tree])
    change(tree)
    assert tree_digest([tree]) == before


def test_files_and_several_paths(tree: Path) -> None:
    digests = [tree_digest(paths) for paths in ([tree / "a.py"], [tree / "b.py"], [tree / "a.py", tree / "b.py"])]
    assert len(set(digests)) == 3


def test_a_hidden_directory_above_the_tree_does_not_empty_it(tree: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tree, tmp_path / ".hidden" / "tree")
    assert tree_digest([copy]) == tree_digest([tree])


def test_the_lookup_returns_one_digest(tree: Path) -> None:
    assert LookupModule().run([str(tree), str(tree / "a.py")]) == [tree_digest([tree, tree / "a.py"])]


def test_a_path_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match=f"cannot read {tmp_path}/missing"):
        LookupModule().run([str(tmp_path / "missing")])


LAMBDA = Path(__file__).resolve().parents[3] / "lambda"


def test_every_file_of_the_packages_counts_except_their_readmes() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "label_export", "label_catalog"], cwd=LAMBDA, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    counted = {name for package in ("label_export", "label_catalog") for name, _file in files_below(LAMBDA / package)}
    assert {name for name in tracked if not name.endswith(".md")} <= counted


def test_the_role_puts_the_same_kinds_into_the_image() -> None:
    """tests/contract/test_image_context.py tests the content of the image with such files around."""
    variables = yaml.safe_load((LAMBDA.parent / "roles/handler_image/vars/main.yml").read_text())
    assert {f".{kind}" for kind in variables["__handler_image_kinds"]} == KINDS
