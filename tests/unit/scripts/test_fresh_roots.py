"""scripts/fresh_roots.py runs the README's commands, and fills in the files that the README names."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import fresh_roots
import pytest
import yaml


@pytest.mark.parametrize("command", fresh_roots.COMMANDS)
def test_each_command_is_in_the_readme(command: str) -> None:
    assert fresh_roots.typed(command) == command


def test_a_command_that_the_readme_does_not_have_is_refused() -> None:
    with pytest.raises(fresh_roots.StepError, match="does not have the command: make instal"):
        fresh_roots.typed("make instal")


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fresh_roots.Newcomer:
    monkeypatch.setattr(fresh_roots, "HERE", tmp_path)
    found = fresh_roots.Newcomer(fresh_roots.ROOTS[0], SimpleNamespace(facts={}))  # type: ignore[arg-type]  # no stack runs
    found.inputs.mkdir(parents=True)
    return found


def test_inputs_are_filled_in_where_they_stand_and_added_where_they_do_not(newcomer: fresh_roots.Newcomer) -> None:
    file = newcomer.inputs / "label_export.yml"
    file.write_text('---\n# Yours.\nlabel_export_account_id: ""\nlabel_export_tags: {}\n')
    newcomer.fill_in("label_export", label_export_account_id="000000000000", label_export_aws_profile="a\\1")
    assert yaml.safe_load(file.read_text()) == {
        "label_export_account_id": "000000000000",
        "label_export_tags": {},
        "label_export_aws_profile": "a\\1",
    }
    assert "# Yours." in file.read_text()
    newcomer.fill_in("handler_image", handler_image_base="a:1")
    assert yaml.safe_load((newcomer.inputs / "handler_image.yml").read_text()) == {"handler_image_base": "a:1"}


def test_an_unknown_root_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fresh_roots.py", "windows"])
    with pytest.raises(SystemExit, match=r"there is no windows\. There are: debian-12-root, "):
        fresh_roots.main()


def test_the_table_has_the_seconds_of_each_step_and_the_minutes_of_all(newcomer: fresh_roots.Newcomer) -> None:
    newcomer.seconds = {"deploy": 59.6, "status": 60.4}
    lines = [line.split() for line in fresh_roots.table([newcomer]).splitlines()]
    assert lines == [
        ["seconds", "debian-12-root"],
        ["deploy", "60"],
        ["status", "60"],
        ["all,", "in", "minutes", "2.0"],
    ]
