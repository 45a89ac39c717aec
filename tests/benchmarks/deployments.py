"""Compares a deploy that changes nothing with `sam build` and `sam deploy` of the same resources.

    PYTHONPATH=tests/support python tests/benchmarks/deployments.py [--quick] [--write docs/benchmarks.md]

Both use one local stack, which is started on free ports and stopped at the end. The SAM CLI has its own virtual
environment. Exit code 1 if nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import sam_template
from contenders import ROOT, MeasurementError
from documents import Mark, say, write
from table import markdown

MARK = Mark("<!-- begin: written by make bench (deployments) -->", "<!-- end (deployments) -->")
HERE = Path(__file__).parent
FOLDER = ROOT / ".local" / "benchmarks" / "deployments"
SAM_VERSION = "1.170.0"
MOST = 1.0  # times the CPU of SAM's build and deploy
ARTIFACTS = f"{sam_template.NAME}-artifacts"
TASK = re.compile(r"^TASK \[", re.MULTILINE)
UNCHANGED = re.compile(r"^localhost +: ok=\d+ +changed=0 +unreachable=0 +failed=0 ", re.MULTILINE)


@dataclass(frozen=True)
class Took:
    """The cost of one command: seconds of wall clock, and of CPU (user and system) of its processes."""

    seconds: float
    cpu_seconds: float

    def __add__(self, other: Took) -> Took:
        return Took(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


def run(*command: str | Path, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> tuple[Took, str]:
    """Run a command; return its cost and its output. Raises MeasurementError if it fails."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise MeasurementError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(time.monotonic() - began, cpu), done.stdout


class Stack:
    """The benchmark's own local stack: an AWS, an Encord and, if none runs, a container engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as aws, socket.create_server(("127.0.0.1", 0)) as encord:
            ports = [server.getsockname()[1] for server in (aws, encord)]
        self._environment = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "LOCAL_STACK_AWS_PORT": str(ports[0]),
            "LOCAL_STACK_ENCORD_PORT": str(ports[1]),
        }

    def playbook(self, name: str) -> tuple[Took, str]:
        """Run a playbook for this stack's environment `local`; return its cost and its output."""
        state = self.folder / "state" / "stack.json"
        return run(
            Path(sys.executable).with_name("ansible-playbook"),
            f"playbooks/{name}.yml",
            "-i",
            "inventory/local",
            "-e",
            f"local_stack_directory={self.folder}",
            "-e",
            f"label_export_local_stack_file={state}",
            environment=self._environment,
        )

    def about(self) -> dict[str, Any]:
        """Return the facts that the running stack has written."""
        found: dict[str, Any] = json.loads((self.folder / "state" / "stack.json").read_text())
        return found


@contextmanager
def local_stack(folder: Path) -> Iterator[Stack]:
    """Run a local stack while the block runs."""
    stack = Stack(folder)
    try:
        stack.playbook("local")
        yield stack
    finally:
        stack.playbook("local_down")


class Sam:
    """The SAM CLI with a project whose resources are those of a deploy."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        """Lay out the project in `folder`, and create what `sam deploy` expects: a bucket and a repository."""
        self.folder, self.about = folder, stack.about()
        self.python = _environment(folder.parent / "sam")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for package in ("label_export", "label_catalog"):
            shutil.copytree(ROOT / "lambda" / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "template.json").write_text(json.dumps(sam_template.template()))
        (folder / "Dockerfile").write_text(sam_template.dockerfile(self.about["base_image"]))
        options = {
            "endpoint_url": self.about["aws_endpoint_url"],
            "region_name": self.about["region"],
            "verify": self.about["aws_ca_bundle"],
        }
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = self.about["aws_credentials_file"]
        session = boto3.session.Session(profile_name="root")
        location: Any = {"LocationConstraint": self.about["region"]}
        session.client("s3", **options).create_bucket(Bucket=ARTIFACTS, CreateBucketConfiguration=location)
        session.client("ecr", **options).create_repository(repositoryName=sam_template.REPOSITORY)

    def build_and_deploy(self) -> tuple[Took, str]:
        """Build the images and deploy the stack, as SAM's users do; return both costs and the output."""
        build, _ = self._sam("build", "--template", "template.json")
        registry = f"{self.about['registry']}/{sam_template.REPOSITORY}"
        deploy, output = self._sam(
            "deploy",
            f"--stack-name={sam_template.NAME}",
            f"--image-repository={registry}",
            f"--s3-bucket={ARTIFACTS}",
            "--capabilities=CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
        )
        return build + deploy, output

    def _sam(self, *arguments: str) -> tuple[Took, str]:
        environment = {
            "AWS_ENDPOINT_URL": self.about["aws_endpoint_url"],
            "AWS_CA_BUNDLE": self.about["aws_ca_bundle"],
            "AWS_DEFAULT_REGION": self.about["region"],
            "AWS_PROFILE": "root",
            "DOCKER_HOST": self.about["docker_host"],
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            "SAM_CLI_TELEMETRY": "0",
        }
        return run(self.python, HERE / "sam_cli.py", *arguments, folder=self.folder, environment=environment)


def _environment(folder: Path) -> Path:
    """Create the SAM CLI's own virtual environment if it does not exist; return its Python."""
    python, marker = folder / "bin" / "python", folder / ".installed"
    if not marker.is_file() or marker.read_text() != SAM_VERSION:
        uv = Path(sys.executable).with_name("uv")
        run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        run(uv, "pip", "install", "--quiet", "--python", python, f"aws-sam-cli=={SAM_VERSION}")
        marker.write_text(SAM_VERSION)
    return python


def unchanged_deploy(stack: Stack) -> tuple[Took, int]:
    """Deploy what is already deployed; return its cost and the number of tasks. Raises MeasurementError."""
    took, output = stack.playbook("deploy")
    if not UNCHANGED.search(output):
        raise MeasurementError(f"The second deploy was to change nothing:\n{output[-3000:]}")
    return took, len(TASK.findall(output))


def unchanged_sam(sam: Sam) -> Took:
    """Build and deploy what SAM has already deployed; return the cost. Raises MeasurementError."""
    took, output = sam.build_and_deploy()
    if "No changes to deploy" not in output:
        raise MeasurementError(f"SAM's second deploy was to change nothing:\n{output[-3000:]}")
    return took


def report(repetitions: int) -> str:
    """Measure both, taking turns; return the table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with local_stack(FOLDER / "stack") as stack:
        say("the first deploys")
        stack.playbook("deploy")
        sam = Sam(FOLDER / "project", stack)
        sam.build_and_deploy()
        say("deploys that change nothing")
        ours, theirs, tasks = [], [], 0
        for _ in range(repetitions):
            took, tasks = unchanged_deploy(stack)
            ours.append(took)
            theirs.append(unchanged_sam(sam))
    rows = [_row("sam build, sam deploy", theirs, ""), _row("playbooks/deploy.yml", ours, str(tasks))]
    ratio = statistics.median(took.cpu_seconds for took in ours) / statistics.median(
        took.cpu_seconds for took in theirs
    )
    rows.append(["ratio", "", f"{ratio:.2f}", f"≤ {MOST:.1f}: {'met' if ratio <= MOST else '**not met**'}"])
    head = ("deploy that changes nothing", "wall clock", "CPU (user and system)", "tasks")
    when = datetime.now(UTC).date().isoformat()
    about = f"Measured on {when}, {os.cpu_count()} cores, medians of {repetitions}; SAM CLI {SAM_VERSION}, "
    about += f"{len(sam_template.template()['Resources'])} resources in its template. "
    about += f"Processes that wanted a core meanwhile: {os.getloadavg()[1]:.1f}."
    return f"{about}\n\n{markdown(head, rows)}"


def _row(name: str, taken: Sequence[Took], tasks: str) -> list[str]:
    wall, cpu = (statistics.median(values) for values in zip(*((t.seconds, t.cpu_seconds) for t in taken), strict=True))
    return [name, f"{wall:.1f} s", f"{cpu:.1f} s", tasks]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--write", type=Path, help="the document to write the table into")
    arguments = parser.parse_args(argv)
    try:
        text = report(1 if arguments.quick else 5)
        if arguments.write:
            write(arguments.write, MARK, text)
    except MeasurementError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
