"""Handles a batch of messages and returns the ones that failed, so that no item affects another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from label_export.core.endings import Ending
from label_export.core.errors import ExportError, PermanentError, TerminalError, UnconfirmedError, where
from label_export.core.export import Exporter, Outcome, Result
from label_export.core.messages import LabelChange, decode, is_hash
from label_export.telemetry import Telemetry

START_RESERVE = 5.0  # seconds that must be left to start an item
ANSWER_RESERVE = 0.5  # seconds reserved for the answer, even if an item hangs

Concurrently = Callable[[Callable[["_Item"], bool], Sequence["_Item"], float], Sequence[bool | None]]


@dataclass(frozen=True, slots=True)
class _Item:
    """One label to export, and the messages that request it."""

    change: LabelChange
    message_ids: tuple[str, ...]
    receive_count: int
    late: bool


METRICS = {
    Outcome.EXPORTED: ("Exported",),
    Outcome.WENT_BACK: ("Exported", Ending.WENT_BACK.metric),
    Outcome.UNCHANGED: ("Unchanged",),
    Outcome.FILTERED: (Ending.FILTERED.metric,),
}


def is_queue_batch(event: Mapping[str, Any]) -> bool:
    """Return whether an event is a batch of SQS messages."""
    records = event.get("Records")
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(record, dict) and record.get("eventSource") == "aws:sqs" for record in records)
    )


class BatchProcessor:
    """Exports the labels of one batch concurrently."""

    def __init__(
        self,
        *,
        exporter: Exporter,
        concurrently: Concurrently,
        remaining: Callable[[], float],
        telemetry: Telemetry,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`concurrently` maps a function over items, in order; the result is None for items that take too long.
        `remaining` returns the seconds that are left.
        """
        self._exporter = exporter
        self._concurrently = concurrently
        self._remaining = remaining
        self._telemetry = telemetry
        self._now = now

    def process(self, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return SQS's partial batch response: the ids of the messages that must be delivered again.

        Messages about the same label are one item; probes are separate items. Permanent failures are among the
        failed: SQS moves them to the dead-letter queue, where an operator sees them.
        """
        items, failed = self._read(records)
        done = self._concurrently(self._process_item, items, self._remaining() - ANSWER_RESERVE)
        for item, succeeded in zip(items, done, strict=True):
            if succeeded is None:
                self._hand_back(_about(item), "overdue")
            failed += () if succeeded else item.message_ids
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _read(self, records: Sequence[Mapping[str, Any]]) -> tuple[list[_Item], list[str]]:
        items: dict[tuple[object, bool, bool], _Item] = {}
        failed: list[str] = []
        for record in records:
            message_id = str(record["messageId"])
            try:
                change = decode(record.get("body"))
            except PermanentError as error:
                failed.append(message_id)
                self._telemetry.count(Ending.FAILED.metric, error.reason)
                self._telemetry.log(
                    "ERROR",
                    "label_failed",
                    reason=error.reason,
                    detail=str(error),
                    message_id=message_id,
                )
                continue
            receive_count = _receive_count(record)
            late = self._exporter.is_late(receive_count)
            # A failed probe must not end another message, and a late message must not end one that has just arrived.
            piece = (change.target, change.is_probe, late)
            before = items.get(piece)
            ids = (*before.message_ids, message_id) if before else (message_id,)
            items[piece] = _Item(change, ids, receive_count, late)
        return list(items.values()), failed

    def _process_item(self, item: _Item) -> bool:
        """Export an item's labels and log one line for each; False if its messages must be redelivered."""
        about = _about(item)
        if self._remaining() < START_RESERVE:
            self._hand_back(about, "no_time")
            return False
        return self._judged(item.change, about, lambda: self._process_labels(item, about))

    def _hand_back(self, about: Mapping[str, object], reason: str) -> None:
        self._telemetry.count("HandedBack", reason)
        self._telemetry.log("WARNING", "label_handed_back", reason=reason, **about)

    def _process_labels(self, item: _Item, about: Mapping[str, object]) -> bool:
        done = []
        for label_hash in self._exporter.labels(item.change, late=item.late):
            about_label = {**about, "label_hash": label_hash if is_hash(label_hash) else None}
            work = partial(self._process_label, item, label_hash, about_label)
            done.append(self._judged(item.change, about_label, work))
        return all(done)

    def _process_label(self, item: _Item, label_hash: str, about: Mapping[str, object]) -> bool:
        began = time.monotonic()
        result = self._exporter.export(item.change.project_hash, label_hash, late=item.late)
        self._note(result, about, (time.monotonic() - began) * 1000)
        return True

    def _judged(self, change: LabelChange, about: Mapping[str, object], work: Callable[[], bool]) -> bool:
        """Return the result of `work`; for its errors, which are counted and logged, whether they end the message."""
        try:
            return work()
        except ExportError as error:
            if change.is_probe:  # its sender reads the log; no alarm is needed
                self._telemetry.record("WARNING", "probe_ended", reason=error.reason, detail=str(error), **about)
                return True
            if isinstance(error, TerminalError):
                self._telemetry.count("Terminal", error.reason)
                self._telemetry.record("WARNING", "nothing_to_export", reason=error.reason, detail=str(error), **about)
                return True
            if isinstance(error, UnconfirmedError):
                self._telemetry.count("Unconfirmed", error.reason)
                self._telemetry.log("INFO", "label_unconfirmed", reason=error.reason, detail=str(error), **about)
                return False
            permanent = isinstance(error, PermanentError)
            self._telemetry.count(Ending.FAILED.metric, error.reason)
            self._telemetry.log(
                "ERROR",
                "label_failed",
                reason=error.reason,
                detail=str(error),
                permanent=permanent,
                **about,
            )
        except Exception as error:  # noqa: BLE001  (one bad item must not fail the others)
            self._telemetry.count(Ending.FAILED.metric, "unexpected")
            self._telemetry.log("ERROR", "label_failed", reason="unexpected", detail=where(error), **about)
        return False

    def _note(self, result: Result, about: Mapping[str, object], milliseconds: float) -> None:
        for metric in METRICS[result.outcome]:
            self._telemetry.count(metric)
        if self._exporter.stages:
            self._telemetry.measure("FilteredShare", float(result.outcome is Outcome.FILTERED))
        fields = {**about, "milliseconds": round(milliseconds)}
        row = result.row
        if row is None:
            self._telemetry.record("INFO", f"label_{result.outcome.value}", **fields)
            return
        if result.outcome in (Outcome.EXPORTED, Outcome.WENT_BACK):
            self._telemetry.measure("ExportedBytes", len(row.body))
        if result.outcome is Outcome.EXPORTED and row.edited_at is not None:
            self._telemetry.measure("EditToObjectSeconds", max(0.0, self._now() - row.edited_at.timestamp()))
        self._telemetry.log(
            "WARNING" if result.outcome is Outcome.WENT_BACK else "INFO",
            f"label_{result.outcome.value}",
            **fields,
            key=result.key,
            bytes=len(row.body),
            sha256=row.sha256,
            # The moment, since what was served could be any text with a date in it.
            edited_at=None if row.edited_at is None else row.edited_at.isoformat(),
        )


def _about(item: _Item) -> dict[str, object]:
    change = item.change
    return {
        "project_hash": change.project_hash,
        "label_hash": change.label_hash,
        "data_hash": change.data_hash,
        "event_uid": change.event_uid or None,
        "message_ids": list(item.message_ids),
        "receive_count": item.receive_count,
    }


def _receive_count(record: Mapping[str, Any]) -> int:
    attributes = record.get("attributes")
    text = attributes.get("ApproximateReceiveCount", "") if isinstance(attributes, dict) else ""
    return int(text) if isinstance(text, str) and text.isdecimal() else 0
