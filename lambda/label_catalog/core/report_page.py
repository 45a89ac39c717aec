"""The report as one HTML file: no scripts, no requests, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from label_catalog.core.report_numbers import NOT_KNOWN, Failure, Group, IndexNumbers, ReportNumbers

# Nothing may be loaded or run, even if a text were not escaped.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --grid: #d0d7de; --tile: #f4f6f8;
  --link: #0550ae; --good: #116329; --bad: #b3261e;
  --c1: #0868ac; --c2: #b35900; --c3: #1a7f37; --c4: #8250df; --c5: #a40e26; --c6: #0e7c86; --c7: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161b; --ink: #e6edf3; --soft: #a5b0bb; --grid: #3a434d;
  --tile: #1c232b; --link: #79b8ff; --good: #56d364; --bad: #ff8a80;
  --c1: #58a6ff; --c2: #f0a35e; --c3: #56d364; --c4: #c297ff; --c5: #ff7b89; --c6: #4fd1c5; --c7: #a5b0bb; } }
@media print { :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --soft: #333333; --grid: #bbbbbb;
  --tile: #ffffff; --link: #000000; --good: #116329; --bad: #b3261e;
  --c1: #0868ac; --c2: #b35900; --c3: #1a7f37; --c4: #8250df; --c5: #a40e26; --c6: #0e7c86; --c7: #6e7781; }
  nav, .skip { display: none; } section, figure, .tile { break-inside: avoid; }
  details::details-content { content-visibility: visible; display: block; } .wide { overflow: visible; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -999rem; } .skip:focus { position: static; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1rem; list-style: none; padding: 0; margin: 1rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 1rem 0;
  padding: 0; list-style: none; }
.tile { background: var(--tile); border: 1px solid var(--grid); border-radius: .5rem; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.good b { color: var(--good); } .bad b { color: var(--bad); }
figure { margin: .5rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: var(--soft); }
summary { cursor: pointer; padding: .3rem 0; color: var(--link); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .2rem 0; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--grid); vertical-align: top;
  overflow-wrap: anywhere; }
thead th { overflow-wrap: normal; }
td.n, th.n { text-align: right; white-space: nowrap; overflow-wrap: normal; }
"""


class Html(str):
    """Text that is already HTML; every other text is escaped."""

    __slots__ = ()


def element(name: str, *content: object, **attributes: object) -> Html:
    """Return an element with its content, escaped unless it is Html. `class_` stands for the attribute class."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items())
    inside = "".join(part if isinstance(part, Html) else escape(str(part)) for part in content)
    return Html(f"<{name}{given}>{inside}</{name}>")


def number(value: float | None) -> str:
    """Return a number with thousands separators, or a dash if it is unknown."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def size(count: int) -> str:
    """Return bytes in the largest unit that gives 1 or more."""
    amount, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":  # noqa: PLR2004 - decimal units
            break
        amount /= 1000
    return f"{count:,} bytes" if unit == "bytes" else f"{amount:,.1f} {unit}"


def seconds(value: float) -> str:
    """Return a duration in the unit that people would use."""
    for limit, divisor, unit in ((120.0, 1, "s"), (7200.0, 60, "min"), (172_800.0, 3600, "h")):
        if value < limit:
            return f"{value / divisor:,.1f} {unit}"
    return f"{value / 86400:,.1f} days"


def page(numbers: ReportNumbers, charts: Mapping[str, str]) -> str:
    """Return the whole page. `charts` are SVG elements by name; a section without one explains why."""
    sections = _sections(numbers, charts)
    links = [element("li", element("a", title, href=f"#{name}")) for name, title, _ in sections]
    body = [
        element("a", "Skip to the numbers", href="#main", class_="skip"),
        element(
            "header",
            element("h1", f"Labels of {numbers.title}"),
            element("p", f"Project {numbers.project_hash}. {_source(numbers)}", class_="soft"),
        ),
        element("nav", element("ul", *links), aria_label="Sections"),
        element("main", _tiles(numbers), *_laid_out(sections), id="main"),
        element(
            "footer",
            element("p", "Days and times are UTC. 1 MB is 1,000,000 bytes.", class_="soft"),
        ),
    ]
    head = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        # Without it a browser asks the server for a favicon.
        Html('<link rel="icon" href="data:,">'),
        element("title", f"Labels of {numbers.title}"),
        Html(f"<style>{_STYLE}</style>"),
    ]
    return f"<!doctype html>\n{element('html', element('head', *head), element('body', *body), lang='en')}\n"


Section = tuple[str, str, list[Html]]


def _sections(numbers: ReportNumbers, charts: Mapping[str, str]) -> list[Section]:
    index = numbers.index
    sections: list[Section] = [("completeness", "Completeness", _completeness(numbers, charts))]
    sections.append(("failures", "What failed and why", _failures(numbers)))
    if index is not None:
        sections += [
            ("saved", "Labels saved by day", _saved(index, charts)),
            ("delays", "From edit to object", _delays(index, charts)),
            ("datasets", "Data sets", _groups("datasets", "Labels by data set", "data set", index.datasets, charts)),
            ("stages", "Workflow stages", _groups("stages", "Labels by workflow stage", "stage", index.stages, charts)),
            ("classes", "Classes", _classes(index, charts)),
            ("growth", "Growth of the bucket", _growth(index, charts)),
        ]
    sections.append(("snapshots", "Snapshots", _snapshots(numbers)))
    return sections


def _laid_out(sections: Iterable[Section]) -> list[Html]:
    return [
        element("section", element("h2", title, id=f"{name}-title"), *content, id=name, aria_labelledby=f"{name}-title")
        for name, title, content in sections
    ]


def _source(numbers: ReportNumbers) -> str:
    made = f"Written {_moment(numbers.made_at)}"
    if numbers.index is None:
        return f"{made}. The project has no index yet: run playbooks/index.yml."
    return f"{made}, from generation {numbers.index.generation} of the index."


def _tiles(numbers: ReportNumbers) -> Html:
    tiles = []
    if numbers.census:
        latest = numbers.census[-1]
        bad = latest.missing + latest.stale + latest.odd
        text = "complete" if latest.complete else f"{number(bad)} to repair"
        tiles.append(_tile(text, f"at the census of {_moment(latest.as_of)}", "good" if latest.complete else "bad"))
    if numbers.index is not None:
        index = numbers.index
        tiles.append(_tile(number(index.labels), "labels in the index"))
        tiles.append(_tile(number(index.annotations), "annotations"))
        tiles.append(_tile(size(index.size), "of label objects"))
        if index.delays is not None:
            tiles.append(_tile(seconds(index.delays.p50), "from edit to object, half of the labels"))
        if index.gone:
            tiles.append(_tile(number(index.gone), "deleted in Encord, or moved back"))
    return element("ul", *tiles, class_="tiles") if tiles else Html("")


def _tile(value: str, text: str, kind: str = "") -> Html:
    return element("li", element("b", value), text, class_=f"tile {kind}".strip())


def _completeness(numbers: ReportNumbers, charts: Mapping[str, str]) -> list[Html]:
    if not numbers.census:
        return [element("p", "No census yet: playbooks/census.yml runs one, and a schedule runs one each day.")]
    latest = numbers.census[-1]
    text = (
        f"Encord has {number(latest.selected)} labels that belong in the bucket; {number(latest.current)} are there "
        f"and as new as in Encord. Missing: {number(latest.missing)}, stale: {number(latest.stale)}, "
        f"extra: {number(latest.extra)}, moved back: {number(latest.moved_back)}, "
        f"rows of an unknown form: {number(latest.odd)}."
    )
    rows = [
        [_moment(point.as_of), point.selected, point.current, point.missing, point.stale, point.extra, point.moved_back]
        for point in reversed(numbers.census)
    ]
    columns = ["census", "in Encord", "current", "missing", "stale", "extra", "moved back"]
    caption = "Labels missing and stale at the last census of each day"
    return [element("p", text), *_figure("completeness", caption, columns, rows, charts)]


def _failures(numbers: ReportNumbers) -> list[Html]:
    columns = ["what", "labels", "why", "for example"]
    found: list[Html] = []
    if numbers.failures:
        found.append(_table("Found by census, index and catalog", columns, _reasons(numbers.failures)))
    else:
        found.append(element("p", "No label is missing, stale or odd, and no work of the catalog failed."))
    log = numbers.exporter
    if log is None:
        text = (
            "What the exporter could not store is not known here: playbooks/report.yml reads its log and dead letters."
        )
        return [*found, element("p", text)]
    period = f"the last {number(round(log.hours / 24, 1))} days"
    letters = f"The dead-letter queue holds {number(log.dead_letters)} messages of all projects."
    if not log.failures:
        return [*found, element("p", f"The exporter's log of {period} names no label that was not stored. {letters}")]
    text = (
        f"From the exporter's log of {period}: failed labels are retried, and most are then stored. {letters} "
        "docs/operations.md has the reasons, and playbooks/redrive.yml queues dead letters again."
    )
    return [*found, element("p", text), _table("Not stored by the exporter", columns, _reasons(log.failures))]


def _reasons(failures: Iterable[Failure]) -> list[list[object]]:
    return [[failure.what, failure.count, failure.why, ", ".join(failure.examples)] for failure in failures]


def _saved(index: IndexNumbers, charts: Mapping[str, str]) -> list[Html]:
    rows = [[day.day, day.group or NOT_KNOWN, day.labels] for day in reversed(index.saved)]
    text = "Each label counts once, on the day on which its current version was saved."
    return [
        element("p", text, class_="soft"),
        *_figure("saved", "Labels saved by day and data set", ["day", "data set", "labels"], rows, charts),
    ]


def _delays(index: IndexNumbers, charts: Mapping[str, str]) -> list[Html]:
    if index.delays is None:
        return [element("p", "No label of the index has both an edit time and a time of storage.")]
    rows: list[Sequence[object]] = [
        [delay.day or "all", delay.labels, *map(seconds, (delay.p50, delay.p90, delay.p99, delay.longest))]
        for delay in (index.delays, *reversed(index.delays_by_day))
    ]
    text = (
        "From Encord's edit time to the time when S3 stored the object. Labels of a backfill "
        "count too: their edits can be old."
    )
    columns = ["day", "labels", "50 %", "90 %", "99 %", "longest"]
    return [
        element("p", text, class_="soft"),
        *_figure("delays", "Time from edit to object by day, within which 50, 90 and 99 % came", columns, rows, charts),
    ]


def _groups(name: str, caption: str, column: str, groups: Sequence[Group], charts: Mapping[str, str]) -> list[Html]:
    rows = [[group.name, group.labels, size(group.size)] for group in groups]
    return _figure(name, caption, [column, "labels", "size"], rows, charts)


def _classes(index: IndexNumbers, charts: Mapping[str, str]) -> list[Html]:
    rows = [[group.name, group.detail, group.annotations, group.labels] for group in index.classes]
    found = _figure("classes", "Annotations by class", ["class", "shape", "annotations", "labels"], rows, charts)
    if index.class_count > len(rows):
        found.insert(0, element("p", f"The {len(rows)} largest of {number(index.class_count)} classes.", class_="soft"))
    return found


def _growth(index: IndexNumbers, charts: Mapping[str, str]) -> list[Html]:
    rows = [[day.day, day.labels, size(day.size)] for day in reversed(index.growth)]
    text = "Today's labels by the day on which each was last saved. Earlier versions and snapshots are not counted."
    return [
        element("p", text, class_="soft"),
        *_figure("growth", "Size of all labels, day by day", ["up to", "labels", "size"], rows, charts),
    ]


def _snapshots(numbers: ReportNumbers) -> list[Html]:
    if not numbers.snapshots:
        return [element("p", "No snapshot yet: playbooks/snapshot.yml -e snapshot_name=<name> freezes the labels.")]
    rows = [
        [
            line.name,
            _moment(line.created_at),
            line.labels,
            line.where or "all labels",
            line.before or "",
            *(number(count) if line.before else "" for count in (line.added, line.removed, line.changed)),
            line.identity[:12],
        ]
        for line in numbers.snapshots
    ]
    columns = ["name", "made", "labels", "filter", "compared with", "added", "removed", "changed", "id"]
    return [_table("The last snapshots, and what changed since the one before", columns, rows)]


def _figure(
    name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]], charts: Mapping[str, str]
) -> list[Html]:
    """Return a chart with its numbers in a table that opens with a click or a key."""
    if not rows:
        return [element("p", "There is nothing to count yet.")]
    found: list[Html] = []
    if name in charts:
        svg = Html(charts[name])
        found.append(element("figure", svg, element("figcaption", caption), id=f"chart-{name}"))
    found.append(element("details", element("summary", f"{caption}: the numbers"), _table(caption, columns, rows)))
    return found


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    numeric = [all(isinstance(row[place], int | float) for row in rows) for place in range(len(columns))]
    kinds: list[dict[str, object]] = [{"class_": "n"} if is_numeric else {} for is_numeric in numeric]
    head = [element("th", name, scope="col", **kind) for name, kind in zip(columns, kinds, strict=True)]
    body = [
        element("tr", *(_cell(value, place, kind) for place, (value, kind) in enumerate(zip(row, kinds, strict=True))))
        for row in rows
    ]
    table = element(
        "table", element("caption", caption), element("thead", element("tr", *head)), element("tbody", *body)
    )
    # It scrolls if it is wide, so it must be reachable by keyboard.
    return element("div", table, class_="wide", role="region", tabindex="0", aria_label=caption)


def _cell(value: object, place: int, kind: Mapping[str, object]) -> Html:
    text = number(value) if isinstance(value, int | float) else value
    return element("th", text, scope="row", **kind) if place == 0 else element("td", text, **kind)


def _moment(text: str) -> str:
    """Return an ISO 8601 time in a readable form, to the minute."""
    return f"{text[:16].replace('T', ' ')} UTC"
