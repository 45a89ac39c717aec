"""Checks that roles, inventories and playbooks agree with each other, by reading them: nothing is run.

A role's inputs are listed in three places, for three readers: `defaults/main.yml` for Ansible,
`meta/argument_specs.yml` for validation, `README.md` for users.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/tasks/main.yml"))
ENVIRONMENTS = ("local", "dev", "staging", "prod")
# What a user copies and fills in. `local` is filled in by the local stack.
SAMPLES = ("dev", "staging", "prod")
# Written by `playbooks/local.yml`; only the other variables of `inventory/local` read it.
OF_THE_INVENTORY_ITSELF = {"label_export_local_stack", "label_export_local_stack_file"}
# They create nothing: label_export checks and names, retired_versions only removes, the others read what is deployed
# or move it.
MAKES_NOTHING = {
    "label_export",
    "retired_versions",
    "deployment_facts",
    "live_version",
    "verification",
    "status_report",
    "dead_letters",
    "label_census",
    "snapshot",
    "label_report",
    "index",
    "backfill",
    "probe",
    "requeued_labels",
    "preflight",
    # The first writes files, the other creates what belongs to the local stack.
    "deployer_policies",
    "local_deployer",
}

Task = dict[str, Any]


class Line(NamedTuple):
    """One line of a file, and the line above it."""

    place: str
    above: str
    text: str


@functools.cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def under(*patterns: str) -> list[Path]:
    """Return the files that match; a pattern that matches none is an error."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert found, f"no file matches {patterns}"
    return sorted(found)


def lines_of(path: Path) -> Iterator[Line]:
    above, name = "", path.relative_to(ROOT)
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        yield Line(f"{name}:{number}", above, text)
        above = text


def has_template(value: object) -> bool:
    return "{{" in str(value)


# What a role documents


def defaults(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "defaults/main.yml") or {}


def commented_out(role: str) -> list[str]:
    """Return the inputs without a sane default; each is a comment in the defaults."""
    return re.findall(r"^# ?(\w+):", (ROOT / "roles" / role / "defaults/main.yml").read_text(), re.MULTILINE)


def inputs(role: str) -> list[str]:
    # A comment such as "# present: the whole stack runs" is an explanation; an input starts with its role's name.
    return sorted([*defaults(role), *(name for name in commented_out(role) if name.startswith(f"{role}_"))])


def entry_points(role: str) -> dict[str, dict[str, Any]]:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: entry["options"] for name, entry in specs.items()}


def readme_table(role: str, heading: str) -> list[str]:
    """Return the names in the first column of the table below a heading of the role's README."""
    text = (ROOT / "roles" / role / "README.md").read_text()
    _, _, section = text.partition(f"\n## {heading}\n")
    return re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)


def task_files(role: str) -> list[Path]:
    return sorted((ROOT / "roles" / role / "tasks").glob("*.yml"))


def tasks_in(tasks: list[Task]) -> Iterator[Task]:
    """Yield every task, including those in blocks."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_in(task.get(part, []))


def variables_set_in(role: str) -> set[str]:
    """Return the variables that the role sets for the whole play in addition to its inputs: vars, registers, facts."""
    path = ROOT / "roles" / role / "vars/main.yml"
    names = set(load(path)) if path.exists() else set()
    for file in task_files(role):
        for task in tasks_in(load(file)):
            facts = task.get("ansible.builtin.set_fact", {})
            names |= {name for name in facts if name != "cacheable"}
            names |= {task["register"]} if "register" in task else set()
            names |= {task["loop_control"]["loop_var"]} if "loop_var" in task.get("loop_control", {}) else set()
    return names


def test_there_are_roles() -> None:
    assert len(ROLES) >= 10


@pytest.mark.parametrize("role", ROLES)
def test_defaults_spec_and_readme_name_the_same_inputs(role: str) -> None:
    for entry_point, options in entry_points(role).items():
        assert sorted(options) == inputs(role), f"argument_specs.yml, entry point {entry_point}"
    assert sorted(readme_table(role, "Inputs")) == inputs(role), "README.md"


@pytest.mark.parametrize("role", ROLES)
def test_the_spec_has_the_entry_points_that_are_used(role: str) -> None:
    # Role label_export validates every role with the spec of main. deployer_policies includes its preflight.
    assert set(entry_points(role)) == ({"main", "preflight"} if role == "label_export" else {"main"})


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_described_and_typed(role: str) -> None:
    for name, option in entry_points(role)["main"].items():
        assert option.get("description"), name
        assert option.get("type"), name
        assert ("elements" in option) == (option["type"] == "list"), name


@pytest.mark.parametrize("role", ROLES)
def test_literal_defaults_are_the_same_in_the_spec(role: str) -> None:
    literal = {name: value for name, value in defaults(role).items() if not has_template(value)}
    for options in entry_points(role).values():
        said = {name: option["default"] for name, option in options.items() if "default" in option}
        # A template in the spec is evaluated before the preflight can report what is missing, so it is not required.
        assert {name: value for name, value in said.items() if not has_template(value)} == literal
        for name, value in said.items():
            assert value == defaults(role)[name], name


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_lists_the_outputs(role: str) -> None:
    public = {name for name in variables_set_in(role) if not name.startswith("__")}
    # The last is the variable of a loop, spelled out because the included roles have loops too.
    outputs = public - set(inputs(role)) - {"label_export_checked_role"}
    assert set(readme_table(role, "Outputs")) == outputs


@pytest.mark.parametrize("role", ROLES)
def test_variables_are_prefixed_with_their_role(role: str) -> None:
    assert [name for name in inputs(role) if not name.startswith(f"{role}_")] == []
    assert [name for name in sorted(variables_set_in(role)) if not re.match(rf"(__)?{role}(_|$)", name)] == []
    of_one_task = {name for file in task_files(role) for task in tasks_in(load(file)) for name in task.get("vars", {})}
    # Ansible's own variable of the connection: with it, a task's arguments are in no temporary file.
    of_one_task -= {"ansible_pipelining"}
    assert [name for name in sorted(of_one_task) if not re.match(rf"__|{role}_", name)] == []


@pytest.mark.parametrize("role", ROLES)
def test_the_role_is_complete(role: str) -> None:
    present = {path.stem for path in task_files(role)}
    wanted = {"main", "preflight"} | (set() if role in MAKES_NOTHING else {"present", "absent"})
    assert wanted - present == set()
    files = ("README.md", "defaults/main.yml", "meta/argument_specs.yml")
    assert [file for file in files if not (ROOT / "roles" / role / file).is_file()] == []


# How tasks are written

TASK_FILES = under("roles/*/tasks/*.yml")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TASK_FILES, ids=name_of)
def test_task_names_are_intentions_under_one_topic(path: Path) -> None:
    names = [task.get("name", "") for task in tasks_in(load(path))]
    if not names and path.stem in {"names", "preflight"}:
        return  # Imported for the role's variables, or for inputs that the role does not have.
    assert all(names), "every task has a name"
    if path.stem == "main":
        assert [name for name in names if " | " in name] == [], "the contents page has no topic"
        return
    assert [name for name in names if not re.fullmatch(r"[A-Z][\w ]*? \| [A-Z].*[^.]", name)] == []
    topics = {name.partition(" | ")[0] for name in names}
    assert len(topics) == 1, topics
    if path.stem in {"preflight", "present", "absent"}:
        assert topics == {path.stem.capitalize()}


@pytest.mark.parametrize("path", TASK_FILES, ids=name_of)
def test_tasks_neither_ignore_errors_nor_sleep_nor_use_a_shell(path: Path) -> None:
    sleeping = {"pause", "wait_for"}
    for task in tasks_in(load(path)):
        assert "ignore_errors" not in task, task["name"]
        # In the short form too, which no playbook should use.
        assert {key.rpartition(".")[2] for key in task} & {"shell", "raw", *sleeping} == set(), task["name"]


def code_and_comment(line: str) -> tuple[str, str]:
    """Split a line of YAML or Python at its first comment; a # inside a text does not follow a blank."""
    match = re.search(r"(?:^|\s)#(.*)$", line)
    return (line[: match.start()], match.group(1).strip()) if match else (line, "")


def is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def lacks_a_reason(line: Line) -> bool:
    """Return whether a line that needs a reason has none, on itself or above."""
    _, comment = code_and_comment(line.text)
    reason = re.sub(r"noqa(:\s*[\w\[\]-]+(,\s*[\w\[\]-]+)*)?", "", comment)
    return not re.search(r"\w{2}", reason) and not is_comment(line.above)


def test_every_override_of_a_result_has_a_reason() -> None:
    found = [
        line
        for path in under("roles/*/tasks/*.yml", "playbooks/*.yml", "tests/molecule/**/*.yml")
        for line in lines_of(path)
        if re.match(r"\s*(changed_when|failed_when):", line.text)
    ]
    assert found
    assert [line.place for line in found if lacks_a_reason(line)] == []


def test_every_noqa_has_a_reason() -> None:
    # This file contains the word without using it.
    sources = under("roles/**/*.yml", "playbooks/*.yml", "inventory/**/*.yml", "tests/molecule/**/*.yml")
    sources += [path for path in under(*(f"{top}/**/*.py" for top in PYTHON)) if path != Path(__file__)]
    found = [line for path in sources for line in lines_of(path) if re.search(r"#\s*noqa\b", line.text)]
    assert found
    assert [line.place for line in found if lacks_a_reason(line)] == []


PYTHON = ("lambda", "roles", "scripts", "tests", "collections/ansible_collections/label_export")


# What IAM documents allow


def without_comments(template: str) -> tuple[list[str], set[int]]:
    """Return a template's lines without Jinja comments, and the numbers of the lines that had one."""
    commented: set[int] = set()
    for match in re.finditer(r"\{#.*?#\}", template, re.DOTALL):
        first = template.count("\n", 0, match.start())
        commented |= set(range(first, first + match.group().count("\n") + 1))
    bare = re.sub(r"\{#.*?#\}", lambda match: "\n" * match.group().count("\n"), template, flags=re.DOTALL)
    return bare.split("\n"), commented


def unexplained(lines: list[str], commented: set[int]) -> Iterator[int]:
    """Yield the numbers of lines where an Action or Resource has a wildcard without a comment.

    The comment is on the line, on the line above, or above the key of the list that contains the line.
    """
    key_line = 0
    key = ""
    for number, line in enumerate(lines):
        match = re.match(r"[\s{-]*\"?(\w+)\"?:(?:\s|$)", line)
        if match:
            key, key_line = match.group(1), number
        wild = re.search(r"[*?]", line)
        if not wild or not re.fullmatch(r"(Not)?(Action|Resource)", key):
            continue
        if commented.isdisjoint({number - 1, number, key_line - 1, key_line}):
            yield number


POLICIES = [path for path in under("roles/*/templates/*.j2") if '"Statement"' in path.read_text()]


@pytest.mark.parametrize("path", POLICIES, ids=name_of)
def test_every_wildcard_in_a_policy_template_has_a_reason(path: Path) -> None:
    lines, commented = without_comments(path.read_text())
    assert [f"{name_of(path)}:{number + 1}" for number in unexplained(lines, commented)] == []


@pytest.mark.parametrize("path", under("roles/*/vars/main.yml"), ids=name_of)
def test_every_wildcard_in_policies_of_vars_has_a_reason(path: Path) -> None:
    text = path.read_text().split("\n")
    commented = {number for number, line in enumerate(text) if code_and_comment(line)[1]}
    bare = [code_and_comment(line)[0] for line in text]
    found = list(unexplained(bare, commented))
    # An ARN that is built in an expression: the comment is above the variable.
    variable = 0
    for number, line in enumerate(bare):
        if re.match(r"\w+:", line):
            variable = number
        pieces = re.findall(r"'([^']*)'", line) if "~" in line else []
        if any(re.search(r"\*$|\?{2}", piece) for piece in pieces) and variable - 1 not in commented:
            found.append(number)
    assert [f"{name_of(path)}:{number + 1}" for number in found] == []


# The statements of a secret's policy are named by their keys.
NAMED_BY_KEYS = ROOT / "roles/encord_secrets/vars/main.yml"
STATEMENTS = [path for path in under("roles/*/vars/*.yml", "roles/*/tasks/*.yml") if "Effect:" in path.read_text()]


@pytest.mark.parametrize("path", [*POLICIES, *(path for path in STATEMENTS if path != NAMED_BY_KEYS)], ids=name_of)
def test_every_statement_has_a_name(path: Path) -> None:
    count = Counter(re.findall(r"\b(Effect|Sid)\"?: ", path.read_text()))
    assert count["Effect"] == count["Sid"] > 0


# Playbooks and inventories


@pytest.mark.parametrize(
    "path",
    [ROOT / "Makefile", *under("*.md", "docs/**/*.md", "roles/*/README.md")],
    ids=name_of,
)
def test_every_playbook_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?<![\w/])playbooks/\w+\.yml", path.read_text()))
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_makefile_names_playbooks() -> None:
    assert "playbooks/local.yml" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", under("playbooks/*.yml"), ids=name_of)
def test_a_playbook_is_a_list_of_roles_tagged_with_their_names(path: Path) -> None:
    for play in load(path):
        assert set(play) & {"tasks", "pre_tasks", "post_tasks", "handlers"} == set()
        for entry in play["roles"]:
            assert entry["role"] in ROLES
            assert entry["tags"] == (["always"] if entry["role"] == "label_export" else [entry["role"]])


def variables(environment: str) -> dict[str, Path]:
    """Return the variables that an inventory sets, and their files."""
    files = sorted((ROOT / "inventory" / environment).glob("*_vars/**/*.yml"))
    return {name: path for path in files for name in load(path) or {}}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_hosts_files_contain_no_variables(environment: str) -> None:
    def keys(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield key
                yield from keys(value)

    assert set(keys(load(ROOT / "inventory" / environment / "hosts.yml"))) == {"label_export", "hosts", "localhost"}


@pytest.mark.parametrize("environment", SAMPLES)
def test_the_samples_set_the_same_variables(environment: str) -> None:
    assert set(variables(environment)) == set(variables(SAMPLES[0]))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_inventories_set_inputs_of_roles_in_the_file_named_after_the_role(environment: str) -> None:
    role_of = {name: role for role in ROLES for name in inputs(role)}
    for name, path in variables(environment).items():
        if name.startswith("ansible_"):
            assert path.stem == "connection", name
        elif name not in OF_THE_INVENTORY_ITSELF:
            assert role_of.get(name) == path.stem, f"{name} in {name_of(path)}"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_inventories_name_their_environment(environment: str) -> None:
    path = ROOT / "inventory" / environment / "group_vars/label_export/label_export.yml"
    assert load(path)["label_export_environment"] == environment


# What is installed


REQUIREMENTS = under("requirements*.txt", "lambda/*.lock", "roles/*/files/**/*requirements*.txt")


@pytest.mark.parametrize("path", REQUIREMENTS, ids=name_of)
def test_requirements_are_pinned(path: Path) -> None:
    # Lines that end with a backslash continue; a hash or an option after the version is allowed.
    text = path.read_text().replace("\\\n", " ")
    wanted = [line.split("#")[0].strip() for line in text.splitlines()]
    packages = [line for line in wanted if line and not line.startswith("-")]
    assert packages
    exact = re.compile(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==\d[\w.!+]*( ;.*|;.*| --hash=.*|\s+--hash=.*)?")
    assert [line for line in packages if not exact.fullmatch(line)] == []
