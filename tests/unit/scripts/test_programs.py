"""Scripts and tests start no program that a new machine lacks. Packages of Python do the same, and are in the locks."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# The README asks for make, git and Python. Debian 13's docker.io has no command `docker` either.
LACKING = {"aws", "curl", "docker", "jq", "node", "npm", "podman", "wget"}
# The rules' own examples are not run.
NOT_RUN = ROOT / "tests" / "audit"


def commands(path: Path) -> set[str]:
    """Return the first words of the lists in a file."""
    lists = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.List) and node.elts]
    return {str(one.elts[0].value) for one in lists if isinstance(one.elts[0], ast.Constant)}


def test_no_program_is_started_that_a_new_machine_lacks() -> None:
    files = [path for folder in ("scripts", "tests") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path): commands(path) & LACKING for path in files if NOT_RUN not in path.parents}
    assert {path: names for path, names in found.items() if names} == {}
