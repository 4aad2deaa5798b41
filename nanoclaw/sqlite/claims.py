"""Claiming what is due: occurrence, attempt, turn and the task's next time, all in one transaction."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta

from nanoclaw import schedule
from nanoclaw.domain import (
    Action,
    ActionId,
    Event,
    EventId,
    OccurrenceId,
    SessionId,
    Task,
    TurnId,
    new_id,
    stamp,
)
from nanoclaw.sqlite import occurrences, people, rows, task_rows
from nanoclaw.sqlite.occurrences import Ledger
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.turns import insert_turn, session_of
from nanoclaw.stores import Due
from nanoclaw.tasks import on_time, plan, ref, title

STILL_RUNNING = "the one before was not over"
OVERTAKEN = "its next time had come"
AWAY = "the service was away"
_GONE = "its chat is not registered any more"


def claim(c: sqlite3.Connection, ledger: Ledger, task: Task, now: datetime) -> list[Due]:
    """What runs now of the due times that have come; each of them has its row afterwards, whatever becomes of it.

    A task that cannot go on is paused, and that is told.
    """
    if people.group_of(c, task.chat_id) is None:
        _give_up(c, ledger, task, _GONE, now)
        return []
    try:
        planned = plan(task, now, ledger.rules)
    except schedule.ScheduleError as error:
        _give_up(c, ledger, task, f"its schedule cannot be read: {error}", now)
        return []
    c.execute(
        "UPDATE scheduled_tasks SET next_run = ?, last_run = CASE WHEN ? THEN ? ELSE last_run END WHERE id = ?",
        (stamp(planned.next_run) if planned.next_run else None, bool(planned.run), stamp(now), task.id),
    )
    for due in planned.missed:
        if on_time(due, now, ledger.rules):
            _pass(c, task, due, "skipped", OVERTAKEN, now)
        else:
            _pass(c, task, due, "missed", AWAY, now)
    if not planned.run:
        _none_left(c, task, planned.next_run)
    if task_rows.running(c, task_id=task.id):
        for due in planned.run:
            _pass(c, task, due, "skipped", STILL_RUNNING, now)
        return []
    begun = [
        begin(c, ledger, task, due, now + timedelta(milliseconds=place))
        for place, due in enumerate(planned.run)
    ]
    return [due for due in begun if due]


def begin(c: sqlite3.Connection, ledger: Ledger, task: Task, due: datetime, now: datetime) -> Due | None:
    """The occurrence with its first attempt; None if that due time has its row already."""
    occurrence, event = OccurrenceId(new_id()), _event(ledger.trace, task)
    if not _insert(c, occurrence, task, due, "running", event=event.id, claimed=now):
        return None
    ledger.trace.with_fact(c, [event], now)
    return _attempt(c, ledger, task, occurrence, event.id, due, 1, now)


def start_now(
    c: sqlite3.Connection, trace: TraceWriter, task: Task, cause: EventId | None, now: datetime
) -> bool:
    """One more occurrence, beside the schedule; its first attempt is opened like one that is made again, by `claim_due`.

    False if the task has one that is not over.
    """
    event = _event(trace, task, cause)
    if task_rows.running(c, task_id=task.id) or not _insert(
        c, occurrence := OccurrenceId(new_id()), task, now, "running", event=event.id, claimed=now
    ):
        return False
    trace.with_fact(c, [event], now)
    c.execute("UPDATE occurrences SET next_try = ? WHERE id = ?", (stamp(now), occurrence))
    # A `once` that is over is open again, until this run has ended.
    c.execute(
        "UPDATE scheduled_tasks SET last_run = ?, status = CASE WHEN schedule_type = 'once' AND next_run IS NULL"
        " AND status IN ('failed', 'completed') THEN 'active' ELSE status END WHERE id = ?",
        (stamp(now), task.id),
    )
    return True


def try_again(c: sqlite3.Connection, ledger: Ledger, occurrence_id: str, now: datetime) -> Due | None:
    """The next attempt of an occurrence that failed; None if its task or its chat is gone."""
    found = occurrences.find(c, occurrence_id)
    c.execute("UPDATE occurrences SET next_try = NULL WHERE id = ?", (occurrence_id,))
    if found is None or found.task is None or people.group_of(c, found.chat_id) is None:
        ledger.close(c, occurrence_id, "cancelled", _GONE, None, now)
        return None
    made = int(rows.one(c, "SELECT count(*) FROM attempts WHERE occurrence_id = ?", occurrence_id))
    return _attempt(c, ledger, found.task, found.id, found.event_id, found.due, made + 1, now)


def _event(trace: TraceWriter, task: Task, cause: EventId | None = None) -> Event:
    prompt = trace.short(task.prompt, 200)
    return Event(
        source="scheduled_task", source_id=task.id, content={"prompt": prompt, "schedule": task.schedule_type},
        summary=f"Scheduled task: {prompt[:80]}", chat_id=task.chat_id, parent=cause,
    )  # fmt: skip


def _attempt(
    c: sqlite3.Connection, ledger: Ledger, task: Task, occurrence: OccurrenceId, event: EventId, due: datetime,
    number: int, now: datetime,
) -> Due:  # fmt: skip
    turn_id = TurnId(new_id()) if task.kind == "prompt" else None
    c.execute(
        "INSERT INTO attempts (occurrence_id, attempt, turn_id, started_at, state) VALUES (?, ?, ?, ?, 'running')",
        (occurrence, number, turn_id, stamp(now)),
    )
    if turn_id:
        session = session_of(c, task.folder) if task.context_mode == "group" else SessionId(new_id())
        action = Action(
            action_type="tool_call", triggered_by=event, target=task.chat_id, content="an agent is at work",
            id=ActionId(new_id()), turn_id=turn_id,
        )  # fmt: skip
        insert_turn(
            c, turn_id, kind="occurrence", chat_id=task.chat_id, folder=task.folder, session=session, action=action.id,
            event=event, occurrence=occurrence, thread=None, now=now,
        )  # fmt: skip
        ledger.trace.with_fact(c, [action], now)
    saved = rows.one(c, "SELECT saved_state FROM scheduled_tasks WHERE id = ?", task.id)
    return Due(
        task=task,
        occurrence_id=occurrence,
        turn_id=turn_id,
        due=due,
        attempt=number,
        saved_state=json.loads(saved) if saved else {},
    )


def _pass(c: sqlite3.Connection, task: Task, due: datetime, state: str, reason: str, now: datetime) -> None:
    """A due time at which nothing is done."""
    _insert(c, OccurrenceId(new_id()), task, due, state, ended=now, reason=reason)


def _none_left(c: sqlite3.Connection, task: Task, next_run: datetime | None) -> None:
    """A `once` that was missed and is not made up for stays visible as failed."""
    task_rows.set_result(c, task.id, f"missed: {AWAY}")
    if next_run is None:
        c.execute("UPDATE scheduled_tasks SET status = 'failed' WHERE id = ?", (task.id,))


def _insert(
    c: sqlite3.Connection, occurrence: OccurrenceId, task: Task, due: datetime, state: str, *,
    event: EventId | None = None, claimed: datetime | None = None, ended: datetime | None = None, reason: str | None = None,
) -> bool:  # fmt: skip
    return bool(
        c.execute(
            "INSERT OR IGNORE INTO occurrences (id, task_id, group_folder, chat_jid, due, state, event_id, claimed_at,"
            " ended_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                occurrence, task.id, task.folder, task.chat_id, stamp(due), state, event,
                stamp(claimed) if claimed else None, stamp(ended) if ended else None, reason,
            ),
        ).rowcount
    )  # fmt: skip


def _give_up(c: sqlite3.Connection, ledger: Ledger, task: Task, why: str, now: datetime) -> None:
    """The task is paused; the due time that led here is skipped, and main is told."""
    due = task.next_run or now
    task_rows.pause(c, task.id, why)
    _pass(c, task, due, "skipped", why, now)
    text = (
        f"I paused the task {title(task)} of {task.folder}: {why.rstrip('.')}. "
        f"/task resume {ref(task)} goes on with it, /task delete {ref(task)} removes it."
    )
    ledger.tell_main(c, f"task:{task.id}:paused:{stamp(due)}", text, None, now)
