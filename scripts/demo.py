"""From nothing to a label in S3: runs every step, and reports its time, and its log if it failed.

Runs with any Python from 3.11 on, since the first step creates the environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".local" / "logs"
VENV = ROOT / ".venv" / "bin"
SHOWN_LINES_OF_A_FAILURE = 40
CATALOG = "label-export-local-catalog"
# Packages that are installed on the user's system, outside this directory, are reported; the role's tasks name them.
INSTALLED_ON_THE_SYSTEM = re.compile(
    r"^TASK \[local_stack : \S+ \w* ?\| (.* on this system .*)\] \**\nchanged", re.MULTILINE
)

NEXT_STEP = """\
Next, on AWS: set your account, region and key in inventory/dev/group_vars/label_export, then run
  .venv/bin/ansible-playbook deploy.yml -i inventory/dev
README.md, "Deploy to AWS", explains it. `make down` ends what runs here."""

STEPS = (
    ("Install what the playbooks need", "install", [str(ROOT / "scripts" / "install")]),
    (
        "Start an AWS and an Encord on this machine",
        "local",
        [str(VENV / "ansible-playbook"), "playbooks/local.yml", "-i", "inventory/local"],
    ),
    (
        "Deploy, as on AWS",
        "deploy",
        [str(VENV / "ansible-playbook"), "playbooks/deploy.yml", "-i", "inventory/local"],
    ),
)


def run(number: int, title: str, name: str, command: list[str]) -> str:
    """Run one step with its output in a log file; return the output. Ends the program when the step fails."""
    log = LOGS / f"{name}.log"
    print(f"{number}. {title} ... ", end="", flush=True)
    began = time.monotonic()
    with log.open("w") as file:
        result = subprocess.run(  # noqa: S603 - the commands are those above
            command,
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    seconds = time.monotonic() - began
    output = log.read_text()
    if result.returncode:
        print(f"failed after {seconds:.0f} s\n")
        print("\n".join(output.splitlines()[-SHOWN_LINES_OF_A_FAILURE:]))
        print(f"\nThe step '{title}' failed. Its whole output: {log.relative_to(ROOT)}", file=sys.stderr)
        sys.exit(1)
    recap = re.findall(r": ok=(\d+) +changed=(\d+)", output)
    detail = f" ({recap[-1][0]} tasks, changed={recap[-1][1]})" if recap else ""
    print(f"{seconds:.1f} s{detail}")
    for installed in re.findall(INSTALLED_ON_THE_SYSTEM, output):
        print(f"   {installed}")
    return output


def main() -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    output = ""
    for number, step in enumerate(STEPS, start=1):
        output = run(number, *step)
    # The URL that a person copies from the end of a deploy into Encord.
    url = re.search(r"Webhook URL: ([^\s']+)", output)
    bucket = re.search(r"s3://([^/\s]+)/", output)
    if not url or not bucket:
        sys.exit("The deploy named no webhook URL or no bucket: see .local/logs/deploy.log")
    print(f"4. Complete a task in Encord, whose webhook goes to {url[1]}", flush=True)
    show("save_a_label.py", url[1], bucket[1])
    print("\n5. Lose a webhook, and let the catalog find the label", flush=True)
    show("find_a_lost_label.py", CATALOG, bucket[1])
    print("\n6. Train on the labels: the index's first rows, and the report", flush=True)
    show("show_the_data_set.py", CATALOG, bucket[1])
    print(f"\n{NEXT_STEP}")


def show(script: str, *arguments: str) -> None:
    """Run a script of this directory, whose output is the demonstration. Ends the program when it fails."""
    result = subprocess.run(  # noqa: S603 - our own scripts
        [str(VENV / "python"), str(ROOT / "scripts" / script), *arguments], cwd=ROOT, check=False
    )
    if result.returncode:
        sys.exit(result.returncode)


if __name__ == "__main__":
    main()
