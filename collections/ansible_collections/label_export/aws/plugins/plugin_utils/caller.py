"""Determines the account of the credentials that the modules of a task would use, or the reason why it is not known.

No task is needed for it, so that no option of ansible-playbook can leave it out (lookup ``checked_environment``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore.config
import botocore.exceptions as errors
import botocore.session
from ansible_collections.label_export.aws.plugins.plugin_utils.process_environment import environment_of

# One variable for all services, one for each (SDK guide, service-specific endpoints); AWS_URL is amazon.aws's own.
ENDPOINT_VARIABLE = re.compile(r"AWS_ENDPOINT_URL(_\w+)?|AWS_URL")
# What amazon.aws reads where AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing, and no SDK of AWS's does.
OLD_KEYS = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY")
# The domains of AWS's partitions, and of a VPC's own endpoints in them.
AMAZON = re.compile(r"(.+\.)?(amazonaws\.(com|com\.cn|eu)|api\.aws|aws\.dev|c2s\.ic\.gov|sc2s\.sgov\.gov)")


class Caller(NamedTuple):
    """Who signs the requests."""

    account: str
    arn: str


class UnknownCallerError(Exception):
    """The caller could not be determined. The text has the reason, and what to do."""


def one_aws(given: Mapping[str, str], shell: Mapping[str, str]) -> dict[str, str]:
    """Return a task's variables, extended so that each module uses the credentials and the endpoint that are checked.

    SDK and amazon.aws do not read the same variables in the same order: botocore takes AWS_DEFAULT_PROFILE before
    AWS_PROFILE, amazon.aws the other way round, and it also reads AWS_ACCESS_KEY and AWS_SECRET_KEY.

    Args:
        given: The variables of the task.
        shell: The environment variables of the process, which the task has too.
    """
    url = given.get("AWS_ENDPOINT_URL")
    profile = profile_of(given, shell)
    return {
        **given,
        # The shell's variables for single services would have priority, and a setting could disable all endpoints.
        **(dict.fromkeys([*endpoint_variables(shell), "AWS_ENDPOINT_URL"], url) if url else {}),
        **({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"} if url else {}),
        **(dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE"), profile) if profile else {}),
        **{name: "" for name in OLD_KEYS if shell.get(name)},
    }


def profile_of(given: Mapping[str, str], shell: Mapping[str, str]) -> str:
    """Return the name of the selected profile; empty for the default one."""
    return given.get("AWS_PROFILE") or shell.get("AWS_PROFILE") or shell.get("AWS_DEFAULT_PROFILE") or ""


def two_identities(given: Mapping[str, str], shell: Mapping[str, str]) -> str:
    """Return what to do about a shell that has a profile and keys; empty if it has at most one of them.

    An SDK would use the keys, and amazon.aws would refuse both after the check.
    """
    keys = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if shell.get(name)]
    profiles = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if shell.get(name)]
    if given.get("AWS_PROFILE") or not keys or not profiles:
        return ""
    return (
        f"Your shell has the profile '{profile_of(given, shell)}' ({profiles[0]}) and access keys ({keys[0]}), and "
        f"only one of them can be used. For the profile, type: unset {' '.join(keys)}. For the keys, type: unset "
        f"{' '.join(profiles)}."
    )


def endpoints_elsewhere(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that send an SDK's requests to something other than AWS, with their values."""
    return elsewhere(endpoint_variables(environment))


def elsewhere(found: Mapping[str, str]) -> dict[str, str]:
    """Return those of some URLs by their names that are not AWS's."""
    return {name: url for name, url in found.items() if not AMAZON.fullmatch(urlsplit(url).hostname or "")}


def configured_elsewhere(environment: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """Return the AWS configuration's file, the profile in use, and its settings with an endpoint other than AWS.

    These are `endpoint_url` of the profile, and of each service in the section `services` that it names (SDK guide,
    service-specific endpoints). If the configuration cannot be read, `caller` reports the reason.
    """
    with environment_of(environment):
        session = botocore.session.Session()
        file = session.get_config_variable("config_file")
        profile = session.profile or "default"
        try:
            if session.get_config_variable("ignore_configured_endpoint_urls"):
                return file, profile, {}
            settings = session.get_scoped_config()
            services = session.full_config.get("services", {}).get(settings.get("services"), {})
        except errors.BotoCoreError:
            return file, profile, {}
    urls = {"endpoint_url": settings.get("endpoint_url")}
    for service, values in services.items():
        if isinstance(values, dict):
            urls[f"services {settings['services']}: {service}"] = values.get("endpoint_url")
    return file, profile, elsewhere({name: url for name, url in urls.items() if url})


def endpoint_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that name an endpoint for an SDK, with their values."""
    return {name: url for name, url in sorted(environment.items()) if url and ENDPOINT_VARIABLE.fullmatch(name)}


def caller(environment: Mapping[str, str], settings_file: str) -> Caller:
    """Return the account and the ARN of the credentials that a task with this environment uses.

    Args:
        environment: What is added to the process's own environment variables.
        settings_file: The file in which a person names the profile.

    Raises:
        UnknownCallerError: with the reason, and what to do.
    """
    with environment_of(environment):
        session = botocore.session.Session()
        profile = session.profile or session.get_config_variable("profile") or "default"
        # Asked first: the SDK would prompt for the code, on a terminal that a task does not have.
        if needs_mfa(session, profile) and not os.environ.get("AWS_ACCESS_KEY_ID"):
            raise UnknownCallerError(
                f"The profile '{profile}' has an mfa_serial: it needs a code from your MFA device, which a playbook "
                f"cannot ask "
                f'for. Type: eval "$(aws configure export-credentials --profile {profile} --format env)" and enter '
                f"the code, "
                "then run the playbook again in this shell, with label_export_aws_profile empty and AWS_PROFILE not "
                "set."
            )
        try:
            client = session.create_client("sts", config=botocore.config.Config(connect_timeout=10))
            answer = client.get_caller_identity()
        # Whatever a provider of credentials raises becomes a sentence.
        except Exception as error:
            raise UnknownCallerError(problem(error, session, profile, settings_file)) from error
    return Caller(answer["Account"], answer["Arn"])


def problem(error: Exception, session: Any, profile: str, settings_file: str) -> str:
    """Return the problem of the credentials, and what to do, as sentences."""
    where = f"AWS_PROFILE or label_export_aws_profile in {settings_file}"
    sentences: list[tuple[type | tuple[type, ...], str]] = [
        (
            errors.ProfileNotFound,
            f"The profile '{profile}' is not in your AWS configuration, which has "
            f"{', '.join(available_profiles(session)) or 'none'}. Correct {where}, or type: aws configure --profile "
            f"{profile}",
        ),
        (
            (errors.SSOError, errors.TokenRetrievalError, errors.NoAuthTokenError),
            f"The sign-in of the profile '{profile}' has expired, or there was none. Type: aws sso login --profile "
            f"{profile}",
        ),
        (
            errors.LoginError,
            f"The sign-in of the profile '{profile}' has expired, or there was none. Type: aws login --profile "
            f"{profile}",
        ),
        (
            errors.MissingDependencyException,
            f"The profile '{profile}' was created by `aws login`, for which the package awscrt is missing. Type: make "
            f"install",
        ),
        (
            errors.NoCredentialsError,
            f"There are no AWS credentials. Name a profile ({where}), or set AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY; "
            "to create a profile, type: aws configure",
        ),
        (errors.PartialCredentialsError, incomplete(error, profile, where)),
        (errors.CredentialRetrievalError, not_given(error, profile)),
        (
            json.JSONDecodeError,
            f"The program that returns the credentials of the profile '{profile}' does not write JSON ({error}). Run "
            f"it yourself to see what it writes; it is the credential_process in your AWS configuration.",
        ),
        (
            (errors.ConfigParseError, errors.ConfigNotFound, errors.InvalidConfigError, errors.UnknownCredentialError),
            f"Your AWS configuration cannot be used ({error}). Correct ~/.aws/config or ~/.aws/credentials.",
        ),
        (
            errors.SSLError,
            f"The certificate of AWS is not trusted ({error}). Where a proxy inspects TLS, set AWS_CA_BUNDLE or "
            f"label_export_aws_ca_bundle in {settings_file} to the file of its certificate authority.",
        ),
        (
            (errors.ConnectionError, errors.HTTPClientError),
            f"AWS cannot be reached ({error}). Check the network, HTTPS_PROXY and NO_PROXY, and label_export_region "
            f"and "
            f"label_export_aws_endpoint_url in {settings_file}.",
        ),
        (errors.ClientError, refused(error, profile, where)),
        (
            OSError,
            f"The AWS credentials of the profile '{profile}' cannot be read ({error}). Correct the profile in "
            f"your AWS configuration: web_identity_token_file is a file, credential_process a program.",
        ),
    ]
    for kind, sentence in sentences:
        if isinstance(error, kind):
            return sentence
    kind_and_text = f"{type(error).__name__}: {error}"
    return f"The AWS credentials of the profile '{profile}' cannot be used ({kind_and_text}). Correct {where}."


def incomplete(error: Exception, profile: str, where: str) -> str:
    """Return what to add to credentials of which a part is missing."""
    if getattr(error, "kwargs", {}).get("provider") == "assume-role":
        return (
            f"The profile '{profile}' has a role_arn, but no credentials that assume the role. Add "
            f"source_profile or credential_source to it in your AWS configuration, or name another profile ({where})."
        )
    return (
        f"The AWS credentials are not complete ({error}). Set all of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for "
        f"temporary credentials, AWS_SESSION_TOKEN, or name a profile ({where})."
    )


def not_given(error: Exception, profile: str) -> str:
    """Return what to do if a program, or this machine, does not return the credentials of a profile."""
    if getattr(error, "kwargs", {}).get("provider") == "custom-process":
        return (
            f"The program that returns the credentials of the profile '{profile}' failed ({error}). Run it yourself to "
            f"see why; it is the credential_process in your AWS configuration."
        )
    return (
        f"This machine does not provide the credentials of the profile '{profile}' ({error}). credential_source in "
        f"your AWS configuration works only in the place that it names: on an EC2 instance or in a container with a "
        f"role."
    )


def refused(error: Exception, profile: str, where: str) -> str:
    """Return what to do about a refusal by AWS."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    advice = {
        "ExpiredToken": f"The session has expired. Sign in again (aws sso login --profile {profile}), or get new "
        f"temporary keys.",
        "InvalidClientTokenId": f"AWS does not know the access key. Check {where} and AWS_ACCESS_KEY_ID, and for "
        f"temporary "
        "credentials AWS_SESSION_TOKEN.",
        "SignatureDoesNotMatch": "The secret access key does not belong to the access key, or the clock is wrong.",
        "RequestTimeTooSkewed": "The clock of this machine is wrong.",
        "AccessDenied": f"The credentials are not allowed to make the first request. For a role, check that the "
        f"profile '{profile}' may assume it.",
    }
    code = {"ExpiredTokenException": "ExpiredToken", "RequestExpired": "RequestTimeTooSkewed"}.get(code, code)
    return f"AWS refuses the credentials ({error}). {advice.get(code, f'Check {where}.')}"


def available_profiles(session: Any) -> list[str]:
    """Return the names of the profiles; none where the configuration cannot be read."""
    try:
        return sorted(session.available_profiles)
    except errors.BotoCoreError:
        return []


def needs_mfa(session: Any, profile: str) -> bool:
    """Return whether a profile, or one that it takes its credentials from, asks for an MFA code."""
    try:
        profiles = session.full_config.get("profiles", {})
    except errors.BotoCoreError:
        return False
    seen: set[str] = set()
    while profile in profiles and profile not in seen:
        if {"role_arn", "mfa_serial"} <= profiles[profile].keys():  # the SDK ignores mfa_serial without a role
            return True
        seen.add(profile)
        profile = profiles[profile].get("source_profile", "")
    return False
