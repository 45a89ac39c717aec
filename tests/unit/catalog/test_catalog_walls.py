"""Which package of the catalog may import which. From the exporter it imports only the pure core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "lambda" / "label_catalog"
WALLS = {
    "core": {"label_catalog.core"},
    "adapters": {"label_catalog.adapters", "label_catalog.core"},
    "entrypoints": {
        "label_catalog.entrypoints", "label_catalog.adapters", "label_catalog.core", "label_catalog.toolbox",
        "label_catalog",
    },
    ".": {"label_catalog"},
}  # fmt: skip
SDKS = {"boto3", "botocore", "duckdb", "encord", "requests", "msgspec"}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


@pytest.mark.parametrize("package", WALLS)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    files = list((PACKAGE / package).glob("*.py") if package == "." else (PACKAGE / package).rglob("*.py"))
    assert len(files) > 3
    for file in files:
        for name in imported(file):
            root = name.partition(".")[0]
            if root == "label_export":
                assert name.startswith("label_export.core."), f"{file}: {name}"
            if root == "label_catalog":
                assert any(name == allowed or name.startswith(f"{allowed}.") for allowed in WALLS[package]), (
                    file,
                    name,
                )
                assert package != "entrypoints" or name != "label_catalog.application", (file, name)
            if package not in ("adapters", "."):
                assert root not in SDKS, f"{file} imports {name}"


def test_settings_import_nothing_of_third_parties() -> None:
    seen, waiting = set(), ["settings", "telemetry"]
    for module in waiting:
        seen |= {name.partition(".")[0] for name in imported(PACKAGE / f"{module}.py")}
    assert not seen & SDKS
