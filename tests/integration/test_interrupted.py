"""The first deploy is killed wherever a role begins, and inside the image's push; each run goes on from what it finds.

molecule then converges and runs again (scenario `teardown`): the deploy that nobody kills ends well, the next changes
nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from conftest import NAME, playbook_command
from local_stack import ROOT, LocalStack
from resources import everything
from runs import CALLBACK, PLAIN, events

PATIENCE_SECONDS = 300
PUSH = "handler_image : Build | Push the image"
ROLES = [
    entry["role"] for play in yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text()) for entry in play["roles"]
]


def boundaries() -> list[str]:
    """Return what the name of a task begins with where a run is killed, in the order in which a deploy comes there."""
    # label_export makes nothing, and the first role that does has nothing before it.
    found = [f"{role} : Ensure " for role in ROLES[2:]]
    found.insert(found.index("handler_image : Ensure ") + 1, PUSH)
    return found


def deploy_until(boundary: str, directory: Path) -> int:
    """Run a deploy and kill it, with all its processes, when a task of that name begins; return its exit code."""
    directory.mkdir()
    environment = {
        **os.environ, **PLAIN, **CALLBACK, "LABEL_EXPORT_RUNS": str(directory), "TMPDIR": str(directory),
    }  # fmt: skip
    log = (directory / "output").open("w")
    deploy = subprocess.Popen(
        playbook_command("deploy"),
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
        if deploy.poll() is None:
            os.killpg(deploy.pid, signal.SIGKILL)
    return deploy.wait()


def pushing(session: int) -> bool:
    """Tell whether a process of the session talks to the container engine: the module that pushes has begun."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session and b"docker_image_push" in (process / "cmdline").read_bytes():
                return any(os.readlink(descriptor).startswith("socket:") for descriptor in (process / "fd").iterdir())
        except OSError:
            continue
    return False


@pytest.mark.parametrize("boundary", boundaries())
def test_a_deploy_is_killed(boundary: str, stack: LocalStack, tmp_path: Path) -> None:
    was = everything(stack.aws, NAME).keys()
    assert deploy_until(boundary, tmp_path / "run") == -signal.SIGKILL, (tmp_path / "run" / "output").read_text()
    assert everything(stack.aws, NAME).keys() >= was, "what an earlier run has made stays"


def test_killed_as_it_was_something_is_there_but_not_all(stack: LocalStack) -> None:
    found = " ".join(everything(stack.aws, NAME))
    assert f"function {NAME}" in found
    assert f"api {NAME}" not in found
