"""scripts/install chooses the right Python and installs the locked packages, which match the requirements."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Stands for a Python: answers scripts/install, and records the environments that it creates.
STAND_IN = """\
#!/bin/sh
case "$*" in
  *_base_executable*) case " $3 " in *" {version} "*) echo "$0" ;; *) exit 1 ;; esac ;;
  *ensurepip*) exit {incomplete} ;;
  "-m pip config"*) exit 1 ;;
  -V*) echo "Python {version}" ;;
  "-m venv"*) rm -rf "$4"; mkdir -p "$4/bin"; ln -s "$0" "$4/bin/python"; echo "{version}" >> "{log}" ;;
  *) {fetching} ;;
esac
"""


class Machine:
    """A machine with stand-ins for Pythons, on which scripts/install runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        (folder / "bin").mkdir()

    def add(self, path: str, version: str, *, incomplete: bool = False, fetching: str = "exit 0") -> Path:
        """Add a stand-in for a Python at a path in the machine's folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = STAND_IN.format(version=version, incomplete=int(incomplete), log=self.log, fetching=fetching)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def hide(self, name: str) -> None:
        """Put a pyenv shim on PATH, for a version that is installed but not selected."""
        shim = self.folder / "bin" / name
        shim.write_text(f"#!/bin/sh\necho 'pyenv: {name}: command not found' >&2\nexit 127\n")
        shim.chmod(0o755)

    def install(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYENV_ROOT": str(self.folder / "pyenv"),
            "SYSTEM_PYTHONS": str(self.folder / "system"),
            "ENVIRONMENT": str(self.folder / "environment"),
            **variables,
        }
        return subprocess.run(
            [ROOT / "scripts" / "install"], env=environment, capture_output=True, text=True, check=False
        )

    def made(self) -> list[str]:
        """Return the versions of the Pythons that created an environment, in order."""
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_of_one_version_the_systems_python_is_used_as_it_is_the_fastest(machine: Machine) -> None:
    for path in ("bin/python3.13", "pyenv/versions/3.13.2/bin/python3.13", "bin/python3"):
        machine.add(path, "3.13")
    of_the_system = machine.add("system/python3.13", "3.13")
    machine.add("system/python3.12", "3.12")
    assert machine.install().returncode == 0
    assert (machine.folder / "environment/bin/python").readlink() == of_the_system


def test_the_newest_python_is_used_although_pyenv_hides_it(machine: Machine) -> None:
    machine.hide("python3.14")
    machine.add("bin/python3.13", "3.13")
    machine.add("pyenv/versions/3.14.2/bin/python3.14", "3.14")
    assert machine.install().returncode == 0
    assert machine.made() == ["3.14"]


def test_a_python_that_cannot_create_environments_is_skipped(machine: Machine) -> None:
    machine.add("bin/python3.14", "3.14", incomplete=True)
    machine.add("bin/python3.13", "3.13")
    assert machine.install().returncode == 0
    assert machine.made() == ["3.13"]


def test_the_environment_is_made_once_for_a_python_and_the_named_one_is_remembered(machine: Machine) -> None:
    machine.add("bin/python3.14", "3.14")
    older = machine.add("elsewhere/python", "3.12")
    for _ in range(2):
        assert machine.install().returncode == 0
    assert machine.made() == ["3.14"]
    assert machine.install(PYTHON=str(older)).returncode == 0
    assert machine.install().returncode == 0
    assert machine.made() == ["3.14", "3.12"]
    older.unlink()
    assert machine.install().returncode == 0
    assert machine.made() == ["3.14", "3.12", "3.14"]


def test_a_named_python_that_is_not_supported_is_refused(machine: Machine) -> None:
    old = machine.add("elsewhere/python", "3.9")
    result = machine.install(PYTHON=str(old))
    assert result.returncode == 1
    assert f"PYTHON={old} is missing or none of Python 3.14 3.13 3.12 3.11." in result.stderr
    assert machine.made() == []


def test_the_reason_why_packages_could_not_be_fetched_is_shown(machine: Machine) -> None:
    reason = "invalid peer certificate: UnknownIssuer"
    machine.add("bin/python3.14", "3.14", fetching=f"echo '{reason}' >&2; exit 2")
    result = machine.install()
    assert result.returncode == 1
    assert result.stderr.index(reason) < result.stderr.index("SSL_CERT_FILE")


def test_uv_trusts_the_system_certificates(machine: Machine) -> None:
    machine.add("bin/python3.14", "3.14", fetching='test "$UV_SYSTEM_CERTS" = true || exit 3')
    assert machine.install().returncode == 0


def lines(name: str) -> list[Requirement]:
    """Return the requirements in a file itself, without the files that it includes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = [re.sub(r"\s--hash=\S+", "", line).strip() for line in text.splitlines()]
    return [Requirement(line) for line in found if line and not line.startswith(("#", "-"))]


def locked(name: str, python: str) -> dict[str, str]:
    """Return the versions in a lock for a Python on Linux, by name."""
    machine = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in lines(f"locks/{name}.txt")
        if one.marker is None or one.marker.evaluate(machine)
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "inputs"),
    [
        ("run", ["requirements.txt"]),
        ("dev", ["requirements.txt", "requirements-dev.txt"]),
        ("audit", ["requirements-audit.txt"]),
        ("sbom", ["requirements-sbom.txt"]),
        ("moto", ["requirements-moto.txt"]),
        ("reading", ["requirements-reading.txt"]),
        ("browser", ["requirements-browser.txt"]),
    ],
)
def test_a_lock_contains_its_requirements(lock: str, inputs: list[str], python: str) -> None:
    versions = locked(lock, python)
    wanted = [one for name in inputs for one in lines(name)]
    missing = [
        str(one)
        for one in wanted
        if (one.marker is None or one.marker.evaluate({"python_version": python}))
        and not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"), prereleases=True)
    ]
    assert missing == [], "run scripts/locks --keep"


@pytest.mark.parametrize("lock", ["run", "dev", "audit", "sbom", "moto", "reading", "browser"])
def test_every_package_of_a_lock_has_a_hash(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text().replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in packages if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_the_playbooks_run_with_the_packages_that_are_tested(python: str) -> None:
    run, dev = locked("run", python), locked("dev", python)
    assert run == {name: dev[name] for name in run}


def test_this_environment_matches_the_lock() -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    installed = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    wanted = locked("dev", python)
    assert {name: installed.get(name) for name in wanted} == wanted


def test_a_digest_needs_no_sha256sum(tmp_path: Path) -> None:
    """macOS before version 15 has only `shasum`."""
    for name, text in {
        "shasum": '[ "$*" = "-a 256" ] && exec /usr/bin/sha256sum',
        "cut": 'exec /usr/bin/cut "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    made = subprocess.run(
        ["/bin/bash", "-c", ". scripts/pythons.sh; printf text | digest"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == hashlib.sha256(b"text").hexdigest()
