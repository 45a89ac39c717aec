"""Modules in their task's process have the same results as in a separate process, which other hosts still get."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import parse_qs

import botocore.session
import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.common import json as encodings
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as NormalActionModule
from ansible.plugins.loader import module_loader
from ansible_collections.label_export.aws.plugins.plugin_utils import direct_execution
from botocore import xform_name
from container_engine import JsonServer
from fake_aws import RefusedError, plugin
from serving import serving
from test_documentation import ACTIONS, COLLECTION, MODULES, ROOT
from test_log_group import NAME, FakeLogs

IN_THE_TASK = "Running label_export.aws.log_group in the task's process"
IN_ITS_OWN = f"Using module file {COLLECTION}/plugins/modules/log_group.py"
GROUP = {"name": NAME, "retention": 30, "tags": {"owner": "us"}}
HIDDEN = "nobody-reads-this"
PLAYBOOK: list[dict[str, Any]] = [
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
                "label_export.aws.log_group": {**GROUP, "retention": "{{ item.days }}", "region": ""},
                "environment": {"AWS_DEFAULT_REGION": "{{ item.region }}"},
                "loop": [{"region": "us-east-1", "days": 60}, {"region": "us-west-2", "days": 90}],
                "register": "looped",
            },
            {"label_export.aws.log_group": {"retention": 30}, "ignore_errors": True, "register": "mistaken"},
            {
                "label_export.aws.log_group": {**GROUP, "tags": {"owner": HIDDEN}},
                "no_log": True,
                "register": "censored",
            },
            {
                "label_export.aws.log_group": {"name": NAME, "state": "absent"},
                "ignore_errors": True,
                "register": "refused",
            },
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


@dataclass
class Logs:
    """CloudWatch Logs over HTTP for any caller, and the region of each call."""

    fake: FakeLogs
    regions: list[str]
    url: str


@pytest.fixture
def logs() -> Iterator[Logs]:
    fake, regions = FakeLogs(), []
    fake.refusals["delete_log_group"] = ("AccessDeniedException", 2)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            regions.extend(re.findall(r"/([a-z0-9-]+)/logs/aws4_request", self.headers["Authorization"]))
            try:
                status, answer = 200, fake.answer(xform_name(self.headers["X-Amz-Target"].rpartition(".")[2]), body)
            except RefusedError as refusal:
                status, answer = 400, {"__type": str(refusal), "message": "refused"}
            self.send_response_only(status)  # without the date, which differs between responses
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        yield Logs(fake, regions, url)


def run(folder: Path, url: str, interpreter: str, plays: list[Any] = PLAYBOOK) -> tuple[str, list[Any]]:
    """Run the plays on this machine with this Python; return their output and the tasks' results."""
    playbook, results = folder / "play.yml", folder / "results.json"
    playbook.write_text(yaml.safe_dump(plays))
    given = {"url": url, "results": str(results), "ansible_python_interpreter": interpreter}
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


def test_every_module_has_the_action() -> None:
    links = {path.name: path.readlink() for path in (COLLECTION / "plugins/action").glob("*.py") if path.is_symlink()}
    for action in ACTIONS:
        del links[f"{action}.py"]
    assert links == {
        **{f"{module}.py": Path("../plugin_utils/aws_module.py") for module in [*MODULES, "direct_aws"]},
        "direct_execution.py": Path("../plugin_utils/direct_execution.py"),
    }


def test_a_module_has_the_same_result_as_in_a_separate_process(tmp_path: Path, logs: Logs) -> None:
    said, here = run(tmp_path, logs.url, sys.executable)
    assert IN_THE_TASK in said
    assert IN_ITS_OWN not in said
    checked, made, again, looped, mistaken, censored, refused = here
    assert [checked["changed"], made["changed"], again["changed"]] == [True, True, False]
    assert checked["diff"] == made["diff"]
    assert made["diff"]["after"]["retention"] == 30
    assert [item["settings"]["retention"] for item in looped["results"]] == [60, 90]
    assert list(dict.fromkeys(logs.regions)) == ["eu-west-1", "us-east-1", "us-west-2"]
    assert "missing required arguments: name" in mistaken["msg"]
    assert censored["settings"]["tags"] == {"owner": HIDDEN}
    assert HIDDEN not in said
    assert "playbooks/policies.yml" in refused["msg"]

    logs.fake.state.clear()
    python = Path(sys.executable)
    said, there = run(tmp_path, logs.url, f"{python.parent}/./{python.name}")
    assert IN_THE_TASK not in said
    assert IN_ITS_OWN in said
    assert there == here


class Iam(BaseHTTPRequestHandler):
    """IAM of an account that has nothing, and STS, for the modules of Amazon's collection."""

    def do_GET(self) -> None:
        self.send_response_only(404)  # without the date, which differs between responses
        self.end_headers()

    def do_POST(self) -> None:
        action = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["Action"][0]
        status, content = IAM.get(action, NOTHING)
        self.send_response_only(status)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_: Any) -> None:
        pass


NOTHING = (404, "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>none</Message></Error></ErrorResponse>")
IAM = {
    "GetCallerIdentity": (
        200,
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:root</Arn>"
        "<UserId>123456789012</UserId><Account>123456789012</Account></GetCallerIdentityResult>"
        "</GetCallerIdentityResponse>",
    ),
    "ListAccountAliases": (
        200,
        "<ListAccountAliasesResponse><ListAccountAliasesResult><AccountAliases/></ListAccountAliasesResult>"
        "</ListAccountAliasesResponse>",
    ),
}


class Engine(JsonServer):
    """A container engine without images, whose registry accepts one login."""

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        given, path = self.body(), self.path.partition("?")[0].removeprefix("/v1.41")
        if self.path == "/version":
            self.answer(200, {"ApiVersion": "1.41"})
        elif path == "/auth" and ACCEPTED in json.loads(given).values():
            self.answer(200, {"Status": "Login Succeeded", "IdentityToken": ""})
        elif path in ENGINE:
            self.answer(200, ENGINE[path])
        else:
            self.answer(404, {"message": f"there is no {self.path}"})

    def do_POST(self) -> None:  # noqa: N802 - the name is http.server's
        self.do_GET()


# What the registry takes for a login.
ACCEPTED = "accepted"
ENGINE: dict[str, Any] = {
    "/images/json": [{"Id": "sha256:1", "RepoTags": ["other:1"]}],
    "/info": {"ID": "one", "OSType": "linux", "Architecture": "x86_64", "Warnings": ["no swap limit"]},
    "/networks": [{"Name": "bridge", "Id": "1" * 64}],
    f"/networks/{'1' * 64}": {"Name": "bridge", "Id": "1" * 64, "IPAM": {"Config": [{"Gateway": "172.17.0.1"}]}},
}

ROLE = {"name": "exporter", "path": "/", "managed_policies": ["one"], "create_instance_profile": False}
# Keys of results that differ between two runs of a module: times, temporary files, and what depends on a new key.
TIMES = ["atime", "mtime", "ctime", "start", "end", "delta", "elapsed", "inode", "src"]
OF_A_KEY = ["diff", "csr", "fingerprint", "serial_number", "notBefore", "notAfter"]
# For each module that the callback routes, the options of one task or several. `here` is a new directory in both ways.
ROUTED: dict[str, list[dict[str, Any]]] = {
    "amazon.aws.aws_caller_info": [{}],
    "amazon.aws.iam_access_key": [{"user_name": "nobody"}],
    "amazon.aws.iam_access_key_info": [{"user_name": "nobody"}],
    "amazon.aws.iam_managed_policy": [{"state": "absent"}],
    "amazon.aws.iam_role": [{**ROLE, "state": "absent", "delete_instance_profile": False}],
    "amazon.aws.iam_role_info": [{"name": "exporter"}],
    "amazon.aws.iam_user": [{"name": "nobody", "state": "absent"}],
    "ansible.builtin.command": [
        {"argv": ["sh", "-c", "pwd; cat; umask; echo $AWS_REGION; echo two >&2"], "chdir": "/", "stdin": "one"},
        {"argv": ["sh", "-c", "cat; exit 3"]},
        # Ansible is a program that requires this.
        {"argv": [sys.executable, "-c", "import os; print([os.get_blocking(stream) for stream in range(3)])"]},
    ],
    "ansible.builtin.copy": [
        {"content": "one", "dest": "{{ here }}/copied", "mode": "0640"},
        {"src": "{{ here }}/copied", "dest": "{{ here }}/new/", "remote_src": True},
    ],
    "ansible.builtin.uri": [{"url": "{{ url }}/none", "return_content": True}],
    "ansible.builtin.file": [
        {"path": "{{ here }}/one/two", "state": "directory", "mode": "0700"},
        {"path": "{{ here }}/one", "state": "directory", "mode": "u=rwX,go=rX", "recurse": True},
    ],
    "ansible.builtin.find": [{"paths": ["{{ here }}", "/nowhere"], "recurse": True}],
    "ansible.builtin.setup": [{"gather_subset": ["!all", "!min", "distribution", "user"]}],
    "ansible.builtin.stat": [{"path": "{{ here }}/one", "get_attributes": False}],
    "community.crypto.openssl_privatekey": [
        {"path": "{{ here }}/key", "type": "ECC", "curve": "secp256r1", "mode": "0600"},
    ],
    "community.crypto.openssl_csr_pipe": [{"privatekey_path": "{{ here }}/key", "common_name": "one"}],
    "community.crypto.x509_certificate": [
        {"path": "{{ here }}/certificate", "privatekey_path": "{{ here }}/key", "provider": "selfsigned"}
    ],
    "community.crypto.x509_certificate_info": [{"path": "{{ here }}/none"}],
    "community.docker.docker_host_info": [{}],
    "community.docker.docker_image_info": [{"name": "none"}],
    "community.docker.docker_image_push": [{"name": "registry.example/none", "tag": "1"}],
    "community.docker.docker_image_remove": [{"name": "none"}],
    "community.docker.docker_login": [
        {
            **{"registry_url": "registry.example", "username": "one", "password": ACCEPTED},
            "config_path": "{{ here }}/docker/config.json",
        }
    ],
    "community.docker.docker_network_info": [{"name": "bridge"}],
}


def same_part(result: Any, differing: list[str]) -> Any:
    """Return a result without the keys that differ between two runs of the same module."""
    if isinstance(result, dict):
        return {key: same_part(value, differing) for key, value in result.items() if key not in differing}
    return [same_part(each, differing) for each in result] if isinstance(result, list) else result


def test_modules_of_other_collections_have_the_same_results_in_the_tasks_process(tmp_path: Path) -> None:
    routes = plugin("callback.shared_work").ACTIONS
    assert set(ROUTED) == {f"{collection}.{module}" for collection, modules in routes.items() for module in modules}
    tasks: list[dict[str, Any]] = [
        {module: options, "ignore_errors": True, "register": f"result_{number}", "diff": True}
        for number, (module, options) in enumerate((name, each) for name, several in ROUTED.items() for each in several)
    ]
    results, here = tmp_path / "results.json", tmp_path / "here"
    content = f"{{{{ [{', '.join(task['register'] for task in tasks)}] | to_json }}}}"
    saved = {"ansible.builtin.copy": {"content": content, "dest": str(results), "mode": "0600"}}
    found = []
    python = Path(sys.executable)
    with serving(Iam) as url, serving(Engine) as engine:
        play = {
            **PLAYBOOK[0],
            "vars": {"here": str(here)},
            "environment": {**PLAYBOOK[0]["environment"], "AWS_REGION": "eu-west-1", "AWS_MAX_ATTEMPTS": "1"},
            "module_defaults": {
                "group/community.docker.docker": {"docker_host": engine.replace("http", "tcp"), "timeout": 5}
            },
            "tasks": [*tasks, saved],
        }
        for interpreter in (sys.executable, f"{python.parent}/./{python.name}"):
            here.mkdir()
            said = run(tmp_path, url, interpreter, [play])[0]
            found.append(dict(zip((task["register"] for task in tasks), json.loads(results.read_text()), strict=True)))
            for module in ROUTED:
                output = "".join(part for part in said.split("\nTASK [") if part.startswith(f"{module}]"))
                name = module.removeprefix("ansible.builtin.")
                own = f"modules/{name.rpartition('.')[2]}.py" in output
                assert own != (re.search(rf"Running \S*\b{name} in the task's process", output) is not None), module
                assert own == (interpreter != sys.executable), module
            shutil.rmtree(here)
    for task in tasks:
        differing = TIMES + (OF_A_KEY if "community.crypto" in next(iter(task)) else [])
        in_the_task, in_its_own = (same_part(each[task["register"]], differing) for each in found)
        assert in_the_task == in_its_own, task


def test_without_the_callback_ansible_runs_other_collections_modules_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback only changes where Ansible looks an action up; where that place is not there, nothing changes."""
    shared_work = plugin("callback.shared_work")
    monkeypatch.setattr(shared_work._collection_finder, "_get_collection_metadata", lambda _: None)
    monkeypatch.setattr(shared_work, "keep_compiled_templates", lambda: None)  # It would last longer than this test.
    shared_work.CallbackModule().v2_playbook_on_start(None)


def test_garbage_collection_leaves_out_what_a_tasks_process_inherits() -> None:
    callback = plugin("callback.shared_work").CallbackModule()
    callback.v2_playbook_on_task_start(SimpleNamespace(action="ansible.builtin.debug"), is_conditional=False)
    try:
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_sessions_of_botocore_share_the_data_that_each_client_needs() -> None:
    """Otherwise each task's process reads it again."""
    plugin("plugin_utils.aws_module")
    one, other = (botocore.session.get_session().get_component("data_loader") for _ in range(2))
    assert one is other


def test_a_botocore_without_the_name_costs_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("botocore.session.create_loader")
    importlib.reload(plugin("plugin_utils.aws_module"))


def example_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a module `example`, which returns its option and a key that ansible-core reserves."""

    def main() -> None:
        module = basic.AnsibleModule({"word": {"type": "str"}}, supports_check_mode=True)
        module.exit_json(
            word=module.params["word"], checked=module.check_mode, pair=("a", "b"), _ansible_new_secrets=[HIDDEN]
        )

    name = "ansible_collections.label_export.aws.plugins.modules.example"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(main=main))
    found = SimpleNamespace(resolved=True, resolved_fqcn="label_export.aws.example")
    monkeypatch.setattr(module_loader, "find_plugin_with_context", lambda _: found)


def execute_example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the module `example` through its action, on this host; return the result."""
    task = SimpleNamespace(
        action="label_export.aws.example",
        resolved_action="label_export.aws.example",
        args={"word": "one"},
        environment=[],
        check_mode=True,
        diff=False,
        no_log=False,
        async_val=0,
        delegate_to=None,
    )
    connection = MagicMock(transport="local", become=None, socket_path=None)
    connection._shell.tmpdir = None
    templar = MagicMock(template=lambda _: sys.executable)
    monkeypatch.setattr(NormalActionModule, "_execute_module", lambda *_, **__: {"from": "the module's own process"})
    monkeypatch.setattr(ActionBase, "get_shell_option", lambda *_, **__: None)
    action = direct_execution.ActionModule(
        *(task, connection, SimpleNamespace(executable=None), None, templar, None),
    )
    return dict(action._execute_module(task_vars={"ansible_python_interpreter": sys.executable}))


def test_a_result_is_serialised_as_from_a_process_without_ansibles_reserved_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example_module(monkeypatch)
    hook = basic.AnsibleModule._record_module_result
    result = execute_example(monkeypatch)
    result.pop("invocation", None)
    assert result == {"word": "one", "checked": True, "pair": ["a", "b"]}
    assert basic.AnsibleModule._record_module_result is hook


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (basic, "_ANSIBLE_ARGS"),
        (basic, "_ANSIBLE_PROFILE"),
        (basic, "_load_params"),
        (basic.AnsibleModule, "_record_module_result"),
        (encodings, "Direction"),
        (encodings, "get_module_encoder"),
        (encodings, "get_module_decoder"),
        (ActionBase, "_update_module_args"),
        (ActionBase, "_compute_environment_string"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_module_runs_in_its_own_process_if_ansible_core_lacks_a_name(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    example_module(monkeypatch)
    monkeypatch.delattr(owner, name)
    assert execute_example(monkeypatch) == {"from": "the module's own process"}
