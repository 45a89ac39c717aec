"""Object keys: no two labels share one, and no value leaves its segment."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_export.core.errors import SettingsError
from label_export.core.object_keys import DEFAULT_TEMPLATE, FIELDS, MAX_KEY_BYTES, KeyTemplate
from label_export.core.ports import LabelRow

hashes = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}", fullmatch=True)
texts = st.none() | st.text(max_size=200) | st.sampled_from(["..", ".", "../../x", "/", "a/b", "\x00\r\n", "%2e%2e/"])
literals = st.text("ab-_.!'()*", max_size=4)


@st.composite
def templates(draw: Any) -> str:
    """Any template, valid or not, with {label_hash} in its own segment."""
    others = [name for name in FIELDS if name != "label_hash"]
    segments = draw(
        st.lists(
            st.builds(
                "".join, st.lists(literals | st.sampled_from(others).map("{{{}}}".format), min_size=1, max_size=3)
            ),
            max_size=3,
        )
    )
    own = draw(literals) + "{label_hash}" + draw(literals)
    segments.insert(draw(st.integers(0, len(segments))), own)
    return "/".join(segments)


def valid(template: str) -> KeyTemplate | None:
    try:
        return KeyTemplate(template)
    except SettingsError:
        return None


@st.composite
def rows(draw: Any) -> LabelRow:
    return LabelRow(draw(hashes), draw(texts), draw(texts), draw(texts), draw(texts), None, None, b"", "")


@given(templates(), hashes, hashes, rows(), rows())
def test_no_two_labels_share_a_key(template: str, project: str, other: str, one: LabelRow, two: LabelRow) -> None:
    keys = valid(template)
    if keys is not None and one.label_hash != two.label_hash:
        assert keys.render(project, one) != keys.render(other, two)


@given(templates(), hashes, rows())
def test_no_value_leaves_its_segment(template: str, project: str, row: LabelRow) -> None:
    keys = valid(template)
    if keys is None:
        return
    key = keys.render(project, row)
    assert key.count("/") == template.count("/")
    assert re.fullmatch(r"[0-9A-Za-z!_.*'()/-]+", key)
    assert not {"", ".", ".."} & set(key.split("/"))
    assert len(key.encode()) <= MAX_KEY_BYTES


@given(hashes, rows())
def test_the_key_before_the_fetch_is_the_key_after_it(project: str, row: LabelRow) -> None:
    assert KeyTemplate(DEFAULT_TEMPLATE).render_early(project, row.label_hash) == KeyTemplate(DEFAULT_TEMPLATE).render(
        project, row
    )


def test_default_and_named_fields() -> None:
    row = LabelRow("l-1", "d-1", "s-1", "My scan/№1.dcm", "main", None, None, b"", "")
    assert KeyTemplate(DEFAULT_TEMPLATE).render("p-1", row) == "encord/p-1/labels/l-1.json"
    every = KeyTemplate("{project_hash}/{dataset_hash}/{data_hash}/{branch_name}/{data_title}/x_{label_hash}.json")
    assert every.render("p-1", row) == "p-1/s-1/d-1/main/My_scan__1.dcm/x_l-1.json"
    assert every.needs_row
    assert every.render_early("p-1", "l-1") is None


def test_long_titles_are_cut() -> None:
    row = LabelRow("l-1", None, None, "t" * 5000, None, None, None, b"", "")
    assert KeyTemplate("{data_title}/{label_hash}").render("p-1", row) == "t" * 128 + "/l-1"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("labels/{project_hash}.json", "label_hash"),
        ("{label_hash}/{label_hash}", "once"),
        ("{data_title}-{label_hash}.json", "no other field"),
        ("/{label_hash}", "slash"),
        ("{label_hash}/", "slash"),
        ("a//{label_hash}", "slash"),
        ("../{label_hash}", "slashes"),
        ("./{label_hash}", "slashes"),
        ("{label_hash", "braces"),
        ("{label_hash!r}", "fields"),
        ("{label_hash:>9}", "fields"),
        ("{}/{label_hash}", "fields"),
        ("{secret}/{label_hash}", "fields"),
        ("{label_hash.__class__}", "fields"),
        ("a b/{label_hash}", "letters"),
        ("é/{label_hash}", "letters"),
        ("{{x}}/{label_hash}", "letters"),
        ("a" * 900 + "/{label_hash}", "bytes"),
    ],
)
def test_invalid_templates_are_refused_with_the_reason(template: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        KeyTemplate(template)
