"""Scheduled tasks: the table is the truth. An occurrence is claimed, and the next one planned, in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nanoclaw.domain import Action, ActionId, OutboxEntry, TaskId, Turn, moment, new_id, stamp
from nanoclaw.sqlite import absence, claims, occurrences, outbox, rows, task_rows, turns
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.occurrences import Ledger
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import Due, Occasion

# Named: left to itself SQLite takes another index, and reads every active task.
_DUE = "scheduled_tasks INDEXED BY idx_next_run_active WHERE status = 'active' AND next_run IS NOT NULL"
_AGAIN = "occurrences INDEXED BY idx_occurrences_next_try WHERE state = 'running' AND next_try IS NOT NULL"


class Tasks:
    """The scheduler's view of the store."""

    def __init__(
        self, *, writer: Writer, reader: Connection, trace: TraceWriter, ledger: Ledger | None = None
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace
        self._ledger = ledger or Ledger(trace=trace)

    async def next_due(self) -> datetime | None:
        """The earliest moment at which anything is due; answered by indexes, however many tasks there are."""

        def work(c: sqlite3.Connection) -> datetime | None:
            first = (
                rows.one(c, f"SELECT next_run FROM {_DUE} ORDER BY next_run LIMIT 1"),  # noqa: S608
                rows.one(c, f"SELECT next_try FROM {_AGAIN} ORDER BY next_try LIMIT 1"),  # noqa: S608
            )
            return min((moment(found) for found in first if found), default=None)

        return await self._reader.call(work)

    async def claim_due(self, now: datetime, limit: int = 50) -> list[Due]:
        """Claims what is due: occurrence, attempt, turn and the next time, all or nothing. At most once for a due time."""

        def work(c: sqlite3.Connection) -> list[Due]:
            again = c.execute(
                f"SELECT id FROM {_AGAIN} AND next_try <= ? ORDER BY next_try LIMIT ?",  # noqa: S608 - our own text
                (stamp(now), limit),
            ).fetchall()
            tried = [claims.try_again(c, self._ledger, row[0], now) for row in again]
            found = c.execute(
                f"SELECT {rows.TASK} FROM {_DUE} AND next_run <= ? ORDER BY next_run LIMIT ?",  # noqa: S608 - our own text
                (stamp(now), limit),
            ).fetchall()
            claimed = [due for row in found for due in claims.claim(c, self._ledger, rows.task(row), now)]
            return [*(due for due in tried if due), *claimed]

        return await self._writer.do(work)

    async def present(self, now: datetime) -> bool:
        """Notes that the service is alive. After an absence, once all that was due is claimed, main is told what that
        absence has cost; True if something was said."""
        return await self._writer.do(lambda c: absence.present(c, self._ledger, now))

    async def occasion(self, turn: Turn) -> Occasion | None:
        """What an occurrence's turn is about; None for a turn that has none."""

        def work(c: sqlite3.Connection) -> Occasion | None:
            row = c.execute(
                "SELECT task_id, due FROM occurrences WHERE id = ?", (turn.occurrence_id,)
            ).fetchone()
            if row is None:
                return None
            tries = c.execute(
                "SELECT attempt, error FROM attempts WHERE occurrence_id = ? ORDER BY attempt DESC LIMIT 2",
                (turn.occurrence_id,),
            ).fetchall()
            handed = rows.one(c, "SELECT min(created_at) FROM transcript WHERE turn_id = ?", turn.id)
            return Occasion(
                task=task_rows.find(c, row[0]),
                due=moment(row[1]),
                attempt=tries[0][0] if tries else 1,
                why_again=tries[1][1] if len(tries) > 1 else None,
                handed_at=moment(handed) if handed else None,
            )

        return await self._reader.call(work)

    async def unfinished_kinds(self) -> list[Due]:
        """Occurrences of plugins' task kinds that are not over; after a crash they go on with their saved state."""

        def work(c: sqlite3.Connection) -> list[Due]:
            found = c.execute(
                "SELECT o.id, o.task_id, o.due, t.saved_state FROM occurrences o JOIN scheduled_tasks t ON t.id = o.task_id"
                " WHERE o.state = 'running' AND o.next_try IS NULL AND t.kind != 'prompt'"
            ).fetchall()
            return [
                Due(
                    task=task,
                    occurrence_id=occurrence,
                    turn_id=None,
                    due=moment(due),
                    saved_state=json.loads(saved) if saved else {},
                )
                for occurrence, task_id, due, saved in found
                if (task := task_rows.find(c, task_id))
            ]

        return await self._reader.call(work)

    async def save_state(self, task_id: TaskId, state: Mapping[str, Any]) -> None:
        text = json.dumps(dict(state))
        await self._writer.do(
            lambda c: (
                c.execute("UPDATE scheduled_tasks SET saved_state = ? WHERE id = ?", (text, task_id)) and None
            )
        )

    async def close_kind(
        self, due: Due, state: str, reason: str, entry: OutboxEntry | None, now: datetime
    ) -> None:
        """Ends the occurrence of a plugin's task kind; its result goes to the chat in the same transaction."""

        def work(c: sqlite3.Connection) -> None:
            found = occurrences.find(c, due.occurrence_id)
            if found is None or found.state != "running":
                return
            if entry and outbox.put(c, entry, now):
                turns.note_said(c, found, due.occurrence_id, [entry.text], self._ledger.rules, now)
            failed = state == "failed"
            done = "message_sent" if entry or state == "answered" else "task_skipped"
            action = Action(
                id=entry.action_id if entry and entry.action_id else ActionId(new_id()),
                action_type="task_failed" if failed else done, triggered_by=found.event_id, target=due.task.chat_id,
                content=entry.text if entry else reason, failed=failed,
            )  # fmt: skip
            self._trace.with_fact(c, [action], now)
            self._ledger.close(c, due.occurrence_id, state, reason, entry, now)
            if state != "cancelled":  # skipped: the state is that of the occurrence which still runs
                c.execute("UPDATE scheduled_tasks SET saved_state = NULL WHERE id = ?", (due.task.id,))

        await self._writer.do(work)
