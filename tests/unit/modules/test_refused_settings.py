"""The lookup that checks a function's settings with the function's own code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# As in the process of a task, where nothing of the function's code is imported yet.
LOOKUP = """
import json, sys
from ansible_collections.label_export.aws.plugins.lookup.refused_settings import LookupModule
terms, package, source = json.loads(sys.argv[1])
before = sys.path[:]
print(*LookupModule().run(terms, {}, package=package, source=source))
assert sys.path == before
"""
ACCOUNT = "123456789012"
SECRET = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:"
EXPORTER = {
    "LABEL_EXPORT_BUCKET": "labels-of-dev",
    "LABEL_EXPORT_QUEUE_URL": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/labels",
    "LABEL_EXPORT_PRIVATE_KEY_SOURCE": "secretsmanager",
    "LABEL_EXPORT_PRIVATE_KEY_SECRET_ARN": f"{SECRET}key",
    "LABEL_EXPORT_SIGNING_SECRETS_ARN": f"{SECRET}webhook",
    "LABEL_EXPORT_ENCORD_DOMAIN": "https://api.encord.com",
}
CATALOG = {
    "LABEL_CATALOG_QUEUE_URL": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/catalog",
    "LABEL_CATALOG_BACKFILL_QUEUE_URL": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/backfill",
}
PACKAGES = {"label_export": EXPORTER, "label_catalog": {**EXPORTER, **CATALOG}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The functions' code, at a place of its own."""
    return Path(
        shutil.copytree(ROOT / "lambda", tmp_path / "lambda", ignore=shutil.ignore_patterns("__pycache__", "*.lock"))
    )


def refused(source: Path, package: str, *terms: dict[str, str]) -> str:
    """Return the lookup's result."""
    found = subprocess.run(
        [sys.executable, "-c", LOOKUP, json.dumps([terms, package, str(source)])],
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_function_that_would_start_refuses_nothing_and_its_code_stays_as_it_is(package: str, source: Path) -> None:
    before = sorted(source.rglob("*"))
    assert refused(source, package, PACKAGES[package]) == ""
    assert sorted(source.rglob("*")) == before


@pytest.mark.parametrize("package", PACKAGES)
def test_the_functions_own_message_names_the_setting(package: str, source: Path) -> None:
    said = refused(source, package, PACKAGES[package], {"LABEL_EXPORT_ENCORD_DOMAIN": "ftp://encord"})
    assert "LABEL_EXPORT_ENCORD_DOMAIN" in said
    assert "export_function_encord_domain" in said
