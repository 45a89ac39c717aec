"""A stand-in in its own process, its files, and a caller that signs as the SDK does."""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from encord.configs import SshConfig
from encord.http.v2.request_signer import sign_request

PACKAGE_FOLDER = Path(__file__).parents[2] / "emulators"


def private_key_text(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()


def public_key_text(key: Ed25519PrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode() + " test\n"


@dataclass
class Files:
    """The files with which a stand-in is started."""

    folder: Path
    key: Ed25519PrivateKey

    @property
    def public_keys(self) -> Path:
        return self.folder / "authorised.pub"

    @property
    def secrets(self) -> Path:
        return self.folder / "webhook-secrets"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def tls_key(self) -> Path:
        return self.folder / "tls-key.pem"

    @property
    def log(self) -> Path:
        return self.folder / "stand-in.log"

    def arguments(self, *, tls: bool = True) -> list[str]:
        arguments = ["--port", "0", "--public-key-file", str(self.public_keys), "--log-file", str(self.log)]
        arguments += ["--webhook-secret-file", str(self.secrets), "--ca-file", str(self.certificate)]
        return arguments + (["--certificate", str(self.certificate), "--key", str(self.tls_key)] if tls else [])


def make_files(folder: Path) -> Files:
    files = Files(folder, Ed25519PrivateKey.generate())
    files.public_keys.write_text("# who may\n" + public_key_text(files.key))
    files.secrets.write_text(os.urandom(24).hex() + "\n")
    _make_certificate(files)
    return files


def _make_certificate(files: Files) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "encord stand-in test")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "127.0.0.2")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.tls_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


class StandInProcess:
    """A running stand-in and its control API."""

    def __init__(self, files: Files, *more: str, tls: bool = True, shutdown_seconds: int | None = None) -> None:
        """Start it. `shutdown_seconds` replaces how long it waits, at its end, for connections to close."""
        self.files = files
        program = ["-m", "encord_stand_in"]
        if shutdown_seconds is not None:
            setting = f"program._SHUTDOWN_SECONDS = {shutdown_seconds}"
            program = [
                "-c",
                f"import sys; from encord_stand_in import __main__ as program; {setting}; sys.exit(program.main())",
            ]
        command = [sys.executable, *program, *files.arguments(tls=tls), *more]
        environment = dict(os.environ, PYTHONPATH=str(PACKAGE_FOLDER))
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started = time.monotonic()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()  # ends too when the process does
        self.start_seconds = time.monotonic() - started
        assert line.startswith("encord_stand_in ready"), f"did not start: {line!r}"
        self.urls = [word for word in line.split() if word.startswith("http")]
        self.url = self.urls[0]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(files.certificate)

    def control(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        response = self.session.request(method, f"{self.url}/_stand_in/{path}", json=body, timeout=60)
        assert response.status_code == status, response.text
        return response.json()

    def row_bytes(self, label_hash: str) -> bytes:
        response = self.session.get(f"{self.url}/_stand_in/label-rows/{label_hash}", timeout=60)
        assert response.status_code == 200, response.text
        return response.content

    def project(self, index: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.control("GET", "projects")["projects"][index]
        return found

    def row(self, key: str, project: int = 0) -> dict[str, Any]:
        rows = self.project(project)["label_rows"]
        found: dict[str, Any] = next(row for row in rows if row["key"] == key)
        return found

    def counts(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.control("GET", "requests")
        return answer

    def stop(self) -> int:
        self.session.close()
        self.process.terminate()
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class RawCaller:
    """Signs as the SDK does, with the SDK's code, and lets a test change anything before it is sent."""

    def __init__(self, stand_in: StandInProcess, key: Ed25519PrivateKey) -> None:
        self.stand_in = stand_in
        self._config = SshConfig(key, domain=stand_in.url)
        self._key = key

    def legacy_headers(self, body: str, project_hash: str | None = None) -> dict[str, str]:
        project_hash = project_hash or self.stand_in.project()["project_hash"]
        return dict(self._config.define_headers(project_hash, "project", body))

    def legacy(self, body: str, headers: dict[str, str] | None = None, *, path: str = "/public") -> requests.Response:
        headers = self.legacy_headers(body) if headers is None else headers
        return self.stand_in.session.post(self.stand_in.url + path, data=body, headers=headers, timeout=30)

    def signed(self, path: str, method: str = "GET", body: str | None = None) -> requests.PreparedRequest:
        request = requests.Request(method, self.stand_in.url + path, data=body).prepare()
        return sign_request(request, self._config.public_key_hex, self._key)

    def send(self, request: requests.PreparedRequest) -> requests.Response:
        return self.stand_in.session.send(request, verify=str(self.stand_in.files.certificate), timeout=30)
