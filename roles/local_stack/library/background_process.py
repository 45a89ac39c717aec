#!/usr/bin/python
# Part of the role local_stack; see the repository's LICENSE.
"""Ansible module: keep one server process running in the background, or end it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: background_process
short_description: Keep one server process running in the background, or end it
description:
  - Starts a program in a session of its own, so that it outlives C(ansible-playbook), on machines with or without a
    service manager.
  - Starts it again when it has died, and restarts it when its command line, its environment or a watched file changed.
  - Ends only the process that it started. A record file holds the process id together with the moment the process
    began, so that an id which the system gave to another process in the meantime is never touched.
options:
  state:
    description: Whether the process is to run.
    type: str
    choices: [started, stopped]
    default: started
  record:
    description: File (mode 0600) that identifies the running process. Removed when the process has ended.
    type: path
    required: true
  argv:
    description: Program and arguments. Required to start.
    type: list
    elements: str
  environment:
    description:
      - Environment of the process. Of the caller's environment only C(PATH), C(HOME), C(USER), C(LANG) and C(LC_ALL)
        are kept, so that the process does not depend on who started it.
    type: dict
    default: {}
  secret_environment:
    description: More of the environment, whose values appear in no output.
    type: dict
    default: {}
  chdir:
    description: Working directory.
    type: path
    default: /
  log:
    description: File (mode 0600) to which the output is appended. Required to start.
    type: path
  watched_paths:
    description: Files, or directories with Python files, whose content counts as part of the configuration.
    type: list
    elements: path
    default: []
  listen_on:
    description:
      - Addresses of this machine on which the process serves its port. Before the start the port must be free on each,
        and the start is over when each accepts connections.
    type: list
    elements: str
    default: []
  listen_port:
    description: The port.
    type: int
  listen_port_setting:
    description: Name of the variable that sets the port, for the message about a port that is taken.
    type: str
    default: ""
  socket:
    description: Unix socket that accepts connections when the start is over.
    type: path
  start_timeout:
    description: Seconds within which the process must accept connections.
    type: int
    default: 30
  stop_timeout:
    description: Seconds between the request to end (SIGTERM) and the order (SIGKILL).
    type: int
    default: 20
attributes:
  check_mode:
    description: Says whether the process would be started, restarted or ended.
    support: full
  diff_mode:
    description: The configuration may hold secrets, so no difference is shown.
    support: none
author:
  - The maintainers of this repository
"""

EXAMPLES = r"""
- name: Serve a directory
  background_process:
    argv: [/usr/bin/python3, -m, http.server, --bind, 127.0.0.1, "8000"]
    record: /tmp/files.process.json
    log: /tmp/files.log
    listen_on: [127.0.0.1]
    listen_port: 8000
    listen_port_setting: files_port

- name: Serve it no longer
  background_process:
    record: /tmp/files.process.json
    state: stopped
"""

RETURN = r"""
pid:
  description: Process id of the running process.
  returned: when state is started and not in check mode
  type: int
reason:
  description: Why something was done.
  returned: when changed
  type: str
"""

import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

KEPT_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL")
POLL_SECONDS = 0.05


def birth(pid: int) -> str | None:
    """Return what tells this process from any other that ever has the same id; None when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            # The second field is the program's name in parentheses and may hold spaces and parentheses itself.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, start_ticks = fields[0], fields[19]
        return None if state in "ZX" else f"{boot}/{start_ticks}"
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed but for a number
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record of the process if that very process is still running."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        alive = record["birth"] is not None and birth(int(record["pid"])) == record["birth"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if alive else None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write the record whole or not at all, readable by its owner only."""
    partial = path.with_name(path.name + ".partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(record, out)
    partial.replace(path)


def configuration_digest(params: dict[str, Any]) -> str:
    """Return a digest of all that the process was started with, the content of the watched files included."""
    digest = hashlib.sha256()
    wanted = [params["argv"], params["environment"], params["secret_environment"], params["chdir"]]
    digest.update(json.dumps(wanted, sort_keys=True).encode())
    for watched in map(Path, params["watched_paths"]):
        for path in sorted(watched.rglob("*.py")) if watched.is_dir() else [watched]:
            digest.update(str(path).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def accepts(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    """Say whether something accepts connections at the address."""
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        return client.connect_ex(address) == 0


def is_free(address: str, port: int) -> bool:
    """Say whether a server could bind the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        # As servers do: connections of an ended server that still linger do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError:
            return False
    return not accepts(socket.AF_INET, (address, port))


def owner_of(port: int) -> str:
    """Return the process that listens on the port, as far as the system tells us."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        lines += Path("/proc/net/tcp6").read_text().splitlines()[1:]
    except OSError:
        return "another process"
    listening = "0A"
    rows = [line.split() for line in lines]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == listening and int(row[1].split(":")[1], 16) == port}
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(os.readlink(entry) in inodes for entry in descriptors.iterdir()):
                command = (descriptors.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"process {descriptors.parent.name} ({command.strip()[:120]})"
    return "another process"


class BackgroundProcess:
    """The one process that the module looks after."""

    def __init__(self, module: AnsibleModule) -> None:
        """Take the parameters over from the module."""
        self.module = module
        self.params: dict[str, Any] = module.params
        self.record_path = Path(self.params["record"])

    def ensure_started(self) -> None:
        """Start the process, or restart it when it runs with another configuration."""
        record = read_record(self.record_path)
        digest = configuration_digest(self.params)
        if record and record["configuration"] == digest:
            self.module.exit_json(changed=False, pid=record["pid"])
            return
        reason = "configuration changed" if record else "not running"
        if self.module.check_mode:
            self.module.exit_json(changed=True, reason=reason)
            return
        if record:
            self._stop(record)
        self._refuse_taken_ports()
        pid = self._start(digest)
        self.module.exit_json(changed=True, pid=pid, reason=reason)

    def ensure_stopped(self) -> None:
        """End the process if it runs, and forget it."""
        record = read_record(self.record_path)
        if record and not self.module.check_mode:
            self._stop(record)
        if not self.module.check_mode:
            self.record_path.unlink(missing_ok=True)
        self.module.exit_json(changed=record is not None, **({"reason": "running"} if record else {}))

    def _start(self, digest: str) -> int:
        log_path = Path(self.params["log"])
        kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment = kept | self.params["environment"] | self.params["secret_environment"]
        # A server gets as many open files as the system allows, as it would from a service manager.
        hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
        with open(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            try:
                process = subprocess.Popen(  # noqa: S603 -- running what the role says is what this module is for
                    self.params["argv"],
                    env={name: str(value) for name, value in environment.items()},
                    cwd=self.params["chdir"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                self.module.fail_json(msg=f"{self.params['argv'][0]} could not be started: {error}")
        # Recorded before the wait, so that it can still be ended after an interruption here.
        record = {"pid": process.pid, "birth": birth(process.pid), "configuration": digest}
        write_record(self.record_path, record)
        deadline = time.monotonic() + self.params["start_timeout"]
        while not self._is_serving():
            if process.poll() is not None or time.monotonic() > deadline:
                self._fail_start(process, log_path)
            time.sleep(POLL_SECONDS)
        if process.poll() is not None:
            self._fail_start(process, log_path)
        return process.pid

    def _is_serving(self) -> bool:
        port = self.params["listen_port"]
        served = [accepts(socket.AF_INET, (address, port)) for address in self.params["listen_on"]]
        if self.params["socket"]:
            served.append(accepts(socket.AF_UNIX, self.params["socket"]))
        return all(served)

    def _fail_start(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        ended = process.poll()
        happened = "did not accept connections in time" if ended is None else f"ended with exit code {ended}"
        if ended is None:
            self._stop({"pid": process.pid, "birth": birth(process.pid)})
        self.record_path.unlink(missing_ok=True)
        with log_path.open("rb") as log:
            log.seek(max(0, log_path.stat().st_size - 2000))
            tail = log.read().decode(errors="replace").strip()
        self.module.fail_json(msg=f"{self.params['argv'][0]} {happened}. The end of its log {log_path}:\n{tail}")

    def _refuse_taken_ports(self) -> None:
        port, setting = self.params["listen_port"], self.params["listen_port_setting"]
        for address in self.params["listen_on"]:
            if not is_free(address, port):
                advice = f"End it, or set {setting} to another port." if setting else "End it."
                self.module.fail_json(msg=f"Port {port} on {address} is taken by {owner_of(port)}. {advice}")

    def _stop(self, record: dict[str, Any]) -> None:
        pid = record["pid"]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.params["stop_timeout"]
        while birth(pid) == record["birth"] and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(POLL_SECONDS)
        # The session was made for this process, so whatever is left of its group is its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while birth(pid) == record["birth"]:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                self.module.fail_json(msg=f"Process {pid} could not be ended; its record is {self.record_path}.")
            time.sleep(POLL_SECONDS)


def main() -> None:
    """Read the parameters and do what the state asks for."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "record": {"type": "path", "required": True},
            "argv": {"type": "list", "elements": "str"},
            "environment": {"type": "dict", "default": {}},
            "secret_environment": {"type": "dict", "default": {}, "no_log": True},
            "chdir": {"type": "path", "default": "/"},
            "log": {"type": "path"},
            "watched_paths": {"type": "list", "elements": "path", "default": []},
            "listen_on": {"type": "list", "elements": "str", "default": []},
            "listen_port": {"type": "int"},
            "listen_port_setting": {"type": "str", "default": ""},
            "socket": {"type": "path"},
            "start_timeout": {"type": "int", "default": 30},
            "stop_timeout": {"type": "int", "default": 20},
        },
        required_if=[("state", "started", ["argv", "log"])],
        supports_check_mode=True,
    )
    process = BackgroundProcess(module)
    if module.params["state"] == "started":
        process.ensure_started()
    process.ensure_stopped()


if __name__ == "__main__":
    main()
