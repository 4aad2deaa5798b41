"""Sums for `/debug report`: from the roll-ups and from indexes, never from whole trace tables."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from datetime import datetime

from nanoclaw.domain import moment, stamp
from nanoclaw.reports import CallRow, TraceReport
from nanoclaw.sqlite.report_rows import CALL, actions_where, call_row

TRACE_TABLES = ("event_log", "action_log", "tool_call_log")
MAX_FAILURES = 10


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
