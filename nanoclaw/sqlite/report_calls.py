"""Queries on the calls of a turn, and which model request belongs to which model call."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from nanoclaw.domain import moment
from nanoclaw.reports import CallRow, Delivery, UsageSum
from nanoclaw.sqlite.report_rows import CALL, call_row, marks
from nanoclaw.sqlite.report_usage import added


def calls_of(connection: sqlite3.Connection, action_ids: Sequence[str]) -> list[CallRow]:
    """In the order in which they were recorded, that of cause and effect: starts are only known to about a millisecond."""
    rows = connection.execute(
        f"SELECT {CALL} FROM tool_call_log k WHERE k.action_id IN ({marks(action_ids)}) ORDER BY +k.rowid",
        tuple(action_ids),
    )
    return [call_row(row) for row in rows]


def with_usage(calls: Sequence[CallRow], requests: Sequence[tuple[datetime, UsageSum]]) -> list[CallRow]:
    """The calls, each model call with what its requests used.

    The proxy and the agent write of the same request without knowing of each other. A turn makes one model call at
    a time, so a request belongs to the call whose time span is nearest to its own start; retries add up.
    """
    model_calls = [call for call in calls if call.kind == "model"]
    spent: dict[str, list[UsageSum]] = {call.id: [] for call in model_calls}
    for at, used in requests if model_calls else ():
        nearest = min(model_calls, key=lambda call: _distance(call, at))
        spent[nearest.id].append(used)
    return [replace(call, usage=added(spent[call.id])) if spent.get(call.id) else call for call in calls]


def deliveries_of(connection: sqlite3.Connection, turn_id: str) -> list[Delivery]:
    rows = connection.execute(
        # An entry without parts waits behind others, or for its chat to be reachable.
        "SELECT coalesce(p.state, o.state), p.sent_at, p.error, coalesce(p.attempts, 0),"
        " p.next_try FROM outbox o LEFT JOIN outbox_parts p ON p.outbox_id = o.id "
        "WHERE o.turn_id = ? AND o.key NOT LIKE 'live:%' ORDER BY o.ord, p.part",
        (turn_id,),
    )
    return [
        Delivery(
            state=state,
            sent_at=moment(at) if at else None,
            error=error,
            attempts=tries,
            next_try=moment(again) if again else None,
        )
        for state, at, error, tries, again in rows
    ]


def _distance(call: CallRow, at: datetime) -> timedelta:
    ended = call.at + timedelta(milliseconds=call.duration_ms or 0)
    return max(call.at - at, at - ended, timedelta(0))
