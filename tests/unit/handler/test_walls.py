"""Which package of the function may import which. Imports inside functions and for type checking count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LAMBDA = Path(__file__).parents[3] / "lambda"
EVERYWHERE = {"label_export", "label_export.core", "label_export.retry"}  # the first has the version and nothing else
# Top-level modules connect the packages, and may import all of them.
WALLS = {
    "core": {"label_export.core"},
    "entrypoints": EVERYWHERE | {"label_export.entrypoints", "label_export.settings", "label_export.telemetry"},
    "adapters/aws": EVERYWHERE | {"label_export.adapters.aws", "label_export.adapters.transport"},
    "adapters/encord": EVERYWHERE | {"label_export.adapters.encord", "label_export.adapters.transport"},
}
TOP = {
    "retry": {"label_export.core"},
    "telemetry": {"label_export.core"},
    "settings": {"label_export.core"},
}


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of the function's packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            named = [f"{node.module}.{name.name}" for name in node.names]
            yield from (
                name if (LAMBDA / f"{name.replace('.', '/')}.py").exists() else str(node.module) for name in named
            )
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name.split(".")[0] in ("label_export", "label_catalog")}


def within(module: str, allowed: set[str]) -> bool:
    return module in allowed or any(module.startswith(f"{name}.") for name in allowed - {"label_export"})


@pytest.mark.parametrize("package", WALLS)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    files = list((LAMBDA / "label_export" / package).rglob("*.py"))
    assert len(files) > 3
    crossed = {f"{file.name}: {name}" for file in files for name in ours(file) if not within(name, WALLS[package])}
    assert not crossed


@pytest.mark.parametrize("module", TOP)
def test_a_module_at_the_top_that_all_share_imports_no_more_than_they(module: str) -> None:
    crossed = {name for name in ours(LAMBDA / "label_export" / f"{module}.py") if not within(name, TOP[module])}
    assert not crossed


def test_the_core_imports_only_the_standard_library() -> None:
    found = {name.split(".")[0] for file in (LAMBDA / "label_export/core").rglob("*.py") for name in imported(file)}
    assert not found & {"os", "sys", "logging", "time", "urllib3", "botocore", "boto3", "msgspec", "cryptography"}


def test_the_exporter_does_not_import_the_catalog() -> None:
    for file in (LAMBDA / "label_export").rglob("*.py"):
        assert not {name for name in ours(file) if name.startswith("label_catalog")}, file
