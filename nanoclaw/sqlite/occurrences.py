"""Occurrences and attempts: what was due, and what came of it."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from nanoclaw.domain import OutboxEntry, moment, stamp

_STATE = {"answered": "done", "silent": "done", "failed": "failed", "cancelled": "skipped"}


def close(
    c: sqlite3.Connection,
    occurrence_id: str,
    turn_state: str,
    reason: str,
    entry: OutboxEntry | None,
    now: datetime,
) -> None:
    """Ends an occurrence with its turn: ledger, run log, and the task's own last result."""
    state = _STATE[turn_state]
    known = c.execute("SELECT task_id, claimed_at FROM occurrences WHERE id = ?", (occurrence_id,)).fetchone()
    if known is None:
        return
    task_id, claimed_at = known
    c.execute(
        "UPDATE occurrences SET state = ?, ended_at = ?, reason = ? WHERE id = ? AND state = 'running'",
        (state, stamp(now), reason, occurrence_id),
    )
    c.execute(
        "UPDATE attempts SET state = ?, ended_at = ?, error = ? WHERE occurrence_id = ? AND ended_at IS NULL",
        (state, stamp(now), reason if state == "failed" else None, occurrence_id),
    )
    result = (entry.text if entry else reason)[:500]
    if c.execute("UPDATE scheduled_tasks SET last_result = ? WHERE id = ?", (result, task_id)).rowcount:
        took_ms = round((now - moment(claimed_at)).total_seconds() * 1000) if claimed_at else 0
        c.execute(
            "INSERT INTO task_run_logs (task_id, run_at, duration_ms, status, result, error) VALUES (?, ?, ?, ?, ?, ?)",
            (
                task_id, claimed_at or stamp(now), took_ms, "error" if state == "failed" else "success",
                entry.text if entry and state == "done" else None, reason if state == "failed" else None,
            ),
        )  # fmt: skip
        c.execute(
            "UPDATE scheduled_tasks SET status = ? WHERE id = ? AND schedule_type = 'once' AND status = 'active'"
            " AND next_run IS NULL",
            ("failed" if state == "failed" else "completed", task_id),
        )
