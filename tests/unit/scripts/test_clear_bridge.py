"""Before the local stack starts an engine, its bridge is cleared of the dead; nothing that lives is touched.

Each case runs in its own network, where a process with the name of Docker's engine stands for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "roles" / "local_stack" / "files" / "clear_bridge.sh"
BRIDGE = "docker0"
# A container's end is beside the bridge here; the script does not look for it.
NETWORK = f"""
set -e
ip link add {BRIDGE} type bridge
for one in one two; do ip link add veth-$one type veth peer name eth-$one && ip link set veth-$one master {BRIDGE}; done
ip link add veth-elsewhere type veth peer name eth-elsewhere
"""
SHOWN = "rc=$?; ip -o link show type veth | sed 's/^[0-9]*: //; s/@.*//' | grep ^veth; exit $rc"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"),
    reason="NOT TRIED: the engine's bridge. It needs root, iproute2 and unshare",
)


def run(directory: Path, *arguments: str, running: str = "", network: str = NETWORK) -> tuple[int, str, set[str]]:
    """Run the script in a network of its own; return its exit code, its error, and the interfaces that are left."""
    with_process = ""
    if running:
        shutil.copy(str(shutil.which("sleep")), directory / running)
        # Its name is set by the time that the program runs.
        with_process = (
            f"{directory / running} 60 & process=$!; trap 'kill $process' EXIT; "
            f'until [ "$(cat /proc/$process/comm)" = {running[:15]} ]; do sleep 0.01; done'
        )
    ran = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            f"{network}\n{with_process}\nset +e\n{SCRIPT} {' '.join(arguments)} >&2; {SHOWN}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stderr, set(ran.stdout.split())


EVERYTHING = {"veth-one", "veth-two", "veth-elsewhere"}


@pytest.mark.parametrize("data", ["", "same"])
def test_interfaces_of_a_killed_engine_are_removed_from_its_bridge_alone(data: str, tmp_path: Path) -> None:
    rc, said, left = run(tmp_path, BRIDGE, data)
    assert (rc, left) == (0, {"veth-elsewhere"})
    assert {line for line in said.splitlines() if line} == {"removed: veth-one", "removed: veth-two"}


@pytest.mark.parametrize("network", ["", f"ip link add {BRIDGE} type bridge"])
def test_nothing_is_done_where_there_is_nothing(network: str, tmp_path: Path) -> None:
    assert run(tmp_path, BRIDGE, network=network) == (0, "", set())


@pytest.mark.parametrize(
    ("running", "reason"),
    [
        ("dockerd", "Docker's engine runs as process {}, but does not answer"),
        (
            "containerd-shim-runc-v2",
            "containers of an engine that ended still run, on the bridge docker0, as processes {}",
        ),
    ],
)
def test_what_lives_is_named_and_keeps_its_interfaces(running: str, reason: str, tmp_path: Path) -> None:
    rc, said, left = run(tmp_path, BRIDGE, running=running)
    before, after = reason.split("{}")
    assert (rc, left) == (1, EVERYTHING)
    assert said.startswith(before)
    assert said.rstrip().endswith(after)


@pytest.mark.parametrize("running", ["dockerd", "containerd-shim-runc-v2"])
def test_an_engine_that_starts_with_its_own_data_takes_over_its_containers(running: str, tmp_path: Path) -> None:
    assert run(tmp_path, BRIDGE, "same", running=running) == (0, "", EVERYTHING)
