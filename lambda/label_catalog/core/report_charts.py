"""The report's charts as Vega-Lite specifications: pure data, https://vega.github.io/vega-lite/docs/spec.html.

Colours are the page's CSS variables, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from label_catalog.core.report_numbers import REST, CensusPoint, DayCount, Delays, Group

Spec = dict[str, Any]

WIDTH = 760
COLOURS = 7
_INK, _GRID = "currentColor", "var(--grid)"
_DAY = {
    "field": "day",
    "type": "temporal",
    "timeUnit": "utcyearmonthdate",
    "title": None,
    "axis": {"format": "%d %b", "tickCount": 8, "labelOverlap": True},
}
# Browsers have other fonts than the one used for layout: their texts may be wider.
_PADDING = {"left": 40, "right": 40, "top": 5, "bottom": 5}


def by_day(days: Sequence[DayCount]) -> Spec:
    """Return bars of labels by day, one colour for each data set."""
    return _chart(
        [asdict(day) for day in days],
        {"type": "bar", "width": {"band": 0.8}},
        {
            "x": _DAY,
            "y": {"field": "labels", "type": "quantitative", "aggregate": "sum", "title": "labels"},
            "color": _series("group", _largest_first(days)),
        },
    )


def bars(groups: Sequence[Group], amount: str = "labels") -> Spec:
    """Return one bar for each group, in their order."""
    values = [{"name": _told_apart(group), amount: getattr(group, amount)} for group in groups]
    return _chart(
        values,
        {"type": "bar", "color": "var(--c1)"},
        {
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None},
            "x": {"field": amount, "type": "quantitative", "title": amount, "axis": {"tickCount": 6}},
        },
        height={"step": 24},
    )


def delays(days: Sequence[Delays]) -> Spec:
    """Return lines of the percentiles by day, in seconds, on a logarithmic scale."""
    values = [
        # A logarithmic scale has no zero: values below a tenth of a second are drawn at a tenth.
        {"day": day.day, "share": name, "seconds": max(getattr(day, field), 0.1)}
        for day in days
        for name, field in (("50 %", "p50"), ("90 %", "p90"), ("99 %", "p99"))
    ]
    y = {"field": "seconds", "type": "quantitative", "title": "seconds", "scale": {"type": "log"}}
    return _chart(values, *_lines("share", ["50 %", "90 %", "99 %"], _DAY, y))


def completeness(points: Sequence[CensusPoint]) -> Spec:
    """Return lines of what was missing and stale at each census."""
    values = [
        {"as_of": point.as_of, "kind": kind, "labels": getattr(point, kind)}
        for point in points
        for kind in ("missing", "stale")
    ]
    x = {"field": "as_of", "type": "temporal", "title": None, "scale": {"type": "utc"}, "axis": _DAY["axis"]}
    y = {"field": "labels", "type": "quantitative", "title": "labels", "axis": {"tickMinStep": 1}}
    return _chart(values, *_lines("kind", ["missing", "stale"], x, y))


def growth(days: Sequence[DayCount]) -> Spec:
    """Return the area of the labels' size, day by day."""
    values = [{"day": day.day, "megabytes": day.size / 1e6} for day in days]
    return _chart(
        values,
        {
            "type": "area",
            "color": "var(--c1)",
            "fillOpacity": 0.35,
            "line": {"color": "var(--c1)"},
            "point": {"color": "var(--c1)"},
        },
        {"x": _DAY, "y": {"field": "megabytes", "type": "quantitative", "title": "MB"}},
    )


def _lines(series: str, names: Sequence[str], x: Spec, y: Spec) -> tuple[Spec, Spec]:
    """Return mark and encoding of lines that differ in colour and dashes: not every reader can distinguish colours."""
    dashes = {"field": series, "type": "nominal", "scale": {"domain": list(names), "range": [[1, 0], [6, 3], [2, 2]]}}
    return {"type": "line", "point": True}, {"x": x, "y": y, "color": _series(series, names), "strokeDash": dashes}


def _series(field: str, names: Sequence[str]) -> Spec:
    colours = [f"var(--c{index % COLOURS + 1})" for index in range(len(names))]
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(names), "range": colours},
        "legend": {"orient": "bottom", "columns": 3, "labelLimit": 200},
    }


def _largest_first(days: Iterable[DayCount]) -> list[str]:
    counts: Counter[str] = Counter()
    for day in days:
        counts[day.group] += day.labels
    return sorted(counts, key=lambda name: (name == REST, -counts[name], name))


def _told_apart(group: Group) -> str:
    """Return a name that no other group of the chart has: two classes may have one name and different shapes."""
    return f"{group.name} ({group.detail})" if group.detail else group.name


def _chart(values: list[dict[str, Any]], mark: Spec, encoding: Spec, height: Any = 200) -> Spec:
    text = {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 12, "titleFontSize": 12, "labelLimit": 240}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": None,
        "padding": _PADDING,
        "width": WIDTH,
        "height": height,
        "data": {"values": values},
        "mark": mark,
        "encoding": encoding,
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": {**text, "gridColor": _GRID, "domainColor": _GRID, "tickColor": _GRID, "titleFontWeight": "normal"},
            "legend": text,
        },
    }
