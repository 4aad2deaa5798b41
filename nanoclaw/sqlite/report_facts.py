"""The queries behind the facts of the day: what is due, what happened in the last 24 hours, what is open."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from nanoclaw.domain import Group, Outcome, Task, moment, stamp
from nanoclaw.reports import local_day
from nanoclaw.schedule import ScheduleError
from nanoclaw.sqlite import rows
from nanoclaw.task_reports import LATE, due_times
from nanoclaw.tasks import described
from nanoclaw.workflows import Facts, Planned, Trouble

MAX_PLANNED = 20
MAX_TROUBLES = 8
MAX_QUESTIONS = 10
SPAN = timedelta(hours=24)


def facts(connection: sqlite3.Connection, now: datetime, zone: ZoneInfo, group: Group | None) -> Facts:
    """Of one group, or of all (None); only then with the questions to the owner."""
    since = now - SPAN
    counts, failed = _messages(connection, since, group)
    done, wrong, wrong_count = _occurrences(connection, since, now, group)
    planned, planned_count = _planned(connection, now, zone, group)
    troubles = sorted([*wrong, *failed], key=lambda trouble: trouble.at, reverse=True)
    all_troubles = wrong_count + counts.get("failed", 0)
    return Facts(
        now=now, zone=zone, planned=planned, more_planned=planned_count - len(planned), messages=counts, tasks_done=done,
        troubles=troubles[:MAX_TROUBLES], more_troubles=all_troubles - len(troubles[:MAX_TROUBLES]),
        undelivered=_undelivered(connection, since, group), open_messages=_open(connection, group),
        questions=() if group else _questions(connection),
    )  # fmt: skip


def _planned(
    connection: sqlite3.Connection, now: datetime, zone: ZoneInfo, group: Group | None
) -> tuple[list[Planned], int]:
    today = local_day(now.astimezone(zone).date(), zone)
    within = "" if group is None else " AND group_folder = ?"
    where = f"FROM scheduled_tasks WHERE status = 'active' AND next_run IS NOT NULL AND next_run < ?{within}"
    values = (stamp(today.ends), *((group.folder,) if group else ()))
    found = connection.execute(
        f"SELECT {rows.TASK} {where} ORDER BY next_run LIMIT ?", (*values, MAX_PLANNED)
    )
    planned = [_as_planned(rows.task(row), now, today.ends, zone) for row in found.fetchall()]
    return planned, int(rows.one(connection, f"SELECT count(*) {where}", *values))


def _as_planned(task: Task, now: datetime, ends: datetime, zone: ZoneInfo) -> Planned:
    again = None
    try:
        if len(due_times(task, ends - timedelta(milliseconds=1), zone, 2)) > 1:
            again = described(task, now, zone)
    except ScheduleError:
        again = f"{task.schedule_type} {task.schedule_value}"
    return Planned(at=task.next_run or now, what=task.prompt, again=again)


def _messages(
    connection: sqlite3.Connection, since: datetime, group: Group | None
) -> tuple[dict[Outcome, int], list[Trouble]]:
    # Walks back from the newest message and stops at the first older one: the cost is that of one day's messages.
    within, chat = ("chat_jid = ?", (group.chat_id,)) if group else ("1", ())
    before = rows.one(
        connection,
        f"SELECT seq FROM messages WHERE {within} AND stored_at < ? ORDER BY seq DESC LIMIT 1",
        *chat,
        stamp(since),
    )
    recent = f"FROM messages WHERE {within} AND seq > ?"
    values = (*chat, before or 0)
    counts = dict(
        connection.execute(f"SELECT outcome, count(*) {recent} GROUP BY outcome", values).fetchall()
    )
    failed = connection.execute(
        f"SELECT stored_at, content, outcome_reason {recent} AND outcome = 'failed' ORDER BY seq DESC LIMIT ?",
        (*values, MAX_TROUBLES),
    )
    return counts, [
        Trouble(how="failed", at=moment(at), what=f"the answer to “{text or ''}”", why=why or "")
        for at, text, why in failed
    ]


def _occurrences(
    connection: sqlite3.Connection, since: datetime, now: datetime, group: Group | None
) -> tuple[int, list[Trouble], int]:
    """How many were done, what went wrong (the newest), and how many that were. What runs now is not told of."""
    within = "" if group is None else " AND o.group_folder = ?"
    span = (stamp(since), stamp(now), *((group.folder,) if group else ()))
    recent = f"FROM occurrences o WHERE o.due > ? AND o.due <= ?{within}"
    done = int(rows.one(connection, f"SELECT count(*) {recent} AND o.state = 'done'", *span))
    wrong = (
        f"{recent} AND (o.state IN ('failed','missed') "
        "OR (o.state = 'done' AND unixepoch(o.claimed_at) - unixepoch(o.due) > ?))"
    )
    values = (*span, LATE.total_seconds())
    found = connection.execute(
        "SELECT o.state, o.due, o.claimed_at, o.reason, (SELECT prompt FROM scheduled_tasks t WHERE t.id = o.task_id) "
        f"{wrong} ORDER BY o.due DESC LIMIT ?",
        (*values, MAX_TROUBLES),
    )
    return (
        done,
        [_as_trouble(*row) for row in found],
        int(rows.one(connection, f"SELECT count(*) {wrong}", *values)),
    )


def _as_trouble(state: str, due: str, claimed: str | None, reason: str | None, prompt: str | None) -> Trouble:
    what = prompt or "a task that is deleted by now"
    if state == "done" and claimed:
        late_s = (moment(claimed) - moment(due)).total_seconds()
        return Trouble(how="late", at=moment(due), what=what, late_s=late_s)
    return Trouble(
        how="missed" if state == "missed" else "failed", at=moment(due), what=what, why=reason or ""
    )


def _undelivered(connection: sqlite3.Connection, since: datetime, group: Group | None) -> int:
    within, chat = ("chat_jid = ?", (group.chat_id,)) if group else ("1", ())
    before = rows.one(
        connection, "SELECT ord FROM outbox WHERE created_at < ? ORDER BY ord DESC LIMIT 1", stamp(since)
    )
    sql = f"SELECT count(*) FROM outbox WHERE {within} AND ord > ? AND state = 'failed'"
    return int(rows.one(connection, sql, *chat, before or 0))


def _open(connection: sqlite3.Connection, group: Group | None) -> int:
    """What an agent has in hand right now, the request for these facts for one, does not wait."""
    within, chat = (" AND m.chat_jid = ?", (group.chat_id,)) if group else ("", ())
    sql = (
        f"SELECT count(*) FROM messages m WHERE m.outcome = 'open'{within} AND NOT EXISTS (SELECT 1 FROM turn_messages i "
        "JOIN turns t ON t.id = i.turn_id WHERE i.seq = m.seq AND t.state = 'running')"
    )
    return int(rows.one(connection, sql, *chat))


def _questions(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    sql = "SELECT id, question FROM asks WHERE state = 'open' ORDER BY id LIMIT ?"
    return [(number, question) for number, question in connection.execute(sql, (MAX_QUESTIONS,))]
