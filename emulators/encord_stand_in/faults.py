"""Injected faults: which requests they affect, and how. This module only decides; ``exchange`` carries them out."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

_MATCH = frozenset({"path", "method", "query", "label_hash"})
_SELECTION = frozenset({"nth", "count", "probability", "seed"})
_LATENCIES = frozenset({"latency_ms", "connection_latency_ms"})
_ACTIONS = frozenset({"status", "envelope_error", "html", "truncate", "reset", "blackhole", "empty", "other_row"})
_DETAILS = frozenset({"retry_after", "after_effect"})
KEYS = _MATCH | _SELECTION | _LATENCIES | _ACTIONS | _DETAILS
_LONGEST_MS = 120_000


class InvalidFaultError(Exception):
    """A fault that does not have the documented form."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The parts of a request that a fault can match. ``query`` is like ``labelrow/GET``, empty for REST."""

    path: str
    method: str
    query: str
    labels: tuple[str, ...]
    new_connection: bool


@dataclass(slots=True)
class Fault:
    """One rule. ``nth`` counts the matching requests since it was injected, from 1."""

    id: str
    rule: dict[str, Any]
    chance: random.Random
    matched: int = 0
    applied: int = 0

    def meets(self, seen: Seen) -> bool:
        """Return whether the fault affects this request, and count it."""
        rule = self.rule
        if (
            not fnmatchcase(seen.path, rule.get("path", "*"))
            or rule.get("method", seen.method) != seen.method
            or not fnmatchcase(seen.query, rule.get("query", "*"))
            or ("label_hash" in rule and rule["label_hash"] not in seen.labels)
        ):
            return False
        self.matched += 1
        nth = rule.get("nth")
        if nth is not None and self.matched not in (nth if isinstance(nth, list) else [nth]):
            return False
        if self.applied >= rule.get("count", self.applied + 1):
            return False
        if self.chance.random() >= rule.get("probability", 1.0):
            return False
        self.applied += 1
        return True

    @property
    def action(self) -> str | None:
        """Return what happens in addition to latency, or None."""
        return next((name for name in sorted(_ACTIONS) if self.rule.get(name) not in (None, False)), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the rule with its counts."""
        return {"id": self.id, **self.rule, "matched": self.matched, "applied": self.applied}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a request: first a delay in seconds, then the action of the first fault that has one."""

    delay: float
    fault: Fault | None
    met: tuple[str, ...]


class Faults:
    """The active faults, in the order in which they were injected."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)

    def inject(self, rules: list[dict[str, Any]]) -> None:
        """Inject all of these faults, or none. Raises InvalidFaultError."""
        for rule in rules:
            _validate(rule)
        for rule in rules:
            chance = random.Random(rule.get("seed", 0))  # noqa: S311  # repeatable on purpose  # nosec B311
            self._faults.append(Fault(f"fault-{next(self._numbers)}", rule, chance))

    def clear(self, fault_id: str | None = None) -> None:
        """Remove one fault or all."""
        self._faults = [] if fault_id is None else [fault for fault in self._faults if fault.id != fault_id]

    def as_list(self) -> list[dict[str, Any]]:
        """Return all faults with their counts."""
        return [fault.as_dict() for fault in self._faults]

    def judge(self, seen: Seen) -> Verdict:
        """Decide what happens to a request."""
        met = [fault for fault in self._faults if fault.meets(seen)]
        delay = 0.0
        for fault in met:
            delay += fault.rule.get("latency_ms", 0)
            if seen.new_connection:
                delay += fault.rule.get("connection_latency_ms", 0)
        acting = next((fault for fault in met if fault.action is not None), None)
        return Verdict(delay / 1000, acting, tuple(fault.id for fault in met))


def _validate(rule: dict[str, Any]) -> None:
    unknown = set(rule) - KEYS
    if unknown:
        raise InvalidFaultError(f"unknown key {sorted(unknown)[0]!r} in a fault")
    if not set(rule) & (_LATENCIES | _ACTIONS):
        raise InvalidFaultError(f"a fault needs one of: {', '.join(sorted(_LATENCIES | _ACTIONS))}")
    if len(set(rule) & _ACTIONS) > 1:
        raise InvalidFaultError("a fault has one action")
    for name in ("path", "method", "query", "label_hash", "envelope_error", "other_row"):
        if not isinstance(rule.get(name, ""), str):
            raise InvalidFaultError(f"{name} must be a string")
    for name in (*_LATENCIES, "retry_after", "status", "count", "seed"):
        value = rule.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_MS:
            raise InvalidFaultError(f"{name} must be a number from 0 to {_LONGEST_MS}")
    if rule.get("status", 200) not in range(200, 600):
        raise InvalidFaultError("status must be an HTTP status")
    probability = rule.get("probability", 1.0)
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise InvalidFaultError("probability must be a number from 0 to 1")
    nth = rule.get("nth", 1)
    if not all(isinstance(item, int) and item > 0 for item in (nth if isinstance(nth, list) else [nth])):
        raise InvalidFaultError("nth must be a whole number from 1, or a list of them")
    truncate = rule.get("truncate", 0)
    if not isinstance(truncate, int | float) or truncate < 0:
        raise InvalidFaultError("truncate must be true, a number of bytes, or a fraction below 1")
