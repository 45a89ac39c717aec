"""Credentials that cannot be used: each kind of them says what is the case and what to type."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fake_aws import plugin
from serving import serving

caller = plugin("plugin_utils.caller")
FILE = "inventory/dev/group_vars/label_export/label_export.yml"
CONFIG = """
[profile mfa]
role_arn = arn:aws:iam::123456789012:role/deployer
source_profile = keys
mfa_serial = arn:aws:iam::123456789012:mfa/somebody
[profile mfa-of-another]
role_arn = arn:aws:iam::123456789012:role/other
source_profile = mfa
[profile keys]
aws_access_key_id = a
aws_secret_access_key = b
[profile login]
login_session = arn:aws:sts::123456789012:assumed-role/somebody/a
[profile sso]
sso_session = company
sso_account_id = 123456789012
sso_role_name = deployer
[sso-session company]
sso_region = eu-west-1
sso_start_url = https://example.awsapps.com/start
[profile program]
credential_process = sh -c 'echo no vault >&2; exit 3'
[profile half]
aws_access_key_id = a
[profile loop]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = loop2
[profile loop2]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = loop
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine with that configuration, and nothing else."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(CONFIG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }


def said(environment: dict[str, str]) -> str:
    with pytest.raises(caller.UnknownCallerError) as caught:
        caller.caller(environment, FILE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("profile", "sentences"),
    [
        ("", ["There are no AWS credentials", "aws configure", FILE]),
        (
            "nobody",
            ["The profile 'nobody' is not in your AWS configuration", "mfa, ", "aws configure --profile nobody"],
        ),
        ("mfa", ["has an mfa_serial", "aws configure export-credentials --profile mfa --format env"]),
        ("mfa-of-another", ["has an mfa_serial", "--profile mfa-of-another"]),
        ("login", ["has expired, or there was none", "Type: aws login --profile login"]),
        ("sso", ["has expired, or there was none", "Type: aws sso login --profile sso"]),
        ("program", ["'program' failed", "no vault", "credential_process"]),
        ("half", ["are not complete", "aws_secret_access_key"]),
        ("loop", ["Your AWS configuration cannot be used"]),
        ("keys", ["AWS cannot be reached", "127.0.0.1:9"]),
    ],
)
def test_each_says_what_is_the_case_and_what_to_do(
    profile: str, sentences: list[str], environment: dict[str, str]
) -> None:
    text = said({**environment, **({"AWS_PROFILE": profile} if profile else {})})
    for sentence in sentences:
        assert sentence in text


def test_a_configuration_that_is_none_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a=b\n[")
    assert "Your AWS configuration cannot be used" in said(environment)


def refusing(code: str) -> type[BaseHTTPRequestHandler]:
    """Return an AWS that answers with an error."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Refusing


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ExpiredToken", "The session has expired. Sign in again (aws sso login --profile keys)"),
        ("InvalidClientTokenId", "AWS does not know the access key"),
        ("SignatureDoesNotMatch", "does not belong to the access key, or the clock is wrong"),
        ("RequestExpired", "The clock of this machine is wrong"),
        ("SomethingElse", "AWS_PROFILE or label_export_aws_profile"),
    ],
)
def test_what_aws_refuses_is_explained(code: str, sentence: str, environment: dict[str, str]) -> None:
    with serving(refusing(code)) as url:
        text = said({**environment, "AWS_PROFILE": "keys", "AWS_ENDPOINT_URL": url})
    assert "AWS refuses the credentials" in text
    assert sentence in text


def test_the_process_keeps_its_environment(environment: dict[str, str]) -> None:
    before = dict(caller.os.environ)
    said(environment)
    assert dict(caller.os.environ) == before


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"AWS_ENDPOINT_URL_S3": "http://localhost:4566"}, ["AWS_ENDPOINT_URL_S3"]),
        ({"AWS_ENDPOINT_URL": "https://minio.example.com", "AWS_URL": "http://a"}, ["AWS_ENDPOINT_URL", "AWS_URL"]),
        (
            {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://amazonaws.com.example.com"},
            ["AWS_ENDPOINT_URL_SECRETS_MANAGER"],
        ),
        ({"AWS_ENDPOINT_URL_S3": "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"}, []),
        ({"AWS_ENDPOINT_URL_S3": "https://s3.cn-north-1.amazonaws.com.cn"}, []),
        ({"AWS_ENDPOINT_URL_S3": ""}, []),
        ({"AWS_ENDPOINTS": "http://localhost"}, []),
    ],
    ids=json.dumps,
)
def test_endpoints_that_are_not_aws(variables: dict[str, str], found: list[str]) -> None:
    assert list(caller.endpoints_elsewhere(variables)) == found


def test_one_aws_for_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = plugin("lookup.checked_environment")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    given = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert lookup.one_aws(given) == {**given, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    assert lookup.one_aws({}) == {}
