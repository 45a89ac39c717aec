"""The environment: defaults, and refusals that name the variable, the problem and the place of the setting."""

from __future__ import annotations

import pytest
from handler_deployment import KEY_ARN, PASSPHRASE_ARN, SIGNING_ARN
from label_export.adapters.aws.client import AwsClient
from label_export.adapters.transport import Transport
from label_export.core.errors import SettingsError
from label_export.settings import INVENTORY_VARIABLES, Settings

LEAST = {
    "LABEL_EXPORT_BUCKET": "labels",
    "LABEL_EXPORT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/labels",
    "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": KEY_ARN,
    "LABEL_EXPORT_SIGNING_SECRETS_ARN": SIGNING_ARN,
}


def test_defaults() -> None:
    settings = Settings.from_environment(LEAST)
    assert settings.encord_domain == "https://api.encord.com"
    assert settings.event_types == {"task_submitted_event", "task_completed_event"}
    assert settings.projects == settings.workflow_stages == frozenset()
    assert (settings.gzip, settings.kms_key_arn, settings.concurrency, settings.log_level) == (False, None, 5, "INFO")
    assert settings.memory_limit < settings.spool_limit


def test_every_setting_can_be_set() -> None:
    settings = Settings.from_environment(
        LEAST
        | {
            "LABEL_EXPORT_KEY_TEMPLATE": "x/{label_hash}",
            "LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN": PASSPHRASE_ARN,
            "LABEL_EXPORT_ENCORD_DOMAIN": "https://api.us.encord.com/",
            "LABEL_EXPORT_PROJECTS": '["p-1"]',
            "LABEL_EXPORT_EVENT_TYPES": '["task_sumbitted_event"]',
            "LABEL_EXPORT_WORKFLOW_STAGES": '["Complete", "Zweite Prüfung"]',
            "LABEL_EXPORT_COMPRESSION": "gzip",
            "LABEL_EXPORT_BUCKET_OWNER": "123456789012",
            "LABEL_EXPORT_KMS_KEY_ARN": "arn:aws:kms:eu-west-1:000000000000:key/0b1d",
            "LABEL_EXPORT_CONCURRENCY": "10",
            "LABEL_EXPORT_MEMORY_LIMIT_BYTES": "1048576",
            "LABEL_EXPORT_SPOOL_LIMIT_BYTES": "0",
            "LABEL_EXPORT_LOG_LEVEL": "DEBUG",
            "LABEL_EXPORT_NAME": "n",
            "LABEL_EXPORT_ENVIRONMENT": "prod",
        }
    )
    assert settings.encord_domain == "https://api.us.encord.com"
    assert settings.bucket_owner == "123456789012"
    assert settings.event_types == {"task_submitted_event"}
    assert settings.workflow_stages == {"Complete", "Zweite Prüfung"}
    assert (settings.projects, settings.gzip, settings.concurrency) == ({"p-1"}, True, 10)
    assert (settings.passphrase_secret_arn, settings.name, settings.environment) == (PASSPHRASE_ARN, "n", "prod")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LABEL_EXPORT_BUCKET", None),
        ("LABEL_EXPORT_BUCKET", ""),
        ("LABEL_EXPORT_BUCKET", "Canary_Bucket"),
        ("LABEL_EXPORT_QUEUE_URL", None),
        ("LABEL_EXPORT_QUEUE_URL", "canary"),
        ("LABEL_EXPORT_KEY_TEMPLATE", "canary"),
        ("LABEL_EXPORT_PRIVATE_KEY_SOURCE", "canary"),
        ("LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN", None),
        ("LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN", "arn:aws:s3:::canary"),
        ("LABEL_EXPORT_PRIVATE_KEY_PASSPHRASE_SECRET_ARN", "canary"),
        ("LABEL_EXPORT_SIGNING_SECRETS_ARN", None),
        ("LABEL_EXPORT_SIGNING_SECRETS_ARN", "canary"),
        ("LABEL_EXPORT_ENCORD_DOMAIN", "http://canary"),
        ("LABEL_EXPORT_ENCORD_DOMAIN", "https://canary/path"),
        ("LABEL_EXPORT_ENCORD_DOMAIN", "https://user:canary@host"),  # pragma: allowlist secret - none
        ("LABEL_EXPORT_PROJECTS", "canary"),
        ("LABEL_EXPORT_PROJECTS", '{"a": 1}'),
        ("LABEL_EXPORT_PROJECTS", '["a/b"]'),
        ("LABEL_EXPORT_PROJECTS", "[1]"),
        ("LABEL_EXPORT_EVENT_TYPES", "[" * 100_000),
        ("LABEL_EXPORT_EVENT_TYPES", "[]"),
        ("LABEL_EXPORT_EVENT_TYPES", '["task_complete_event"]'),
        ("LABEL_EXPORT_EVENT_TYPES", '["task_completed_event", "digest_event"]'),
        ("LABEL_EXPORT_LATE_RECEIVE", "1"),
        ("LABEL_EXPORT_WORKFLOW_STAGES", '[""]'),
        ("LABEL_EXPORT_COMPRESSION", "canary"),
        ("LABEL_EXPORT_BUCKET_OWNER", "12345"),
        ("LABEL_EXPORT_KMS_KEY_ARN", "canary"),
        ("LABEL_EXPORT_CONCURRENCY", "0"),
        ("LABEL_EXPORT_CONCURRENCY", "1.5"),
        ("LABEL_EXPORT_CONCURRENCY", "51"),
        ("LABEL_EXPORT_MEMORY_LIMIT_BYTES", "1"),
        ("LABEL_EXPORT_SPOOL_LIMIT_BYTES", "canary"),
        ("LABEL_EXPORT_LOG_LEVEL", "canary"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "canary"),
    ],
)
def test_invalid_settings_are_refused(variable: str, value: str | None) -> None:
    environment = {name: text for name, text in LEAST.items() if name != variable}
    if value is not None:
        environment[variable] = value
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    text = str(caught.value)
    assert text.startswith(f"{variable} is not ")
    assert text.endswith(f"(inventory variable {INVENTORY_VARIABLES[variable]})")
    assert "canary" not in text.lower()


@pytest.mark.parametrize(
    ("memory", "concurrency", "most"), [("1024", 5, 194615705), ("512", 5, 87241523), ("128", 20, 1677721)]
)
def test_labels_held_in_memory_must_fit_in_the_functions_memory(memory: str, concurrency: int, most: int) -> None:
    environment = {**LEAST, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory, "LABEL_EXPORT_CONCURRENCY": str(concurrency)}
    settings = Settings.from_environment(environment | {"LABEL_EXPORT_MEMORY_LIMIT_BYTES": str(most)})
    assert settings.memory_needed <= int(memory) << 20
    with pytest.raises(SettingsError, match=f"LABEL_EXPORT_MEMORY_LIMIT_BYTES is not within .* at most {most} "):
        Settings.from_environment(environment | {"LABEL_EXPORT_MEMORY_LIMIT_BYTES": str(most + 1)})


def test_compressed_data_counts_as_memory_too() -> None:
    plain, compressed = (
        Settings.from_environment(LEAST | {"LABEL_EXPORT_COMPRESSION": way}).memory_needed for way in ("none", "gzip")
    )
    assert compressed - plain == 5 * (16 << 20), "parts on their way, of each of the five that run concurrently"


def test_a_key_in_the_environment_does_not_show(deployment: object) -> None:
    environment = LEAST | {"LABEL_EXPORT_PRIVATE_KEY_SOURCE": "environment", "LABEL_EXPORT_PRIVATE_KEY": "canary"}
    settings = Settings.from_environment(environment)
    assert settings.private_key == "canary"
    assert "canary" not in repr(settings)
    with pytest.raises(SettingsError, match="LABEL_EXPORT_PRIVATE_KEY is not set"):
        Settings.from_environment(environment | {"LABEL_EXPORT_PRIVATE_KEY": ""})


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
def test_variables_of_lambda_are_required(missing: str) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    del environment[missing]
    with pytest.raises(SettingsError, match=missing):
        AwsClient(Transport(connections_per_host=1, environment={}), environment)
