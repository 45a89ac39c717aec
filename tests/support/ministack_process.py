"""The local stack's AWS as a process of a test: the same pinned MiniStack with the same corrections, without Lambda."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3
from encord_harness import PACKAGE_FOLDER, Files
from own_environments import own_environment

ACCOUNT = "000000000000"
REGION = "eu-west-1"
REQUIREMENTS = PACKAGE_FOLDER / "ministack-requirements.txt"
ENVIRONMENT = "ministack-of-tests"  # "ministack" is the local stack's own, which may run meanwhile
START_SECONDS = 60


class MiniStackProcess:
    """A running MiniStack that enforces signatures and IAM; the keys are those of the root user."""

    def __init__(self, files: Files, folder: Path) -> None:
        """`files` has the certificate; `folder` is for the log and the emulator's own files."""
        self.access_key, self.secret_key = f"ROOT{os.urandom(8).hex().upper()}", os.urandom(20).hex()
        self.certificate = str(files.certificate)
        python = str(own_environment(ENVIRONMENT, REQUIREMENTS))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"https://localhost:{port}"
        command = [python, "-m", "hypercorn", "emulated_aws:app", "--workers=0", "--keep-alive=75"]
        command += [f"--certfile={files.certificate}", f"--keyfile={files.tls_key}", f"--bind=127.0.0.1:{port}"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE_FOLDER),
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(files.certificate),
            "MINISTACK_SSL_KEY": str(files.tls_key),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            **dict.fromkeys(("TMPDIR", "STATE_DIR", "S3_DATA_DIR"), str(folder)),
        }
        self._log = (folder / "ministack.log").open("w")
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=subprocess.STDOUT)
        self._wait(port, folder)

    def client(self, service: str) -> Any:
        """Return a client of a service, as the root user."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=self.certificate,
        )

    def stop(self) -> None:
        self._process.kill()  # it has no state to save, and a clean shutdown waits for clients
        self._process.wait()
        self._log.close()

    def _wait(self, port: int, folder: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, (folder / "ministack.log").read_text()[-2000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < end, "MiniStack does not listen"
                time.sleep(0.05)
