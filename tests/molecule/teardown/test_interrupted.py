"""The first deploy is killed where each role begins, and inside the image's push; each run continues from there.

molecule then converges and runs again (scenario `teardown`): the deploy that is not killed succeeds, the next changes
nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from account_resources import everything
from deployed_environment import NAME, given_secrets
from local_stack import ROOT, LocalStack
from playbook_runs import CALLBACK, PLAIN, events, only, playbook_command

PATIENCE_SECONDS = 300
PUSH = "handler_image : Build | Push the image"
ROLES = [
    entry["role"] for play in yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text()) for entry in play["roles"]
]


def boundaries() -> list[str]:
    """Return the prefixes of the task names at which a run is killed, in the order of a deploy."""
    # label_export and retired_versions create nothing, and the first role that does has nothing before it.
    found = [f"{role} : Ensure " for role in ROLES[2:] if role != "retired_versions"]
    found.insert(found.index("handler_image : Ensure ") + 1, PUSH)
    return found


def deploy_until(boundary: str, directory: Path) -> int:
    """Run a deploy and kill all its processes when a task with this name begins; return its exit code.

    It runs the role and the one before it: earlier runs have done the rest; export_function
    needs the image from the role before it.
    """
    last = ROLES.index(boundary.partition(" ")[0])
    first = last - (2 if ROLES[last - 1] == "export_function" else 1)
    roles = only(*ROLES[first : last + 1])
    if boundary == boundaries()[0]:
        roles = ("--tags", ",".join(ROLES[first : last + 1]))  # and what is checked before any role, once
    directory.mkdir()
    environment = {
        **os.environ, **PLAIN, **CALLBACK, "LABEL_EXPORT_RUNS": str(directory), "TMPDIR": str(directory),
    }  # fmt: skip
    log = (directory / "output").open("w")
    deploy = subprocess.Popen(
        playbook_command("deploy", "-vvv", *roles),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end = time.monotonic() + PATIENCE_SECONDS
    try:
        while deploy.poll() is None and time.monotonic() < end:
            records = list(directory.glob("*-deploy-run.jsonl"))
            tasks = [event.get("task", "") for record in records for event in events(record)]
            if any(task.startswith(boundary) for task in tasks) and (boundary != PUSH or pushing(deploy.pid)):
                break
            time.sleep(0.02)
    finally:
        for process in family(deploy.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    return deploy.wait()


def family(process: int) -> list[int]:
    """Return a process that we started and all its descendants; Ansible's workers have their own sessions."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The second field is the program's name in parentheses, with any characters; the fourth is the parent.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found


def sockets(process: int) -> set[str]:
    """Return the open sockets of a process."""
    links = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.add(os.readlink(descriptor))
    return {link for link in links if link.startswith("socket:")}


def pushing(process: int) -> bool:
    """Return whether the task of a run has a connection: the one that pushes has one to the container engine."""
    inherited = sockets(process)
    return any(sockets(one) - inherited for one in family(process)[1:])


@pytest.mark.parametrize("boundary", boundaries())
def test_a_deploy_is_killed(boundary: str, stack: LocalStack, tmp_path: Path) -> None:
    was = everything(stack.aws, NAME).keys()
    returncode = deploy_until(boundary, tmp_path / "run")
    output = (tmp_path / "run" / "output").read_text()
    assert returncode == -signal.SIGKILL, output
    assert everything(stack.aws, NAME).keys() >= was, "what an earlier run has made stays"
    # At -vvv the output has everything that Ansible knows, but not the secrets.
    assert [secret for secret in given_secrets(stack) if secret in output] == []
