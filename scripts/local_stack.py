"""A client of the local stack: of its Encord's control API, and of its AWS as one of two identities."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parent.parent
STACK_FILE = ROOT / ".local" / "state" / "stack.json"
PATIENCE_SECONDS = 90
LOOK_EVERY_SECONDS = 0.1


class LocalStack:
    """The addresses of the stack, from the file that the role local_stack wrote. Raises SystemExit if no stack runs.

    With ``account``, another account of the local AWS, as its owner sees it.
    """

    def __init__(self, stack_file: Path = STACK_FILE, account: str = "") -> None:
        if not stack_file.exists():
            raise SystemExit(f"No local stack is running ({stack_file} is missing). Start one with: make local")
        self.facts: dict[str, Any] = json.loads(stack_file.read_text())
        self._owner: dict[str, str] = {}
        if account:
            self.facts["account_id"] = account
            # In the emulator, a root user's access key is the account's number, with the stack's secret.
            os.environ["AWS_SHARED_CREDENTIALS_FILE"] = self.facts["aws_credentials_file"]
            owner = boto3.Session(profile_name="root").get_credentials()
            self._owner = {"aws_access_key_id": account, "aws_secret_access_key": owner.secret_key}
        # Creating a client takes longer than most calls.
        self._clients: dict[tuple[str, str, str], Any] = {}

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Trust only the stack's own certificate authority."""
        return ssl.create_default_context(cafile=self.facts["aws_ca_bundle"])

    @cached_property
    def engine(self) -> Any:
        """Return Docker's client for the container engine of the stack."""
        import docker  # noqa: PLC0415 - most scripts do not need it

        return docker.DockerClient(base_url=self.facts["docker_host"])

    def aws(self, service: str, profile: str = "root", region: str = "") -> Any:
        """Return a client for a service as ``root``, the root user; always the same one."""
        wanted = (service, profile, region or self.facts["region"])
        if wanted not in self._clients:
            os.environ["AWS_SHARED_CREDENTIALS_FILE"] = self.facts["aws_credentials_file"]
            identity = self._owner or {"profile_name": profile}
            session = boto3.Session(region_name=wanted[2], **identity)
            self._clients[wanted] = session.client(
                service, endpoint_url=self.facts["aws_endpoint_url"], verify=self.facts["aws_ca_bundle"]
            )
        return self._clients[wanted]

    def saved_label(
        self, bucket: str, label_hash: str, edited_at: str, *, prefix: str = "", seconds: float = PATIENCE_SECONDS
    ) -> tuple[str, dict[str, Any]]:
        """Return key and GetObject's answer of a label once its object is of that edit time.

        Raises TimeoutError when it is not within ``seconds``.
        """
        s3 = self.aws("s3")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
                if label_hash in item["Key"]:
                    found = dict(s3.get_object(Bucket=bucket, Key=item["Key"]))
                    if found["Metadata"].get("last-edited-at") == edited_at:
                        return str(item["Key"]), found
            time.sleep(LOOK_EVERY_SECONDS)
        raise TimeoutError(f"not within {seconds:.0f} s: an object of label {label_hash} edited at {edited_at}")

    def allowed_actions(self, users: str) -> set[str]:
        """Return the IAM actions that users' policies have allowed since the stack was started.

        ``users`` is what their names begin with.
        """
        lines = Path(self.facts["aws_allowed_actions_file"]).read_text().splitlines()
        callers = (line.split("\t") for line in lines)
        return {action for caller, action in callers if f":user/{users}" in caller}

    def request(self, url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Send a request to a server of the stack; return status and body, whatever the status."""
        request = urllib.request.Request(url, method=method, data=body, headers=headers)  # noqa: S310 - https
        try:
            # Each URL is the stack's own, and https.
            with urllib.request.urlopen(request, timeout=60, context=self.tls) as answer:  # noqa: S310  # nosec B310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def encord(self, method: str, path: str, body: Any = None) -> bytes:
        """Call the control API of the Encord stand-in; return the response's body. Raises RuntimeError."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.facts['encord_control_url']}/_stand_in/{path}"
        token = Path(self.facts["encord_control_token_file"]).read_text()
        headers = {"Content-Type": "application/json", "X-Control-Token": token}
        status, answer = self.request(url, method, data, **headers)
        if status >= 400:  # noqa: PLR2004 - HTTP's own boundary
            raise RuntimeError(f"{method} {path} of the Encord stand-in answered {status}: {answer.decode()}")
        return answer

    def encord_json(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control API of the Encord stand-in; return the response's JSON."""
        return json.loads(self.encord(method, path, body))
