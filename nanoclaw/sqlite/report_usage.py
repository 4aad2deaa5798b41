"""Sums over `usage_log`: of a period, of each group, of each day, of a turn's requests."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and conditions

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from nanoclaw.domain import Group, moment, stamp
from nanoclaw.reports import Day, UsageReport, UsageSum

OPEN_AT_MOST = timedelta(days=1)
"""A model request that began earlier cannot still run."""

_SUM = (
    "count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cache_read_tokens), 0), "
    "coalesce(sum(cache_creation_tokens), 0), sum(cost_usd), count(*) - count(cost_usd), "
    "coalesce(sum(state = 'estimated'), 0), coalesce(sum(duration_ms), 0)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuestion:
    """What `/usage` asks; see `Reports.usage`."""

    since: datetime | None
    now: datetime
    group: Group | None
    by_group: bool
    days: Sequence[Day]


def usage(connection: sqlite3.Connection, ask: UsageQuestion) -> UsageReport:
    groups = _by_group(connection, ask.since, None, ask.group)
    total = replace(added(used for _, used in groups), turns=_turns(connection, ask))
    return UsageReport(
        total=total,
        groups=groups if ask.by_group else (),
        days=[
            (day, added(used for _, used in _by_group(connection, day.starts, day.ends, ask.group)))
            for day in ask.days
        ],
        running=_running(connection, ask),
    )


def requests_of(connection: sqlite3.Connection, turn_id: str) -> list[tuple[datetime, UsageSum]]:
    """Each model request of a turn, and when the proxy saw it begin."""
    rows = connection.execute(
        f"SELECT timestamp, state, {_SUM} FROM usage_log WHERE turn_id = ? GROUP BY id ORDER BY timestamp, id",
        (turn_id,),
    )
    return [
        (moment(at), UsageSum(open=1) if state == "open" else _usage_sum(tuple(figures)))
        for at, state, *figures in rows
    ]


def added(sums: Iterable[UsageSum]) -> UsageSum:
    """All together; the turns are not added, for the same one may be in several."""
    return reduce(_plus, sums, UsageSum())


def _by_group(
    connection: sqlite3.Connection, since: datetime | None, until: datetime | None, group: Group | None
) -> list[tuple[str, UsageSum]]:
    """The busiest first, by the name that the group had last."""
    where, values = _period(since, until, group)
    # With max(), SQLite takes the name from the same row. The plus sign makes it use the index on the time.
    key = "+group_jid" if since else "group_jid"
    rows = connection.execute(
        f"SELECT group_name, max(timestamp), {_SUM} FROM usage_log WHERE {where} AND state <> 'open' GROUP BY {key}",
        values,
    )
    found = [(name, _usage_sum(tuple(figures))) for name, _, *figures in rows]
    return sorted(found, key=lambda item: (-item[1].input_tokens - item[1].output_tokens, item[0]))


def _turns(connection: sqlite3.Connection, ask: UsageQuestion) -> int:
    where, values = _period(ask.since, None, ask.group)
    rows = connection.execute(f"SELECT count(DISTINCT turn_id) FROM usage_log WHERE {where}", values)
    return int(rows.fetchone()[0])


def _running(connection: sqlite3.Connection, ask: UsageQuestion) -> list[tuple[str, int]]:
    where, values = _period(ask.now - OPEN_AT_MOST, None, ask.group)
    rows = connection.execute(
        f"SELECT group_name, count(*) FROM usage_log WHERE {where} AND state = 'open' GROUP BY +group_jid ORDER BY group_name",
        values,
    )
    return rows.fetchall()


def _period(since: datetime | None, until: datetime | None, group: Group | None) -> tuple[str, list[str]]:
    conditions = [("timestamp >= ?", stamp(since))] if since else []
    conditions += [("timestamp < ?", stamp(until))] if until else []
    conditions += [("group_jid = ?", group.chat_id)] if group else []
    return " AND ".join(text for text, _ in conditions) or "1", [value for _, value in conditions]


def _usage_sum(row: tuple[Any, ...]) -> UsageSum:
    requests, into, out, cache_read, cache_made, cost, unknown, estimated, duration_ms = row
    return UsageSum(
        requests=requests, input_tokens=into, output_tokens=out, cache_read_tokens=cache_read,
        cache_creation_tokens=cache_made, cost_usd=cost, cost_unknown=unknown, estimated=estimated, duration_ms=duration_ms,
    )  # fmt: skip


def _plus(one: UsageSum, other: UsageSum) -> UsageSum:
    costs = [cost for cost in (one.cost_usd, other.cost_usd) if cost is not None]
    return UsageSum(
        requests=one.requests + other.requests,
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
