"""Scheduled tasks: the table is the truth. An occurrence is claimed, and the next one planned, in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nanoclaw import schedule
from nanoclaw.domain import (
    Action,
    ActionId,
    ChatId,
    Event,
    Folder,
    OccurrenceId,
    OutboxEntry,
    SessionId,
    Task,
    TaskId,
    TaskStatus,
    Turn,
    TurnId,
    moment,
    new_id,
    stamp,
)
from nanoclaw.sqlite import occurrences, outbox, rows
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.turns import insert_turn, session_of
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import Due


class Tasks:
    """The scheduler's view of the store."""

    def __init__(self, *, writer: Writer, reader: Connection, trace: TraceWriter) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace

    async def next_due(self) -> datetime | None:
        """The earliest moment at which anything is due; answered by an index, however many tasks there are."""
        sql = "SELECT next_run FROM scheduled_tasks WHERE status = 'active' AND next_run IS NOT NULL ORDER BY next_run LIMIT 1"
        found = await self._reader.call(lambda c: rows.one(c, sql))
        return moment(found) if found else None

    async def claim_due(self, now: datetime, limit: int = 50) -> list[Due]:
        """Claims what is due: occurrence, attempt, turn and the next time, all or nothing. At most once for a due time."""

        def work(c: sqlite3.Connection) -> list[Due]:
            found = c.execute(
                f"SELECT {rows.TASK}, saved_state FROM scheduled_tasks WHERE status = 'active' AND next_run <= ?"  # noqa: S608
                " ORDER BY next_run LIMIT ?",
                (stamp(now), limit),
            ).fetchall()
            claimed = [self._claim(c, rows.task(r), r[-1], now) for r in found]
            return [due for due in claimed if due]

        return await self._writer.do(work)

    def _claim(self, c: sqlite3.Connection, task: Task, saved: str | None, now: datetime) -> Due | None:
        due = task.next_run or now
        following = schedule.next_run(task.schedule_type, task.schedule_value, due, now)
        c.execute(
            "UPDATE scheduled_tasks SET next_run = ?, last_run = ? WHERE id = ?",
            (stamp(following) if following else None, stamp(now), task.id),
        )
        occurrence = OccurrenceId(new_id())
        prompt = self._trace.short(task.prompt, 200)
        event = Event(
            source="scheduled_task", source_id=task.id, content={"prompt": prompt, "schedule": task.schedule_type},
            summary=f"Scheduled task: {prompt[:80]}", chat_id=task.chat_id,
        )  # fmt: skip
        inserted = c.execute(
            "INSERT OR IGNORE INTO occurrences (id, task_id, group_folder, chat_jid, due, state, event_id, claimed_at)"
            " VALUES (?, ?, ?, ?, ?, 'running', ?, ?)",
            (occurrence, task.id, task.folder, task.chat_id, stamp(due), event.id, stamp(now)),
        ).rowcount
        if not inserted:
            return None
        turn_id = TurnId(new_id()) if task.kind == "prompt" else None
        c.execute(
            "INSERT INTO attempts (occurrence_id, attempt, turn_id, started_at, state) VALUES (?, 1, ?, ?, 'running')",
            (occurrence, turn_id, stamp(now)),
        )
        trace: list[Event | Action] = [event]
        if turn_id:
            trace.append(self._open_turn(c, task, turn_id, occurrence, event, now))
        self._trace.with_fact(c, trace, now)
        return Due(
            task=task,
            occurrence_id=occurrence,
            turn_id=turn_id,
            due=due,
            saved_state=json.loads(saved) if saved else {},
        )

    def _open_turn(
        self,
        c: sqlite3.Connection,
        task: Task,
        turn_id: TurnId,
        occurrence: OccurrenceId,
        event: Event,
        now: datetime,
    ) -> Action:
        session = session_of(c, task.folder) if task.context_mode == "group" else SessionId(new_id())
        action = ActionId(new_id())
        insert_turn(
            c, turn_id, kind="occurrence", chat_id=task.chat_id, folder=task.folder, session=session, action=action,
            event=event.id, occurrence=occurrence, thread=None, now=now,
        )  # fmt: skip
        return Action(
            id=action, action_type="tool_call", triggered_by=event.id, target=task.chat_id,
            content="an agent is at work", turn_id=turn_id,
        )  # fmt: skip

    async def prompt_of(self, turn: Turn) -> tuple[Task | None, datetime] | None:
        """The task (None: deleted meanwhile) and the due time of an occurrence's turn."""

        def work(c: sqlite3.Connection) -> tuple[Task | None, datetime] | None:
            row = c.execute(
                "SELECT task_id, due FROM occurrences WHERE id = ?", (turn.occurrence_id,)
            ).fetchone()
            return (find(c, row[0]), moment(row[1])) if row else None

        return await self._reader.call(work)

    async def unfinished_kinds(self) -> list[Due]:
        """Occurrences of plugins' task kinds that a crash interrupted; they are called again with their saved state."""

        def work(c: sqlite3.Connection) -> list[Due]:
            found = c.execute(
                "SELECT o.id, o.task_id, o.due, t.saved_state FROM occurrences o JOIN scheduled_tasks t ON t.id = o.task_id"
                " WHERE o.state = 'running' AND t.kind != 'prompt'"
            ).fetchall()
            result = []
            for occurrence, task_id, due, saved in found:
                task = find(c, task_id)
                if task:
                    state = json.loads(saved) if saved else {}
                    result.append(
                        Due(
                            task=task,
                            occurrence_id=occurrence,
                            turn_id=None,
                            due=moment(due),
                            saved_state=state,
                        )
                    )
            return result

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
            event = rows.one(c, "SELECT event_id FROM occurrences WHERE id = ?", due.occurrence_id)
            if entry:
                outbox.put(c, entry, now)
            failed = state == "failed"
            done = "message_sent" if entry or state == "answered" else "task_skipped"
            kind = "task_failed" if failed else done
            action = Action(
                id=entry.action_id if entry and entry.action_id else ActionId(new_id()),
                action_type=kind, triggered_by=event, target=due.task.chat_id,
                content=entry.text if entry else reason, failed=failed,
            )  # fmt: skip
            self._trace.with_fact(c, [action], now)
            occurrences.close(c, due.occurrence_id, state, reason, entry, now)
            if state != "cancelled":  # skipped: the state is that of the occurrence which still runs
                c.execute("UPDATE scheduled_tasks SET saved_state = NULL WHERE id = ?", (due.task.id,))

        await self._writer.do(work)


def find(c: sqlite3.Connection, task_id: str) -> Task | None:
    row = c.execute(f"SELECT {rows.TASK} FROM scheduled_tasks WHERE id = ?", (task_id,)).fetchone()  # noqa: S608 - our own text
    return rows.task(row) if row else None


def search(c: sqlite3.Connection, ref: str, folder: Folder | None) -> list[Task]:
    """Tasks that `ref` may mean: the id itself, else a prefix of at least 4 characters."""
    within = "" if folder is None else " AND group_folder = ?"
    limits = () if folder is None else (folder,)
    sql = f"SELECT {rows.TASK} FROM scheduled_tasks WHERE id = ?{within}"  # noqa: S608 - our own text
    exact = c.execute(sql, (ref, *limits)).fetchall()
    if not exact and len(ref) >= 4:
        sql = f"SELECT {rows.TASK} FROM scheduled_tasks WHERE id >= ? AND id < ?{within} LIMIT 5"  # noqa: S608 - our own text
        exact = c.execute(sql, (ref, ref + "\U0010ffff", *limits)).fetchall()
    return [rows.task(r) for r in exact]


def all_tasks(c: sqlite3.Connection, folder: Folder | None) -> list[Task]:
    where = "" if folder is None else " WHERE group_folder = ?"
    sql = f"SELECT {rows.TASK} FROM scheduled_tasks{where} ORDER BY status, next_run, created_at"  # noqa: S608 - our own text
    return [rows.task(r) for r in c.execute(sql, () if folder is None else (folder,))]


def add(c: sqlite3.Connection, task: Task) -> None:
    c.execute(
        "INSERT INTO scheduled_tasks (id, group_folder, chat_jid, prompt, schedule_type, schedule_value, next_run, status,"
        " created_at, context_mode, kind, zone, script, workflow_id, parameters, model, catch_up)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            task.id, task.folder, task.chat_id, task.prompt, task.schedule_type, task.schedule_value,
            stamp(task.next_run) if task.next_run else None, task.status, stamp(task.created_at), task.context_mode, task.kind,
            task.zone, task.script, task.workflow_id, json.dumps(task.parameters) if task.parameters else None, task.model,
            task.catch_up,
        ),
    )  # fmt: skip


def set_status(c: sqlite3.Connection, task_id: TaskId, status: TaskStatus, next_run: datetime | None) -> None:
    c.execute(
        "UPDATE scheduled_tasks SET status = ?, next_run = ? WHERE id = ?",
        (status, stamp(next_run) if next_run else None, task_id),
    )


def open_turns(c: sqlite3.Connection, task_id: TaskId) -> list[tuple[TurnId, ChatId]]:
    """Turns of the task's occurrences that are not over."""
    return c.execute(
        "SELECT t.id, t.chat_jid FROM occurrences o JOIN turns t ON t.occurrence_id = o.id"
        " WHERE o.task_id = ? AND t.state IN ('running', 'waiting')",
        (task_id,),
    ).fetchall()


def running(
    c: sqlite3.Connection, *, task_id: TaskId | None = None, chat_id: ChatId | None = None
) -> list[str]:
    """Occurrences of the task, or in the chat, that are not over."""
    sql = "SELECT id FROM occurrences WHERE state = 'running' AND (task_id = ? OR chat_jid = ?)"
    return [row[0] for row in c.execute(sql, (task_id, chat_id))]


def delete(c: sqlite3.Connection, task_id: TaskId, now: datetime) -> None:
    """The task and its run logs; the ledger of its occurrences stays."""
    c.execute(
        "UPDATE occurrences SET state = 'deleted', ended_at = ?, reason = 'the task was deleted' WHERE task_id = ?"
        " AND state IN ('planned', 'running')",
        (stamp(now), task_id),
    )
    c.execute("DELETE FROM scheduled_tasks WHERE id = ?", (task_id,))
