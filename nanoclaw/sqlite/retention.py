"""What is kept for a year and then goes: settled messages, sent answers, ended turns, occurrences. Never what is open.

A conversation that goes on keeps its turns and its transcript, however old they are. The trace has a retention of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Step = Callable[[sqlite3.Connection, str, int], int]


def _by(sql: str) -> Step:
    return lambda c, cutoff, limit: c.execute(sql, (cutoff, limit)).rowcount


def _turns(c: sqlite3.Connection, cutoff: str, limit: int) -> int:
    """Turns of conversations that are over, with what was said in them."""
    old = c.execute(
        "SELECT id FROM turns WHERE started_at < ? AND state IN ('answered', 'silent', 'failed', 'cancelled')"
        " AND session_id NOT IN (SELECT session_id FROM sessions) ORDER BY started_at LIMIT ?",
        (cutoff, max(1, limit // 20)),  # each has a dozen rows of its own
    ).fetchall()
    for table in ("transcript", "host_calls", "turn_messages"):
        c.executemany(f"DELETE FROM {table} WHERE turn_id = ?", old)  # noqa: S608 - our own names
    c.executemany("DELETE FROM turns WHERE id = ?", old)
    return len(old)


STEPS: tuple[Step, ...] = (
    _by(
        "DELETE FROM occurrences WHERE id IN (SELECT id FROM occurrences WHERE due < ?"
        " AND state NOT IN ('planned', 'running') ORDER BY due LIMIT ?)"
    ),
    _by(
        "DELETE FROM task_run_logs WHERE id IN (SELECT id FROM task_run_logs WHERE run_at < ? ORDER BY run_at LIMIT ?)"
    ),
    _by(
        "DELETE FROM outbox WHERE ord IN (SELECT ord FROM outbox WHERE done_at < ? AND done_at IS NOT NULL"
        " ORDER BY done_at LIMIT ?)"
    ),
    _turns,
    _by(
        "DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE timestamp < ? AND outcome != 'open'"
        " ORDER BY timestamp LIMIT ?)"
    ),
)


def step(c: sqlite3.Connection, cutoff: str, limit: int) -> int:
    """Deletes up to about `limit` rows of one kind; 0 when nothing is left to delete."""
    return next((gone for part in STEPS if (gone := part(c, cutoff, limit))), 0)
