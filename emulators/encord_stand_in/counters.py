"""What clients did: requests, new connections and refusals, so that a test can prove it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

_DETAILS_KEPT = 2000


@dataclass(slots=True)
class EndpointCounts:
    """Counts of one endpoint. A connection is counted at the endpoint of its first request."""

    requests: int = 0
    new_connections: int = 0
    bytes_sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


class Counters:
    """Counts since the start or the last reset. Not thread-safe: for use in the event loop only."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero. Open connections do not count as new afterwards."""
        self._endpoints: dict[str, EndpointCounts] = {}
        self._refused: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._writes = 0
        self._connections_opened = 0
        self._details: deque[dict[str, Any]] = deque(maxlen=_DETAILS_KEPT)

    def connection_opened(self) -> None:
        """Count an accepted connection, including those to the control API."""
        self._connections_opened += 1

    def request(self, endpoint: str, *, new_connection: bool, client: str, labels: list[str], write: bool) -> None:
        """Count a request after it has been read, before anything is decided about it."""
        counts = self._endpoints.setdefault(endpoint, EndpointCounts())
        counts.requests += 1
        counts.new_connections += new_connection
        self._writes += write
        self._details.append(
            {"endpoint": endpoint, "new_connection": new_connection, "client": client, "labels": labels[:1000]}
        )

    def answered(self, endpoint: str, status: str, bytes_sent: int) -> None:
        """Count a response; ``status`` is the HTTP status, or for example ``reset`` if none was sent."""
        counts = self._endpoints.setdefault(endpoint, EndpointCounts())
        counts.statuses[status] += 1
        counts.bytes_sent += bytes_sent

    def refused(self, reason: str) -> None:
        """Count a request that was refused."""
        self._refused[reason] += 1

    def faulted(self, fault_id: str) -> None:
        """Count an injected fault."""
        self._faults[fault_id] += 1

    def as_dict(self, *, details: bool) -> dict[str, Any]:
        """Return everything in the form that the control API serves."""
        endpoints = {
            name: {
                "requests": counts.requests,
                "new_connections": counts.new_connections,
                "bytes_sent": counts.bytes_sent,
                "statuses": dict(counts.statuses),
            }
            for name, counts in sorted(self._endpoints.items())
        }
        answer: dict[str, Any] = {
            "total": {
                "requests": sum(counts.requests for counts in self._endpoints.values()),
                "new_connections": sum(counts.new_connections for counts in self._endpoints.values()),
                "refused": sum(self._refused.values()),
                "writes": self._writes,
            },
            "connections_opened": self._connections_opened,
            "endpoints": endpoints,
            "refused": dict(self._refused),
            "faults": dict(self._faults),
        }
        if details:
            answer["details"] = list(self._details)
        return answer
