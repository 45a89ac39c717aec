"""Every wrong input is refused before the first request to AWS; the message says what, where and how to fix it.

All cases are hosts of one run: each host has one wrong input, and runs the preflight of the role that must refuse
it. One more run shows that the deploy itself is refused.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socketserver
import subprocess
import threading
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from inventory_host import inventory_host
from playbook_runs import NO_SPECS

ROOT = Path(__file__).resolve().parents[2]
ALIAS = "arn:aws:kms:eu-west-1:123456789012:alias/labels"
ELSEWHERE = "arn:aws:kms:us-east-1:123456789012:key/0000"
# Credentials that the modules would use for AWS.
ENVIRONMENT = {
    "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_MAX_ATTEMPTS": "1",
}
A_PROJECT = "00000000-1111-2222-3333-444444444444"
PUBLIC = "ssh-ed25519 AAAA of-someone"


ROLES_WITH_KEYS = (
    "label_bucket",
    "export_queue",
    "encord_secrets",
    "image_repository",
    "export_function",
    "monitoring",
)


class Case(NamedTuple):
    """The role that must refuse, the input, a part of the message, and the file that the message names."""

    role: str
    overrides: dict[str, Any]
    said: str
    file: str


def of(role: str, said: str, **overrides: Any) -> Case:
    """Return a case of one role, whose file the message names."""
    return Case(role, overrides, said, f"group_vars/label_export/{role}.yml")


def of_a_key(**overrides: str) -> Case:
    """Return a case of a KMS key, which role ``label_export`` checks for all roles; the file is the other role's."""
    ((name, value),) = overrides.items()
    role = next(role for role in ROLES_WITH_KEYS if name.startswith(role))
    return Case("label_export", overrides, f"{name} is '{value}'", f"group_vars/label_export/{role}.yml")


def misspelt(name: str, meant: str) -> Case:
    return Case("label_export", {name: 1}, f"No role knows {name}: did you mean {meant}?", "group_vars/")


def by_the_spec(role: str, said: str, **overrides: Any) -> Case:
    """Return a case that the argument spec refuses: the message has Ansible's own text, and the file."""
    (name,) = overrides
    return Case(role, overrides, f"Validation of arguments failed: {role}: {said.format(name)}", f"/{role}.yml")


WRONG_TYPE, NO_CHOICE = "argument '{}' is of type", "value of {} must be one of"


def by_the_file(said: str, file: str) -> Case:
    """Return a case of a private key file."""
    return of("encord_secrets", said, encord_secrets_private_key_file=file)


def by_the_function(said: str, **overrides: Any) -> Case:
    """Return a case that the function's own code refuses: the message has its setting, and the variable."""
    (name,) = overrides
    return Case("export_function", overrides, f"The function would not start: {said} ", f"inventory variable {name}")


CASES = {
    # label_export
    "no environment": of("label_export", "label_export_environment is ''", label_export_environment=""),
    "an upper-case environment": of(
        "label_export", "label_export_environment is 'Prod'", label_export_environment="Prod"
    ),
    "a long environment": of(
        "label_export", "label_export_environment is 'seventeen", label_export_environment="seventeenletters1"
    ),
    "a hyphen in the environment": of(
        "label_export", "no two pairs make one resource name", label_export_environment="eu-dev"
    ),
    "an engine without its protocol": of(
        "label_export", "label_export_docker_host '/var", label_export_docker_host="/var/run/docker.sock"
    ),
    "a long name": of("label_export", "label_export_name is", label_export_name="a" * 25),
    "no account": of("label_export", "label_export_account_id is ''", label_export_account_id=""),
    "a short account": of("label_export", "label_export_account_id is '12345'", label_export_account_id="12345"),
    "an account without its zeros": of(
        "label_export", "label_export_account_id is '123456789'", label_export_account_id=123456789
    ),
    "no region": of("label_export", "label_export_region is ''", label_export_region=""),
    "a region by its place": of("label_export", "label_export_region is 'Ireland'", label_export_region="Ireland"),
    "a schedule in words": of("keep_active", "keep_active_schedule is 'weekly'", keep_active_schedule="weekly"),
    "a lock in a bucket without Object Lock": of(
        "catalog_function",
        "catalog_function_snapshot_lock_mode is GOVERNANCE, and S3 refuses a lock in a bucket without Object Lock. Set "
        "label_bucket_object_lock to true",
        catalog_function_snapshot_lock_mode="GOVERNANCE",
    ),
    "a reader's project by its title": of(
        "label_readers",
        "label_readers_projects names ['street scenes']",
        label_readers_projects=[{"project_hash": "street scenes"}],
    ),
    "a reader's project twice": of(
        "label_readers",
        "listed once",
        label_readers_projects=[{"project_hash": A_PROJECT}, {"project_hash": A_PROJECT, "state": "absent"}],
    ),
    "everyone as a reader": of(
        "label_readers",
        "label_readers_projects has the principals ['*']",
        label_readers_projects=[{"project_hash": A_PROJECT, "principals": ["*"]}],
    ),
    "a reader of labels that share a prefix with other projects'": of(
        "label_readers",
        "other projects too",
        label_readers_projects=[{"project_hash": A_PROJECT, "labels": True}],
        export_function_key_template="labels/{dataset_hash}/{project_hash}/{label_hash}.json",
    ),
    "a database with a hyphen": of(
        "label_catalog_table",
        "label_catalog_table_database is 'label-export'",
        label_catalog_table_database="label-export",
    ),
    "tables of an index that nothing writes": of(
        "label_catalog_table",
        "label_bucket_event_bridge (False)",
        label_catalog_table_enabled=True,
        label_bucket_event_bridge=False,
    ),
    "a region of no partition": of(
        "label_export", "label_export_region is 'us-isox-east-1'", label_export_region="us-isox-east-1"
    ),
    "a zone for a region": of("label_export", "label_export_region is 'eu-west-1a'", label_export_region="eu-west-1a"),
    "a tag of AWS's": of("label_export", "label_export_tags is", label_export_tags={"aws:team": "a"}),
    "a tag that the roles set": of("label_export", "label_export_tags is", label_export_tags={"environment": "a"}),
    "a long tag": of("label_export", "label_export_tags is", label_export_tags={"team": "a" * 257}),
    "a tag with a sign that AWS refuses": of("label_export", "label_export_tags is", label_export_tags={"team": "a&b"}),
    "an endpoint without scheme": of(
        "label_export", "label_export_aws_endpoint_url is", label_export_aws_endpoint_url="localhost:1"
    ),
    "no such certificates": of(
        "label_export", "label_export_aws_endpoint_url is", label_export_aws_ca_bundle="/nowhere"
    ),
    "no such credentials": of(
        "label_export", "label_export_aws_endpoint_url is", label_export_aws_credentials_file="/nowhere"
    ),
    "an unknown state": by_the_spec("label_export", NO_CHOICE, label_export_state="latest"),
    "a misspelt timeout": misspelt("export_function_timeuot", "export_function_timeout"),
    "a misspelt bucket": misspelt("label_bucket_nmae", "label_bucket_name"),
    "a misspelt list": misspelt("encord_secrets_signing_secret", "encord_secrets_signing_secrets"),
    "the tag of a secret's version": of(
        "label_export", "label_export_tags is", label_export_tags={"written-version": 1}
    ),
    # A value without quotes that begins with { or [
    "a mapping for the region": of(
        "label_export", "label_export_region is a mapping, and a text is expected", label_export_region={"region": None}
    ),
    "a list for the name": of(
        "label_export", "label_export_name is a list, and a text is expected", label_export_name=["name"]
    ),
    "a mapping for a queue": Case(
        "label_export",
        {"export_queue_name": {"name": None}},
        "export_queue_name is a mapping, and a text is expected",
        "group_vars/label_export/export_queue.yml",
    ),
    "a mapping for a timeout": Case(
        "label_export",
        {"export_function_timeout": {"seconds": 60}},
        "export_function_timeout is a mapping, and a number is expected",
        "group_vars/label_export/export_function.yml",
    ),
    # label_bucket
    "a bucket that S3 refuses": of("label_bucket", "label_bucket_name is 'My_Bucket'", label_bucket_name="My_Bucket"),
    "a bucket with dots": of("label_bucket", "label_bucket_name is 'my.bucket'", label_bucket_name="my.bucket"),
    "a bucket too long by its derived name": of(
        "label_bucket",
        "label_bucket_name is 'aaaaaaaa",
        label_export_name="a" * 24,
        label_export_environment="b" * 16,
    ),
    "a reserved bucket name": of("label_bucket", "label_bucket_name is 'xn--a'", label_bucket_name="xn--a"),
    "no day of old versions": of(
        "label_bucket", "label_bucket_noncurrent_version_days", label_bucket_noncurrent_version_days=0
    ),
    "days in words": by_the_spec("label_bucket", WRONG_TYPE, label_bucket_noncurrent_version_days="a year"),
    "half a day of uploads": by_the_spec("label_bucket", WRONG_TYPE, label_bucket_incomplete_upload_days="0.5"),
    "an alias for the bucket's key": of_a_key(label_bucket_kms_key_arn=ALIAS),
    "the bucket's key elsewhere": of_a_key(label_bucket_kms_key_arn=ELSEWHERE),
    "a log of the log": of(
        "label_bucket",
        "label_bucket_access_log_bucket is",
        label_bucket_name="mine",
        label_bucket_access_log_bucket="mine",
    ),
    # export_queue
    "a queue too long": of("export_queue", "export_queue_name is 'aaa", export_queue_name="a" * 81),
    "a queue in order": of("export_queue", "export_queue_name is 'a.fifo'", export_queue_name="a.fifo"),
    "dead letters to the queue": of(
        "export_queue", "export_queue_name is 'a'", export_queue_name="a", export_queue_dead_letter_name="a"
    ),
    "a short visibility": of(
        "export_queue", "export_queue_visibility_timeout is 10 s", export_queue_visibility_timeout=10
    ),
    "a visibility over 12 hours": of(
        "export_queue", "export_queue_visibility_timeout is 43201 s", export_queue_visibility_timeout=43201
    ),
    "dead letters kept as short": of(
        "export_queue", "export_queue_dead_letter_retention_days (4)", export_queue_dead_letter_retention_days=4
    ),
    "dead letters for a month": of(
        "export_queue", "export_queue_dead_letter_retention_days (30)", export_queue_dead_letter_retention_days=30
    ),
    "one answer is believed": of(
        "export_function", "export_function_late_receive is 1", export_function_late_receive=1
    ),
    "no answer is ever believed": of(
        "export_function", "export_function_late_receive is 5", export_function_late_receive=5
    ),
    "a single try": of("export_queue", "export_queue_dead_letter_retention_days", export_queue_max_receive_count=1),
    "too many tries": of(
        "export_queue", "export_queue_dead_letter_retention_days", export_queue_max_receive_count=1001
    ),
    "an alias for the queue's key": of_a_key(export_queue_kms_key_arn=ALIAS),
    # encord_secrets
    "an unknown source of the key": of("encord_secrets", "Exactly one of", encord_secrets_private_key_source="vault"),
    "no key": of("encord_secrets", "Exactly one of", encord_secrets_private_key_file=""),
    "two keys": of("encord_secrets", "Exactly one of", encord_secrets_private_key=PUBLIC),
    "no such file of the key": by_the_file("There is no file /nowhere.", "/nowhere"),
    "a relative path": by_the_file("a relative path is taken from the inventory's directory, ", "keys/none"),
    "a path with a line's end": by_the_file("begins or ends with white space", "{good_key}\n"),
    "a URL of the key": by_the_file("Give a path, not a URL", "file:///nowhere"),
    "a variable that is not set": by_the_file("an environment variable in it is not set", "$NO_SUCH_VARIABLE/key"),
    "a directory for the key": by_the_file("is a directory. Name the file in it.", "{directory}"),
    "a pipe for the key": by_the_file("is a named pipe", "{fifo}"),
    "a loop of links": by_the_file("is a link that leads back to itself", "{loop}"),
    "a link to nowhere": by_the_file("is a link to /nowhere, which does not exist", "{dangling}"),
    "a giant key": by_the_file("and no private key is that long", "{giant}"),
    "a vaulted key without the password": by_the_file("Add --ask-vault-pass or --vault-password-file", "{vaulted}"),
    "a key in UTF-16": by_the_file("is UTF-16, as PowerShell's > writes it", "{utf16}"),
    "a key with NUL bytes": by_the_file("has NUL bytes in it", "{nul}"),
    "a binary": by_the_file("is not a text in UTF-8", "{binary}"),
    "an empty key": by_the_file("It is empty.", "{empty}"),
    "PuTTY's key": by_the_file("It is in PuTTY's format. Convert it with: puttygen", "{putty}"),
    "a key in base64": by_the_file("Decode it with: base64 --decode", "{base64}"),
    "a passphrase that no input names": by_the_file(
        "It is encrypted with a passphrase, and encord_secrets_", "{encrypted}"
    ),
    "a public key": of(
        "encord_secrets", "It is a public key;", encord_secrets_private_key=PUBLIC, encord_secrets_private_key_file=""
    ),
    "an RSA key": of("encord_secrets", "It is not an Ed25519 key;", encord_secrets_private_key_file="{rsa_key}"),
    "a key in another format": of(
        "encord_secrets", "it is not a private key in OpenSSH's format.", encord_secrets_private_key_file="{pkcs8_key}"
    ),
    "a key's secret of another service": of(
        "encord_secrets",
        "encord_secrets_private_key_secret_arn 'arn:aws:s3:::a'",
        encord_secrets_private_key_file="",
        encord_secrets_private_key_secret_arn="arn:aws:s3:::a",
    ),
    "a key's secret in another region": of(
        "encord_secrets",
        "encord_secrets_private_key_secret_arn 'arn:",
        encord_secrets_private_key_file="",
        encord_secrets_private_key_secret_arn="arn:aws:secretsmanager:us-east-1:123456789012:secret:a",
    ),
    "a passphrase in the clear": of(
        "encord_secrets",
        "encord_secrets_private_key_passphrase_secret_arn 'open sesame'",
        encord_secrets_private_key_passphrase_secret_arn="open sesame",
    ),
    "a secret's ARN without its end": of(
        "encord_secrets",
        "with the hyphen and six characters",
        encord_secrets_private_key_secret_arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:key",
        encord_secrets_private_key_file="",
    ),
    "one reader in place of a list": of(
        "encord_secrets", "encord_secrets_readers is", encord_secrets_readers="arn:aws:iam::123456789012:role/a"
    ),
    "every role as a reader of the secrets": of(
        "encord_secrets", "encord_secrets_readers is", encord_secrets_readers=["arn:aws:iam::123456789012:role/*"]
    ),
    "a session as a reader": of(
        "encord_secrets",
        "name its role",
        encord_secrets_readers=["arn:aws:sts::123456789012:assumed-role/deployer/session"],
    ),
    "three days to recover": of(
        "encord_secrets", "encord_secrets_recovery_window_days is 3", encord_secrets_recovery_window_days=3
    ),
    "secrets of one name": of(
        "encord_secrets",
        "encord_secrets_private_key_secret_name is 'a'",
        encord_secrets_private_key_secret_name="a",
        encord_secrets_signing_secret_name="a",
    ),
    "a secret's name that AWS refuses": of(
        "encord_secrets",
        "encord_secrets_private_key_secret_name is 'a b'",
        encord_secrets_private_key_secret_name="a b",
    ),
    "a secret's name that ends like an ARN": of(
        "encord_secrets",
        "neither of which ends with a hyphen and six",
        encord_secrets_signing_secret_name="webhook-signer",
    ),
    "an alias for the secrets' key": of_a_key(encord_secrets_kms_key_arn=ALIAS),
    "one text for a list of signing secrets": of(
        "encord_secrets",
        "encord_secrets_signing_secrets must be",
        encord_secrets_signing_secrets="a-text-of-some-length,another",
    ),
    "a short signing secret": of(
        "encord_secrets", "encord_secrets_signing_secrets must be", encord_secrets_signing_secrets=["short"]
    ),
    "an empty URL token": of("encord_secrets", "encord_secrets_url_tokens must be", encord_secrets_url_tokens=[""]),
    "a signing secret with a line in it": of(
        "encord_secrets",
        "encord_secrets_signing_secrets must be",
        encord_secrets_signing_secrets=["of-sufficient\nlength-and-more"],
    ),
    "a signing secret in quotes": of(
        "encord_secrets",
        "encord_secrets_signing_secrets must be",
        encord_secrets_signing_secrets=["'of-sufficient-length'"],
    ),
    "a signing secret with a mark before it": of(
        "encord_secrets",
        "encord_secrets_signing_secrets must be",
        encord_secrets_signing_secrets=["\ufeffof-sufficient-length"],
    ),
    "a URL token that ends the query": of(
        "encord_secrets", "create one with openssl rand -hex 32", encord_secrets_url_tokens=["of-sufficient&length"]
    ),
    "a URL token with a space": of(
        "encord_secrets", "create one with openssl rand -hex 32", encord_secrets_url_tokens=["of sufficient length"]
    ),
    "a signing secret with its line's end": of(
        "encord_secrets",
        "encord_secrets_signing_secrets must be",
        encord_secrets_signing_secrets=["of-sufficient-length\n"],
    ),
    # execution_role
    "a policy that is too large": of(
        "execution_role",
        "characters without white space, and IAM allows 6144",
        execution_role_extra_statements=[
            {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:aws:s3:::bucket-of-somebody-{number}/*"}
            for number in range(60)
        ],
    ),
    "a role too long": of("execution_role", "execution_role_name is", execution_role_name="a" * 65),
    "a path without slash": of("execution_role", "execution_role_name is", execution_role_path="/teams"),
    "a boundary by its name": of(
        "execution_role", "execution_role_permissions_boundary is 'bound'", execution_role_permissions_boundary="bound"
    ),
    "a statement without effect": of(
        "execution_role",
        "execution_role_permissions_boundary is",
        execution_role_extra_statements=[{"Action": "s3:GetObject", "Resource": "a"}],
    ),
    "a key with no fixed beginning": of(
        "export_function", "export_function_key_template is", export_function_key_template="{project_hash}/{label_hash}"
    )._replace(role="execution_role"),
    "a role of another account": of(
        "execution_role",
        "execution_role_arn is 'arn:aws:iam::210987654321:role/a'",
        execution_role_arn="arn:aws:iam::210987654321:role/a",
    ),
    "a role by its name": of("execution_role", "execution_role_arn is 'a'", execution_role_arn="a"),
    # image_repository
    "a repository in upper case": of(
        "image_repository", "image_repository_name is 'Labels'", image_repository_name="Labels"
    ),
    "no image to roll back to": of("image_repository", "image_repository_name is", image_repository_kept_images=1),
    "an alias for the images' key": of_a_key(image_repository_kms_key_arn=ALIAS),
    # handler_image
    "an unknown architecture": of(
        "handler_image", "handler_image_architecture is 'i386'", handler_image_architecture="i386"
    ),
    "the latest base image": of("handler_image", "handler_image_architecture is", handler_image_base="python:latest"),
    "a registry's URL": of(
        "handler_image", "handler_image_registry is", handler_image_registry="https://example.com/a"
    ),
    # export_function
    "an environment that is too large": of(
        "export_function",
        "bytes, and Lambda allows 4096",
        export_function_key_template=f"encord/{'a' * 3500}/{{label_hash}}.json",
    ),
    "a function too long": of("export_function", "export_function_memory_size", export_function_name="a" * 65),
    "little memory": of("export_function", "export_function_memory_size (127)", export_function_memory_size=127),
    "more memory than there is": of(
        "export_function", "export_function_memory_size (10241)", export_function_memory_size=10241
    ),
    "16 minutes": of(
        "export_function",
        "export_function_memory_size",
        export_function_timeout=960,
        export_queue_visibility_timeout=6000,
    ),
    "no timeout": of("export_function", "export_function_memory_size", export_function_timeout=0),
    "a timeout in words": by_the_spec("export_function", WRONG_TYPE, export_function_timeout="2m"),
    "little storage": of("export_function", "export_function_memory_size", export_function_ephemeral_storage=511),
    "eleven at once": of("export_function", "export_function_batch_size (11)", export_function_batch_size=11),
    "a window over five minutes": of(
        "export_function",
        "export_function_batch_size",
        export_function_batching_window=301,
        export_queue_visibility_timeout=3000,
    ),
    "one at a time": of("export_function", "export_function_batch_size", export_function_maximum_concurrency=1),
    "more than a thousand": of(
        "export_function", "export_function_batch_size", export_function_maximum_concurrency=1001
    ),
    "nothing left for webhooks": of(
        "export_function", "export_function_batch_size", export_function_reserved_concurrency=5
    ),
    "a month of 31 days": of(
        "export_function", "export_function_log_retention_days is 31", export_function_log_retention_days=31
    ),
    "an open connection to Encord": of(
        "export_function", "export_function_encord_domain is", export_function_encord_domain="http://api.encord.com"
    ),
    "Encord with a path": of(
        "export_function", "export_function_encord_domain is", export_function_encord_domain="https://api.encord.com/v2"
    ),
    "one key for all labels": of(
        "export_function", "export_function_key_template is 'a/b.json'", export_function_key_template="a/b.json"
    ),
    "an unknown field in the key": by_the_function(
        "LABEL_EXPORT_KEY_TEMPLATE", export_function_key_template="a/{label_hash}/{colour}"
    ),
    "an unknown compression": of(
        "export_function", "export_function_key_template is", export_function_compression="zip"
    ),
    "a project by its title": of("export_function", "export_function_projects is", export_function_projects=["Cats"]),
    "a number for an alias": of("export_function", "export_function_alias is '1'", export_function_alias="1"),
    "an alias for the function's key": of_a_key(export_function_kms_key_arn=ALIAS),
    "the logs' key elsewhere": of_a_key(export_function_log_kms_key_arn=ELSEWHERE),
    "subnets without a security group": of(
        "export_function", "export_function_vpc_subnet_ids is", export_function_vpc_subnet_ids=["subnet-0"]
    ),
    "an unknown tracing": by_the_spec("export_function", NO_CHOICE, export_function_tracing_mode="On"),
    "an unknown log level": by_the_function("LABEL_EXPORT_LOG_LEVEL", export_function_log_level="LOUD"),
    "more labels at once than it can": by_the_function(
        "LABEL_EXPORT_CONCURRENCY", export_function_label_concurrency=51
    ),
    "rows larger than the memory": of(
        "export_function", "export_function_memory_limit_bytes (", export_function_memory_limit_bytes=1 << 40
    ),
    # front_door
    "a front door with a blank": of("front_door", "front_door_name is 'a b'", front_door_name="a b"),
    "a front door without its protocol": of(
        "front_door", "front_door_base_url 'example.org'", front_door_base_url="example.org"
    ),
    "an unknown front door": of("front_door", "front_door_kind is 'alb'", front_door_kind="alb"),
    "a path that does not begin": of("front_door", "front_door_kind is", front_door_path="webhook"),
    "no request a second": of("front_door", "front_door_kind is", front_door_throttling_rate_limit=0),
    # monitoring
    "a dashboard with a blank": of("monitoring", "monitoring_dashboard_name is 'a b'", monitoring_dashboard_name="a b"),
    "an alias for the topic's key": of_a_key(monitoring_topic_kms_key_arn=ALIAS),
    "AWS's own key for the topic": of_a_key(
        monitoring_topic_kms_key_arn="arn:aws:kms:eu-west-1:123456789012:alias/aws/sns"
    ),
    "a topic in another region": of(
        "monitoring",
        "monitoring_existing_topic_arn is",
        monitoring_existing_topic_arn="arn:aws:sns:us-east-1:123456789012:alarms",
    ),
    "a period that is no multiple of a minute": of("monitoring", "monitoring_period is 90", monitoring_period=90),
    "a threshold of nothing": of("monitoring", "monitoring_errors_threshold is 0", monitoring_errors_threshold=0),
    "an address without a host": of("monitoring", "monitoring_emails is", monitoring_emails=["someone"]),
    "an action by its name": of("monitoring", "monitoring_alarm_actions is", monitoring_alarm_actions=["page-someone"]),
    # retired_versions
    "no version to roll back to": Case(
        "retired_versions",
        {"retired_versions_kept": 1},
        "retired_versions_kept is 1",
        "in retired_versions.yml and image",
    ),
    "all versions in a word": by_the_spec("retired_versions", WRONG_TYPE, retired_versions_kept="all"),
    # Operation
    "no version looked at": of("deployment_facts", "deployment_facts_versions is '0'", deployment_facts_versions=0),
    "a version by its alias": Case(
        "live_version", {"live_version_number": "live"}, "live_version_number is 'live'", "-e live_version_number="
    ),
    "version zero": Case(
        "live_version", {"live_version_number": "0"}, "live_version_number is '0'", "it is the number"
    ),
    "a version of neither function": by_the_spec("live_version", NO_CHOICE, live_version_function="both"),
    "no time for the probe": of("verification", "verification_timeout is '0'", verification_timeout=0),
    "a probe over 15 minutes": of("verification", "verification_timeout is '901'", verification_timeout=901),
    "no time to read": of("requeued_labels", "requeued_labels_hours is '0'", requeued_labels_hours=0),
    "an event of none of the log's": of(
        "requeued_labels", "requeued_labels_events ['x']", requeued_labels_events=["x"]
    ),
    "no dead letter moved": of("dead_letters", "dead_letters_limit is '0'", dead_letters_limit=0),
    # front_door, last in a deploy except for what follows it there
    "an access log for 31 days": of("front_door", "front_door_kind is", front_door_log_retention_days=31),
}


class Refusal(NamedTuple):
    """Why a host was refused, and in which task."""

    task: str
    message: str


class Run(NamedTuple):
    """The result of a run: the refusals of each host, its counts, and the number of calls to AWS."""

    refused: dict[str, list[Refusal]]
    counts: dict[str, dict[str, int]]
    calls_to_aws: int


def keys(directory: Path) -> dict[str, str]:
    """Write one valid key and two invalid ones; return their paths by name."""
    good = ed25519.Ed25519PrivateKey.generate()
    openssh, pem = serialization.PrivateFormat.OpenSSH, serialization.Encoding.PEM
    texts = {
        "good_key": good.private_bytes(pem, openssh, serialization.NoEncryption()),
        "rsa_key": rsa.generate_private_key(65537, 2048).private_bytes(pem, openssh, serialization.NoEncryption()),
        "pkcs8_key": good.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    texts |= {
        "encrypted": good.private_bytes(pem, openssh, serialization.BestAvailableEncryption(b"passphrase")),
        "vaulted": b"$ANSIBLE_VAULT;1.1;AES256\n3132\n",
        "utf16": texts["good_key"].decode().encode("utf-16"),
        "nul": b"\0" + texts["good_key"],
        "binary": b"\xff\xfa",
        "giant": b" " * 70_000,
        "empty": b"\n",
        "putty": b"PuTTY-User-Key-File-3: ssh-ed25519\n",
        "base64": base64.b64encode(texts["good_key"]),
    }
    for name, text in texts.items():
        (directory / name).write_bytes(text)
    os.mkfifo(directory / "fifo")
    (directory / "directory").mkdir()
    (directory / "loop").symlink_to("loop")
    (directory / "dangling").symlink_to("/nowhere")
    return {path.name: str(path) for path in directory.iterdir()}


def host_name(case: str) -> str:
    return re.sub(r"\W", "_", case)


def refusals(answer: dict[str, Any]) -> dict[str, list[Refusal]]:
    """Return why each host was refused, from the output of Ansible's JSON callback."""
    found: dict[str, list[Refusal]] = {}
    for task in (task for play in answer["plays"] for task in play["tasks"]):
        for name, outcome in task["hosts"].items():
            if outcome.get("failed"):
                # A loop's items have the messages. Since ansible-core 2.21 they do not show which items failed.
                messages = [item["msg"] for item in outcome.get("results", []) if "msg" in item]
                text = " ".join(" ".join([*messages, str(outcome.get("msg", ""))]).split())
                found.setdefault(name, []).append(Refusal(task["task"]["name"], text))
    return found


class Deaf(socketserver.BaseRequestHandler):
    """Counts a connection and closes it."""

    def handle(self) -> None:
        self.server.calls += 1  # type: ignore[attr-defined]


def play(playbook: Path, cases: dict[str, Case], directory: Path, *arguments: str) -> Run:
    """Run a playbook with one host for each case, and an AWS that only counts connections."""
    paths = keys(directory)
    with socketserver.TCPServer(("127.0.0.1", 0), Deaf) as aws:
        aws.calls = 0  # type: ignore[attr-defined]
        threading.Thread(target=aws.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        right = {
            **inventory_host(),
            "label_export_aws_endpoint_url": f"http://127.0.0.1:{aws.server_address[1]}",
            "encord_secrets_private_key_file": paths["good_key"],
            # Its default has role_path, and the task that validates the types is in no role here.
            "handler_image_source": str(ROOT / "lambda"),
        }

        def host(case: Case) -> dict[str, Any]:
            filled = {
                name: re.sub(r"\{(\w+)\}", lambda found: paths.get(found[1], found[0]), value)
                if isinstance(value, str)
                else value
                for name, value in case.overrides.items()
            }
            return {**right, "refusing_role": case.role, **filled}

        hosts = {host_name(name): host(case) for name, case in cases.items()}
        inventory = directory / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"label_export": {"hosts": hosts}}))
        result = subprocess.run(
            ["ansible-playbook", str(playbook), "-i", str(inventory), "--forks", "4", *arguments],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        aws.shutdown()
        calls: int = aws.calls  # type: ignore[attr-defined]
    assert result.stdout.startswith("{"), result.stdout + result.stderr
    answer = json.loads(result.stdout)
    return Run(refusals(answer), answer["stats"], calls)


@pytest.fixture(scope="module")
def preflights(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return play(ROOT / "tests/contract/preflights.yml", CASES, tmp_path_factory.mktemp("preflights"), *NO_SPECS)


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_refused_with_the_cause_and_the_file(case: str, preflights: Run) -> None:
    found = preflights.refused.get(host_name(case), [])
    assert found, "it was let through"
    (refusal,) = found
    assert CASES[case].said in refusal.message
    assert CASES[case].file in refusal.message


WRONG_IN_A_DEPLOY = (
    "a misspelt timeout",
    "a mapping for the region",
    "a list for the name",
    "a mapping for a queue",
    "a mapping for a timeout",
    "an access log for 31 days",
)


def test_the_deploy_refuses_in_its_first_and_its_last_role_before_it_calls_aws(tmp_path: Path) -> None:
    cases = {name: CASES[name] for name in WRONG_IN_A_DEPLOY}
    # So many that they fit neither into an environment nor into a single environment variable of a process.
    projects = [str(uuid.UUID(int=number)) for number in range(5_000)]
    fine = Case("", {"export_function_projects": projects}, "", "")
    run = play(ROOT / "playbooks/deploy.yml", {**cases, "nothing wrong": fine}, tmp_path)
    for name, case in cases.items():
        (refusal,) = run.refused[host_name(name)]
        assert case.said in refusal.message
    # Only the valid host reaches AWS; a call of any other would be counted there.
    (unanswered,) = run.refused["nothing_wrong"]
    assert unanswered.task == "label_export : Caller | Ensure the credentials belong to the configured account"
    assert run.calls_to_aws == 1
    assert {count["changed"] for count in run.counts.values()} == {0}


def test_no_preflight_calls_aws_or_changes_anything(preflights: Run) -> None:
    assert preflights.calls_to_aws == 0
    assert {count["changed"] for count in preflights.counts.values()} == {0}
