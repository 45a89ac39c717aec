"""Checks that a snapshot's filter is exactly one boolean expression on the index's columns. Pure.

The filter is SQL from the person who creates the snapshot. DuckDB parses it. This module reads the parsed statement,
and accepts only what is listed here. So no filter can read a file, the environment or a setting, in any DuckDB version.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from label_export.core.errors import PermanentError

TABLE = "labels"
MOST_CHARACTERS = 2000

_CLASSES = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "FUNCTION", "CAST", "TYPE", "BETWEEN", "CASE"}
)
_OPERATORS = frozenset(
    {
        "OPERATOR_NOT",
        "OPERATOR_IS_NULL",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_COALESCE",
        "OPERATOR_NULLIF",
        "COMPARE_IN",
        "COMPARE_NOT_IN",
    }
)
# LIKE, ILIKE, arithmetic and concatenation are functions too. All of these depend only on their arguments, except the
# time of day. None returns a text that is longer than its arguments together: DuckDB's memory limit does not count such
# texts, so replace() inside replace() would end the function. Hence replace(), repeat() and lpad() are not listed.
FUNCTIONS = frozenset(
    {
        *("~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape"),
        *("+", "-", "*", "/", "//", "%", "||"),
        *("lower", "upper", "length", "trim", "ltrim", "rtrim", "left", "right", "substring", "substr", "concat"),
        *("contains", "prefix", "suffix", "starts_with", "ends_with", "regexp_matches", "regexp_full_match"),
        *("split_part", "abs", "round", "floor", "ceil", "greatest", "least"),
        *("now", "get_current_timestamp", "current_date", "today", "date_trunc", "date_part", "date_diff", "epoch"),
        *("year", "month", "day", "hour", "to_years", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes"),
        *("to_seconds", "hash", "md5", "trunc"),
    }
)
_TYPES = frozenset(
    {
        *("VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "FLOAT", "DECIMAL", "INTERVAL"),
        *("DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"),
    }
)


@dataclass(frozen=True, slots=True)
class Filter:
    """An accepted filter: its text, and the columns that it names."""

    text: str
    columns: frozenset[str]

    @property
    def condition(self) -> str:
        """The condition in SQL. Labels that are gone from Encord are excluded, unless the filter names `gone_at`."""
        stays = "" if self.columns & {"gone_at", "gone_reason"} else " AND gone_at IS NULL"
        return f"(\n{self.text or 'true'}\n){stays}"


def refused(problem: str) -> PermanentError:
    """Return the error for a filter."""
    return PermanentError("snapshot_where", f"snapshot_where {problem}")


def statement(text: str) -> str:
    """Return the statement whose parsed form `checked` reads; raises PermanentError if the text is too long."""
    if len(text) > MOST_CHARACTERS:
        raise refused(f"has {len(text)} characters: at most {MOST_CHARACTERS} are allowed")
    return f"SELECT * FROM {TABLE} WHERE {text}\n"  # noqa: S608 - it is parsed, and not run


def checked(text: str, parsed: str, columns: Collection[str]) -> Filter:
    """Return the filter; raises PermanentError unless it is one expression on `columns`.

    `parsed` is what DuckDB's `json_serialize_sql` returns for `statement(text)`.
    """
    try:
        found = json.loads(parsed)
    except (ValueError, RecursionError):
        raise refused("cannot be read: it is nested too deep") from None
    if found.get("error"):
        raise refused(f"is not an expression in SQL: {_line(found.get('error_message'))}")
    statements = found.get("statements") or []
    if len(statements) != 1:
        raise refused("is not one expression: a semicolon divides it into several statements")
    return Filter(text, frozenset(_columns(_expression(statements[0]), columns)))


def _expression(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the condition of a statement that has no other clauses."""
    node = parsed.get("node") or {}
    plain: dict[str, object] = {
        "type": "SELECT_NODE",
        "modifiers": [],
        "group_expressions": [],
        "group_sets": [],
        "having": None,
        "qualify": None,
        "sample": None,
        "aggregate_handling": "STANDARD_HANDLING",
    }
    table = node.get("from_table") or {}
    whole = all(node.get(name) == value for name, value in plain.items())
    own = table.get("type") == "BASE_TABLE" and table.get("table_name") == TABLE and not table.get("sample")
    if not (whole and own and (node.get("cte_map") or {}).get("map") == [] and node.get("where_clause")):
        raise refused("is more than a condition: ORDER BY, LIMIT, GROUP BY, UNION and the like are not allowed")
    return dict(node["where_clause"])


def _columns(expression: Mapping[str, Any], columns: Collection[str]) -> Iterator[str]:
    waiting: list[Any] = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, Mapping):
            if "class" in part:
                _check(part)
                if part["class"] == "COLUMN_REF":
                    yield _column(part, columns)
            elif "node" in part or "cte_map" in part:
                raise refused("has a query in it: only the label's own columns can be compared")
            waiting += part.values()


def _check(part: Mapping[str, Any]) -> None:
    kind, name = part["class"], str(part.get("type"))
    if kind == "SUBQUERY":
        raise refused("has a query in it: only the label's own columns can be compared")
    if kind not in _CLASSES or (kind == "OPERATOR" and name not in _OPERATORS):
        raise refused(f"uses {name.lower()}, which is not allowed")
    if kind == "FUNCTION":
        function = str(part.get("function_name")).lower()
        bare = (
            not part.get("schema") and not part.get("catalog") and not part.get("filter") and not part.get("distinct")
        )
        if function not in FUNCTIONS or not bare:
            raise refused(f"uses {function}(), which is not allowed")
    if kind == "TYPE" and str(part.get("type_name")).upper() not in _TYPES:
        raise refused(f"uses the type {part.get('type_name')}, which is not allowed")


def _column(part: Mapping[str, Any], columns: Collection[str]) -> str:
    path = [str(name) for name in part.get("column_names") or ()]
    name = path[-1].lower() if path else ""
    if path[:-1] not in ([], [TABLE]) or name not in columns:
        raise refused(f"names {'.'.join(path)}, which is no column of the index: {', '.join(columns)}")
    return name


def _line(text: object) -> str:
    return str(text or "").partition("\n")[0]
