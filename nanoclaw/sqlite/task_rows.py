"""The rows of `scheduled_tasks`: found, added, changed, held, deleted. Functions of a connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from nanoclaw.domain import ChatId, Folder, Task, TaskId, TaskStatus, TurnId, stamp
from nanoclaw.sqlite import rows

_RESULT_CHARS = 500


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


def change(c: sqlite3.Connection, task: Task) -> None:
    """All that can be set of a task; what happened so far is left alone."""
    c.execute(
        "UPDATE scheduled_tasks SET prompt = ?, schedule_type = ?, schedule_value = ?, next_run = ?, status = ?,"
        " context_mode = ?, zone = ?, script = ?, workflow_id = ?, parameters = ?, model = ?, catch_up = ?, failures = ?,"
        " why_paused = ? WHERE id = ?",
        (
            task.prompt, task.schedule_type, task.schedule_value, stamp(task.next_run) if task.next_run else None,
            task.status, task.context_mode, task.zone, task.script, task.workflow_id,
            json.dumps(task.parameters) if task.parameters else None, task.model, task.catch_up, task.failures,
            task.why_paused, task.id,
        ),
    )  # fmt: skip


def set_status(
    c: sqlite3.Connection, task_id: TaskId, status: TaskStatus, next_run: datetime | None, why: str | None
) -> None:
    """A task that goes on begins with a clean sheet: what failed before does not count against it."""
    c.execute(
        "UPDATE scheduled_tasks SET status = ?1, next_run = ?2, why_paused = ?3,"
        " failures = CASE WHEN ?1 = 'active' THEN 0 ELSE failures END WHERE id = ?4",
        (status, stamp(next_run) if next_run else None, why, task_id),
    )


def pause(c: sqlite3.Connection, task_id: TaskId, why: str) -> None:
    """Of the program's own accord; the next time stays, as the point from which the task goes on."""
    c.execute("UPDATE scheduled_tasks SET status = 'paused', why_paused = ? WHERE id = ?", (why, task_id))


def set_result(c: sqlite3.Connection, task_id: TaskId, text: str) -> None:
    c.execute("UPDATE scheduled_tasks SET last_result = ? WHERE id = ?", (text[:_RESULT_CHARS], task_id))


def active(c: sqlite3.Connection, folder: Folder) -> int:
    """How many of a group's tasks are active."""
    sql = "SELECT count(*) FROM scheduled_tasks WHERE group_folder = ? AND status = 'active'"
    return int(rows.one(c, sql, folder))


def open_turns(c: sqlite3.Connection, task_id: TaskId) -> list[TurnId]:
    """Turns of the task's occurrences that are not over."""
    found = c.execute(
        "SELECT t.id FROM occurrences o JOIN turns t ON t.occurrence_id = o.id"
        " WHERE o.task_id = ? AND o.state = 'running' AND t.state IN ('running', 'waiting')",
        (task_id,),
    )
    return [TurnId(row[0]) for row in found]


def running(
    c: sqlite3.Connection,
    *,
    task_id: TaskId | None = None,
    chat_id: ChatId | None = None,
    but: Sequence[str] = (),
) -> list[str]:
    """Occurrences of the task, or in the chat, that are not over, without those named."""
    sql = "SELECT id FROM occurrences WHERE state = 'running' AND (task_id = ? OR chat_jid = ?)"
    return [row[0] for row in c.execute(sql, (task_id, chat_id)) if row[0] not in but]


def delete(c: sqlite3.Connection, task_id: TaskId, now: datetime, *, but: Sequence[str] = ()) -> None:
    """The task and its run logs; the ledger of its occurrences stays. Those named go on to their own end."""
    for occurrence in running(c, task_id=task_id, but=but):
        c.execute(
            "UPDATE occurrences SET state = 'deleted', ended_at = ?, next_try = NULL, reason = 'the task was deleted'"
            " WHERE id = ?",
            (stamp(now), occurrence),
        )
    c.execute("DELETE FROM scheduled_tasks WHERE id = ?", (task_id,))
