"""Ansible compiles each Jinja template once in a run, and templates give what they would otherwise."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from fake_aws import plugin
from jinja2 import Environment


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep compiled templates until the test's end; return the Python source of each compilation."""
    shared = plugin("plugin_utils.compiled_templates")
    environment = shared.import_module(shared.TEMPLATING).AnsibleEnvironment
    sources: list[str] = []
    compile_source = Environment._compile

    def noted(self: Environment, source: str, filename: str) -> Any:
        sources.append(source)
        return compile_source(self, source, filename)

    monkeypatch.setattr(Environment, "_compile", noted)
    monkeypatch.setattr(environment, "compile", Environment.compile)
    shared.keep_compiled_templates()
    return sources


def rendered(text: str, **variables: Any) -> Any:
    """Render as a task does: each has an environment of its own."""
    return Templar(DataLoader(), variables).template(trust_as_template(text))


def test_a_template_is_compiled_once_for_all_variables_and_environments(compiled: list[str]) -> None:
    assert [rendered("{{ name }}-{{ number + 1 }}", name=name, number=2) for name in ("a", "b")] == ["a-3", "b-3"]
    assert rendered("{{ name }}-{{ number + 1 }}", name=[1], number=2) == "[1]-3"
    assert len(compiled) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{{ [1, name] }}", [1, "a"], id="a list stays a list"),
        pytest.param("{{ name }}\n", "a\n", id="the line's end is kept"),
        pytest.param("{{ 'a\\b' }}", "a\\b", id="a backslash is one"),
        pytest.param("{% set name = 'c' %}{{ name }}", "c", id="a statement"),
        pytest.param("{{ undefined_name | default('d') }}", "d", id="an undefined variable"),
    ],
)
def test_a_kept_template_gives_the_same_as_a_new_one(compiled: list[str], text: str, expected: Any) -> None:
    assert [rendered(text, name="a") for _ in range(2)] == [expected, expected]


def test_delimiters_of_a_template_are_not_those_of_another(compiled: list[str]) -> None:
    own = "#jinja2: variable_start_string:'[[', variable_end_string:']]'\n"
    assert [rendered(f"{header}[[ name ]]{{{{ name }}}}", name="a") for header in (own, "", own)] == [
        "a{{ name }}",
        "[[ name ]]a",
        "a{{ name }}",
    ]


def test_a_mistake_is_reported_each_time(compiled: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(AnsibleError, match="Syntax error in template"):
            rendered("{{ name")


def test_templates_in_roles_are_compiled_before_the_first_task(compiled: list[str]) -> None:
    """Those with a mistake are left to the task that uses them."""
    defaults = {"a": "{{ name }}", "b": [{"c": "{{ name }}!"}, "{{ name"], "plain": "name", "number": 3}
    role = SimpleNamespace(get_default_vars=lambda: defaults, get_vars=lambda **_: {"d": ("{{ name }}?",)})
    plugin("callback.shared_work").CallbackModule().v2_playbook_on_play_start(SimpleNamespace(get_roles=lambda: [role]))
    assert len(compiled) == 3
    assert [rendered(text, name="a") for text in ("{{ name }}", "{{ name }}!", "{{ name }}?")] == ["a", "a!", "a?"]
    assert len(compiled) == 3


def test_an_ansible_without_the_names_compiles_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade of Ansible may cost seconds, but never the deploy."""
    shared = plugin("plugin_utils.compiled_templates")
    monkeypatch.setattr(shared, "import_module", lambda _: ModuleType("without"))
    callback = plugin("callback.shared_work").CallbackModule()
    callback.v2_playbook_on_start(None)
    role = SimpleNamespace(get_default_vars=lambda: {"a": "{{ name }}"}, get_vars=lambda **_: {})
    callback.v2_playbook_on_play_start(SimpleNamespace(get_roles=lambda: [role]))
