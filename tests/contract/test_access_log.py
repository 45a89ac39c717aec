"""The metric filters of the HTTP API's access log count the right events, by CloudWatch Logs' syntax for JSON.

The emulator stores filters, but counts nothing.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = yaml.safe_load((ROOT / "roles/front_door/vars/main.yml").read_text())
FILTERS: dict[str, str] = VARIABLES["__front_door_access_log_filters"]
TERM = re.compile(r'\$\.(\w+) (=|!=) "([^"]*)"')


def matches(pattern: str, event: dict[str, str]) -> bool:
    """Return whether a pattern of terms joined by && matches; a text may start or end with *."""
    inside = re.fullmatch(r"\{ (.*) \}", pattern)
    assert inside
    terms = [TERM.fullmatch(term) for term in inside[1].split(" && ")]
    assert all(terms), pattern
    found = [(event[term[1]], term[2], term[3]) for term in terms if term]
    return all(fnmatch.fnmatchcase(value, wanted) == (operator == "=") for value, operator, wanted in found)


@pytest.mark.parametrize(
    ("status", "integration_status", "counted"),
    [
        ("202", "200", []),
        ("401", "200", []),
        ("413", "200", []),
        ("404", "-", ["ApiRejected"]),
        ("413", "-", ["ApiRejected"]),
        ("400", "-", ["ApiRejected"]),
        ("429", "-", ["ApiThrottled"]),
        # The alarm `endpoint` watches these.
        ("500", "-", []),
        ("503", "-", []),
    ],
)
def test_only_responses_of_the_api_itself_are_counted(status: str, integration_status: str, counted: list[str]) -> None:
    event = {"status": status, "integrationStatus": integration_status}
    assert [name for name, pattern in sorted(FILTERS.items()) if matches(pattern, event)] == counted


def test_the_filters_read_existing_fields_of_the_log() -> None:
    fields = VARIABLES["__front_door_access_log_fields"]
    assert {field for pattern in FILTERS.values() for field, _, _ in TERM.findall(pattern)} <= fields.keys()
    assert fields["integrationStatus"] == "$context.integrationStatus"
