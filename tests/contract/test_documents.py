"""Links in documents, the paths in CONTRIBUTING's table, and the status and date of decisions are correct."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT, capture_output=True, text=True, check=True,
).stdout.split()  # fmt: skip
DOCUMENTS = [name for name in LISTED if (ROOT / name).exists()]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WHERE_IS = re.findall(r"^\| ([^|]+) \| ([^|]*`[^|]*) \| ([^|]*)\|$", CONTRIBUTING, re.MULTILINE)
# What a new contributor looks for.
ASKED = {
    "an alarm",
    "the Encord stand-in",
    "what `make test` runs",
    "the function's Python",
    "the queue's retention",
    "a label's key",
    "the write that never goes backwards",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_contributing_lists_everything_that_a_contributor_looks_for() -> None:
    assert {what for what, _where, _word in WHERE_IS} >= ASKED


@pytest.mark.parametrize("row", WHERE_IS, ids=lambda row: row[0])
def test_the_listed_files_contain_what_they_are_listed_for(row: tuple[str, str, str]) -> None:
    _what, where, word = row
    paths = [path for path in re.findall(r"`([^`]+)`", where) if "<" not in path]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for wanted in re.findall(r"`([^`]+)`", word):
        assert any(wanted in (ROOT / path).read_text() for path in paths), f"{wanted} is in none of {paths}"


def test_every_decision_has_a_status_and_a_date() -> None:
    assert DECISIONS
    status = re.compile(r"^# \d+\. .+\n\nStatus: (accepted|superseded by .+), \d{4}-\d{2}-\d{2}\n")
    assert [path.name for path in DECISIONS if not status.match(path.read_text())] == []


def test_the_index_lists_every_decision_with_its_title() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    titles = {path.name: path.read_text().splitlines()[0].partition(". ")[2] for path in DECISIONS}
    assert dict(re.findall(r"^- \[\d{4}\]\((.+?)\): (.+)$", index, re.MULTILINE)) == titles


def commands() -> list[tuple[str, str]]:
    """Return the playbook and the rest of each command in the blocks of operations.md."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE | re.DOTALL)
    return [
        found for block in blocks for found in re.findall(r"^ansible-playbook playbooks/(\w+)\.yml(.*)$", block, re.M)
    ]


@pytest.mark.parametrize(("playbook", "rest"), commands(), ids=lambda value: value.partition("#")[0].strip())
def test_each_command_of_operations_is_run_by_a_test(playbook: str, rest: str) -> None:
    texts = "".join(path.read_text() for path in (ROOT / "tests" / "molecule").rglob("test_*.py"))
    assert re.search(rf'(run_playbook|recorded)\(\s*"{playbook}"', texts), f"no scenario runs playbooks/{playbook}.yml"
    for variable in re.findall(r"-e (\w+)=", rest):
        assert re.search(rf'"{variable}=|f"{variable}=', texts), f"no scenario gives {variable}"
    assert "--check" not in rest or re.search(rf'"{playbook}",[^)]*"--check"', texts), "no scenario checks it first"
