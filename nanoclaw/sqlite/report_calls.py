"""Queries on the calls of a turn, and which model request belongs to which model call."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from nanoclaw.domain import moment
from nanoclaw.reports import CallRow, Delivery, UsageSum
from nanoclaw.sqlite.report_rows import CALL, call_row, marks

USAGE_SUM = (
    "count(*) FILTER (WHERE state <> 'open'), count(DISTINCT turn_id) FILTER (WHERE state <> 'open'), "
    "coalesce(sum(input_tokens) FILTER (WHERE state <> 'open'), 0), "
    "coalesce(sum(output_tokens) FILTER (WHERE state <> 'open'), 0), "
    "coalesce(sum(cache_read_tokens) FILTER (WHERE state <> 'open'), 0), "
    "coalesce(sum(cache_creation_tokens) FILTER (WHERE state <> 'open'), 0), "
    "sum(cost_usd) FILTER (WHERE state <> 'open'), "
    "count(*) FILTER (WHERE state <> 'open' AND cost_usd IS NULL), "
    "count(*) FILTER (WHERE state = 'estimated'), count(*) FILTER (WHERE state = 'open'), "
    "coalesce(sum(duration_ms) FILTER (WHERE state <> 'open'), 0)"
)


def usage_sum(row: tuple[Any, ...]) -> UsageSum:
    requests, turns, into, out, cache_read, cache_made, cost, unknown, estimated, running, duration_ms = row
    return UsageSum(
        requests=requests, turns=turns, input_tokens=into, output_tokens=out, cache_read_tokens=cache_read,
        cache_creation_tokens=cache_made, cost_usd=cost, cost_unknown=unknown, estimated=estimated, open=running,
        duration_ms=duration_ms,
    )  # fmt: skip


def calls_of(connection: sqlite3.Connection, action_ids: Sequence[str]) -> list[CallRow]:
    """In the order in which they began."""
    rows = connection.execute(
        f"SELECT {CALL} FROM tool_call_log k WHERE k.action_id IN ({marks(action_ids)}) "
        "ORDER BY +k.timestamp, k.rowid",
        tuple(action_ids),
    )
    return [call_row(row) for row in rows]


def usage_of(connection: sqlite3.Connection, turn_id: str) -> UsageSum:
    row = connection.execute(f"SELECT {USAGE_SUM} FROM usage_log WHERE turn_id = ?", (turn_id,))
    return usage_sum(row.fetchone())


def with_usage(connection: sqlite3.Connection, turn_id: str, calls: Sequence[CallRow]) -> list[CallRow]:
    """The calls, each model call with what its requests used.

    The proxy and the agent write of the same request without knowing of each other. A turn makes one model call at
    a time, so a request belongs to the call whose time span is nearest to its own start; retries add up.
    """
    rows = connection.execute(
        f"SELECT timestamp, {USAGE_SUM} FROM usage_log WHERE turn_id = ? GROUP BY id ORDER BY timestamp, id",
        (turn_id,),
    ).fetchall()
    model_calls = [call for call in calls if call.kind == "model"]
    spent: dict[str, UsageSum] = {}
    for at, *figures in rows if model_calls else ():
        nearest = min(model_calls, key=lambda call: _distance(call, moment(at)))
        spent[nearest.id] = _plus(spent.get(nearest.id, UsageSum()), usage_sum(tuple(figures)))
    return [replace(call, usage=spent.get(call.id)) for call in calls]


def deliveries_of(connection: sqlite3.Connection, turn_id: str) -> list[Delivery]:
    rows = connection.execute(
        "SELECT p.state, p.sent_at, p.error FROM outbox o JOIN outbox_parts p ON p.outbox_id = o.id "
        "WHERE o.turn_id = ? ORDER BY o.ord, p.part",
        (turn_id,),
    )
    return [
        Delivery(state=state, sent_at=moment(at) if at else None, error=error) for state, at, error in rows
    ]


def _distance(call: CallRow, at: datetime) -> timedelta:
    ended = call.at + timedelta(milliseconds=call.duration_ms or 0)
    return max(call.at - at, at - ended, timedelta(0))


def _plus(one: UsageSum, other: UsageSum) -> UsageSum:
    costs = [cost for cost in (one.cost_usd, other.cost_usd) if cost is not None]
    return UsageSum(
        requests=one.requests + other.requests,
        turns=max(one.turns, other.turns),
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_creation_tokens=one.cache_creation_tokens + other.cache_creation_tokens,
        cost_usd=sum(costs) if costs else None,
        cost_unknown=one.cost_unknown + other.cost_unknown,
        estimated=one.estimated + other.estimated,
        open=one.open + other.open,
        duration_ms=one.duration_ms + other.duration_ms,
    )
