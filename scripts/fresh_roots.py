"""Run the README's commands for AWS in fresh installations of Debian and Ubuntu, against the local stack.

Usage: fresh_roots.py [NAME...], as root on Linux with mmdebstrap (see ROOTS for the names; all by default).

Each root gets only what the README requires: make, git, Python and a container engine. In it, `inventory/dev` is
filled in as on AWS, together with the addresses of the local stack. The commands are the README's own lines: one that
is not there ends the run. The administrator's part is done from the files that playbooks/policies.yml writes.
The output of every step is in .local/fresh-roots/logs, and the table at the end has the seconds of each.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local_stack import ROOT, LocalStack

HERE = ROOT / ".local" / "fresh-roots"
README = ROOT / "README.md"
DEBIAN, UBUNTU = "http://deb.debian.org/debian", "http://archive.ubuntu.com/ubuntu"
CHECKOUT = "label-export"
# pragma: allowlist nextline secret - no one's password
VAULT_PASSWORD = "a password for the vault of a root that is deleted"  # noqa: S105 - no one's password # nosec B105
SHOWN_LINES_OF_A_FAILURE = 40
ACCEPTED = 202
# Uses a directory as the root file system for one command, with the machine's devices and name servers. No mount
# is left when the command ends. Unlike with chroot, a container engine in it can change the root again.
ENTER = """
set -e
root=$1 socket=$2
shift 2
mount --rbind "$root" "$root"
cd "$root"
for directory in proc sys dev; do mount --rbind "/$directory" "$directory"; done
mount --bind /etc/resolv.conf etc/resolv.conf
if [ -n "$socket" ]; then mount --bind "$socket" run/docker.sock; fi
pivot_root . .
umount -l .
cd /
exec "$@"
"""


@dataclass(frozen=True)
class FreshRoot:
    """An installation to create: the distribution, its user, and the container engine."""

    name: str
    suite: str
    mirror: str = DEBIAN
    user: str = "root"
    engine: str = "docker"

    @property
    def home(self) -> str:
        return "/root" if self.user == "root" else f"/home/{self.user}"


ROOTS = (
    FreshRoot("debian-12-root", "bookworm"),
    FreshRoot("debian-13-user", "trixie", user="newcomer"),
    FreshRoot("ubuntu-24.04-user", "noble", UBUNTU, user="newcomer"),
    FreshRoot("debian-13-podman", "trixie", engine="podman"),
)


class StepError(Exception):
    """A step did not have the result that the README promises. The text explains it."""


def typed(command: str) -> str:
    """Return a command after checking that the README has it as a line. Raises StepError."""
    if not re.search(rf"^ *{re.escape(command)}$", README.read_text(), re.MULTILINE):
        raise StepError(f"README.md does not have the command: {command}")
    return command


INSTALL = "make install"
ACTIVATE = "source .venv/bin/activate"
POLICIES = "ansible-playbook playbooks/policies.yml -i inventory/dev"
PREFLIGHT = "ansible-playbook playbooks/preflight.yml -i inventory/dev"
CHECK = "ansible-playbook deploy.yml -i inventory/dev --check --diff"
DEPLOY = "ansible-playbook deploy.yml -i inventory/dev"
ENCRYPT = "ansible-vault encrypt_string --stdin-name signing_secret"
COUNT = "ansible-playbook playbooks/backfill.yml -i inventory/dev -e backfill_project=all --check"
BACKFILL = "ansible-playbook playbooks/backfill.yml -i inventory/dev -e backfill_project=all"
VERIFY = "ansible-playbook playbooks/verify.yml -i inventory/dev"
STATUS = "ansible-playbook playbooks/status.yml -i inventory/dev"
DESTROY = "ansible-playbook playbooks/destroy.yml -i inventory/dev -e label_export_destroy=dev"
COMMANDS = (INSTALL, ACTIVATE, POLICIES, PREFLIGHT, CHECK, DEPLOY, ENCRYPT, COUNT, BACKFILL, VERIFY, STATUS, DESTROY)


@dataclass
class Newcomer:
    """A user in a fresh root, with the duration of each step in seconds."""

    root: FreshRoot
    stack: LocalStack
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return HERE / "roots" / self.root.name

    @property
    def checkout(self) -> Path:
        return self.directory / self.root.home.lstrip("/") / CHECKOUT

    @property
    def inputs(self) -> Path:
        return self.checkout / "inventory" / "dev" / "group_vars" / "label_export"

    def entered(self, *command: str) -> list[str]:
        """Return the command that runs another command with the root as its file system."""
        of_the_machine = urlsplit(self.stack.facts["docker_host"]).path if self.root.engine == "docker" else ""
        return ["unshare", "--mount", "sh", "-c", ENTER, "enter", str(self.directory), of_the_machine, *command]

    def run(self, step: str, command: str, *, user: str = "", given: str = "", fails: bool = False) -> str:
        """Run a command in a login shell in the checkout; return its output. Raises StepError."""
        log = HERE / "logs" / f"{self.root.name}.{len(self.seconds):02}-{re.sub(r'[^a-z]+', '-', step.lower())}.log"
        began = time.monotonic()
        result = subprocess.run(  # noqa: S603 - the commands are the README's and those of this file
            self.entered("runuser", "-l", user or self.root.user, "-c", command),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.seconds[step] = self.seconds.get(step, 0) + time.monotonic() - began
        with log.open("a") as file:
            file.write(f"$ {command}\n{result.stdout}\n")
        if (result.returncode != 0) is not fails:
            end = "\n".join(result.stdout.splitlines()[-SHOWN_LINES_OF_A_FAILURE:])
            raise StepError(f"{command}: exit code {result.returncode}\n{end}\nThe whole output: {log}")
        print(f"  {step}: {self.seconds[step]:.0f} s", flush=True)
        return result.stdout

    def type(self, step: str, command: str, *options: str, given: str = "", unchanged: bool = False) -> str:
        """Run one of the README's commands in the environment that step 1 created; return its output."""
        line = f"cd {CHECKOUT} && {typed(ACTIVATE)} && {' '.join([typed(command), *options])}"
        output = self.run(step, line, given=given)
        if unchanged and not re.search(r"^localhost +: ok=[1-9]\d* +changed=0 ", output, re.MULTILINE):
            raise StepError(f"{command}: it changed something.\n{output[-2000:]}")
        return output

    def fill_in(self, name: str, **settings: Any) -> None:
        """Set inputs in a file of the inventory; an existing line is replaced, as a person would do."""
        path = self.inputs / f"{name}.yml"
        text = path.read_text() if path.exists() else "---\n"
        for setting, value in settings.items():
            line = f"{setting}: {json.dumps(value)}"
            text, found = re.subn(rf"^{setting}:.*$", lambda _, line=line: line, text, flags=re.MULTILINE)  # type: ignore[misc]  # mypy infers no type for a lambda with a default
            text += "" if found else f"{line}\n"
        path.write_text(text)

    def write(self, path: str, text: str) -> None:
        """Write a file in the user's home directory that only the user can read."""
        target = self.directory / self.root.home.lstrip("/") / path
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.write_text(text)
        target.chmod(0o600)
        self.give(target.parent if target.parent != self.directory / self.root.home.lstrip("/") else target)

    def give(self, path: Path) -> None:
        """Make the user the owner of a path and everything below it."""
        inside = f"/{path.relative_to(self.directory)}"
        subprocess.run(self.entered("chown", "-R", f"{self.root.user}:", inside), check=True)  # noqa: S603 - see run


def make_root(newcomer: Newcomer) -> None:
    """Install the distribution with what the README requires, and copy the repository as git would."""
    root, directory = newcomer.root, newcomer.directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    packages = "apt,ca-certificates,make,git,python3" + (",podman,runc" if root.engine == "podman" else "")
    options: list[str] = []
    if root.mirror == UBUNTU:
        keys = HERE / "keys"
        shutil.rmtree(keys, ignore_errors=True)
        # Ubuntu's keys, from a package that Debian's keys have signed.
        mmdebstrap("--variant=extract", "--include=ubuntu-keyring", "trixie", str(keys), DEBIAN)
        options = [
            f"--keyring={keys}/usr/share/keyrings/ubuntu-archive-keyring.gpg",
            "--components=main,universe",
        ]
    mmdebstrap("--variant=minbase", f"--include={packages}", *options, root.suite, str(directory), root.mirror)
    (directory / "etc/resolv.conf").touch()
    (directory / "run/docker.sock").touch()
    # The certificate authorities of this machine (a proxy that inspects TLS) and of the local stack.
    trusted = directory / "usr/local/share/ca-certificates"
    for authority in Path("/usr/local/share/ca-certificates").rglob("*.crt"):
        shutil.copy(authority, trusted / authority.name)
    shutil.copy(newcomer.stack.facts["aws_ca_bundle"], trusted / "local-stack.crt")
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    lines = [f"export {name}='{value}'\n" for name, value in proxies.items()]
    (directory / "etc/profile.d/proxies.sh").write_text("".join(lines))
    subprocess.run(newcomer.entered("update-ca-certificates"), check=True, capture_output=True)  # noqa: S603 - see run
    with (directory / "etc/hosts").open("a") as hosts:
        hosts.write("127.0.0.1 localhost host.docker.internal\n")
    if root.user != "root":
        group = Path(urlsplit(newcomer.stack.facts["docker_host"]).path).stat().st_gid
        make_user = f"groupadd -og {group} engine; useradd -m -s /bin/bash -G engine {root.user}"
        subprocess.run(newcomer.entered("sh", "-c", make_user), check=True)  # noqa: S603 - see run
    copy_repository(newcomer)


def mmdebstrap(*arguments: str) -> None:
    """Run mmdebstrap quietly. Raises StepError with its output."""
    command = ["mmdebstrap", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - see run # nosec B607
    if result.returncode:
        raise StepError(f"mmdebstrap {' '.join(arguments)}:\n{result.stderr[-2000:]}")


def copy_repository(newcomer: Newcomer) -> None:
    """Copy the files that git tracks, or would add, in their current state."""
    newcomer.checkout.mkdir()
    listed = subprocess.run(  # nosec B607 - see run
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 - the user's git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.rstrip("\0").split("\0"):
        source, target = ROOT / name, newcomer.checkout / name
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    newcomer.give(newcomer.checkout)


def install(newcomer: Newcomer) -> None:
    """Step 1. A user without root first has to install the package that the refusal names."""
    command = f"cd {CHECKOUT} && {typed(INSTALL)}"
    step = "make install"
    if newcomer.root.user != "root":
        refusal = newcomer.run(step, command, fails=True)
        advice = re.search(r"sudo (apt-get install \S+)", refusal)
        if not advice:
            raise StepError(f"{INSTALL} does not name the missing package:\n{refusal}")
        newcomer.run(
            "apt-get install", f"apt-get update -qq && {advice[1]} -y -qq --no-install-recommends", user="root"
        )
    newcomer.run(step, command)


def write_policies(newcomer: Newcomer) -> None:
    """Step 2, with the administrator's part: the policies under the displayed names, and a user with them."""
    facts = newcomer.stack.facts
    settings = {"account_id": facts["account_id"], "region": facts["region"]}
    newcomer.fill_in("label_export", **{f"label_export_{name}": value for name, value in settings.items()})
    shown = newcomer.type("policies", POLICIES)
    boundary = re.search(r"creates the policy (\S+) from boundary\.json", shown)
    prefix = re.search(r"creates (\S+)-<name> from each deployer-<name>\.json", shown)
    if not boundary or not prefix:
        raise StepError(f"The names of the policies are not shown:\n{shown}")
    files = newcomer.checkout / "policies" / "dev"
    policies = {f"{prefix[1]}-{path.stem.removeprefix('deployer-')}": path for path in files.glob("deployer-*.json")}
    iam = newcomer.stack.aws("iam")
    user = "label-exports-newcomer"
    remove_user(iam, user)
    iam.create_user(UserName=user)
    for name, path in {boundary[1]: files / "boundary.json", **policies}.items():
        arn = f"arn:aws:iam::{facts['account_id']}:policy/{name}"
        forget(iam, arn)
        iam.create_policy(PolicyName=name, PolicyDocument=path.read_text())
        if name != boundary[1]:
            iam.attach_user_policy(UserName=user, PolicyArn=arn)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    newcomer.write(
        ".aws/credentials",
        f"[label-export-dev]\naws_access_key_id = {key['AccessKeyId']}\n"
        f"aws_secret_access_key = {key['SecretAccessKey']}\n",
    )


def remove_user(iam: Any, user: str) -> None:
    """Remove the user of an earlier root."""
    if user not in [each["UserName"] for each in iam.list_users()["Users"]]:
        return
    for policy in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=user, PolicyArn=policy["PolicyArn"])
    for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=user)


def forget(iam: Any, arn: str) -> None:
    """Remove a policy of an earlier root."""
    if arn in [each["Arn"] for each in iam.list_policies(Scope="Local", MaxItems=1000)["Policies"]]:
        iam.delete_policy(PolicyArn=arn)


def fill_in(newcomer: Newcomer) -> None:
    """Step 3, and the addresses of the local stack instead of AWS and Encord."""
    facts = newcomer.stack.facts
    newcomer.write("encord-key", Path(facts["encord_private_key_file"]).read_text())
    newcomer.write("authority.pem", Path(facts["aws_ca_bundle"]).read_text())
    newcomer.fill_in(
        "label_export",
        label_export_aws_profile="label-export-dev",
        label_export_aws_endpoint_url=facts["aws_endpoint_url"],
        label_export_aws_ca_bundle=f"{newcomer.root.home}/authority.pem",
        **({"label_export_docker_host": "unix:///run/podman.sock"} if newcomer.root.engine == "podman" else {}),
    )
    newcomer.fill_in("encord_secrets", encord_secrets_private_key_file=f"{newcomer.root.home}/encord-key")
    newcomer.fill_in("export_function", export_function_encord_domain=facts["encord_domain"])
    newcomer.fill_in(
        "handler_image",
        # Podman loads an image without a registry as one of localhost.
        handler_image_base=("localhost/" if newcomer.root.engine == "podman" else "") + facts["base_image"],
        handler_image_base_source="engine",  # no registry has it
        handler_image_registry=facts["registry"],
    )
    newcomer.fill_in(
        "front_door", front_door_base_url=f"{facts['aws_endpoint_url']}/_aws/execute-api/{{api_id}}/$default"
    )


@contextmanager
def engine(newcomer: Newcomer) -> Iterator[None]:
    """Start the root's own container engine, if it has one. Only an engine that was started here is stopped."""
    if newcomer.root.engine == "docker":
        yield
        return
    registry, base = newcomer.stack.facts["registry"], newcomer.stack.facts["base_image"]
    certificates = newcomer.directory / "etc/containers/certs.d" / registry
    certificates.mkdir(parents=True)
    shutil.copy(newcomer.stack.facts["aws_ca_bundle"], certificates / "ca.crt")
    # Podman raises the limits of files and processes, which a machine that is itself a container may not allow.
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = [f"{name}={most}:{most}" for name, limit in limits.items() if (most := resource.getrlimit(limit)[1]) > 0]
    # Debian's default, crun, refuses a machine with both versions of cgroups; runc accepts it.
    (newcomer.directory / "etc/containers/containers.conf").write_text(
        f'[containers]\ndefault_ulimits = {json.dumps(hard)}\n[engine]\nruntime = "runc"\n'
    )
    archive = newcomer.directory / "root/base-image.tar"
    with archive.open("wb") as file:
        file.writelines(newcomer.stack.engine.images.get(base).save(named=True))
    newcomer.run("podman load (AWS: a pull)", "podman load --quiet --input base-image.tar && rm base-image.tar")
    with (HERE / "logs" / f"{newcomer.root.name}.podman.log").open("w") as log:
        service = subprocess.Popen(  # noqa: S603 - see run
            newcomer.entered("podman", "system", "service", "--time=0", "unix:///run/podman.sock"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            service.terminate()
            service.wait()


def operate(newcomer: Newcomer) -> None:
    """Steps 4 to 7, the operating commands of the README, and the removal."""
    bucket = re.search(r"S3 bucket: ([a-z0-9-]+)", newcomer.type("preflight", PREFLIGHT))
    newcomer.type("check", CHECK)
    url = re.search(r"Webhook URL: ([^\s']+)", newcomer.type("deploy", DEPLOY))
    if not url or not bucket:
        raise StepError("The preflight named no bucket, or the deploy no webhook URL.")
    newcomer.type("deploy again", DEPLOY, unchanged=True)

    secret = Path(newcomer.stack.facts["webhook_secret_file"]).read_text().split()[0]
    newcomer.write("vault-password", VAULT_PASSWORD)
    # Instead of --ask-vault-pass, which needs a terminal; the README names it.
    profile = newcomer.directory / "etc/profile.d/vault.sh"
    profile.write_text(f"export ANSIBLE_VAULT_PASSWORD_FILE={newcomer.root.home}/vault-password\n")
    vaulted = newcomer.type("signing secret", ENCRYPT, "2> /dev/null", given=secret)
    lines = vaulted[vaulted.index("signing_secret: !vault") :].rstrip()
    path = newcomer.inputs / "encord_secrets.yml"
    text = path.read_text().replace(
        "encord_secrets_signing_secrets: []",
        f'{lines}\nencord_secrets_signing_secrets:\n  - "{{{{ signing_secret }}}}"',
    )
    path.write_text(text)
    newcomer.type("deploy the secret", DEPLOY)

    complete_a_task(newcomer, url[1], bucket[1])
    newcomer.type("backfill, count", COUNT)
    newcomer.type("backfill", BACKFILL)
    newcomer.type("verify", VERIFY)
    newcomer.type("status", STATUS)
    newcomer.stack.encord("DELETE", "webhooks")
    newcomer.type(
        "destroy", DESTROY, "-e encord_secrets_destroy=true", f"-e label_bucket_destroy_with_labels={bucket[1]}"
    )


def complete_a_task(newcomer: Newcomer, url: str, bucket: str) -> None:
    """Step 6, as a person does it in Encord: the label is in the bucket. Raises StepError."""
    stack = newcomer.stack
    began = time.monotonic()
    stack.encord_json("POST", "webhooks", {"url": url})
    row = next(row for row in stack.encord_json("GET", "projects")["projects"][0]["label_rows"] if row["label_hash"])
    task = stack.encord_json("POST", "complete-task", {"label_hash": row["label_hash"]})
    if task["deliveries"][0]["status"] != ACCEPTED:
        raise StepError(f"The webhook was refused: {task['deliveries'][0]}")
    try:
        stack.saved_label(bucket, row["label_hash"], task["last_edited_at"])
    except TimeoutError as error:
        raise StepError(str(error)) from error
    newcomer.seconds["a task's label in S3"] = time.monotonic() - began


def spend_the_hour(root: FreshRoot, stack: LocalStack) -> Newcomer:
    """Create a root, act as a new user in it, and remove it. Raises StepError; then the root is kept for inspection."""
    newcomer = Newcomer(root, stack)
    print(f"{root.name}:", flush=True)
    began = time.monotonic()
    make_root(newcomer)
    print(f"  (the root was made in {time.monotonic() - began:.0f} s)", flush=True)
    install(newcomer)
    write_policies(newcomer)
    fill_in(newcomer)
    with engine(newcomer):
        operate(newcomer)
    shutil.rmtree(newcomer.directory)
    return newcomer


@contextmanager
def local_stack() -> Iterator[LocalStack]:
    """A separate local stack on free ports; it is removed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        free = (one.getsockname()[1], other.getsockname()[1])
    ports = dict(zip(("LOCAL_STACK_AWS_PORT", "LOCAL_STACK_ENCORD_PORT"), map(str, free), strict=True))
    environment = {**ports, **os.environ, "ANSIBLE_NOCOLOR": "1"}

    def playbook(name: str) -> None:
        settings = {
            "local_stack_directory": str(HERE),
            "label_export_local_stack_file": str(HERE / "state" / "stack.json"),
        }
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-i", "inventory/local", "-e", json.dumps(settings)]
        with (HERE / "logs" / f"{name}.log").open("w") as log:
            code = subprocess.run(  # noqa: S603 - see run
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            ).returncode
        if code:
            raise StepError(f"playbooks/{name}.yml failed: see {log.name}")

    try:
        playbook("local")
        yield LocalStack(HERE / "state" / "stack.json")
    finally:
        playbook("local_down")


def table(newcomers: list[Newcomer]) -> str:
    """Return the seconds of each step by root, as a table."""
    steps = list(dict.fromkeys(step for newcomer in newcomers for step in newcomer.seconds))
    lines = [f"{'seconds':28}" + "".join(f"{newcomer.root.name:>19}" for newcomer in newcomers)]
    for step in steps:
        lines.append(f"{step:28}" + "".join(f"{newcomer.seconds.get(step, 0):19.0f}" for newcomer in newcomers))
    minutes = [sum(newcomer.seconds.values()) / 60 for newcomer in newcomers]
    return "\n".join([*lines, f"{'all, in minutes':28}" + "".join(f"{each:19.1f}" for each in minutes)])


def main() -> None:
    names = sys.argv[1:] or [root.name for root in ROOTS]
    known = {root.name: root for root in ROOTS}
    if unknown := set(names) - set(known):
        sys.exit(f"fresh-roots: there is no {', '.join(unknown)}. There are: {', '.join(known)}")
    if os.geteuid() != 0 or not shutil.which("mmdebstrap") or not shutil.which("unshare"):
        sys.exit("fresh-roots: this needs root on Linux, and mmdebstrap: sudo apt-get install mmdebstrap")
    (HERE / "logs").mkdir(parents=True, exist_ok=True)
    for log in (HERE / "logs").iterdir():
        log.unlink()
    newcomers = []
    try:
        with local_stack() as stack:
            for name in names:
                newcomers.append(spend_the_hour(known[name], stack))
    except StepError as error:
        sys.exit(f"fresh-roots: failed: {error}")
    print(table(newcomers))


if __name__ == "__main__":
    main()
