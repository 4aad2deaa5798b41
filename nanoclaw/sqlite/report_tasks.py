"""Queries on tasks: the list, one task with its runs, what is promised and what went wrong."""

# ruff: noqa: S608 - the f-strings are made of our own column lists

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Any

from nanoclaw.domain import Group, Task, TaskId, moment, stamp
from nanoclaw.reports import TaskSummary
from nanoclaw.sqlite import rows
from nanoclaw.sqlite.task_rows import search
from nanoclaw.task_reports import LATE, Promised, TaskList, TaskResult, TaskRun, Usual, usual

DONE_SHOWN = 10
USUAL_OF = 10
_TASK_FROM = f"SELECT {rows.TASK} FROM scheduled_tasks"
_RUN = (
    "o.id, o.task_id, coalesce(t.prompt, ''), o.group_folder, o.state, o.due, o.claimed_at, o.ended_at, o.reason, "
    "(SELECT count(*) FROM attempts a WHERE a.occurrence_id = o.id)"
)
_RUN_FROM = "occurrences o LEFT JOIN scheduled_tasks t ON t.id = o.task_id"
_TROUBLE = (
    "o.due > ?1 AND (o.state IN ('missed','failed','skipped') OR (o.state IN ('done','running') "
    "AND unixepoch(o.claimed_at) - unixepoch(o.due) > ?2))"
)


def task_list(connection: sqlite3.Connection, group: Group | None) -> TaskList:
    """The next one first, then by age; those that are done: the last ones to run."""
    folder = group.folder if group else None
    found = connection.execute(
        f"{_TASK_FROM} WHERE (?1 IS NULL OR group_folder = ?1) AND status <> 'completed' "
        "ORDER BY next_run IS NULL, next_run, created_at, id",
        (folder,),
    ).fetchall()
    found += connection.execute(
        f"{_TASK_FROM} WHERE (?1 IS NULL OR group_folder = ?1) AND status = 'completed' "
        "ORDER BY coalesce(last_run, created_at) DESC, id LIMIT ?2",
        (folder, DONE_SHOWN),
    ).fetchall()
    return TaskList(tasks=[rows.task(row) for row in found], counts=summary(connection, group).counts)


def summary(connection: sqlite3.Connection, group: Group | None) -> TaskSummary:
    folder = group.folder if group else None
    counts = connection.execute(
        "SELECT status, count(*) FROM scheduled_tasks WHERE ?1 IS NULL OR group_folder = ?1 GROUP BY status",
        (folder,),
    )
    upcoming = connection.execute(
        f"{_TASK_FROM} WHERE (?1 IS NULL OR group_folder = ?1) "
        "AND status = 'active' AND next_run IS NOT NULL ORDER BY next_run LIMIT 1",
        (folder,),
    ).fetchone()
    return TaskSummary(counts=dict(counts.fetchall()), next=rows.task(upcoming) if upcoming else None)


def find(connection: sqlite3.Connection, ref: str) -> list[Task]:
    """Those that `ref` may mean."""
    return search(connection, ref, None)


def runs(connection: sqlite3.Connection, task_id: TaskId, limit: int) -> list[TaskRun]:
    """The newest first."""
    found = connection.execute(
        f"SELECT {_RUN} FROM {_RUN_FROM} WHERE o.task_id = ? ORDER BY o.due DESC LIMIT ?", (task_id, limit)
    ).fetchall()
    return [_run(connection, row) for row in found]


def results(connection: sqlite3.Connection, task_id: TaskId, limit: int) -> list[TaskResult]:
    """The newest first."""
    found = connection.execute(
        "SELECT run_at, duration_ms, status, coalesce(result, error, '') FROM task_run_logs "
        "WHERE task_id = ? ORDER BY run_at DESC, id DESC LIMIT ?",
        (task_id, limit),
    )
    return [
        TaskResult(at=moment(at), took=timedelta(milliseconds=took_ms), ok=status != "error", text=text)
        for at, took_ms, status, text in found
    ]


def promised(
    connection: sqlite3.Connection, since: datetime, until: datetime, *, tasks: int, troubles: int
) -> Promised:
    """What is due until then, and what went wrong since then; at most so many tasks and troubles."""
    due = "FROM scheduled_tasks WHERE status = 'active' AND next_run IS NOT NULL AND next_run <= ?"
    found = [
        rows.task(row)
        for row in connection.execute(
            f"SELECT {rows.TASK} {due} ORDER BY next_run LIMIT ?", (stamp(until), tasks)
        )
    ]
    count = rows.one(connection, f"SELECT count(*) {due}", stamp(until))
    wrong = (stamp(since), int(LATE.total_seconds()))
    rows_ = connection.execute(
        f"SELECT {_RUN} FROM {_RUN_FROM} WHERE {_TROUBLE} ORDER BY o.due DESC LIMIT ?3", (*wrong, troubles)
    ).fetchall()
    wrong_count = rows.one(connection, f"SELECT count(*) FROM occurrences o WHERE {_TROUBLE}", *wrong)
    return Promised(
        tasks=found,
        tasks_left_out=count - len(found),
        usual={task.id: _usual(connection, task.id) for task in found},
        troubles=[_run(connection, row) for row in rows_],
        troubles_left_out=wrong_count - len(rows_),
    )


def _usual(connection: sqlite3.Connection, task_id: TaskId) -> Usual:
    found = connection.execute(
        f"SELECT {_RUN} FROM {_RUN_FROM} WHERE o.task_id = ? AND o.state = 'done' ORDER BY o.due DESC LIMIT ?",
        (task_id, USUAL_OF),
    ).fetchall()
    return usual([_run(connection, row) for row in found])


def _run(connection: sqlite3.Connection, row: tuple[Any, ...]) -> TaskRun:
    occurrence, task_id, prompt, folder, state, due, claimed, ended, reason, attempts = row
    requests, known, cost = connection.execute(
        "SELECT count(*), count(u.cost_usd), sum(u.cost_usd) FROM attempts a JOIN usage_log u ON u.turn_id = a.turn_id "
        "WHERE a.occurrence_id = ? AND u.state <> 'open'",
        (occurrence,),
    ).fetchone()
    return TaskRun(
        id=occurrence, task_id=task_id, prompt=prompt, folder=folder, state=state, due=moment(due), attempts=attempts,
        began=moment(claimed) if claimed else None, ended=moment(ended) if ended else None, reason=reason,
        requests=requests, cost_usd=cost, cost_unknown=requests - known,
    )  # fmt: skip
