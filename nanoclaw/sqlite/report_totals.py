"""Sums for `/debug report` (from the roll-ups, never from the trace tables) and for `/usage`."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nanoclaw.domain import Group, moment, stamp
from nanoclaw.reports import CallRow, Day, TraceReport, UsageReport, UsageSum
from nanoclaw.sqlite.report_calls import USAGE_SUM, usage_sum
from nanoclaw.sqlite.report_rows import CALL, actions_where, call_row

TRACE_TABLES = ("event_log", "action_log", "tool_call_log")
MAX_FAILURES = 10
OPEN_AT_MOST = timedelta(days=1)
"""A model request that began earlier cannot still run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuestion:
    """What `/usage` asks; see `Reports.usage`."""

    since: datetime | None
    now: datetime
    group: Group | None
    by_group: bool
    days: Sequence[Day]


def trace_report(connection: sqlite3.Connection, since: datetime) -> TraceReport:
    # A bucket is the start of its quarter; sixteen characters are its minute, whatever follows.
    quarter = stamp(since.replace(minute=since.minute // 15 * 15))[:16]
    counters = dict(connection.execute("SELECT name, n FROM trace_counters").fetchall())
    oldest = connection.execute("SELECT min(timestamp) FROM event_log").fetchone()[0]
    buckets = connection.execute(
        "SELECT bucket, sum(n) FROM trace_rollup WHERE bucket >= ? AND what = 'event' GROUP BY bucket",
        (quarter,),
    )
    return TraceReport(
        since=since,
        oldest=moment(oldest) if oldest else None,
        rows={table: counters.get(table, 0) for table in TRACE_TABLES},
        lost={name: n for name, n in sorted(counters.items()) if n and name not in TRACE_TABLES},
        by_source=_by_key(connection, quarter, "event"),
        by_type=_by_key(connection, quarter, "action"),
        by_bucket=[(moment(bucket), n) for bucket, n in buckets],
        failed_calls=_failed_calls(connection),
        failed_actions=actions_where(
            connection, "WHERE a.failed = 1 ORDER BY a.timestamp DESC LIMIT ?", (MAX_FAILURES,)
        ),
    )


def usage(connection: sqlite3.Connection, ask: UsageQuestion) -> UsageReport:
    return UsageReport(
        total=_sum(connection, ask.since, None, ask.group),
        groups=_by_group(connection, ask.since) if ask.by_group else (),
        days=[(day, _sum(connection, day.starts, day.ends, ask.group)) for day in ask.days],
        running=_running(connection, ask),
    )


def _by_key(connection: sqlite3.Connection, quarter: str, what: str) -> list[tuple[str, int]]:
    rows = connection.execute(
        "SELECT key, sum(n) FROM trace_rollup WHERE bucket >= ? AND what = ? GROUP BY key ORDER BY 2 DESC, key",
        (quarter, what),
    )
    return [(key, n) for key, n in rows if n > 0]


def _failed_calls(connection: sqlite3.Connection) -> list[CallRow]:
    rows = connection.execute(
        f"SELECT {CALL} FROM tool_call_log k WHERE k.success = 0 ORDER BY k.timestamp DESC LIMIT ?",
        (MAX_FAILURES,),
    )
    return [call_row(row) for row in rows]


def _sum(
    connection: sqlite3.Connection, since: datetime | None, until: datetime | None, group: Group | None
) -> UsageSum:
    where, values = ["timestamp >= ?"], [stamp(since) if since else ""]
    if until:
        where, values = [*where, "timestamp < ?"], [*values, stamp(until)]
    if group:
        where, values = [*where, "group_jid = ?"], [*values, group.chat_id]
    sql = f"SELECT {USAGE_SUM} FROM usage_log WHERE {' AND '.join(where)}"
    return usage_sum(connection.execute(sql, values).fetchone())


def _by_group(connection: sqlite3.Connection, since: datetime | None) -> list[tuple[str, UsageSum]]:
    # With max(), SQLite takes the other columns from the same row: the name that the group had last.
    rows = connection.execute(
        f"SELECT group_name, max(timestamp), {USAGE_SUM} FROM usage_log WHERE timestamp >= ? "
        "GROUP BY group_folder ORDER BY sum(input_tokens + output_tokens) DESC, group_folder",
        (stamp(since) if since else "",),
    )
    return [(name, usage_sum(tuple(figures))) for name, _, *figures in rows]


def _running(connection: sqlite3.Connection, ask: UsageQuestion) -> list[tuple[str, int]]:
    chat_id = ask.group.chat_id if ask.group else None
    rows = connection.execute(
        "SELECT group_name, count(*) FROM usage_log WHERE timestamp >= ?1 AND state = 'open' "
        "AND (?2 IS NULL OR group_jid = ?2) GROUP BY group_folder ORDER BY group_name",
        (stamp(ask.now - OPEN_AT_MOST), chat_id),
    )
    return rows.fetchall()
