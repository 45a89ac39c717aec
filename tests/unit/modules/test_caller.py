"""Credentials that cannot be used: each message names the cause and the command to run."""

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
[profile greeting]
credential_process = echo hello
[profile no-program]
credential_process = /nowhere/program
[profile no-source]
role_arn = arn:aws:iam::123456789012:role/a
[profile instance]
role_arn = arn:aws:iam::123456789012:role/a
credential_source = Ec2InstanceMetadata
[profile token]
role_arn = arn:aws:iam::123456789012:role/a
web_identity_token_file = /nowhere/token
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
    """A machine with only that configuration."""
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
        ("greeting", ["'greeting' does not write JSON", "credential_process"]),
        ("no-program", ["'no-program' cannot be read", "/nowhere/program", "credential_process a program"]),
        ("no-source", ["'no-source' has a role_arn", "source_profile or credential_source"]),
        ("instance", ["This machine does not provide", "'instance'", "on an EC2 instance"]),
        ("token", ["'token' cannot be read", "/nowhere/token", "web_identity_token_file is a file"]),
        ("half", ["are not complete", "aws_secret_access_key"]),
        ("loop", ["Your AWS configuration cannot be used"]),
        ("keys", ["AWS cannot be reached", "127.0.0.1:9"]),
    ],
)
def test_each_message_has_the_cause_and_what_to_do(
    profile: str, sentences: list[str], environment: dict[str, str]
) -> None:
    text = said({**environment, **({"AWS_PROFILE": profile} if profile else {})})
    for sentence in sentences:
        assert sentence in text


def test_an_invalid_configuration_is_named(environment: dict[str, str], tmp_path: Path) -> None:
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
def test_a_refusal_by_aws_is_explained(code: str, sentence: str, environment: dict[str, str]) -> None:
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


@pytest.mark.parametrize(
    ("given", "shell", "added"),
    [
        ({}, {}, {}),
        # Each variable of the shell that names an endpoint has the given one, and nothing disables it.
        (
            {"AWS_ENDPOINT_URL": "http://a"},
            {"AWS_ENDPOINT_URL_S3": "http://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            {"AWS_ENDPOINT_URL_S3": "http://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
        ),
        # botocore prefers AWS_DEFAULT_PROFILE, amazon.aws prefers AWS_PROFILE.
        ({"AWS_PROFILE": "dev"}, {"AWS_DEFAULT_PROFILE": "prod"}, {"AWS_DEFAULT_PROFILE": "dev"}),
        (
            {},
            {"AWS_PROFILE": "dev", "AWS_DEFAULT_PROFILE": "prod"},
            {"AWS_PROFILE": "dev", "AWS_DEFAULT_PROFILE": "dev"},
        ),
        ({}, {"AWS_DEFAULT_PROFILE": "dev"}, {"AWS_PROFILE": "dev", "AWS_DEFAULT_PROFILE": "dev"}),
        # Names that only amazon.aws reads.
        ({}, {"AWS_ACCESS_KEY": "a", "AWS_SECRET_KEY": "b"}, {"AWS_ACCESS_KEY": "", "AWS_SECRET_KEY": ""}),
    ],
    ids=json.dumps,
)
def test_every_module_uses_the_checked_credentials(
    given: dict[str, str], shell: dict[str, str], added: dict[str, str]
) -> None:
    assert caller.one_aws(given, shell) == {**given, **added}


@pytest.mark.parametrize(
    ("given", "shell", "typed"),
    [
        ({}, {"AWS_PROFILE": "dev", "AWS_ACCESS_KEY_ID": "a", "AWS_SESSION_TOKEN": "b"}, "unset AWS_PROFILE."),
        ({}, {"AWS_DEFAULT_PROFILE": "dev", "AWS_ACCESS_KEY_ID": "a"}, "type: unset AWS_ACCESS_KEY_ID."),
        # The input removes the keys.
        ({"AWS_PROFILE": "dev"}, {"AWS_PROFILE": "dev", "AWS_ACCESS_KEY_ID": "a"}, ""),
        ({}, {"AWS_PROFILE": "dev", "AWS_ACCESS_KEY_ID": ""}, ""),
    ],
    ids=json.dumps,
)
def test_a_profile_together_with_keys_is_refused(given: dict[str, str], shell: dict[str, str], typed: str) -> None:
    text = caller.two_identities(given, shell)
    assert typed in text
    assert bool(typed) is bool(text)


ENDPOINTS = """
[default]
endpoint_url = http://localhost:4566
[profile single]
services = local
[profile amazon]
endpoint_url = https://sts.eu-west-1.amazonaws.com
[profile ignoring]
services = local
ignore_configured_endpoint_urls = true
[profile unfinished]
services = nowhere
[services local]
s3 =
  endpoint_url = http://localhost:9000
  addressing_style = path
secrets_manager =
  endpoint_url = https://secretsmanager.eu-west-1.amazonaws.com
"""


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ("default", {"endpoint_url": "http://localhost:4566"}),
        ("single", {"services local: s3": "http://localhost:9000"}),
        ("amazon", {}),
        ("ignoring", {}),
        # Unreadable files are refused with the credentials.
        ("unfinished", {}),
        ("missing", {}),
    ],
)
def test_endpoints_in_the_configuration_are_found(
    profile: str, found: dict[str, str], environment: dict[str, str]
) -> None:
    file = Path(caller.os.environ["AWS_CONFIG_FILE"])
    file.write_text(ENDPOINTS)
    without = {name: value for name, value in environment.items() if name != "AWS_ENDPOINT_URL"}
    named = {} if profile == "default" else {"AWS_PROFILE": profile}
    assert caller.configured_elsewhere({**without, **named}) == (str(file), profile, found)


def test_the_lookup_says_which_line_of_the_configuration_to_remove(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = plugin("lookup.checked_environment")
    file = Path(caller.os.environ["AWS_CONFIG_FILE"])
    file.write_text(ENDPOINTS)
    for name in caller.endpoint_variables(caller.os.environ):
        monkeypatch.delenv(name)
    text = lookup.elsewhere({"AWS_PROFILE": "single"}, FILE)
    assert text.startswith(
        f"The profile 'single' in {file} sends requests to something other than AWS, by services local: s3 "
    )
    assert f"set label_export_aws_endpoint_url in {FILE}" in text
    assert lookup.elsewhere({"AWS_PROFILE": "single", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, FILE) == ""


def test_a_given_endpoint_comes_before_every_line_of_the_configuration(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(caller.os.environ["AWS_CONFIG_FILE"]).write_text(
        f"{ENDPOINTS}\n[profile both]\nservices = local\nendpoint_url = http://b"
    )
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    with caller.environment_of(caller.one_aws({**environment, "AWS_PROFILE": "both"}, caller.os.environ)):
        session = caller.botocore.session.Session()
        for service in ("s3", "sts", "secretsmanager"):
            assert session.create_client(service).meta.endpoint_url == environment["AWS_ENDPOINT_URL"]
