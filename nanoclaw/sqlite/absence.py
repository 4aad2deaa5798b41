"""When the service was last alive; what an absence has cost is told once, in one line, and a clock set back is made good."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import moment, stamp
from nanoclaw.reports import cut, duration
from nanoclaw.sqlite import rows
from nanoclaw.sqlite.occurrences import Ledger
from nanoclaw.tasks import due_words, planned_again

_KEY = "tasks_alive_at"
_NAMED = 5
"""Tasks of each kind that are named; the others are counted."""
_NAME_CHARS = 40


def present(c: sqlite3.Connection, ledger: Ledger, now: datetime) -> bool:
    """Notes that the service is alive; True if something was said about the time before."""
    stored = rows.one(c, "SELECT value FROM router_state WHERE key = ?", _KEY)
    c.execute("INSERT OR REPLACE INTO router_state (key, value) VALUES (?, ?)", (_KEY, stamp(now)))
    if stored is None:
        return False
    before, grace = moment(stored), timedelta(seconds=ledger.rules.grace_s)
    if now - before > grace:
        return _tell(c, ledger, before, now)
    return now - before < -grace and _clock_set_back(c, ledger, before, now)


def _tell(c: sqlite3.Connection, ledger: Ledger, away: datetime, now: datetime) -> bool:
    """One line for everything that is late or was missed because nobody was there."""
    zone = ledger.rules.zone
    late = f"julianday(claimed_at) - julianday(due) > {ledger.rules.grace_s / 86_400}"
    said = []
    for what, condition in (("Late", f"claimed_at >= ?2 AND {late}"), ("Missed", "state = 'missed'")):
        found = c.execute(
            "SELECT coalesce(t.prompt, 'a task that was deleted'), max(o.due), count(*) FROM occurrences o"  # noqa: S608 - our own text
            " LEFT JOIN scheduled_tasks t ON t.id = o.task_id"
            f" WHERE o.due > ?1 AND o.due <= ?3 AND {condition} GROUP BY o.task_id ORDER BY max(o.due), t.prompt",
            (stamp(away - timedelta(seconds=ledger.rules.grace_s)), stamp(away), stamp(now)),
        ).fetchall()
        if found:
            said.append(f"{what}: {_named(found, now, zone)}.")
    if not said:
        return False
    first = _plain_moment(away.replace(second=0, microsecond=0), now, zone)
    text = f"I was away from {first} to {now.astimezone(zone):%H:%M}. {' '.join(said)}"
    return ledger.tell_main(c, f"away:{stamp(away)}", text, None, now)


def _named(found: list[tuple[str, str, int]], now: datetime, zone: ZoneInfo) -> str:
    shown = []
    for prompt, last, times in found[:_NAMED]:
        due = _plain_moment(moment(last), now, zone)
        count = f"{times} times, last " if times > 1 else "due "
        shown.append(f"{cut(prompt, _NAME_CHARS)} ({count}{due})")
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _plain_moment(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """`07:00`, or `Thursday 19 November at 07:00`: to follow `from` or `due`."""
    return due_words(at, now, zone).removeprefix("at ").removeprefix("on ")


def _clock_set_back(c: sqlite3.Connection, ledger: Ledger, before: datetime, now: datetime) -> bool:
    """Tasks were planned by a clock that ran ahead: without this they would wait until it has come so far again."""
    sql = f"SELECT {rows.TASK} FROM scheduled_tasks WHERE status = 'active' AND next_run > ?"  # noqa: S608 - our own text
    moved = 0
    for row in c.execute(sql, (stamp(now),)).fetchall():
        task = rows.task(row)
        try:
            due = planned_again(task, now, ledger.rules.zone)
        except schedule.ScheduleError:
            continue  # told when its time comes
        if due and task.next_run and due < task.next_run:
            moved += 1
            c.execute("UPDATE scheduled_tasks SET next_run = ? WHERE id = ?", (stamp(due), task.id))
    if not moved:
        return False
    tasks = "one task was" if moved == 1 else f"{moved} tasks were"
    text = f"The server's clock was set back by {duration(before - now)}; {tasks} planned anew."
    return ledger.tell_main(c, f"clock:{stamp(before)}:{stamp(now)}", text, None, now)
