"""scripts/sbom describes the control node and the newest image of each repository, or the named images."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SYFT = """#!/bin/sh
for last; do :; done
echo "$*" >> "{log}"
echo '{{}}' > "${{last#cyclonedx-json=}}"
"""
UV = """#!/bin/sh
case "$1" in
  venv) for last; do :; done; mkdir -p "$last/bin"; cp "{syft}" "$last/bin/syft" ;;
  *) case "$*" in *--require-hashes*locks/sbom.txt) ;; *) exit 3 ;; esac ;;
esac
"""
LISTED = """localhost:4566/label-export-local 0.2.0-new
localhost:4566/label-export-local-catalog 0.2.0-new
<none> <none>
localhost:4566/label-export-local 0.1.0-old
"""


class Checkout:
    """A checkout in which only scripts/sbom is real."""

    def __init__(self, folder: Path, listed: str) -> None:
        self.folder, self.log = folder, folder / "log"
        for name in ("scripts/sbom", "scripts/pythons.sh", "locks/sbom.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        (folder / "listed").write_text(listed)
        self.add("syft", SYFT.format(log=self.log))
        self.add(".venv/bin/uv", UV.format(syft=folder / "syft"))
        self.add(".venv/bin/python", "#!/bin/sh\necho Python\n")
        self.add(".venv/bin/docker", f"#!/bin/sh\ncat '{folder}/listed'\n")

    def add(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def run(self, *images: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "scripts" / "sbom", *images],
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def described(self) -> list[str]:
        return [line.split()[2] for line in self.log.read_text().splitlines()]


def test_the_control_node_and_the_newest_image_of_each_repository_are_described(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, LISTED)
    result = checkout.run()
    assert result.returncode == 0, result.stderr
    newest = [f"localhost:4566/label-export-local{suffix}:0.2.0-new" for suffix in ("", "-catalog")]
    assert checkout.described() == ["dir:.venv", *newest]
    assert all((tmp_path / line).is_file() for line in result.stdout.split())
    assert len(set(result.stdout.split())) == 3


def test_a_named_image_is_described(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, LISTED)
    assert checkout.run("registry/one@sha256:0a").returncode == 0
    assert checkout.described() == ["dir:.venv", "registry/one@sha256:0a"]


@pytest.mark.parametrize("listed", ["", "<none> <none>\n"])
def test_a_machine_without_an_image_is_not_a_success(listed: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, listed)
    result = checkout.run()
    assert result.returncode == 1
    assert "Deploy, or name one: scripts/sbom IMAGE" in result.stderr
    assert checkout.described() == ["dir:.venv"]
