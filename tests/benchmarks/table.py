"""Results as Markdown: each measured value with its goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A figure and its maximum."""

    measured: float
    most: float

    @property
    def met(self) -> bool:
        """Whether the figure is within the goal."""
        return self.measured <= self.most


@dataclass(frozen=True)
class Line:
    """One line of the table of goals. Without a `goal` it is only for comparison."""

    measure: str
    doc_style: str
    exporter: str
    figure: str
    goal: Goal | None = None
    goal_text: str = ""

    def cells(self) -> list[str]:
        """Return the line's cells, the verdict last."""
        verdict = "" if self.goal is None else "met" if self.goal.met else "**not met**"
        return [self.measure, self.doc_style, self.exporter, self.figure, self.goal_text, verdict]


HEAD = ("measure", "doc-style", "exporter", "ratio", "goal", "")


def ratio_line(measure: str, doc_style: tuple[float, str], exporter: tuple[float, str], most: float) -> Line:
    """Return a line for two figures with their texts, and the maximum of their ratio."""
    ratio = exporter[0] / doc_style[0]
    return Line(measure, doc_style[1], exporter[1], f"{ratio:.3f}", Goal(ratio, most), f"≤ {most:.2f} × doc-style")


def bound_line(measure: str, exporter: tuple[float, str], most: float, goal_text: str) -> Line:
    """Return a line for one figure of the exporter and its limit; the ratio is that of figure and limit."""
    return Line(measure, "", exporter[1], "", Goal(exporter[0], most), goal_text)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def milliseconds(seconds: float) -> tuple[float, str]:
    """Return seconds with their text in milliseconds."""
    return seconds, f"{seconds * 1000:.0f} ms"


def cpu(seconds: float) -> tuple[float, str]:
    """Return seconds of CPU with their text."""
    return seconds, f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def megabytes(count: float) -> tuple[float, str]:
    """Return bytes with their text in millions."""
    return count, f"{count / 1e6:.1f} MB"
