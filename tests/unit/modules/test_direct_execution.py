"""Modules run in their task's process come to what they come to in one of their own, which other hosts still get."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from botocore import xform_name
from fake_aws import RefusedError
from test_documentation import COLLECTION, MODULES, ROOT
from test_log_group import FakeLogs

IN_THE_TASK = "Running label_export.aws.log_group in the task's process"
IN_ITS_OWN = f"Using module file {COLLECTION}/plugins/modules/log_group.py"
GROUP = {"name": "{{ group }}", "retention": 30, "tags": {"owner": "us"}}
PLAYBOOK = [
    {
        "hosts": "all",
        "gather_facts": False,
        "environment": {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": "{{ url }}"},
        "module_defaults": {"group/label_export.aws.aws": {"region": "eu-west-1"}},
        "tasks": [
            {"label_export.aws.log_group": GROUP, "check_mode": True, "diff": True, "register": "checked"},
            {"label_export.aws.log_group": GROUP, "diff": True, "register": "made"},
            {"label_export.aws.log_group": GROUP, "register": "again"},
            {
                "label_export.aws.log_group": {**GROUP, "name": "{{ group }}/{{ item }}", "region": ""},
                "environment": {"AWS_DEFAULT_REGION": "{{ item }}"},
                "loop": ["us-east-1", "us-west-2"],
                "register": "looped",
            },
            {"label_export.aws.log_group": {"retention": 30}, "ignore_errors": True, "register": "mistaken"},
            {"label_export.aws.log_group": {"name": "secret"}, "no_log": True, "register": "censored"},
            {"label_export.aws.log_group": {"name": "refused"}, "ignore_errors": True, "register": "refused"},
            {
                "ansible.builtin.copy": {
                    "content": "{{ [checked, made, again, looped, mistaken, censored, refused] | to_json }}",
                    "dest": "{{ results }}",
                    "mode": "0600",
                }
            },
        ],
    }
]


class Logs(FakeLogs):
    """CloudWatch Logs that anybody can call over HTTP, and that refuses one name."""

    def __init__(self) -> None:
        super().__init__()
        self.regions: list[str] = []

    def describe_log_groups(self, p: dict[str, Any]) -> dict[str, Any]:
        if p["logGroupNamePrefix"] == "refused":
            raise RefusedError("AccessDeniedException")
        return super().describe_log_groups(p)

    def list_tags_for_resource(self, p: dict[str, Any]) -> dict[str, Any]:
        name = p["resourceArn"].rpartition(":log-group:")[2]
        return {"tags": self.state[name]["tags"]}

    def create_log_group(self, p: dict[str, Any]) -> None:
        super().create_log_group(p)
        self.state[p["logGroupName"]]["arn"] = f"arn:aws:logs:eu-west-1:123456789012:log-group:{p['logGroupName']}:*"


@pytest.fixture
def logs() -> Iterator[tuple[Logs, str]]:
    """Such a service, and its URL."""
    fake = Logs()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            (region,) = re.findall(r"/([a-z0-9-]+)/logs/aws4_request", self.headers["Authorization"])
            fake.regions.append(region)
            try:
                status, answer = 200, fake.answer(xform_name(self.headers["X-Amz-Target"].rpartition(".")[2]), body)
            except RefusedError as refusal:
                status, answer = 400, {"__type": str(refusal), "message": "refused"}
            self.send_response_only(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield fake, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(folder: Path, url: str, group: str, interpreter: str) -> tuple[str, list[Any]]:
    """Run the play on this machine with this Python; return its output and the tasks' results."""
    playbook, results = folder / "play.yml", folder / f"{group}.json"
    playbook.write_text(yaml.safe_dump(PLAYBOOK))
    given = {"url": url, "group": group, "results": str(results), "ansible_python_interpreter": interpreter}
    finished = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), "-vvv", "-i", "localhost,"),
            *("-c", "local", "-e", json.dumps(given)),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_FORCE_COLOR": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout, json.loads(results.read_text())


def of_any_group(results: list[Any], group: str) -> Any:
    """Return results without what another run of the same tasks has otherwise: the group's name."""
    return json.loads(json.dumps(results).replace(group, "GROUP"))


def test_every_module_has_the_action() -> None:
    links = {path.name: path.readlink() for path in (COLLECTION / "plugins/action").glob("*.py")}
    assert links == {f"{module}.py": Path("../plugin_utils/direct_execution.py") for module in MODULES}


def test_a_module_comes_to_the_same_as_in_a_process_that_another_python_gets(
    tmp_path: Path, logs: tuple[Logs, str]
) -> None:
    fake, url = logs
    said, here = run(tmp_path, url, "here", sys.executable)
    assert IN_THE_TASK in said
    assert IN_ITS_OWN not in said
    checked, made, again, looped, mistaken, censored, refused = here
    assert [checked["changed"], made["changed"], again["changed"]] == [True, True, False]
    assert checked["diff"] == made["diff"]
    assert made["diff"]["after"]["retention"] == 30
    assert [item["changed"] for item in looped["results"]] == [True, True]
    assert {"here", "here/us-east-1", "here/us-west-2"} <= fake.state.keys()
    assert list(dict.fromkeys(fake.regions)) == ["eu-west-1", "us-east-1", "us-west-2"]
    assert "missing required arguments: name" in mistaken["msg"]
    assert censored["changed"]
    assert "'secret'" not in said
    assert "deployer-policy.json" in refused["msg"]

    del fake.state["secret"]
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    said, there = run(tmp_path, url, "there", str(other))
    assert IN_THE_TASK not in said
    assert IN_ITS_OWN in said
    assert of_any_group(there, "there") == of_any_group(here, "here")
