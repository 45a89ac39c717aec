"""The handler between loopback servers that stand for AWS and Encord."""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from handler_deployment import Deployment, Output
from handler_servers import AwsServer, EncordServer
from hypothesis import HealthCheck, settings
from label_export import handler, retry

# No deadline: the time of an example depends on the load of the machine.
settings.register_profile("handler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("handler")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
def aws(certificate: Path) -> Iterator[AwsServer]:
    server = AwsServer(certificate)
    with server.running():
        yield server


@pytest.fixture
def encord(certificate: Path) -> Iterator[EncordServer]:
    server = EncordServer(certificate)
    with server.running():
        yield server


@pytest.fixture
def deployment(
    aws: AwsServer, encord: EncordServer, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> Iterator[Deployment]:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    for name in ("AWS_LAMBDA_RUNTIME_API", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    yield Deployment(aws, encord, monkeypatch, certificate)
    handler.application.cache_clear()
    methods = {json.loads(call.body)["query_method"] for call in encord.calls if call.body.startswith(b"{")}
    assert methods <= {"GET"}, "nothing that the function does may write to Encord"


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what was written since the last call."""
    return lambda: Output(capsys.readouterr().out)
